"""What became of submissions that have no clear end.

A portal of LCO's kind is asked for the request groups of that name, and the one that is as it was sent
is it. What that does not settle is for a person to settle.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from ..errors import SyncError, Uncertain
from ..models import Submission
from .accepted_records import complete
from .one_record import take_turns
from .portal_shows import (
    Listed,
    are_of_another,
    records_of,
    shown_at,
    stock_of,
    was_here,
    why_an_absence_proves_nothing,
    why_it_may_be_there,
)
from .submissions import IN_HAND

SURE_AFTER = timedelta(minutes=5)  # what a portal still does not show by then, it has not accepted
State = Submission.State


def nobody() -> None:
    """The claim of a person, who is no run that could be taken over."""


def open_submissions(among: QuerySet[Submission], claim: Callable[[], None]) -> list[Submission]:
    """Those of earlier runs that have no clear end, or no records yet.

    `claim`, here and below, raises if the run that does this was taken over.
    """
    with transaction.atomic():
        claim()
        among.filter(state=State.INTENDED).update(state=State.UNCERTAIN)
    return still_open(among)


def still_open(among: QuerySet[Submission]) -> list[Submission]:
    """The same, and nothing is written."""
    found = among.filter(state__in=[*IN_HAND, State.SUBMITTED]).order_by('pk')
    return list(found.select_related('cadence__observation_group', 'trigger'))


def failure_of(intent: Submission, trouble: Exception | None = None) -> SyncError:
    """What is to be said of a submission that has no clear end; `trouble`: why it has none."""
    what = f'submission {intent.pk} ({intent.name}, {intent.created:%Y-%m-%d %H:%M} UTC)'
    if intent.state == Submission.State.SUBMITTED:
        numbers = ', '.join(intent.observation_ids)
        why = f': {trouble}' if trouble else ''
        return SyncError(f'{what} was accepted as {numbers}, and its records are missing{why}')
    why = intent.error or 'the run was ended while it was sent'
    why = f'{why}; {trouble}' if trouble else why
    return Uncertain(f'{what} may have been accepted: {why}')


def look_up(intent: Submission, claim: Callable[[], None]) -> str:
    """Settle `intent` by what its portal shows. Why that is not possible; empty if it is settled."""
    if (stock := stock_of(intent)) is None:
        return f'{intent.facility} has no list of requests that could be asked'
    shown = shown_at(stock, intent)
    listed = shown.groups
    fitting = [group for group in listed if group.is_as_sent]
    free = [group for group in fitting if group.is_free]
    if len(free) == 1 and not free[0].others:
        accept(intent, free[0].numbers, claim)
        return ''
    # Even what seems to be of another may be it: a clock, or a person, may have been wrong.
    if listed:
        return '; '.join(group.sentence() for group in free or fitting or listed)
    if reason := why_an_absence_proves_nothing(stock, intent):
        return reason
    if not _is_missed_for_long(intent, shown.at, claim):
        return f'{intent.facility} does not list it so far'
    reject(intent, 'the portal does not know it', claim)
    return ''


def _is_missed_for_long(
    intent: Submission, now: datetime | None, claim: Callable[[], None]
) -> bool:
    """Whether its portal has not listed `intent` for SURE_AFTER; `now` is the time there.

    Noted is when that was first seen, by the portal's clock: ours may have been wrong as it was sent.
    """
    if now is None:
        return False
    if intent.missed_since is None:
        _settle(intent, intent.state, claim, missed_since=now)
        intent.missed_since = now
    return now - intent.missed_since > SURE_AFTER


def accept(intent: Submission, numbers: list[str], claim: Callable[[], None] = nobody) -> None:
    """It was accepted, under these numbers.

    Raises SyncError if another is meanwhile, or if somebody else has settled it.
    """
    with transaction.atomic():
        take_turns()
        if are_of_another(numbers, intent):
            words = f'{", ".join(numbers)} is what another submission has become'
            raise SyncError(words)
        _settle(intent, State.SUBMITTED, claim, observation_ids=numbers, error='')
    complete(intent, claim)


def reject(intent: Submission, reason: str, claim: Callable[[], None] = nobody) -> None:
    """It was not accepted: its trigger is free again. Raises SyncError if somebody else has settled it."""
    _settle(intent, State.REFUSED, claim, error=reason)


def _settle(intent: Submission, state: str, claim: Callable[[], None], **values: object) -> None:
    """Write what became of it. Raises SyncError if somebody else has meanwhile."""
    its = Submission.objects.filter(pk=intent.pk, state=intent.state)
    with transaction.atomic():
        claim()
        is_ours = bool(its.update(state=state, **values))
    intent.refresh_from_db(fields=['state', 'observation_ids', 'error'])
    if not is_ours:
        raise SyncError(f'it was settled meanwhile: {intent.get_state_display()}')


def what_speaks_against(intent: Submission, numbers: list[str]) -> str:
    """Why `intent` cannot have been accepted as `numbers`; empty if nothing is known against it."""
    if intent.trigger_number in numbers:
        return 'that is the observation because of which it was submitted'
    if are_of_another(numbers, intent):
        return 'that request is that of another submission'
    groups = _known_groups(intent)
    shown = next((one for one in groups or () if set(one.numbers) == set(numbers)), None)
    is_as_sent = shown is not None and shown.is_as_sent  # then the clock may have been wrong
    if not is_as_sent and was_here(numbers, intent):
        return 'that request was there before'
    rows = records_of(intent.facility, numbers)
    if intent.trigger and rows.exclude(target=intent.trigger.target_id).exists():
        return 'its record here is of another target'
    if shown and shown.others and not is_as_sent:
        return f'it is as submission {shown.others[0]} was sent, and not as this one'
    if shown or groups is None or not _are_all_listed(intent):
        return ''
    listed = '; '.join(', '.join(group.numbers) for group in groups) or 'none'
    return f'the requests of that name at {intent.facility} are: {listed}'


def what_shows_it(intent: Submission, besides: set[str]) -> str:
    """Why `intent` was accepted after all; empty if nothing is known of that.

    `besides`: the requests that are said to be of other submissions.
    """
    if intent.state == State.RECORDED:
        rows = records_of(intent.facility, intent.observation_ids)
        its = ', '.join(sorted(rows.values_list('observation_id', flat=True)))
        if its:
            return f'it was accepted, and its record is here: observation {its}'
        return why_it_may_be_there(intent)
    for group in _known_groups(intent) or ():
        is_anothers = group.is_as_holder_sent or not besides.isdisjoint(group.numbers)
        if group.is_as_sent and not is_anothers:
            return f'{intent.facility} lists it as {", ".join(group.numbers)}'
    return ''


def _known_groups(intent: Submission) -> list[Listed] | None:
    """What the portal lists for `intent`. None if nobody can tell: then what a person has seen counts."""
    try:
        return shown_at(stock, intent).groups if (stock := stock_of(intent)) else None
    except Exception:  # the portal does not answer
        return None


def _are_all_listed(intent: Submission) -> bool:
    """Whether what the portal does not list is not there."""
    try:
        stock = stock_of(intent)
        return stock is not None and not why_an_absence_proves_nothing(stock, intent)
    except Exception:  # the portal does not answer
        return False
