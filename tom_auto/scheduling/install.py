"""Puts the project's lines into this user's crontab, and removes them.

It does so without asking, because somebody typed `schedule install`. When a TOM is generated, it is
`hooks/post_gen_project.py` that asks for consent first.
"""

import contextlib
import difflib
import os
import re
from pathlib import Path

from . import cron_block, cron_table
from .cron_line import crontab_lines
from .definition import FILE, ScheduleError
from .interpreter import refuse_unusable
from .job_log import log_file
from .moved import remember
from .plan import Plan

BACKUPS = Path('.cache') / 'crontab'
AGAIN = 'python manage.py schedule install'


def install(plan: Plan) -> list[str]:
    """Put the lines of `plan` into the crontab, once. Returns the lines to print."""
    if not plan.schedule.enabled():
        return [f'No job is enabled in {FILE}.', *remove(plan.project)]
    refuse_unusable(plan.start, plan.project)
    _make_log_directory(log_file(plan.project).parent)
    backup = cron_table.change_table(lambda table: _changed(table, plan), plan.project / BACKUPS)
    remember(plan.project, changed=backup is not None)
    if backup is None:
        return ['Nothing to do: your crontab already has these lines.', *indented(plan)]
    return [
        'Installed in your crontab:',
        *indented(plan),
        'Every other line is unchanged. The output of the jobs goes to logs/cron.log',
        f'A copy of the old crontab: {backup.relative_to(plan.project)}',
    ]


def indented(plan: Plan) -> list[str]:
    """The lines for printing, with empty lines around them."""
    return ['', *(f'    {os.fsdecode(line)}' for line in crontab_lines(plan)), '']


def preview(plan: Plan) -> list[str]:
    """What `install` would change in the crontab, as diff(1) would show it."""
    before = cron_table.read_table()
    after = _changed(before, plan)
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


def _changed(table: bytes, plan: Plan) -> bytes:
    lines = crontab_lines(plan)
    if not lines:
        return _without_lines(table, plan.project)
    old = cron_block.find_block(table, plan.project)
    if not old and cron_block.all_copied(table, lines):
        return table  # from `schedule show`, by hand: a block as well would run them twice
    cron_block.refuse_what_cannot_be_kept(table)
    return cron_block.with_block(table, plan.project, plan.slug, lines, old)


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
