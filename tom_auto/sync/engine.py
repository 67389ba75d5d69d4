"""One run of `updatedata`: which records are due, and what came of them."""

import logging
from collections.abc import Callable

from django.contrib.auth.models import User

from ..conf import Automation
from ..db_retry import patient
from ..files.storage_id import storage_trouble
from ..hooks.owed import suspected_records
from ..running import runs
from ..running.outcomes import Report
from ..running.recorded_run import recorded_run
from ..running.sharing import HandOut, Share, keep_all, nobody
from .check_due import Checks
from .due import Selection, due_by_facility, enrol, look_ahead
from .frame_plans import unread_files

logger = logging.getLogger(__name__)

COMMAND = 'updatedata'


def update(
    selection: Selection,
    limits: Automation,
    user: User | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
    hand_out: HandOut = nobody,
    share: Share = keep_all,
) -> Report:
    """Check every selected record that is due, and bring home the frames that there are.

    `user`: whose credentials are used, in place of each record's own user. `begun` is called when
    this is known to be the only run, `progress` again and again. `job`: whose run it is in the
    schedule. `hand_out`: who runs the hooks of what is saved. `share` gives a part of the records
    to others, and counts what comes of them.

    Raises Paused if the job is, and AnotherRun where a run is in progress already, or has taken
    over from this one. Otherwise whatever happens to a record or a facility is in the report.
    """
    report, only = Report(), selection.words()
    with recorded_run(job, COMMAND, report, limits, only, begun) as (run, deadline):
        enrol()
        if files := unread_files():
            logger.info('Files stored by other commands are read to verify them: %s', files)
        suspected = suspected_records(by_workers=hand_out is not nobody)
        due, suspects = due_by_facility(run.started, selection, suspected)
        report.due = sum(map(len, due.values())) + len(suspects)
        with runs.heartbeat(run, report) as heart:
            away = storage_trouble()
            if not away:  # or nothing is touched, and one process says so
                share(run, due, report, deadline, heart, progress)
            checks = Checks(run, report, limits, deadline, heart, progress)
            checks.go(due, away, user, hand_out, suspects=suspects)
        patient(look_ahead)(run.started, report)
    return report
