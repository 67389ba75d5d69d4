"""Puts the project's lines into this user's crontab, and removes them."""

import contextlib
import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from . import cron_block, cron_table
from .cron_line import crontab_lines, log_file
from .definition import FILE, Schedule, ScheduleError, read_schedule
from .interpreter import command_start, refuse_unusable
from .moved import remember

BACKUPS = Path('.cache') / 'crontab'
AGAIN = 'python manage.py schedule install'


@dataclass(frozen=True)
class Wanted:
    """What the crontab should contain for a project."""

    project: Path
    slug: str
    schedule: Schedule
    lines: list[bytes]
    start: list[str]  # the words that start Python in them

    def shown(self) -> list[str]:
        """The lines for printing, indented and with empty lines around them."""
        return ['', *(f'    {os.fsdecode(line)}' for line in self.lines), '']


def wanted(
    project: Path, current_python: Path | None = None, commands: set[str] | None = None
) -> Wanted:
    """What the crontab should contain for the project in the directory `project`.

    `current_python` is the Python that runs manage.py (None elsewhere), `commands` the names of its
    commands (None: not known). Raises ScheduleError, as all functions here do.
    """
    schedule = checked_schedule(project, commands)
    start = command_start(schedule, project, current_python)
    lines = crontab_lines(schedule, project, start)
    return Wanted(project, slug_of(project), schedule, lines, start)


def checked_schedule(project: Path, commands: set[str] | None = None) -> Schedule:
    """The schedule, whose enabled jobs must be in `commands` if those are known."""
    schedule = read_schedule(project)
    for job in schedule.enabled() if commands is not None else ():
        if job.words[0] not in commands:
            raise ScheduleError(
                f'{project / FILE}: [{job.name}] runs {job.words[0]}, which is not a command of this '
                'TOM, so every run would fail. `python manage.py help` lists the commands.'
            )
    return schedule


def slug_of(project: Path) -> str:
    """The name of the project's Python package, which does not change in a move."""
    try:
        manage = (project / 'manage.py').read_text(encoding='utf-8')
    except OSError as error:
        raise ScheduleError(f'The jobs run manage.py, which cannot be read: {error}') from error
    name = re.search(r'DJANGO_SETTINGS_MODULE\W+(\w+)\.', manage)
    return name.group(1) if name else 'tom'


def install(want: Wanted) -> list[str]:
    """Put the wanted lines into the crontab, once. Returns the lines to print."""
    if not want.lines:
        return [f'No job is enabled in {FILE}.', *remove(want.project)]
    refuse_unusable(want.start, want.project)
    _make_log_directory(log_file(want.project).parent)
    backup = cron_table.change_table(lambda table: _with_lines(table, want), want.project / BACKUPS)
    remember(want.project, changed=backup is not None)
    if backup is None:
        return ['Nothing to do: your crontab already has these lines.', *want.shown()]
    return [
        'Installed in your crontab:',
        *want.shown(),
        'Every other line is unchanged. The output of the jobs goes to logs/cron.log',
        f'A copy of the old crontab: {backup.relative_to(want.project)}',
    ]


def preview(want: Wanted) -> list[str]:
    """What `install` would change in the crontab, as diff(1) would show it."""
    before = cron_table.read_table()
    after = _with_lines(before, want) if want.lines else _without_lines(before, want.project)
    if after == before:
        return ['Nothing to do: your crontab already has these lines.']
    return [*difference(before, after, 'crontab'), 'Nothing was changed.']


def difference(before: bytes, after: bytes, name: str) -> list[str]:
    """The difference between `before` and `after`, as diff(1) would show it."""
    old, new = (
        [os.fsdecode(line).removesuffix('\n') for line in re.findall(cron_block.LINE, text)]
        for text in (before, after)
    )
    return list(difflib.unified_diff(old, new, name, f'{name} after install', lineterm=''))


def _with_lines(table: bytes, want: Wanted) -> bytes:
    old = cron_block.find_block(table, want.project)
    if not old and set(cron_block.copies_outside(table, None, want.lines).values()) == set(
        want.lines
    ):
        return table  # copied by hand from `schedule show`: a block as well would run them twice
    cron_block.refuse_what_cannot_be_kept(table)
    return cron_block.with_block(table, want.project, want.slug, want.lines, old)


def _make_log_directory(logs: Path) -> None:
    """Make the directory of the log: without it the shell would not start the job."""
    try:
        logs.mkdir(exist_ok=True)
    except OSError as error:
        raise ScheduleError(f'{logs} cannot be created: {error}') from error
    if not os.access(logs, os.W_OK | os.X_OK):
        raise ScheduleError(f'You may not write to {logs}, where the log of the jobs goes.')


def remove(project: Path) -> list[str]:
    """Remove the project's lines and keep every other byte. Returns the lines to print."""
    backup = cron_table.change_table(
        lambda table: _without_lines(table, project), project / BACKUPS
    )
    if backup is None:
        return ['Nothing to remove: your crontab has no lines of this TOM.']
    return [
        'Removed from your crontab. Every other line is unchanged.',
        f'A copy of the old crontab: {backup.relative_to(project)}',
        f'To install again: {AGAIN}',
    ]


def _without_lines(table: bytes, project: Path) -> bytes:
    old = cron_block.find_block(table, project)
    if not old:
        return table
    cron_block.refuse_what_cannot_be_kept(table)
    return cron_block.without_block(table, old)


def has_lines(project: Path) -> bool:
    """Whether the crontab has lines of the project; False if it cannot be read."""
    with contextlib.suppress(ScheduleError):
        return cron_block.find_block(cron_table.read_table(), project) is not None
    return False
