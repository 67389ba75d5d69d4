"""Writes what came of some records of a run: when each is due again, and what failed."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from ..conf import Automation
from ..db_retry import patient
from ..errors import LocalTrouble, NoFrames
from ..hooks.attempts import withdraw_attempt
from ..models import RecordSync, UpdateRun
from ..running.failures import write_failures
from ..running.outcomes import Ending, Outcome
from ..running.runs import claim
from .due import note

#: What a check leaves in the state of a record; which hooks it owes is written with the status.
NOTED = [
    field.name
    for field in RecordSync._meta.concrete_fields
    if field.name not in ('record', 'owes_hook', 'status_before', 'saving', 'newest_product')
]


@patient
def record_outcomes(run: UpdateRun, outcomes: list[Outcome], limits: Automation) -> None:
    """Write what came of some records: when each is due again, and its failure if there is one.

    Times count from the start of the run, so that a run that takes long puts nothing off. Raises
    AnotherRun where this one was taken for dead: another has the records in hand.
    """
    with transaction.atomic():
        claim(run.pk)
        syncs, locked = _syncs({outcome.record for outcome in outcomes} - {None})
        for outcome in outcomes:
            if outcome.record in syncs:
                _note(syncs[outcome.record], outcome, run.started, limits.DATA_WINDOW)
            elif outcome.record in locked:  # it stays as due as it was
                outcome.note(LocalTrouble('another program keeps its state locked'))
                outcome.ending = Ending.FAILED
            elif outcome.record is not None:
                outcome.ending, outcome.error = Ending.GONE, ''
        # These rows are there: an upsert of them takes a tenth of the time of `bulk_update`.
        RecordSync.objects.bulk_create(
            syncs.values(), update_conflicts=True, unique_fields=['record'], update_fields=NOTED
        )
        write_failures(run, outcomes)


def _syncs(records: set[int]) -> tuple[dict[int, RecordSync], set[int]]:
    """The states of those records that are there, and the records whose state is locked."""
    there = RecordSync.objects.filter(pk__in=records)
    if not connection.features.has_select_for_update_skip_locked:  # SQLite locks it all
        return {sync.pk: sync for sync in there}, set()
    syncs = {sync.pk: sync for sync in there.select_for_update(skip_locked=True)}
    return syncs, set(there.exclude(pk__in=syncs).values_list('pk', flat=True))


def _note(sync: RecordSync, outcome: Outcome, now: datetime, window: timedelta) -> None:
    was_settled = sync.is_settled
    withdraw_attempt(sync)
    note(sync, outcome, now, window)
    if sync.is_settled and not was_settled and not outcome.has_data:
        outcome.note(NoFrames('the observation succeeded, and not one wanted frame has come'))
        outcome.ending = Ending.FAILED  # told once: the record is settled, and not in trouble
