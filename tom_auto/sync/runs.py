"""Keeps one run of a job at a time, and the history of runs."""

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from getpass import getuser
from pathlib import Path
from time import monotonic
from typing import IO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, RunFailure, UpdateRun
from .db_retry import patient
from .due import note_failure, note_success, note_unsupported
from .errors import AnotherRun
from .outcomes import Outcome, Report

BEAT = 15  # seconds: a run says that it is alive about this often
SILENCE = timedelta(seconds=90)  # a run on another host that says nothing for so long is dead
#: The variable by which the page tells the run that it starts who has asked for it.
ASKED_BY = 'TOM_RUN_ASKED_BY'
#: What a check leaves in the state of a record; what hooks it owes is written as they are called.
NOTED = [
    field.name
    for field in RecordSync._meta.concrete_fields
    if field.name not in ('record', 'hook_owed')
]


@contextlib.contextmanager
def the_only_run(job: str, limits: Automation, only: str = '') -> Iterator[UpdateRun]:
    """A new run of `job`, recorded as ended when this is left, however it is left.

    `only`: what it is limited to, in words, if it is.

    The database's constraint lets one run of a job be at work, on one host or many. Raises
    AnotherRun where there is one that lives. A dead one is taken over: at once where its lock
    was, which the system frees when a process dies, and after SILENCE otherwise.
    """
    with _host_lock(job) as lock:
        run = _begin(job, lock, only)
        try:
            yield run
        except BaseException:
            _end(run, UpdateRun.Status.DIED)  # with the counts that its heart told last
            raise
        _end(run, run.status, Report().counts())
        UpdateRun.objects.filter(job=job, started__lt=run.started - limits.KEEP_RUNS).delete()


@contextlib.contextmanager
def _host_lock(job: str) -> Iterator[str]:
    """Hold this project's lock for `job`; raises AnotherRun where a living process holds it.

    Gives what its host knows the lock by, or '' where none can be kept: then the heartbeat alone
    has to do.
    """
    file = _lock_file(job)
    if file is None:
        yield ''
        return
    with file:
        yield _locked(file, job)


def _locked(file: IO, job: str) -> str:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AnotherRun(f'Another {job} is at work on this host.') from None
    except OSError:  # a file system without locks, as those of clusters may be
        return ''
    # Not the path: two containers may have one host name, and each a file of its own there.
    known = os.fstat(file.fileno())
    return f'{known.st_dev}:{known.st_ino}'


def _lock_file(job: str) -> IO | None:
    try:
        return (Path(settings.BASE_DIR) / 'logs' / f'.{job}.lock').open('w')
    except OSError:
        return None


def _begin(job: str, lock: str, only: str) -> UpdateRun:
    now = timezone.now()
    _bury_the_dead(job, lock)
    try:
        with transaction.atomic():
            return UpdateRun.objects.create(
                job=job,
                host=_host(),
                lock=lock,
                pid=os.getpid(),
                started_by=started_by(),
                only=only[:200],
                started=now,
                heartbeat=Now(),
            )
    except IntegrityError:
        other = UpdateRun.objects.filter(job=job, status=UpdateRun.Status.RUNNING).first()
        where = f' on {other.host} since {other.started:%Y-%m-%d %H:%M} UTC' if other else ''
        raise AnotherRun(f'Another {job} is at work{where}.') from None


def _bury_the_dead(job: str, lock: str) -> None:
    """Mark as dead the runs that say they are at work and cannot be.

    Who holds a lock knows that every run that had it before is dead. Heartbeats are in the
    database's time, as the clocks of two hosts may differ.
    """
    dead = Q(heartbeat__lt=Now() - SILENCE)
    if lock:
        dead |= Q(host=_host(), lock=lock)
    UpdateRun.objects.filter(dead, job=job, status=UpdateRun.Status.RUNNING).update(
        status=UpdateRun.Status.DIED, finished=timezone.now()
    )


