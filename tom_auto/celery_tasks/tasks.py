"""What workers do."""

import os
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import IO

from django.conf import settings
from django.db import connection
from django.utils import timezone

from ..conf import automation
from ..hooks.owed import due
from ..hooks.product_hooks import pay_next, this_process
from ..lateness import runs_begun
from ..scheduling.definition import LONGEST_TIMEOUT
from ..scheduling.job_log import log_file, owner_only
from ..scheduling.plan import START
from ..scheduling.runner import DAY
from . import batches, sending, workers  # noqa: F401  (importing `workers` has it see that they can work)
from .app import BUDGET, app

#: So many products of hooks that are quick are claimed at a time: to claim each by itself takes longer
#: than they do. Where one claim took longer, others do the rest meanwhile.
MANY, QUICK = 30, 0.1  # products, seconds


@app.task(name='tom_auto.pay_hooks')
def pay_hooks() -> None:
    """Run hooks that are owed, as long as there are any and it is not somebody else's turn."""
    limits, until = automation(), monotonic() + BUDGET
    holder = this_process()
    most, has_called = 1, False
    while monotonic() < until:
        begun = monotonic()
        if not pay_next(holder, limits.LEASE, until, most):
            return
        most = MANY if monotonic() - begun < QUICK else 1
        if most == 1 and not has_called:  # slow hooks: another is to help
            has_called = True
            _wake_another()
    _wake_another()


def _wake_another() -> None:
    """Where hooks are due that nobody has begun."""
    with suppress(sending.BrokerAway):  # beat, or the next run, tells of them
        if due().exists():
            sending.wake(1)


@app.task(name='tom_auto.check_batch', time_limit=DAY)
def check_batch(pk: int) -> None:
    """Check a batch of records of a run, unless somebody else does."""
    batches.check(pk, this_process())


# The message is gone when this begins: beat sends another where no run has begun.
@app.task(name='tom_auto.run_job', acks_late=False, time_limit=LONGEST_TIMEOUT + DAY)
def run_job(name: str, due_since: str) -> None:
    """Run a job of schedule.toml, unless a run of it has begun since it was due."""
    runs = runs_begun(name, timezone.now()).filter(started_by='')
    if not runs.filter(started__gte=datetime.fromisoformat(due_since)).exists():
        connection.close()
        project = Path(settings.BASE_DIR)
        with _log(project) as log:
            subprocess.run(
                [sys.executable, str(project / 'manage.py'), *START, name],
                cwd=project, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            )  # fmt: skip


def _log(project: Path) -> IO[bytes]:
    """Where cron's lines append to, too."""
    try:
        return open(log_file(project), 'ab', opener=owner_only)  # noqa: PTH123
    except OSError:  # a read-only container has none
        return Path(os.devnull).open('ab')
