"""Says whether a cron daemon runs on this machine."""

import contextlib
from pathlib import Path

NAMES = {'cron', 'crond', 'fcron', 'dcron'}


def cron_daemon_runs(proc: Path = Path('/proc')) -> bool | None:
    """Whether one seems to run; None if this user cannot see it, or there is no /proc."""
    names = set()
    for file in proc.glob('[0-9]*/comm'):
        with contextlib.suppress(OSError):  # a process may end in the meantime
            names.add(file.read_text(encoding='utf-8', errors='replace').strip())
    if names & NAMES:
        return True
    # If process 1 is hidden, other users' processes are hidden, and cron may be among them.
    return False if (proc / '1' / 'comm').is_file() else None
