"""What runs for a project: its jobs, and the words that start them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .definition import FILE, Job, Schedule, ScheduleError, read_schedule, slug_of
from .interpreter import command_start

#: What starts a job of that name, and records its run: the words after `manage.py`.
START = ('schedule', 'run')
CURRENT, NOT_INSTALLED, STALE = 0, 1, 2  # the exit status of `schedule status`


@dataclass(frozen=True)
class Site:
    """What is known about the TOM. Without Django that is only its directory.

    `project` is the directory of manage.py, `python` the Python that runs it now, `commands` the names
    of its commands, `media` the directory of the data. `health` returns the state of the jobs: what
    is well, and what is wrong. `beat` says whether a beat of Celery starts the jobs, and in words
    which one, or how to start one; the words are empty in a TOM without Celery.
    """

    project: Path
    python: Path | None = None
    commands: set[str] | None = None
    media: Path | None = None
    health: Callable[[], tuple[list[str], list[str]]] = lambda: ([], [])
    beat: Callable[[], tuple[bool, str]] = lambda: (False, '')


@dataclass(frozen=True)
class Plan:
    """What should run for the project in the directory `project`; `start` is what starts Python."""

    project: Path
    slug: str
    schedule: Schedule
    start: list[str]
    media: Path | None = None

    def command(self, job: Job) -> list[str]:
        """The words of a job's command, without quoting."""
        inside = self.schedule.environment == 'docker'
        manage = 'manage.py' if inside else str(self.project / 'manage.py')
        return [*self.start, manage, *START, job.name]


def plan_of(site: Site) -> Plan:
    """What should run for a TOM. Raises ScheduleError, as all functions here do."""
    schedule = checked_schedule(site)
    start = command_start(schedule, site.project, site.python)
    return Plan(site.project, slug_of(site.project), schedule, start, site.media)


def checked_schedule(site: Site) -> Schedule:
    """The schedule, whose enabled jobs must be commands of the TOM if those are known."""
    schedule = read_schedule(site.project)
    for job in schedule.enabled() if site.commands is not None else ():
        if job.words[0] not in site.commands:
            raise ScheduleError(
                f'{site.project / FILE}: [{job.name}] runs {job.words[0]}, which is not a command of '
                'this TOM, so every run would fail. `python manage.py help` lists the commands.'
            )
    return schedule
