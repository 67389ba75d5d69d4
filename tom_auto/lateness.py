"""Since when is a job overdue? Only one run of a command may be in progress, so some have to wait."""

from datetime import datetime

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from .jobs import command_of
from .models import UpdateRun
from .running.runs import SILENCE
from .scheduling.definition import Job
from .scheduling.next_times import A_MINUTE, LATE_AFTER, late_since


def runs_begun(job: str, now: datetime) -> QuerySet[UpdateRun]:
    """The runs of the job of that name that have begun.

    A clock that was wrong may have left one of a time to come: up to then nothing would be due.
    """
    return UpdateRun.objects.filter(job=job, started__lt=now + LATE_AFTER)


def overdue_since(job: Job, started: datetime, done: datetime, now: datetime) -> datetime | None:
    """When the run was due that should follow one which `started` and was `done` then, if it is late."""
    while expected := late_since(job.when, started, done, now):
        # Who finds a run that somebody has started leaves the work to it; other jobs wait for each other.
        by_hand = _in_progress_at(expected, job).filter(Q(job=job.name) | ~Q(started_by=''))
        if not by_hand:
            return expected if _its_turn(expected, job, now) + LATE_AFTER < now else None
        started, done = expected, _end(by_hand, now)
    return None


def _its_turn(expected: datetime, job: Job, now: datetime) -> datetime:
    """When a run that is due at `expected` can begin: other jobs of its command may be at work till then."""
    while True:
        others = _in_progress_at(expected, job).filter(started_by='').exclude(job=job.name)
        if not others or _end(others, now) <= expected:
            return expected
        expected = _end(others, now)


def _in_progress_at(time: datetime, job: Job) -> QuerySet[UpdateRun]:
    """The runs of the job's command at that time, of any job."""
    # By the database's clock, as heartbeats are: that of the web server may be ahead.
    alive = Q(status=UpdateRun.Status.RUNNING, heartbeat__gte=Now() - SILENCE)
    begun = UpdateRun.objects.filter(command=command_of(job), started__lte=time + A_MINUTE)
    return begun.filter(Q(finished__gte=time) | alive)


def _end(runs: QuerySet[UpdateRun], now: datetime) -> datetime:
    return max(run.finished or now for run in runs)
