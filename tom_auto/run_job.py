"""Runs a job of schedule.toml in a process of its own, and records how that ended.

Every scheduler starts `manage.py schedule run NAME`, which does this, whatever the job's command
is. So each job has a history, even if its process is killed.
"""

import codecs
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from multiprocessing import Process, get_context, parent_process
from multiprocessing.connection import wait
from time import monotonic, sleep
from typing import TextIO

from django.core.management import ManagementUtility
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from .alerts import send_alerts
from .arrivals.drawing_ahead import drawing_ahead
from .arrivals.telling import tell_of_arrivals
from .channels import ping
from .conf import automation
from .db_retry import patient
from .errors import AnotherRun, Paused
from .interrupt import stopped_at_once, terminable, uninterrupted
from .jobs import command_of, is_main, next_run
from .models import UpdateRun
from .redact import redact
from .running.runs import ASKED_BY, BEAT, GIVEN, note_output, started_by, the_only_run
from .scheduling.definition import Job

LOOK_EVERY = 5  # seconds, whether another job has ended
KEPT = 4000  # characters: the end of what a job printed
PIPE = 1 << 20  # bytes: more than a pipe holds
TOO_LATE = 124  # the exit status of timeout(1)
PR_SET_PDEATHSIG = 1  # of prctl(2)
#: What a job has to end after SIGTERM; `schedule run` and Docker wait a little longer.
STOP_SECONDS = 5

Status = UpdateRun.Status


def run_job(job: Job, say: Callable[[str], object]) -> int:
    """Run `job` to its end, and tell people if that is news. Returns the exit status of a shell.

    `say` gets what the job prints. Raises Paused; and AnotherRun, but waits for other jobs of its command.
    """
    try:
        with terminable(), _in_its_turn(job, say) as run:
            status = _Watch(job, run, say).to_its_end()
    except Paused:
        if is_main(job):
            ping()  # the switch watches whether the schedule is alive, and it is
        raise
    finally:
        send_alerts()
        tell_of_arrivals()
    return status if status >= 0 else 128 - status


@contextmanager
def _in_its_turn(job: Job, say: Callable[[str], object]) -> Iterator[UpdateRun]:
    """The only run of the job's command, when those of other jobs have ended.

    Jobs of one command may be due at the same minute, every time. One waits until it is due again: by
    then the schedule has started it anew.
    """
    end, has_said, command = next_run(job), False, command_of(job)
    with ExitStack() as stack:
        while True:
            try:
                run = stack.enter_context(the_only_run(job.name, command, automation()))
                break
            except AnotherRun as busy:
                others = UpdateRun.objects.filter(command=command, status=Status.RUNNING)
                may_wait = end and not started_by() and timezone.now() < end
                if not may_wait or others.filter(job=job.name).exists():
                    raise
                if not has_said:
                    with suppress(OSError):
                        say(f'{busy} {job.name} waits until that has ended.\n')
                    has_said = True
            sleep(LOOK_EVERY)
        yield run


class _Watch:
    """Reads what a job prints until its process has ended."""

    def __init__(self, job: Job, run: UpdateRun, say: Callable[[str], object]) -> None:
        self._job, self._run, self._say = job, run, say
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self._printed, self._is_late = '', False
        self._begun = self._beat = monotonic()

    def to_its_end(self) -> int:
        """Run the job. Returns its exit status; below zero the signal that ended it."""
        printed, ours = os.pipe()
        connections.close_all()  # two processes cannot share one
        child = get_context('fork').Process(target=_carry_out, args=(self._job, self._run, ours))
        try:
            with uninterrupted():  # what comes meanwhile is raised here, when the job is at work
                child.start()
                os.close(ours)
            with drawing_ahead():  # not before the fork: a thread may hold a lock
                for text in self._texts(child, printed):
                    self._take(text)
        finally:
            if child.is_alive():  # its time is up, or somebody stops this
                _stop(child)
            ended = timezone.now()
            os.close(printed)
            with suppress(DatabaseError, InterfaceError):  # how it ended is said all the same
                patient(self._write)()
        status = TOO_LATE if self._is_late and child.exitcode == 0 else child.exitcode
        self._record(status, ended)
        return status

    def _texts(self, child: Process, printed: int) -> Iterator[str]:
        """What it prints; it ends with the process: one that it left behind may go on printing."""
        is_open = True
        while child.is_alive():
            # Not for its sentinel: one that it forked holds that open, as it does the pipe.
            if not is_open:
                child.join(1)
            elif wait([printed], timeout=1):
                data = os.read(printed, 65536)
                is_open = bool(data)
                yield self._decoder.decode(data)
            if monotonic() - self._beat > BEAT:
                self._note()
            if self._job.timeout and monotonic() - self._begun > self._job.timeout:
                self._is_late = True
                yield f'Stopped: it took longer than its timeout of {self._job.timeout} s\n'
                return
        if wait([printed], timeout=0):
            yield self._decoder.decode(os.read(printed, PIPE))

    def _take(self, text: str) -> None:
        self._printed = (self._printed + text)[-KEPT:]
        with suppress(OSError):  # its disk is full, or its terminal gone: the job goes on
            self._say(text)

    def _note(self) -> None:
        """Say that the run is alive, and what it has printed; the database may be away."""
        self._beat = monotonic()
        with suppress(Exception):
            self._write()

    def _write(self) -> None:
        note_output(self._run, redact(self._printed.replace('\0', '')))

    def _record(self, status: int, ended: datetime) -> None:
        """Note how it ended, and when: `updatedata` has said so itself, other commands only exit."""
        run = self._run
        patient(run.refresh_from_db)()
        run.exit_status, run.finished = status, run.finished or ended
        if status < 0:
            run.status = Status.DIED
        elif status and run.status != Status.DIED:
            run.status = Status.FAILED


def _carry_out(job: Job, run: UpdateRun, output: int) -> None:
    """In the process of the job: run its command as a shell would, printing to `output`."""
    os.setsid()  # so that all that it starts can be stopped with it
    _die_with(parent_process().pid)
    stopped_at_once()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = _redirected(1, output), _redirected(2, output)
    os.close(output)
    os.environ[GIVEN] = str(run.pk)
    if run.started_by:
        os.environ[ASKED_BY] = run.started_by
    words = ['manage.py', *job.words]
    ManagementUtility(words).fetch_command(job.words[0]).run_from_argv(words)


def _die_with(parent: int) -> None:
    """Have this process stopped when its parent dies: nobody would record it, nor keep a second away."""
    with suppress(OSError, AttributeError):  # only Linux has this
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has died already
        sys.exit(1)


def _redirected(number: int, output: int) -> TextIO:
    """The standard stream of that number, which from now on goes to `output`."""
    os.dup2(output, number)
    return os.fdopen(number, 'w', errors='surrogateescape', buffering=1, closefd=False)


def _stop(child: Process) -> None:
    """Have the job and all that it started end: with SIGTERM, and soon after with SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    child.join(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
