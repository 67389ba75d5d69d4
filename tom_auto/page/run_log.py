"""The lines of the TOM's log from the time of one run."""

import re
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from ..models import UpdateRun

TAIL = 1_000_000  # bytes at the end of the log that are searched
MOST = 60  # lines
TIME = re.compile(r'^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)')


def excerpt(run: UpdateRun) -> list[str]:
    """The last lines of logs/tom.log that were written during `run`."""
    begin = run.started - timedelta(seconds=1)
    end = (run.finished or timezone.now()) + timedelta(seconds=1)
    lines, within = [], False
    for line in _tail(Path(settings.BASE_DIR) / 'logs' / 'tom.log'):
        if found := TIME.match(line):  # the lines of a traceback have no time of their own
            when = _when(found.group(1))
            within = when is not None and begin <= when <= end
        if within:
            lines.append(line)
    return lines[-MOST:]


def _tail(file: Path) -> list[str]:
    try:
        with file.open('rb') as log:
            log.seek(max(0, file.stat().st_size - TAIL))
            return log.read().decode(errors='replace').split('\n')
    except OSError:  # no file: in a container the log goes to the terminal
        return []


def _when(text: str) -> datetime | None:
    """The time of a line; None where it is no time: other programs may write to the log."""
    try:
        return timezone.make_aware(datetime.fromisoformat(text), timezone.get_default_timezone())
    except ValueError:
        return None
