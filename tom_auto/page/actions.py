"""Starts a run in the background, as people ask for it on a page."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import IO

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from ..jobs import MAIN
from ..models import UpdateRun
from ..sync.runs import ASKED_BY, SILENCE


def start_run(user: User, command: str = MAIN, *arguments: str) -> None:
    """Start a run of `command` as a process of its own, which outlives the request and its worker.

    If another run is in progress, the new one notices and ends. Its output is in logs/page.log.
    """
    project = Path(settings.BASE_DIR)
    with _log(project / 'logs' / 'page.log') as log:
        process = subprocess.Popen(
            [_python(), str(project / 'manage.py'), command, *arguments],
            cwd=project,
            env=os.environ | {ASKED_BY: user.get_username()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that signals for the web server do not reach the run
        )
    # Something has to wait for it, or it stays in the process table after it has ended.
    Thread(target=process.wait, daemon=True).start()


def _log(file: Path) -> IO[bytes]:
    try:
        return file.open('ab')
    except OSError:
        return Path(os.devnull).open('ab')


def _python() -> str:
    """The Python of this TOM: sys.executable may be a web server that embeds it."""
    own = Path(sys.prefix) / 'bin' / 'python'
    return str(own) if own.is_file() else sys.executable


def run_in_progress(command: str = MAIN) -> UpdateRun | None:
    """The run of `command` that is in progress, judged by its heartbeat."""
    running = UpdateRun.objects.filter(job=command, status=UpdateRun.Status.RUNNING)
    return running.filter(heartbeat__gte=timezone.now() - SILENCE).first()
