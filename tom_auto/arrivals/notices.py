"""The messages to receivers, from the claim to the end: no frame is told twice, whatever happens.

The row is there before the message is. `prepared`: nothing has been sent, and whoever finds it
left behind begins anew. `sending`: a mail server may have taken it. Whoever finds that left behind
lets it count as told, and the next message says that one may not have arrived.
"""

from datetime import datetime, timedelta
from email.utils import make_msgid

from django.core.mail.utils import DNS_NAME
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from ..channels import NotTold
from .choosing import can_be_told, is_due
from .models import Notice, Wish

CLAIM = timedelta(minutes=5)  # a process that has not ended it by then is dead
LONGEST_HOST = 50  # characters; the rest of a Message-ID has fewer
State = Notice.State


def claim(wish: Wish, up_to: int) -> Notice | None:
    """The right to tell `wish` what came after the last time, up to `up_to`.

    What failed before is tried again under its number. None where another process has it, or has
    told already, or where the receiver no longer wants to be told or cannot be.
    """
    now = timezone.now()
    fields = {
        'state': State.PREPARED,
        'address': wish.user.email if wish.user else '',
        'after': wish.told_up_to,
        'up_to': up_to,
        'at': now,
        'claimed_until': now + CLAIM,
        'error': '',
    }
    failed = Notice.objects.filter(wish=wish, state=State.FAILED)
    try:
        with transaction.atomic():
            if failed.update(**fields):
                notice = Notice.objects.get(wish=wish, state=State.PREPARED)
            else:
                message_id = make_msgid(domain=_host())
                notice = Notice.objects.create(wish=wish, message_id=message_id, **fields)
    except IntegrityError:
        return None
    if is_current(notice) and is_due(notice.wish, now):
        return notice
    withdraw(notice)
    return None


def _host() -> str:
    """The end of this host's name, if it is long: clouds have names that no column would hold."""
    return DNS_NAME.get_fqdn()[-LONGEST_HOST:].lstrip('.-') or 'localhost'


def is_current(notice: Notice) -> bool:
    """Whether the receiver still wants to be told, can be, and has not been: all is read anew."""
    wish = Wish.objects.select_related('user').filter(pk=notice.wish_id).first()
    if wish is None:
        return False
    notice.wish = wish
    notice.address = wish.user.email if wish.user else ''
    is_wanted = wish.when != Wish.When.NEVER and wish.told_up_to == notice.after
    return is_wanted and can_be_told(wish)


def withdraw(notice: Notice) -> bool:
    """Give the claim back; False if it was lost."""
    return bool(_open(notice).delete()[0])


def nothing_to_say(notice: Notice) -> None:
    """There is nothing for the receiver in that range."""
    with transaction.atomic():
        if withdraw(notice):
            _advance(notice, timezone.now())


def begin_sending(notice: Notice, frames: int) -> None:
    """Note that from now on it may have been sent. Raises NotTold if the claim was lost."""
    fields = {'state': State.SENDING, 'frames': frames, 'address': notice.address}
    if not _open(notice, State.PREPARED).update(at=timezone.now(), **fields):
        raise NotTold('another run has taken over')
    notice.state = State.SENDING


def end(notice: Notice, state: str, error: str = '') -> None:
    """Note how it ended. What was sent, or may have been, is told."""
    with transaction.atomic():
        ended = _open(notice).update(state=state, error=error[:200])
        if ended and state != State.FAILED:
            _advance(notice, notice.at)


def settle_abandoned(now: datetime) -> None:
    """End what processes that died have left, also one whose clock was ahead."""
    dead = Q(claimed_until__lt=now) | Q(claimed_until__gt=now + 2 * CLAIM)
    for notice in Notice.objects.filter(dead, state__in=Notice.OPEN):
        give_up(notice, 'the program was stopped')


def give_up(notice: Notice, error: str) -> None:
    """End a message that somebody else has in hand, who may still be about to send it."""
    if not _open(notice, State.PREPARED).update(state=State.FAILED, error=error):
        end(notice, State.UNCERTAIN, error)


def forget(before: datetime) -> None:
    """Remove what nobody looks at any more. What may be lost stays until a message has named it."""
    later = Notice.objects.filter(wish=OuterRef('wish'), state=State.SENT, at__gte=OuterRef('at'))
    over = Q(state__in=(State.SENT, State.FAILED)) | Q(Exists(later), state=State.UNCERTAIN)
    Notice.objects.filter(over, at__lt=before).delete()


def perhaps_lost(wish: Wish) -> list[Notice]:
    """The messages since the last that was sent which may not have arrived, oldest first."""
    lost, last = (
        wish.notices.filter(state=State.UNCERTAIN),
        wish.notices.filter(state=State.SENT).first(),
    )
    return list((lost.filter(at__gt=last.at) if last else lost).order_by('at'))


def _open(notice: Notice, *states: str) -> QuerySet[Notice]:
    """Its row, as long as the claim is not lost."""
    mine = Notice.objects.filter(pk=notice.pk, claimed_until=notice.claimed_until)
    return mine.filter(state__in=states or Notice.OPEN)


def _advance(notice: Notice, now: datetime) -> None:
    Wish.objects.filter(pk=notice.wish_id, told_up_to=notice.after).update(
        told_up_to=notice.up_to, told_at=now
    )
