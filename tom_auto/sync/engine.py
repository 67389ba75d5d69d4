"""One run of `updatedata`: which records are due, who checks them, what came of it."""

from collections.abc import Callable
from contextlib import closing
from time import monotonic

from django.contrib.auth.models import User
from django.db.models import F

from ..conf import Automation
from ..models import UpdateRun
from . import runs
from .check_record import Checker
from .claims import sweep_leftovers
from .due import Selection, records_due
from .http import Turns, patient_requests
from .outcomes import Report
from .portal_lists import Sweep
from .prefetch import Ahead
from .workers import Crew, at_work

JOB = 'updatedata'


def update(
    selection: Selection,
    limits: Automation,
    user: User | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
) -> Report:
    """Check every selected record that is due, and bring home the frames that there are.

    `user`: whose credentials are used, in place of each record's own user. `begun` is called when
    this is known to be the only run, `progress` as outcomes come. Raises AnotherRun where a run is
    at work already, or has taken over from this one. Otherwise whatever happens to a record or a
    facility is in the report.
    """
    start = monotonic()
    deadline = start + limits.DEADLINE
    begin = runs.the_only_run(JOB, limits, selection.words())
    with begin as run, patient_requests(limits, deadline) as turns:
        begun()
        sweep_leftovers()
        crews = [
            Crew(facility, records, _checker(facility, limits, user, records, turns), deadline)
            for facility, records in due_by_facility(run, selection).items()
        ]
        report = Report(due=sum(len(crew.left) for crew in crews))
        heart = runs.Heart(run)
        with closing(at_work(crews, limits.WORKERS, deadline)) as batches:
            for outcomes in batches:
                heart.beat(report)
                if outcomes:
                    runs.record_outcomes(run, outcomes, limits)
                for outcome in outcomes:
                    report.add(outcome)
                progress(report)
        report.seconds = round(monotonic() - start, 3)
        runs.close(run, report)
    return report


def due_by_facility(run: UpdateRun, selection: Selection) -> dict[str, list[int]]:
    """The primary keys of the records that are due, by facility.

    Those that have waited longest come first, so that a deadline starves none of them.
    """
    waited = F('sync__checked_at').asc(nulls_first=True)
    records = records_due(run.started, selection).order_by(waited, 'pk')
    by_facility: dict[str, list[int]] = {}
    for facility, pk in records.values_list('facility', 'pk').iterator():
        by_facility.setdefault(facility, []).append(pk)
    return by_facility


def _checker(
    facility: str, limits: Automation, user: User | None, records: list[int], turns: Turns
) -> Callable[[], Checker]:
    ahead, sweep = Ahead(records), Sweep(records)
    return lambda: Checker(facility, limits, user, ahead, sweep, turns)
