"""Writes what failed in a run."""

from django.db import transaction

from ..db_retry import patient
from ..models import RunFailure, UpdateRun
from .outcomes import Ending, Outcome
from .runs import claim

UNTOLD = (
    Ending.SET_ASIDE,
    Ending.UNSUPPORTED,
)  # of a record: what it shares with others is told once


@patient
def record_failures(run: UpdateRun, outcomes: list[Outcome]) -> None:
    """Write these failures, none of which is that of an observation record.

    Raises AnotherRun where this run was taken for dead: another has the work in hand.
    """
    with transaction.atomic():
        claim(run.pk)
        write_failures(run, outcomes)


def write_failures(run: UpdateRun, outcomes: list[Outcome]) -> None:
    """Write those of these outcomes that are failures, in the transaction that claims the run."""
    RunFailure.objects.bulk_create(
        RunFailure(
            run=run, record_id=outcome.record, observation_id=outcome.observation_id,
            facility=outcome.facility[:50], error=outcome.error, error_kind=outcome.kind,
        )
        for outcome in outcomes
        if outcome.error and outcome.ending not in UNTOLD
    )  # fmt: skip
