"""The records of what was accepted: those that are missing are made, and all have their rights."""

from collections.abc import Callable
from datetime import timedelta

from tom_observations.facility import get_service_class
from tom_observations.models import ObservationRecord

from ..errors import SyncError
from ..models import Submission
from .one_record import MadeMeanwhile, recording, without_halves
from .portal_shows import records_of
from .portals import has_numbers_of_its_own
from .rights import share
from .strategies import made_elsewhere

SKEW = timedelta(minutes=10)  # by which clocks may differ


def complete(intent: Submission, claim: Callable[[], None]) -> None:
    """Make the records that an accepted submission lacks, and give all of them their rights.

    Without its trigger nobody knows its target; then it is a request like any that was made
    elsewhere, which `findrequests` lists.
    """
    try:
        _complete(intent, claim)
    except MadeMeanwhile:
        _complete(intent, claim)  # with what is there now


def _complete(intent: Submission, claim: Callable[[], None]) -> None:
    with recording() as made:
        claim()
        for number in intent.observation_ids if intent.trigger else ():
            if (record := _record_of(intent, number)) is None:
                record = _new_record(intent, number)
                made.append(record)
            if intent.cadence:
                intent.cadence.observation_group.observation_records.add(record)
            share(intent.trigger, record)
        intent.state = Submission.State.RECORDED
        intent.save(update_fields=['state'])


def _record_of(intent: Submission, number: str) -> ObservationRecord | None:
    """The record of an accepted request, if somebody has made it.

    One that was made elsewhere gets what a retry needs. A strategy's own says what was submitted: it
    may have left out something that its trigger has.
    """
    rows, trigger = records_of(intent.facility, [number]), intent.trigger
    if not has_numbers_of_its_own(intent.facility):  # an older one is of something else
        rows = rows.filter(created__gt=intent.created - SKEW)
    if (record := rows.order_by('pk').first()) is None:
        return None
    if record.target_id != trigger.target_id:
        raise SyncError(f'the record of {number} that is here is of another target')
    record.user = record.user or trigger.user
    if record.parameters.keys() <= made_elsewhere(intent.facility):
        record.parameters = _parameters(intent) | record.parameters
    # Not by `save`: its status is not ours to write, and it has not changed.
    rows.filter(pk=record.pk).update(user=record.user, parameters=record.parameters)
    return record


def _new_record(intent: Submission, number: str) -> ObservationRecord:
    trigger = intent.trigger
    return ObservationRecord.objects.create(
        facility=intent.facility, observation_id=number, target_id=trigger.target_id,
        parameters=_parameters(intent), user=trigger.user,
    )  # fmt: skip


def _parameters(intent: Submission) -> dict:
    """What the form was filled in with: as for the trigger, in the window that was sent."""
    start, end = get_service_class(intent.facility)().get_start_end_keywords()
    parameters = without_halves(dict(intent.trigger.parameters))
    try:
        window = intent.payload['requests'][0]['windows'][0]
        return parameters | {start: window['start'], end: window['end']}
    except (KeyError, IndexError, TypeError):
        return parameters
