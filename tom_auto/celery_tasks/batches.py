"""Some of the records of a run, which a worker checks, and what came of them."""

from collections import deque
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial

from django.contrib.auth.models import User
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from ..conf import Automation, automation
from ..db_retry import patient
from ..errors import AnotherRun
from ..files.storage_id import storage_trouble
from ..models import Batch, UpdateRun
from ..running.heartbeat import Heartbeat
from ..running.outcomes import ADDED, Ending, Outcome, Report
from ..running.recorded_run import limited_part
from ..sync.check_due import Checks, read_nothing
from . import lists, setup

MOST_TRIES = 3  # after which a batch is no worker's any more
State = Batch.State
#: What is added up. `due` is known before.
COUNTED = (*Ending, *ADDED)


def claim(pk: int, holder: str, lease: float) -> bool:
    """Take a batch that is given out, and that nobody has or whose holder has died."""
    free = Batch.objects.filter(pk=pk, state=State.OUT, until__lte=Now(), tries__lt=MOST_TRIES)
    until = Now() + timedelta(seconds=lease)
    return bool(free.update(holder=holder, until=until, tries=F('tries') + 1))


def check(pk: int, holder: str) -> None:
    """Check the records of a batch, in a worker, unless somebody else does."""
    known = automation()
    if not claim(pk, holder, known.LEASE):
        return
    batch = Batch.objects.select_related('run').get(pk=pk)
    seconds = (batch.ends - timezone.now()).total_seconds()
    limits = replace(known, WORKERS=batch.requests, DEADLINE=max(1.0, seconds))
    try:
        with limited_part(limits) as deadline, prolonged(batch, known.LEASE) as heart:
            check_claimed(batch, limits, deadline, heart)
    except AnotherRun:  # the run is not any more, or another worker has the batch
        Batch.objects.filter(pk=pk, holder=holder).update(until=Now())


def check_claimed(batch: Batch, limits: Automation, deadline: float, heart: Heartbeat) -> None:
    """Check the records of a batch that this process has."""
    report = Report(due=len(batch.records))
    user = User.objects.get(username=batch.username) if batch.username else None
    limits = replace(limits, WORKERS=batch.requests)
    due = {batch.facility: deque(batch.records)}
    hand_out = setup.who_runs_hooks(limits)
    away = storage_trouble()
    # Who has it after another has died reads the lists anew: some of its frames are here by now.
    read = partial(lists.take, batch.facility, batch.lists) if batch.tries == 1 else read_nothing
    Checks(batch.run, report, limits, deadline, heart).go(due, away, user, hand_out, read)
    mine = Batch.objects.filter(pk=batch.pk, holder=batch.holder)
    patient(mine.update)(state=State.DONE, report=_as_json(report))


def _as_json(report: Report) -> dict:
    return {name: getattr(report, name) for name in COUNTED} | {
        'status': report.status,
        'unsupported_facilities': report.unsupported_facilities,
        'failures': [asdict(failure) | {'ended': None} for failure in report.failures],
    }


def add(report: Report, found: dict) -> None:
    """Add the report of a batch to that of its run."""
    for name in COUNTED:
        setattr(report, name, getattr(report, name) + found[name])
    report.unsupported_facilities |= found['unsupported_facilities']
    report.failures += [Outcome(**failure) for failure in found['failures']]
    if found['status'] == 'failed':
        report.status = 'failed'


def prolonged(batch: Batch, lease: float) -> Heartbeat:
    """While a batch is checked: its heart, which knows when another worker or run has it."""
    running = UpdateRun.objects.filter(status=UpdateRun.Status.RUNNING)
    mine = Batch.objects.filter(pk=batch.pk, holder=batch.holder, run__in=running, state=State.OUT)
    return Heartbeat(lambda: mine.update(until=Now() + timedelta(seconds=lease)), lease / 3)
