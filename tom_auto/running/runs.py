"""One run of a job at a time, and the history of runs."""

import contextlib
import fcntl
import logging
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ..conf import Automation
from ..db_retry import Trouble, patient
from ..errors import AnotherRun, Paused
from ..models import JobPause, UpdateRun
from ..scheduling.job_log import owner_only
from .heartbeat import TAKEN_OVER, Heartbeat
from .outcomes import Report

logger = logging.getLogger(__name__)

BEAT = 15  # seconds: a run says that it is alive about this often
SILENCE = timedelta(seconds=90)  # a run that says nothing for so long is dead, or suspended
#: The variable by which the page tells the run that it starts who has asked for it.
ASKED_BY = 'TOM_RUN_ASKED_BY'
#: The variable by which `run_job` gives its process the run that is recorded already.
GIVEN = 'TOM_RUN_GIVEN'


@contextlib.contextmanager
def the_only_run(job: str, command: str, limits: Automation, only: str = '') -> Iterator[UpdateRun]:
    """A new run of `job`, recorded as ended when this is left, however it is left.

    `only`: what it is limited to, in words, if it is.

    The database's constraint lets one run of a command be at work, on one host or many. Raises
    AnotherRun where there is one that lives, and Paused. A dead one is taken over: after SILENCE,
    or at once where the lock that it held on this host is free.
    """
    with _host_lock(command) as lock:
        run = _given(command) or _begin(job, command, lock, only)
        try:
            yield run
        except BaseException:
            _end(run, UpdateRun.Status.DIED)  # with the counts that its heart wrote last
            raise
        _end(run, run.status, Report().counts())
        UpdateRun.objects.filter(job=job, started__lt=run.started - limits.KEEP_RUNS).delete()


@contextlib.contextmanager
def _host_lock(command: str) -> Iterator[str]:
    """Hold this project's lock for `command`, if it is free, and give what its host knows it by.

    It proves that runs which held it before are dead. That somebody holds it proves nothing: a
    run that is suspended does, too. Where no lock can be had, heartbeats alone have to do.
    """
    with contextlib.ExitStack() as stack:
        known = ''
        with contextlib.suppress(OSError):  # no directory, or a file system without locks
            path = Path(settings.BASE_DIR) / 'logs' / f'.{_file_name(command)}.lock'
            file: IO = stack.enter_context(open(path, 'w', opener=owner_only))  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Not the path: two containers may have one host name, and each a file of its own.
            status = os.fstat(file.fileno())
            known = f'{status.st_dev}:{status.st_ino}'
        yield known


def _file_name(command: str) -> str:
    return re.sub(r'\W+', '-', command)[:100]


def is_given() -> bool:
    """Whether `run_job` has recorded a run for this process, which has not begun it yet."""
    return GIVEN in os.environ


def _given(command: str) -> UpdateRun | None:
    """The run that this process is for: `run_job` has recorded it."""
    pk = os.environ.pop(GIVEN, '')
    of_command = UpdateRun.objects.filter(command=command, status=UpdateRun.Status.RUNNING)
    return of_command.filter(pk=pk).first() if pk.isdecimal() else None


# A database that is locked is soon free again. Of one that does not answer, people hear at once.
@partial(patient, waits_for=[Trouble.LOCKED])
def _begin(job: str, command: str, lock: str, only: str) -> UpdateRun:
    by, now = started_by(), timezone.now()
    if not by and (pause := JobPause.objects.filter(job=job).first()):
        resume = 'To resume: press Resume on the page /automation/.'
        raise Paused(f'{pause}. Nothing was done. {resume}')
    _end_dead_runs(command, lock)
    try:
        with transaction.atomic():
            return UpdateRun.objects.create(
                job=job, command=command, host=socket.gethostname(), lock=lock, pid=os.getpid(),
                started_by=by, only=only[:200], started=now, heartbeat=Now(),
            )  # fmt: skip
    except IntegrityError:
        running = UpdateRun.objects.filter(command=command, status=UpdateRun.Status.RUNNING)
        other = running.first()
        where = f' on {other.host} since {other.started:%Y-%m-%d %H:%M} UTC' if other else ''
        raise AnotherRun(f'Another {command} is in progress{where}.') from None


def _end_dead_runs(command: str, lock: str) -> None:
    """Record the end of runs that say they are at work and cannot be.

    Who holds a lock knows that every run that had it before is dead. Heartbeats are in the
    database's time, as the clocks of two hosts may differ.
    """
    dead = Q(heartbeat__lt=Now() - SILENCE) | Q(heartbeat__gt=Now() + SILENCE)
    if lock:
        dead |= Q(host=socket.gethostname(), lock=lock)
    UpdateRun.objects.filter(dead, command=command, status=UpdateRun.Status.RUNNING).update(
        status=UpdateRun.Status.DIED, finished=timezone.now()
    )


def _end(run: UpdateRun, status: str, counts: Iterable[str] = ()) -> None:
    if status == UpdateRun.Status.RUNNING:
        status = UpdateRun.Status.OK
    run.status = status
    run.finished = run.finished or timezone.now()  # not later, when the database is back
    patient(run.save)(update_fields=['status', 'finished', 'exit_status', *counts])


def alive(command: str) -> QuerySet[UpdateRun]:
    """The run of `command` that is in progress, as its heartbeat says. Empty if no run is."""
    running = UpdateRun.objects.filter(command=command, status=UpdateRun.Status.RUNNING)
    return running.filter(heartbeat__range=(Now() - SILENCE, Now() + SILENCE))


def heartbeat(run: UpdateRun | None, report: Report) -> Heartbeat:
    """Says that `run` is alive, and how far it is. A dry run has no row, so nobody takes it over."""
    return Heartbeat(lambda: run is None or say_alive(run, report), BEAT)


def say_alive(run: UpdateRun, report: Report) -> bool:
    """Write the heartbeat of `run` and its counts; False where it counts as ended."""
    return bool(_at_work(run.pk).update(heartbeat=Now(), **report.counts()))


def note_output(run: UpdateRun, text: str) -> None:
    """Write the heartbeat of `run`, and the end of what it has printed."""
    UpdateRun.objects.filter(pk=run.pk).update(heartbeat=Now(), output=text)


def claim(run: int) -> None:
    """See that the run is still the one at work, and until the transaction's end let it be that.

    Of its processes one at a time gets past this. Raises AnotherRun if it was taken for dead.
    """
    if not _at_work(run).update(heartbeat=Now()):
        raise AnotherRun(TAKEN_OVER)


def _at_work(run: int) -> QuerySet[UpdateRun]:
    return UpdateRun.objects.filter(pk=run, status=UpdateRun.Status.RUNNING)


def close(run: UpdateRun, report: Report) -> None:
    """Write the counts of a run that has done its work into its row."""
    for name, count in report.counts().items():
        setattr(run, name, count)
    failed = report.status == 'failed'
    run.status = UpdateRun.Status.FAILED if failed else UpdateRun.Status.OK
    report.run = run.pk


def started_by() -> str:
    """The name of the person who starts this run, on the page or at a terminal.

    Empty for the schedule: cron, systemd and containers give a command no terminal.
    """
    if asked := os.environ.get(ASKED_BY):
        return asked[:150]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # none, or closed
        if sys.stdin.isatty():
            return _user()
    return ''


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f'user {os.getuid()}'
