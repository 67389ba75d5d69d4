"""The jobs of schedule.toml, and when each runs next."""

import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands
from django.db import DatabaseError
from django.utils import timezone

from .celery_tasks import leases, setup
from .conf import slug
from .redact import redact
from .scheduling import next_times
from .scheduling.cron_line import crontab_lines
from .scheduling.definition import CONTAINERS, ORDER, Job, ScheduleError, read_schedule
from .scheduling.plan import Site, plan_of
from .scheduling.zone import schedule_zone

MAIN = 'updatedata'
#: The commands that record their runs themselves. Only one run of each may be in progress.
RECORDED = (*ORDER, 'auditdata')
#: What a run names that failed: one, and more than one.
THINGS = defaultdict(
    lambda: ('query or target failed', 'queries or targets failed'),
    updatedata=('observation could not be checked', 'observations could not be checked'),
    updatecadences=('cadence failed', 'cadences failed'),
    findrequests=('proposal or request failed', 'proposals or requests failed'),
    auditdata=('file is not as it was stored', 'files are not as they were stored'),
)
#: Options that limit a run to a part of the work: such a run says little about the whole job.
LIMITS = (
    '--target', '--target_id', '--facility', '--query', '--service', '--cadence', '--limit',
    '--dry-run',
)  # fmt: skip


@dataclass(frozen=True)
class Jobs:
    """The jobs in schedule.toml; `mistake` says what is wrong with the file, if anything."""

    jobs: tuple[Job, ...]
    mistake: str = ''
    contained: bool = False  # the TOM runs in containers: there is nothing to install in here


def jobs() -> Jobs:
    """The jobs of this TOM. One that downloads data is always among them, if need be disabled."""
    unscheduled = Job(MAIN, '', enabled=False)
    try:
        schedule = read_schedule(Path(settings.BASE_DIR))
        schedule_zone()
    except ScheduleError as error:
        return Jobs((unscheduled,), str(error))
    missing = () if any(map(_downloads, schedule.jobs)) else (unscheduled,)
    contained = schedule.environment in CONTAINERS
    return Jobs((*missing, *schedule.jobs), contained=contained)


def main_job() -> Job:
    """The job that downloads the data: of all observations, or of those that its owner wants."""
    found = [job for job in jobs().jobs if _downloads(job)]
    return next(filter(_covers_all, found), found[0])


def is_main(job: Job) -> bool:
    """Whether `job` is the one that downloads the data of all observations."""
    return job == main_job()


def name_of(command: str) -> str:
    """The name of the job that does all the work of a command: runs by hand belong to it."""
    return next((job.name for job in jobs().jobs if _covers_all(job, command)), command)


def _downloads(job: Job) -> bool:
    return _covers_all(job) or job.name == MAIN  # which runs nothing else: see `definition`


def _covers_all(job: Job, command: str = MAIN) -> bool:
    options = [word.partition('=')[0] for word in job.words[1:]]
    return job.words[0] == command and not set(options) & set(LIMITS)


def job_named(name: str) -> Job | None:
    return next((job for job in jobs().jobs if job.name == name), None)


def command_of(job: Job) -> str:
    """What only one run at a time may do: jobs of `updatedata`, for one, exclude each other."""
    return job.words[0] if job.words[0] in RECORDED else ' '.join(job.words)[:255]


def next_run(job: Job, after: datetime | None = None) -> datetime | None:
    """When cron starts `job` next after `after` (default: now); None if it does not."""
    if not job.enabled or not job.when:
        return None
    return next_times.next_run(job.when, after or timezone.now())


def lines_to_install() -> list[str]:
    """The lines that `manage.py schedule install` puts into the crontab; empty if unknown."""
    try:
        lines = crontab_lines(plan_of(site()))
    except ScheduleError:
        return []
    return [os.fsdecode(line) for line in lines]


def site(health: Callable[[], tuple[list[str], list[str]]] = lambda: ([], [])) -> Site:
    """What `scheduling`, which does not use Django, needs to know about this TOM."""
    return Site(
        project=Path(settings.BASE_DIR),
        python=Path(sys.executable),
        commands=set(get_commands()),
        media=Path(settings.MEDIA_ROOT),
        health=health,
        beat=beat,
    )


def beat() -> tuple[bool, str]:
    """Whether a beat of Celery starts the jobs, and which one; or how to start one.

    The words are empty in a TOM that does not work with Celery.
    """
    if not setup.in_use():
        return False, ''
    try:
        if found := leases.holder_of(leases.BEAT):
            return (
                True,
                f'Beat starts the jobs ({found.holder}, since {found.since:%Y-%m-%d %H:%M} UTC).',
            )
        last = leases.last_holder_of(leases.BEAT)
    except DatabaseError as error:
        return False, f'Whether a beat is at work is not known: {redact(str(error))}'
    silent = f'The beat that was at work ({last.holder}) has ended. ' if last else ''
    return False, f'{silent}To have beat start the jobs: celery -A {slug()} beat'
