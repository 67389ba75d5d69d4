"""Jobs that are due in the same minute begin one after another, whoever starts them.

Statuses and data come first, then the cadences that go on from them, then new candidates, then
requests that were made elsewhere: `scheduling.definition.ORDER`. Cron, systemd and Kubernetes start
all of them at once; so each waits here for those before it. It sees in the history whether they
have ended.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import sleep

from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from .jobs import command_of, jobs
from .lateness import runs_begun
from .models import JobPause, UpdateRun
from .running.runs import SILENCE, started_by
from .scheduling.definition import Job
from .scheduling.next_times import A_MINUTE, next_run, runs

STARTS_WITHIN = timedelta(seconds=90)  # of its minute: a scheduler takes a while, a container too
#: An earlier job that has not begun by then was not started: its line may be missing.
BEGINS_WITHIN = timedelta(seconds=45)
LONGEST = timedelta(minutes=25)  # a job that begins later would count as overdue
LOOK_EVERY = 2  # seconds

Clock = Callable[[], datetime]


def wait_for_turn(
    job: Job, clock: Clock = timezone.now, pause: Callable[[float], object] = sleep
) -> None:
    """Return when the jobs that come before `job` in this minute have ended, or after LONGEST.

    What a person starts does not wait, nor does what is started at another time than that of
    schedule.toml.
    """
    tick = None if started_by() else _tick(job, clock())
    if tick is None:
        return
    # In a tick that every minute has, the next one is not delayed.
    end = min(tick + LONGEST, next_run(job.when, tick))
    for earlier in _ahead(job, tick):
        begins_by = clock() + BEGINS_WITHIN
        while clock() < end and _is_awaited(earlier, tick, begins_by, clock()):
            if _is_occupied(earlier, clock()):  # then it begins later
                begins_by = clock() + BEGINS_WITHIN
            connections.close_all()  # nothing is kept from others meanwhile
            pause(LOOK_EVERY)


def _tick(job: Job, now: datetime) -> datetime | None:
    """The minute for which `job` is started now; None if it is not due."""
    tick = None
    for moment in runs(job.when, now - STARTS_WITHIN) if job.when else ():
        if moment > now:
            break
        tick = moment
    return tick


def _ahead(job: Job, tick: datetime) -> list[Job]:
    """The jobs before `job` that are due at `tick`, in their order."""
    due = [
        one
        for one in jobs().jobs
        if one.enabled and one.when and one.place < job.place and one.is_ordered
        and next_run(one.when, tick - A_MINUTE) == tick
    ]  # fmt: skip
    return sorted(due, key=lambda one: one.place) if job.is_ordered else []


def _is_awaited(job: Job, tick: datetime, begins_by: datetime, now: datetime) -> bool:
    """Whether `job` is at work, or may still begin. What a person has started does not count."""
    # Clocks of two hosts differ.
    its = runs_begun(job.name, now).filter(started_by='', started__gte=tick - A_MINUTE / 2)
    if its.exists():
        return _alive(now).filter(job=job.name).exists()
    return _is_occupied(job, now) or (not _is_paused(job) and now < begins_by)


def is_kept_waiting(job: Job, due: dict[Job, datetime], now: datetime) -> bool:
    """The same for one who starts all jobs: whether `job` has to wait for another of them.

    `due`: since when each is due, or when it will be.
    """
    if not job.is_ordered or now - due[job] > LONGEST:
        return False
    ahead = [one for one in due if one.is_ordered and one.place < job.place]
    return any((due[one] <= now and not _is_paused(one)) or _is_occupied(one, now) for one in ahead)


def _is_occupied(job: Job, now: datetime) -> bool:
    """Whether its command is at work, for whatever job: only one run of each may be."""
    return _alive(now).filter(command=command_of(job)).exists()


def _alive(now: datetime) -> QuerySet[UpdateRun]:
    running = UpdateRun.objects.filter(status=UpdateRun.Status.RUNNING)
    return running.filter(heartbeat__gt=now - SILENCE)


def _is_paused(job: Job) -> bool:
    return JobPause.objects.filter(job=job.name).exists()
