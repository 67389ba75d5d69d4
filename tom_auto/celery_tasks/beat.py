"""`celery beat` with the jobs of schedule.toml. Several may run, and one is at work.

A job is due until a run of it has begun since then, which the database tells. So a message that is
lost is sent again, and one too many does nothing.
"""

import logging
import os
import socket
import sys
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from celery.beat import Scheduler
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.utils import timezone

from ..conf import automation
from ..lateness import runs_begun
from ..models import JobPause
from ..order_of_jobs import is_kept_waiting
from ..scheduling.definition import Job, ScheduleError, read_schedule
from ..scheduling.next_times import next_run
from ..scheduling.runner import say_alive_until
from . import leases, sending, setup
from .app import JOBS
from .sending import BrokerAway

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 10  # seconds between two looks at the clock and the file
AGAIN = 5  # leases after which a message for a job is sent again whose run has not begun


class FromScheduleToml(Scheduler):
    """Sends a message for each job that is due, and for hooks that are owed and nobody runs."""

    def setup_schedule(self) -> None:
        """Refuse to start where beat cannot work."""
        self._limits = _limits_or_exit()
        self._holder = f'{socket.gethostname()}, process {os.getpid()}'
        self._begun = timezone.now()
        self._sent: dict[str, datetime] = {}
        self._swept, self._said = 0.0, ''

    def tick(self, **rest: object) -> float:
        """Do what is due; the seconds until the next look."""
        pause = min(LONGEST_PAUSE, self._limits.LEASE / 3)
        say_alive_until(10 * LONGEST_PAUSE)
        try:
            if not leases.hold(leases.BEAT, self._holder, self._limits.LEASE):
                self._say(f'{_other()} This one waits, and takes over when that ends.')
                return pause
            self._say('')
            return min(pause, self._send_what_is_due())
        except (BrokerAway, DatabaseError, ScheduleError) as trouble:
            self._say(f'{trouble} It is tried again.')
            return pause
        finally:
            connection.close()

    def _say(self, text: str) -> None:
        """Log what is news: some of it may go on for hours."""
        if text and text != self._said:
            logger.warning('Beat: %s', text)
        self._said = text

    def _send_what_is_due(self) -> float:
        now = timezone.now()
        self._begun = min(self._begun, now)  # the clock may have been set back
        jobs = read_schedule(Path(settings.BASE_DIR)).enabled()
        due = {job: self._due(job, now) for job in jobs}
        for job, since in due.items():
            if is_kept_waiting(job, due, now):
                continue
            if since <= now and self._is_to_be_sent(job, since, now):
                sending.send('tom_auto.run_job', JOBS, job.name, since.isoformat())
                self._sent[job.name] = now
        if monotonic() - self._swept > self._limits.LEASE / 2:
            self._swept = monotonic()
            sending.sweep()
        ahead = [(since - now).total_seconds() for since in due.values() if since > now]
        return max(0.1, min(ahead, default=LONGEST_PAUSE))

    def _is_to_be_sent(self, job: Job, since: datetime, now: datetime) -> bool:
        sent = self._sent.get(job.name)
        patience = timedelta(seconds=AGAIN * self._limits.LEASE)
        is_new = sent is None or sent < since or not now - patience < sent <= now
        return is_new and not JobPause.objects.filter(job=job.name).exists()

    def _due(self, job: Job, now: datetime) -> datetime:
        """When a run of `job` is due next, or has been due since."""
        runs = runs_begun(job.name, now).filter(started_by='')
        last = runs.values_list('started', flat=True).first()
        return next_run(job.when, last or self._begun)

    @property
    def info(self) -> str:
        return '    . jobs -> schedule.toml'

    def close(self) -> None:
        """Let another beat take over at once."""
        leases.leave(leases.BEAT, self._holder)
        connection.close()


def _other() -> str:
    other = leases.holder_of(leases.BEAT)
    return f'Another beat is at work ({other.holder}).' if other else 'Another beat is at work.'


def _limits_or_exit() -> object:
    try:
        trouble = setup.obstacle()
        read_schedule(Path(settings.BASE_DIR))
        connection.ensure_connection()
        limits = automation()
    except (ImproperlyConfigured, ScheduleError, DatabaseError) as mistake:
        trouble = str(mistake).strip()
    if trouble:
        sys.stderr.write(f'Beat does not start. {trouble}\n')
        raise SystemExit(1)
    return limits