def _host() -> str:
    return socket.gethostname()


@patient
def _end(run: UpdateRun, status: str, counts: Iterable[str] = ()) -> None:
    if status == UpdateRun.Status.RUNNING:
        status = UpdateRun.Status.OK
    run.status, run.finished = status, timezone.now()
    run.save(update_fields=['status', 'finished', *counts])


class Heart:
    """Says now and then that a run is alive, and how far it is."""

    def __init__(self, run: UpdateRun) -> None:
        self._run = run
        self._beaten = monotonic()

    def beat(self, report: Report) -> None:
        """Say it, if it has not been said for a while.

        Raises AnotherRun where the run was silent for so long that another has taken over.
        """
        if monotonic() - self._beaten < BEAT:
            return
        self._beaten = monotonic()
        if not say_alive(self._run, report):
            raise AnotherRun('This run was taken for dead, and another has taken over.')


@patient
def say_alive(run: UpdateRun, report: Report) -> bool:
    """Write the heartbeat of `run` and its counts; False where it counts as ended."""
    alive = UpdateRun.objects.filter(pk=run.pk, status=UpdateRun.Status.RUNNING)
    return bool(alive.update(heartbeat=Now(), **report.counts()))


@patient
def record_outcomes(run: UpdateRun, outcomes: list[Outcome], limits: Automation) -> None:
    """Write what came of some records: when each is due again, and its failure if there is one.

    Times count from the start of the run, so that a run that takes long puts nothing off.
    """
    with transaction.atomic():
        syncs = _syncs({outcome.record for outcome in outcomes})
        told = [outcome for outcome in outcomes if outcome.record in (None, *syncs)]
        for outcome in told:
            if outcome.record is not None:
                _note(syncs[outcome.record], outcome, run.started, limits.DATA_WINDOW)
        RecordSync.objects.bulk_create(
            syncs.values(), update_conflicts=True, unique_fields=['record'], update_fields=NOTED
        )
        RunFailure.objects.bulk_create(_failure(run, outcome) for outcome in told if outcome.error)


def _syncs(records: set[int | None]) -> dict[int, RecordSync]:
    """The states of those records that have not been deleted, and will not be in this transaction."""
    there = ObservationRecord.objects.select_for_update(no_key=True).filter(pk__in=records)
    keys = list(there.order_by('pk').values_list('pk', flat=True))
    known = RecordSync.objects.in_bulk(keys)
    return {pk: known.get(pk) or RecordSync(pk=pk) for pk in keys}


def _failure(run: UpdateRun, outcome: Outcome) -> RunFailure:
    return RunFailure(
        run=run,
        record_id=outcome.record,
        observation_id=outcome.observation_id,
        facility=outcome.facility,
        error=outcome.error,
        error_kind=outcome.kind,
    )


def _note(sync: RecordSync, outcome: Outcome, now: datetime, window: timedelta) -> None:
    status, terminal = outcome.status, outcome.terminal
    if not status:  # given up before it was known
        status, terminal = sync.status, sync.terminal_since is not None
    if outcome.error:
        note_failure(sync, status, terminal, outcome, now)
    elif outcome.unsupported:
        note_unsupported(sync, status, terminal, now)
    else:
        note_success(sync, status, terminal, now, window)


def close(run: UpdateRun, report: Report) -> None:
    """Write the counts of a run that has done its work into its row."""
    for name, count in report.counts().items():
        setattr(run, name, count)
    run.status = UpdateRun.Status.FAILED if report.failed else UpdateRun.Status.OK
    report.run = run.pk


def started_by() -> str:
    """The name of the person who starts this run, on the page or at a terminal.

    Empty for the schedule: cron, systemd and containers give a command no terminal.
    """
    if asked := os.environ.get(ASKED_BY):
        return asked[:150]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # none, or closed
        if sys.stdin.isatty():
            return _name()
    return ''


def _name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f'user {os.getuid()}'
