"""Turns the schedule into what a scheduler reads. So far that is crontab(5)."""

import os
import re
from pathlib import Path

from .definition import Job, Schedule, ScheduleError

LONGEST_COMMAND = 998  # bytes; Debian's cron cuts or refuses what is longer


def crontab_lines(schedule: Schedule, project: Path, start: list[str]) -> list[bytes]:
    """A line of crontab(5), without its newline, for every job that is enabled.

    `start` is the words that start Python. The lines work under the rules of Debian's cron and
    of cronie alike, whatever the paths hold. Raises ScheduleError for what no line can hold.
    """
    return [_crontab_line(job, project, start) for job in schedule.enabled()]


def _crontab_line(job: Job, project: Path, start: list[str]) -> bytes:
    words = [*start, project / 'manage.py', job.name]
    command = b' '.join(quoted(os.fsencode(word)) for word in words)
    command += b' >> ' + quoted(os.fsencode(log_file(project))) + b' 2>&1'
    if len(command) > LONGEST_COMMAND:
        raise ScheduleError(
            f'The command of [{job.name}] is {len(command)} bytes long, and cron takes '
            f'{LONGEST_COMMAND}. Move the project to a shorter path than {project}'
        )
    return job.when.encode() + b' ' + command


def log_file(project: Path) -> Path:
    """Where a job's output goes. Its directory has to be there, or the job does not start."""
    return project / 'logs' / 'cron.log'


def quoted(word: bytes) -> bytes:
    r"""`word` so that it reaches the program whole: past cron first, then past sh.

    cron turns an unescaped % into the end of the command, `\%` into %, and on Debian `\\` into
    one backslash, all before sh sees any of it and inside quotes as well. So `\%` stands
    outside the quotes, where sh would read it in the same way, and no two backslashes ever
    stand together.
    """
    if b'\n' in word:
        raise ScheduleError(
            f'{os.fsdecode(word)!r} holds a line break, which no line of a crontab can hold. '
            'Move the project to a path without one.'
        )
    return b'\\%'.join(_quoted_for_sh(piece) for piece in word.split(b'%')) if word else b"''"


def _quoted_for_sh(piece: bytes) -> bytes:
    if re.fullmatch(rb'[A-Za-z0-9_@+=:,./-]*', piece):
        return piece
    within = piece.replace(b"'", b"'\"'\"'")
    while b'\\\\' in within:
        within = within.replace(b'\\\\', b"\\''\\")
    return b"'" + within + b"'"
