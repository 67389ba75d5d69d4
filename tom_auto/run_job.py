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
from contextlib import suppress
from multiprocessing import Process, get_context, parent_process
from multiprocessing.connection import wait
from time import monotonic
from typing import TextIO

from django.core.management import ManagementUtility
from django.db import connections

from .alerts import send_alerts
from .channels import ping
from .conf import automation
from .interrupt import terminable, uninterrupted
from .jobs import command_of, is_main
from .models import UpdateRun
from .redact import redact
from .scheduling.definition import Job
from .sync.db_retry import patient
from .sync.errors import Paused
from .sync.runs import BEAT, GIVEN, note_output, the_only_run
from .sync.started_by import ASKED_BY

KEPT = 4000  # characters: the end of what a job printed
TOO_LATE = 124  # the exit status of timeout(1)
PR_SET_PDEATHSIG = 1  # of prctl(2)
#: What a job has to end after SIGTERM; `schedule run` and Docker wait a little longer.
STOP_SECONDS = 5

Status = UpdateRun.Status


def run_job(job: Job, say: Callable[[str], object]) -> int:
    """Run `job` to its end, and tell people if that is news. Returns the exit status of a shell.

    `say` gets what the job prints. Raises AnotherRun, and Paused.
    """
    try:
        with terminable(), the_only_run(job.name, command_of(job), automation()) as run:
            status = _Watch(job, run, say).to_its_end()
    except Paused:
        if is_main(job):
            ping()  # the switch watches whether the schedule is alive, and it is
        raise
    finally:
        send_alerts()
    return status if status >= 0 else 128 - status


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
        with uninterrupted():
            child.start()
        os.close(ours)
        try:
            for text in self._texts(child, printed):
                self._take(text)
        finally:
            if child.is_alive():  # its time is up, or somebody stops this
                _stop(child)
            os.close(printed)
            self._note()
        status = TOO_LATE if self._is_late and child.exitcode == 0 else child.exitcode
        self._record(status)
        return status

    def _texts(self, child: Process, printed: int) -> Iterator[str]:
        """What it prints; it ends with the process: one that it left behind may go on printing."""
        sources = [child.sentinel, printed]
        while True:
            ready = wait(sources, timeout=1)
            if printed in ready:
                if data := os.read(printed, 65536):
                    yield self._decoder.decode(data)
                else:
                    sources.remove(printed)
            elif child.sentinel in ready:
                return
            if monotonic() - self._beat > BEAT:
                self._note()
            if self._job.timeout and monotonic() - self._begun > self._job.timeout:
                self._is_late = True
                yield f'Stopped: it took longer than its timeout of {self._job.timeout} s\n'
                return

    def _take(self, text: str) -> None:
        self._printed = (self._printed + text)[-KEPT:]
        self._say(text)

    def _note(self) -> None:
        """Say that the run is alive, and what it has printed; the database may be away."""
        self._beat = monotonic()
        with suppress(Exception):
            note_output(self._run, redact(self._printed.replace('\0', '')))

    def _record(self, status: int) -> None:
        """Note how it ended: `updatedata` has said so itself, other commands only exit."""
        run = self._run
        patient(run.refresh_from_db)()
        run.exit_status = status
        if status < 0:
            run.status = Status.DIED
        elif status and run.status != Status.DIED:
            run.status = Status.FAILED


def _carry_out(job: Job, run: UpdateRun, output: int) -> None:
    """In the process of the job: run its command as a shell would, printing to `output`."""
    os.setsid()  # so that all that it starts can be stopped with it
    _die_with(parent_process().pid)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
