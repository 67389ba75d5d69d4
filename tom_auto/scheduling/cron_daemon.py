"""Says whether a cron daemon runs on this machine."""

import contextlib
from pathlib import Path

NAMES = {'cron', 'crond', 'fcron', 'dcron'}


def cron_daemon_runs(proc: Path = Path('/proc')) -> bool | None:
    """Whether one seems to run; None where this user cannot see, or the system has no /proc."""
    names = set()
    for file in proc.glob('[0-9]*/comm'):
        with contextlib.suppress(OSError):  # a process may end while it is looked at
            names.add(file.read_text(encoding='utf-8', errors='replace').strip())
    if names & NAMES:
        return True
    # Where other users' processes are hidden, so is the first one, and cron may be as well.
    return False if (proc / '1' / 'comm').is_file() else None
