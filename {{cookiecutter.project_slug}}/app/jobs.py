"""The jobs of schedule.toml, and when each runs next."""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from .schedule_state import site
from .scheduling import times
from .scheduling.cli import PROJECT
from .scheduling.definition import Job, ScheduleError, read_schedule
from .scheduling.install import wanted

MAIN = 'updatedata'


@dataclass(frozen=True)
class Jobs:
    """The jobs that schedule.toml defines; `mistake` says what is wrong with it, if anything."""

    jobs: tuple[Job, ...]
    mistake: str = ''


def jobs() -> Jobs:
    """The jobs of this TOM. `updatedata` is always among them, switched off if need be."""
    try:
        found, mistake = read_schedule(Path(settings.BASE_DIR)).jobs, ''
    except ScheduleError as error:
        found, mistake = (), str(error)
    if MAIN not in [job.name for job in found]:
        found = (Job(MAIN, '', enabled=False), *found)
    return Jobs(found, mistake)


def next_run(job: Job, after: datetime | None = None) -> datetime | None:
    """When cron starts `job` next after `after` (now); None where it does not."""
    if not job.enabled or not job.when:
        return None
    return times.next_run(job.when, after or timezone.now())


def lines_to_install() -> list[str]:
    """What `manage.py schedule install` puts into the crontab; nothing where it cannot be said."""
    try:
        lines = wanted(PROJECT, site().python, site().commands).lines
    except ScheduleError:
        return []
    return [os.fsdecode(line) for line in lines]
