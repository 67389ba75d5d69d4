"""Keeps the log of the jobs small: what is full is set aside, and the oldest goes."""

import contextlib
import os
from pathlib import Path

FULL = 1_000_000  # bytes
KEPT = 3


def rotate(log: Path) -> None:
    """Set `log` aside as `log.1`, and what was that as `log.2`, once it is full.

    Who writes into it goes on writing into the file that was set aside: no line is lost.
    """
    with contextlib.suppress(OSError):  # a log must never stop a job
        if log.stat().st_size < FULL:
            return
        for number in range(KEPT, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f'{log}.{number - 1}', f'{log}.{number}')  # noqa: PTH105
        os.replace(log, f'{log}.1')  # noqa: PTH105


def rotate_own_output(log: Path) -> None:
    """The same, and print into the new one from now on, if it is `log` that this process prints to.

    Cron's shell has opened it before Python started, and nobody else comes by to rotate it.
    """
    with contextlib.suppress(OSError):
        before = log.stat()
        ours = [number for number in (1, 2) if os.path.samestat(os.fstat(number), before)]
        if not ours or before.st_size < FULL:
            return
        rotate(log)
        new = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for number in ours:
            os.dup2(new, number)
        os.close(new)
