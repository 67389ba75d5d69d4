"""Turns the schedule into lines of crontab(5)."""

import os
import re

from .definition import Job, ScheduleError
from .job_log import FULL, log_file
from .plan import Plan

LONGEST_COMMAND = 998  # bytes; Debian's cron cuts or refuses longer ones


def crontab_lines(plan: Plan) -> list[bytes]:
    """A line of crontab(5), without its newline, for every enabled job.

    The lines work in Debian's cron and in cronie, whatever characters the paths contain. Raises
    ScheduleError if no line can be written.
    """
    return [_line(job, plan) for job in plan.schedule.enabled()]


def _line(job: Job, plan: Plan) -> bytes:
    words, log, rotate = plan.command(job), quoted(os.fsencode(log_file(plan.project))), b''
    if plan.schedule.environment == 'docker':
        # The Python in the container cannot rotate a log on the host, so find(1) does.
        rotate = b'find %s -size +%d -exec mv -f {} {}.1 \\; 2>/dev/null; ' % (log, FULL // 512)
    command = rotate + b' '.join(quoted(os.fsencode(word)) for word in words)
    command += b' >> ' + log + b' 2>&1'
    if len(command) > LONGEST_COMMAND:
        raise ScheduleError(
            f'The command of [{job.name}] is {len(command)} bytes long, and cron accepts at most '
            f'{LONGEST_COMMAND}. Move the project to a shorter path than {plan.project}'
        )
    return job.when.encode() + b' ' + command


def quoted(word: bytes) -> bytes:
    r"""`word`, quoted so that it passes cron and then sh unchanged.

    Before sh sees the line, cron ends the command at an unescaped %, turns `\%` into %, and on Debian
    `\\` into one backslash, even inside quotes. So `\%` is written outside the quotes, where sh reads it
    in the same way, and two backslashes are never adjacent.
    """
    if b'\n' in word or b'\r' in word:  # `crontab -l` of Debian shows the latter as two letters
        raise ScheduleError(
            f'{os.fsdecode(word)!r} contains a line break, which is not possible in a crontab. Move '
            'the project to a path without one.'
        )
    return b'\\%'.join(_quoted_for_sh(piece) for piece in word.split(b'%')) if word else b"''"


def _quoted_for_sh(piece: bytes) -> bytes:
    if re.fullmatch(rb'[A-Za-z0-9_@+=:,./-]*', piece):
        return piece
    within = piece.replace(b"'", b"'\"'\"'")
    while b'\\\\' in within:
        within = within.replace(b'\\\\', b"\\''\\")
    return b"'" + within + b"'"
