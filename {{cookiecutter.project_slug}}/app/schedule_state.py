"""Tells app.scheduling, which knows no Django, what it asks of this TOM.

For a page: `timings(now)` has the jobs and when they run next, `state()` whether all is well.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands
from django.db import OperationalError, ProgrammingError

from .models import UpdateRun
from .scheduling import cli
from .scheduling.definition import Job, Schedule
from .scheduling.health import LastRun, health
from .scheduling.place import installed_at
from .scheduling.times import Timing, next_runs
from .sync.discreet import discreet
from .sync.history import SILENCE

#: The commands that record their runs: of others nobody knows when they last ran.
RECORDED = ('updatedata', 'updatetargets')


def timings(now: datetime) -> list[Timing]:
    """Every job of schedule.toml, and when after `now` it runs. Raises ScheduleError."""
    return next_runs(cli.PROJECT, now)


def state() -> tuple[int, list[str]]:
    """0 well, 1 not installed, 2 stale, overdue or failing; and why. Raises ScheduleError."""
    return cli.state(site())


def site() -> cli.Site:
    """What is known of this TOM."""
    return cli.Site(
        python=Path(sys.executable),
        commands=set(get_commands()),
        media=Path(settings.MEDIA_ROOT),
        health=_health,
    )


def _health(schedule: Schedule) -> tuple[list[str], list[str]]:
    jobs = schedule.enabled()
    try:
        return health(jobs, last_runs(jobs), installed_at(cli.PROJECT), datetime.now(UTC))
    except (OperationalError, ProgrammingError) as error:
        return [], [f'The history of runs cannot be read: {discreet(str(error))}']


def last_runs(jobs: tuple[Job, ...]) -> dict[str, LastRun | None]:
    """The last run of each of `jobs` that keeps a history, by the job's name."""
    return {job.name: _last_run(job.words[0]) for job in jobs if job.words[0] in RECORDED}


def _last_run(command: str) -> LastRun | None:
    run = UpdateRun.objects.filter(job=command).first()
    if run is None:
        return None
    if run.status == UpdateRun.Status.RUNNING:
        if datetime.now(UTC) - run.heartbeat < SILENCE:
            return LastRun(run.started, running=True)
        return LastRun(run.started, failure=UpdateRun.Status.DIED.label)
    if run.status == UpdateRun.Status.OK:
        return LastRun(run.started)
    first = run.failures.first()
    failed = f'{run.failed} failed, the first: {first}' if first else run.get_status_display()
    return LastRun(run.started, failure=failed)
