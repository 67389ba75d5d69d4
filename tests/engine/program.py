"""`manage.py` as cron starts it: a program of its own, on the database of the running test."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.db import connection

TESTS = Path(__file__).parents[1]
PROJECT = TESTS / 'project'
PATHS = (TESTS.parent, TESTS, TESTS / 'engine')
#: What a test changes, and the program is to find so as well.
SETTINGS = ('FACILITIES', 'TOM_FACILITY_CLASSES', 'TOM_AUTO', 'HOOKS', 'CELERY_BROKER_URL')
#: Of its database.
PLACE = ('NAME', 'HOST', 'PORT', 'USER', 'PASSWORD')
PATIENCE = 60  # seconds: no program of any test takes so long


def _hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore it, and so what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """`manage.py updatedata --json` with `arguments`, under way."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        """`directory` is the test's own, for the program's settings."""
        write_settings(directory)
        environment = environment_of(directory)
        self._begun = monotonic()
        self._process = subprocess.Popen(
            [sys.executable, 'manage.py', 'updatedata', '--json', *arguments],
            cwd=PROJECT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hear_ctrl_c,
        )  # fmt: skip

    def send(self, number: int) -> None:
        """Send the signal of this number."""
        self._process.send_signal(number)
        self._begun = monotonic()

    def next_error(self) -> str:
        """The next line that it prints to its standard error."""
        return self._process.stderr.readline()

    def ended(self) -> tuple[int, str, str, float]:
        """Its exit status, what it printed to each stream, and how many seconds it took.

        They count from its start, or from the last signal that it was sent.
        """
        try:
            output, errors = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return self._process.returncode, output, errors, monotonic() - self._begun

    def report(self) -> tuple[int, dict, float]:
        """Its exit status, the object that it printed, and how many seconds it took."""
        status, output, errors, seconds = self.ended()
        assert output, errors
        return status, json.loads(output), seconds


def environment_of(directory: Path) -> dict[str, str]:
    """The environment of a program whose settings are in `directory`."""
    return os.environ | {
        'DJANGO_SETTINGS_MODULE': 'settings_of_the_test',
        'PYTHONPATH': ':'.join(map(str, (directory, *PATHS))),
        'PYTHONDONTWRITEBYTECODE': '1',
    }


def write_settings(directory: Path) -> None:
    """Put a settings module into `directory`: the project's, with what this test has changed."""
    lines = [
        'import datetime',
        'from pathlib import Path',
        f'from {os.environ["DJANGO_SETTINGS_MODULE"]} import *',
        f'DATABASES["default"] |= { {name: connection.settings_dict[name] for name in PLACE}!r}',
        f'BASE_DIR = Path({str(settings.BASE_DIR)!r})',
        f'MEDIA_ROOT = Path({str(settings.MEDIA_ROOT)!r})',
        f'LOGGING["handlers"]["file"]["filename"] = {str(directory / "tom.log")!r}',
        *(f'{name} = {getattr(settings, name)!r}' for name in SETTINGS),
    ]
    if hasattr(settings, 'HEARD'):  # where the hooks write what they were told
        lines.append(f'HEARD = Path({str(settings.HEARD)!r})')
    if hasattr(settings, 'MEDIA_STORE'):  # the address of an object store, where the data is
        lines.append(f'from object_store import at; STORAGES = at({settings.MEDIA_STORE!r})')
    (directory / 'settings_of_the_test.py').write_text('\n'.join(lines) + '\n')
