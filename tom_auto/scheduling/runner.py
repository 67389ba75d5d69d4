"""`manage.py schedule run`: starts the jobs without cron, for example in a container.

One job runs at a time, those of one minute in the order of `definition.ORDER`. A job that is due while another runs, or several times while the machine sleeps, is
started once.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .definition import Job
from .job_log import rotate
from .next_times import next_run

#: How often to look at the clock: a waiting process does not notice that the machine slept.
LOOK_EVERY = 20
#: Seconds that a job has to end after SIGTERM. Docker stops containers after ten.
STOP_SECONDS = 8
AFTERWARDS = 180  # seconds that people may be told for, when a job has ended: alerts and new data
DAY = 86400  # seconds that a job without a timeout may take before the runner counts as stuck


#: The variable with the file that a health check reads.
ALIVE = 'SCHEDULER_ALIVE'


@dataclass
class Runner:
    """Runs jobs in processes of their own, one at a time, until it is stopped.

    `start` is the words before the name of a job. Output goes to `say` and to `log`.
    """

    start: list[str]
    log: Path
    say: Callable[[str], object]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    stopped: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    #: For a health check: until when the runner need not be heard of, in seconds since 1970.
    alive: str = field(default_factory=lambda: os.environ.get(ALIVE, ''))

    def run(self, jobs: tuple[Job, ...]) -> None:
        """Start each of `jobs` whenever it is due, until `stop` is called."""
        now = self.clock()
        due = {job: _next(job, now) for job in jobs}
        while not self.stopped.wait(self._pause(min(due.values()))):
            now = self.clock()
            # If the clock was set back, a job is due earlier than it was before.
            due = {job: min(due[job], _next(job, now)) for job in jobs}
            job = min(due, key=lambda one: (due[one], one.place))
            if due[job] <= now:
                due[job] = _next(job, now)
                self.run_once(job)

    def _pause(self, due: datetime) -> float:
        """Seconds until `due`, but at most LOOK_EVERY."""
        self._say_alive(3 * LOOK_EVERY)
        ahead = (due - self.clock()).total_seconds()
        return min(max(0, ahead), LOOK_EVERY)

    def _say_alive(self, seconds: float) -> None:
        say_alive_until(seconds, self.alive)

    def stop(self) -> None:
        """Start no more jobs, and end the one that runs."""
        self.stopped.set()
        if process := self.process:
            _end(process)

    def run_once(self, job: Job) -> int | None:
        """Run `job` to its end and return its exit status; None if it was not started."""
        if self.stopped.is_set():
            return None
        rotate(self.log)
        self._say_alive((job.timeout or DAY) + AFTERWARDS + 3 * LOOK_EVERY)
        began = self.clock()
        self._write(f'{began:%Y-%m-%d %H:%M:%S} UTC [{job.name}] started')
        try:
            status = self._run_process(job)
        except OSError as error:
            self._write(f'[{job.name}] could not be started: {error}')
            return None
        seconds = (self.clock() - began) / timedelta(seconds=1)
        self._write(f'[{job.name}] ended with status {status} after {seconds:.0f} s')
        return status

    def _run_process(self, job: Job) -> int:
        self.process = process = subprocess.Popen(
            [*self.start, job.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {'PYTHONUNBUFFERED': '1'},
            start_new_session=True,  # a Ctrl-C reaches this process only, which then ends the job
        )
        if self.stopped.is_set():  # since the check above
            _end(process)
        try:
            for line in process.stdout:
                self._write(os.fsdecode(line).rstrip('\n'))
            return process.wait()
        except BaseException:  # SIGTERM or Ctrl-C
            _end(process)
            raise
        finally:
            process.stdout.close()
            self.process = None

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone, say
            self.say(line)
        with contextlib.suppress(OSError), self.log.open('ab') as file:
            file.write(os.fsencode(line) + b'\n')  # a read-only container has no log


def _next(job: Job, now: datetime) -> datetime:
    # In UTC: within a zone Python compares the clocks on the wall, across a change of clocks as well.
    return next_run(job.when, now).astimezone(UTC)


def say_alive_until(seconds: float, file: str | None = None) -> None:
    """Tell a health check that this process need not be heard of for so long."""
    file = os.environ.get(ALIVE, '') if file is None else file
    if file:
        Path(file).write_text(f'{time.time() + seconds:.0f}', encoding='ascii')


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the job and its children, and SIGKILL to those that are left soon after."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
