"""Writes what failed in a run."""

from collections.abc import Iterable

from django.db import transaction

from ..db_retry import patient
from ..models import RunFailure, UpdateRun
from .outcomes import Ending, Outcome, Report
from .runs import claim

UNTOLD = (
    Ending.SET_ASIDE,
    Ending.UNSUPPORTED,
)  # of a record: what it shares with others is told once


def fail(run: UpdateRun | None, report: Report, *outcomes: Outcome) -> None:
    """Write these failures, none of which is that of an observation record, and report them.

    A run that writes nothing is None. Raises AnotherRun where this run was taken for dead: another
    has the work in hand.
    """
    if outcomes and run is not None:
        _record(run, outcomes)
    for outcome in outcomes:
        report.add(outcome)


@patient
def _record(run: UpdateRun, outcomes: Iterable[Outcome]) -> None:
    with transaction.atomic():
        claim(run.pk)
        write_failures(run, outcomes)


def write_failures(run: UpdateRun, outcomes: Iterable[Outcome]) -> None:
    """Write those of these outcomes that are failures, in the transaction that claims the run."""
    RunFailure.objects.bulk_create(
        RunFailure(
            run=run, record_id=outcome.record, observation_id=outcome.observation_id,
            facility=outcome.facility[:50], error=outcome.error, error_kind=outcome.kind,
        )
        for outcome in outcomes
        if outcome.error and outcome.ending not in UNTOLD
    )  # fmt: skip
