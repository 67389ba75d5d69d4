"""The log of the jobs, and its rotation."""

import contextlib
import os
from pathlib import Path

FULL = 1_000_000  # bytes
KEPT = 3


def owner_only(path: str, flags: int) -> int:
    """An opener for `open`: a new file is for its owner alone."""
    return os.open(path, flags, 0o600)


def log_file(project: Path) -> Path:
    """The file for the output of the jobs. Its directory must exist, or no job starts."""
    return project / 'logs' / 'cron.log'


def rotate(log: Path, full: int | None = None) -> None:
    """Rename `log` to `log.1`, and `log.1` to `log.2`, when it is full.

    A process that writes to it continues in the renamed file, so no line is lost.
    """
    with contextlib.suppress(OSError):  # a log must never stop a job
        if log.stat().st_size < (full or FULL):
            return
        for number in range(KEPT, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f'{log}.{number - 1}', f'{log}.{number}')  # noqa: PTH105
        os.replace(log, f'{log}.1')  # noqa: PTH105


def rotate_own_output(log: Path) -> None:
    """If this process prints to `log` and it is full, rotate it and print to the new one.

    Cron's shell opened the file before Python started, and nothing else rotates it.
    """
    with contextlib.suppress(OSError):
        before = log.stat()
        ours = [number for number in (1, 2) if os.path.samestat(os.fstat(number), before)]
        if not ours or before.st_size < FULL:
            return
        rotate(log)
        new = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number in ours:
            os.dup2(new, number)
        os.close(new)
