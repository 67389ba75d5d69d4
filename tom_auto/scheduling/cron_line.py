"""Turns the schedule into lines of crontab(5). For others: systemd.py and kubernetes.py."""

import os
import re
import shutil
from pathlib import Path

from .definition import Job, Schedule, ScheduleError
from .job_log import FULL

LONGEST_COMMAND = 998  # bytes; Debian's cron cuts or refuses what is longer


def crontab_lines(schedule: Schedule, project: Path, start: list[str]) -> list[bytes]:
    """A line of crontab(5), without its newline, for every job that is enabled.

    `start` is the words that start Python. The lines work under the rules of Debian's cron and
    of cronie alike, whatever the paths hold. Raises ScheduleError for what no line can hold.
    """
    line = _line_for_docker if schedule.environment == 'docker' else _line
    return [
        _checked(job, project, line(job, schedule, project, start)) for job in schedule.enabled()
    ]


def _line(job: Job, schedule: Schedule, project: Path, start: list[str]) -> bytes:
    words = [*_stopper(job), *command_of(job, schedule, project, start)]
    return _shell(words) + _into_log(project)


def _line_for_docker(job: Job, schedule: Schedule, project: Path, start: list[str]) -> bytes:
    """Through the container that is up. Its Python cannot rotate a log that is on the host."""
    log, full = quoted(os.fsencode(log_file(project))), FULL // 512
    rotate = b'find %s -size +%d -exec mv -f {} {}.1 \\; 2>/dev/null; ' % (log, full)
    return rotate + _shell(command_of(job, schedule, project, start)) + _into_log(project)


def command_of(job: Job, schedule: Schedule, project: Path, start: list[str]) -> list[str]:
    """The words of a job's command, as they are without any quotes."""
    if schedule.environment != 'docker':
        return [*start, str(project / 'manage.py'), *job.words]
    # Stopped inside: what goes on in a container does not end with the command that started it.
    stopper = ['timeout', '-k', '30', str(job.timeout)] if job.timeout else []
    return [*start[:-1], *stopper, start[-1], 'manage.py', *job.words]


def _stopper(job: Job) -> list[str]:
    """What stops the job after its timeout; cron itself never would."""
    if not job.timeout:
        return []
    program = shutil.which('timeout')
    if program is None:
        raise ScheduleError(
            f'[{job.name}] has a timeout, which for cron needs the command `timeout` (macOS: brew '
            'install coreutils). Install it, or take the timeout out.'
        )
    return [program, '-k', '30', str(job.timeout)]


def _shell(words: list[str]) -> bytes:
    return b' '.join(quoted(os.fsencode(word)) for word in words)


def _into_log(project: Path) -> bytes:
    return b' >> ' + quoted(os.fsencode(log_file(project))) + b' 2>&1'


def _checked(job: Job, project: Path, command: bytes) -> bytes:
    if len(command) > LONGEST_COMMAND:
        raise ScheduleError(
            f'The command of [{job.name}] is {len(command)} bytes long, and cron takes '
            f'{LONGEST_COMMAND}. Give it fewer arguments, or move the project to a shorter path '
            f'than {project}'
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
    if b'\n' in word or b'\r' in word:  # `crontab -l` of Debian shows the latter as two letters
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
