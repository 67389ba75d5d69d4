"""Starts a run in the background, as people ask for it on a page."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connections
from django.db.models import Q
from django.utils import timezone

from ..conf import own_python
from ..models import RunRequest
from ..running.runs import ASKED_BY, SILENCE, alive
from ..scheduling.job_log import owner_only

LOOKS = 15  # seconds between two looks at a process


def start_run(user: User, command: str, *words: str) -> bool:
    """Start `manage.py` with `words`, which is a run of `command`, as a process of its own, which outlives the request and its worker.

    False if one is in progress, or about to be. The request is noted first, in the database: of
    many requests at a time one starts a process. Its output is in logs/page.log.
    """
    if alive(command).exists() or not _claim(command, user.get_username()):
        return False
    try:
        process = begin_process(user.get_username(), *words)
    except BaseException:
        release(command)
        raise
    accompany(process, command)
    return True


def _claim(command: str, by: str) -> bool:
    """Note the request; False if there is one whose process is, or may be, alive."""
    now = timezone.now()
    mine = {'by': by, 'alive_at': now}
    if RunRequest.objects.get_or_create(job=command, defaults=mine)[1]:
        return True
    # Its web server was ended; a time to come is from a clock that was wrong.
    is_left = Q(alive_at__lt=now - SILENCE) | Q(alive_at__gt=now + SILENCE)
    return bool(RunRequest.objects.filter(is_left, job=command).update(**mine))


def release(command: str) -> None:
    RunRequest.objects.filter(job=command).delete()


def begin_process(by: str, *words: str) -> subprocess.Popen:
    """Start `manage.py` with `words` for somebody; it outlives this process."""
    project = Path(settings.BASE_DIR)
    with _log(project / 'logs' / 'page.log') as log:
        return subprocess.Popen(
            [own_python(), str(project / 'manage.py'), *words],
            cwd=project,
            env=os.environ | {ASKED_BY: by},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that signals for the web server do not reach the run
        )


def accompany(process: subprocess.Popen, command: str) -> None:
    """Wait for `process` in a thread, or it stays in the process table after it has ended."""
    Thread(target=_wait, args=(process, command), daemon=True).start()


def _wait(process: subprocess.Popen, command: str) -> None:
    while not _ended(process):
        with suppress(DatabaseError):
            RunRequest.objects.filter(job=command).update(alive_at=timezone.now())
    with suppress(DatabaseError):  # the database is away: the request lapses by itself
        release(command)
    connections.close_all()


def _ended(process: subprocess.Popen) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(LOOKS)
        return True
    return False


def _log(file: Path) -> IO[bytes]:
    try:
        return open(file, 'ab', opener=owner_only)  # noqa: PTH123
    except OSError:
        return Path(os.devnull).open('ab')
