"""Tells those who want to know that frames came in: at the end of a run of any job.

No run fails because of it, nor waits for a server without end. What could not be delivered is told
by the next run.
"""

import logging
from contextlib import suppress
from time import monotonic

from django.db import IntegrityError
from django.db.models import Exists, OuterRef
from django.utils import timezone

from ..channels import MAIL, MAIL_TIMEOUT, post_json, reason, was_not_taken
from ..conf import automation
from ..interrupt import within
from . import letters, mailing, notices
from .choosing import can_be_told, is_due, newest_before_the_last_run
from .illustrations import PicturesOf, illustrating, shown_by
from .mailing import Unreached
from .models import Notice, Wish
from .numbers import newest_frame

logger = logging.getLogger(__name__)

SENDING_SECONDS = 60  # after this no message of a run is begun; the next run does the rest
LAST_SECONDS = MAIL_TIMEOUT  # more for the one that is in hand then
GIVING_UP_SECONDS = 5  # to note that it was given up
State = Notice.State


def tell_of_arrivals() -> None:
    """Tell every receiver who is due what came in since the last time. Never raises.

    Returns after SENDING_SECONDS and LAST_SECONDS at the latest, and GIVING_UP_SECONDS if that was
    not enough, whatever a server does, or somebody who locks rows of the database.
    """
    try:
        if _is_asked_for():
            turn = _Turn()
            try:
                within(SENDING_SECONDS + LAST_SECONDS, turn.tell_all)
            except TimeoutError:
                within(GIVING_UP_SECONDS, turn.give_up)
                raise
    except Exception as error:  # the run is over, and must not fail
        logger.error('Not everybody could be told of new frames: %s', reason(error))


def _is_asked_for() -> bool:
    """Whether somebody wants to be told: one question, which no lock of a row holds up."""
    if automation().ARRIVALS_WEBHOOK_URL:
        return True
    return Wish.objects.exclude(when=Wish.When.NEVER).order_by().exists()


def _wishes() -> list[Wish]:
    """Those of everybody who wants to be told; who waits longest comes first.

    Those whom the last try did not reach come last: they may hold up the others again.
    """
    if automation().ARRIVALS_WEBHOOK_URL:
        _see_to_the_webhook()
    failed = Exists(Notice.objects.filter(wish=OuterRef('pk'), state=State.FAILED))
    wishes = Wish.objects.exclude(when=Wish.When.NEVER).select_related('user')
    return list(wishes.order_by(failed, 'told_up_to', 'pk'))


def _reachable(wishes: list[Wish], newest: int) -> list[Wish]:
    """Those who can be told. Once the others can be, they are told only of what comes from then on."""
    others = [wish.pk for wish in wishes if not can_be_told(wish)]
    Wish.objects.filter(pk__in=others, told_up_to__lt=newest).update(told_up_to=newest)
    return [wish for wish in wishes if wish.pk not in others]


def _see_to_the_webhook() -> None:
    mine = {'receiver': Wish.Receiver.WEBHOOK}
    if not Wish.objects.filter(**mine).exists():
        with suppress(IntegrityError):  # another process has
            Wish.objects.create(
                **mine, when=Wish.When.AT_ONCE, about=Wish.About.ALL,
                told_up_to=newest_before_the_last_run(), told_at=timezone.now(),
            )  # fmt: skip


class _Turn:
    """Tells one receiver after the other what came up to now."""

    def __init__(self) -> None:
        self._end = monotonic() + SENDING_SECONDS
        self._notice: Notice | None = None  # the one in hand

    def tell_all(self) -> None:
        """Tell those who are due, until the time is up."""
        now, newest = timezone.now(), newest_frame()
        notices.settle_abandoned(now)
        if due := [wish for wish in _reachable(_wishes(), newest) if is_due(wish, now)]:
            self._tell(due, newest)
            notices.forget(timezone.now() - automation().KEEP_RUNS)

    def give_up(self) -> None:
        """Note that the message in hand takes too long."""
        if self._notice:
            notices.give_up(self._notice, 'the server took too long')

    def _tell(self, due: list[Wish], newest: int) -> None:
        unreached: set[str] = set()
        with illustrating(shown_by(due, newest)) as pictures_of:
            for wish in due:
                if wish.receiver not in unreached and monotonic() < self._end:
                    try:
                        self._tell_one(wish, newest, pictures_of)
                    except Unreached:
                        unreached.add(wish.receiver)

    def _tell_one(self, wish: Wish, newest: int, pictures_of: PicturesOf) -> None:
        """Claim, prepare and send one message. Raises Unreached."""
        if wish.told_up_to >= newest:
            if wish.when == Wish.When.DAILY:  # until tomorrow
                Wish.objects.filter(pk=wish.pk).update(told_at=timezone.now())
            return
        self._notice = notice = notices.claim(wish, newest)
        if notice is None:
            return
        try:
            if wish.user:
                mailing.send(notice, pictures_of)
            else:
                _by_webhook(notice)
        except Exception as error:
            channel = MAIL if notice.wish.user else 'webhook'
            untouched = notice.state == State.PREPARED or was_not_taken(error, channel)
            state = State.FAILED if untouched else State.UNCERTAIN
            told = reason(error.__cause__ if isinstance(error, Unreached) else error)
            notices.end(notice, state, told)
            logger.error('No message about new frames to %s: %s', wish.user or 'the webhook', told)
            if isinstance(error, Unreached):
                raise


def _by_webhook(notice: Notice) -> None:
    if content := mailing.Draft(notice).content:
        found = letters.for_programs(content, notice, notices.perhaps_lost(notice.wish))
        notices.begin_sending(notice, content.frames)
        post_json(automation().ARRIVALS_WEBHOOK_URL, found)
        notices.end(notice, State.SENT)
