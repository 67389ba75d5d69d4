"""Turns the schedule into lines of crontab(5)."""

import os
import re
import shutil
from pathlib import Path

from .definition import Job, Schedule, ScheduleError
from .job_log import FULL

LONGEST_COMMAND = 998  # bytes; Debian's cron cuts or refuses longer ones


def crontab_lines(schedule: Schedule, project: Path, start: list[str]) -> list[bytes]:
    """A line of crontab(5), without its newline, for every enabled job.

    `start` is the words that start Python. The lines work in Debian's cron and in cronie, whatever
    characters the paths contain. Raises ScheduleError if no line can be written.
    """
    line = _line_for_docker if schedule.environment == 'docker' else _line
    return [
        _checked(job, project, line(job, schedule, project, start)) for job in schedule.enabled()
    ]


def _line(job: Job, schedule: Schedule, project: Path, start: list[str]) -> bytes:
    words = [*_stopper(job), *command_of(job, schedule, project, start)]
    return _shell(words) + _into_log(project)


def _line_for_docker(job: Job, schedule: Schedule, project: Path, start: list[str]) -> bytes:
    """In the running container. Its Python cannot rotate a log on the host, so find(1) does."""
    log, full = quoted(os.fsencode(log_file(project))), FULL // 512
    rotate = b'find %s -size +%d -exec mv -f {} {}.1 \\; 2>/dev/null; ' % (log, full)
    return rotate + _shell(command_of(job, schedule, project, start)) + _into_log(project)


def command_of(job: Job, schedule: Schedule, project: Path, start: list[str]) -> list[str]:
    """The words of a job's command, without quoting."""
    if schedule.environment != 'docker':
        return [*start, str(project / 'manage.py'), *job.words]
    # timeout runs inside: ending `docker compose exec` would not end the process in the container.
    stopper = ['timeout', '-k', '30', str(job.timeout)] if job.timeout else []
    return [*start[:-1], *stopper, start[-1], 'manage.py', *job.words]


def _stopper(job: Job) -> list[str]:
    """The words that stop the job after its timeout, which cron itself does not do."""
    if not job.timeout:
        return []
    program = shutil.which('timeout')
    if program is None:
        raise ScheduleError(
            f'[{job.name}] has a timeout, which needs the command `timeout` (macOS: brew install '
            'coreutils). Install it, or remove the timeout.'
        )
    return [program, '-k', '30', str(job.timeout)]


def _shell(words: list[str]) -> bytes:
    return b' '.join(quoted(os.fsencode(word)) for word in words)


def _into_log(project: Path) -> bytes:
    return b' >> ' + quoted(os.fsencode(log_file(project))) + b' 2>&1'


def _checked(job: Job, project: Path, command: bytes) -> bytes:
    if len(command) > LONGEST_COMMAND:
        raise ScheduleError(
            f'The command of [{job.name}] is {len(command)} bytes long, and cron accepts at most '
            f'{LONGEST_COMMAND}. Use fewer arguments, or move the project to a shorter path '
            f'than {project}'
        )
    return job.when.encode() + b' ' + command


def log_file(project: Path) -> Path:
    """The file for the output of the jobs. Its directory must exist, or no job starts."""
    return project / 'logs' / 'cron.log'


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
