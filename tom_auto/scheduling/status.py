"""Says whether the crontab holds what schedule.toml wants, and what would keep it from running."""

import os
import re
from pathlib import Path

from . import cron_block, cron_table
from .cron_daemon import cron_daemon_runs
from .cron_line import log_file
from .definition import FILE, ScheduleError
from .install import AGAIN, Wanted
from .interpreter import refuse_unusable
from .obstacles import machine_warnings
from .systemd import installed_units

CURRENT, NOT_INSTALLED, STALE = 0, 1, 2
#: The shells that understand the lines; what would have another Python, TOM or hour at work.
SH = re.compile(r'(.*/)?(ba|da|a|k|z|)sh')
HARMFUL = {'PYTHONHOME', 'PYTHONPATH', 'DJANGO_SETTINGS_MODULE', 'CRON_TZ'}


def status(want: Wanted, media: Path | None = None) -> tuple[int, list[str]]:
    """An exit status (CURRENT, NOT_INSTALLED, STALE), and what to tell the user.

    `media` is the directory of the data, where that is known.
    """
    table = cron_table.read_table()
    try:
        old = cron_block.find_block(table, want.project)
    except ScheduleError as error:
        return STALE, [str(error)]
    copies = cron_block.copies_outside(table, old, want.lines)
    if not old and (not want.lines or set(copies.values()) != set(want.lines)):
        reason = '' if want.lines else f' No job is enabled in {FILE}.'
        return NOT_INSTALLED, [f'Not installed.{reason}', f'To install: {AGAIN}']
    trouble = _trouble(table, want, old)
    if trouble:
        return STALE, [f'Installed, but {trouble}', f'When that is right: {AGAIN}']
    told = ['Installed and current:', *want.shown(), *warnings(want, media)]
    return (STALE if cron_daemon_runs() is False else CURRENT), told


def _trouble(table: bytes, want: Wanted, old: cron_block.Block | None) -> str:
    """Why the lines in the crontab would not do what they should; empty where they would."""
    if old and old.path != os.fsencode(want.project):
        return f'for {os.fsdecode(old.path)}, and this TOM is in {want.project} now.'
    if old and cron_block.with_block(table, want.project, want.slug, want.lines, old) != table:
        return (
            'it is out of date: the lines in the crontab, schedule.toml or the Python of this '
            'TOM changed since.'
        )
    try:
        refuse_unusable(want.start, want.project)
    except ScheduleError as error:
        return f'it cannot run: {error}'
    logs = log_file(want.project).parent
    if not os.access(logs, os.W_OK | os.X_OK):
        return f'it cannot run: it logs into {logs}, which is missing or cannot be written.'
    return ''


def warnings(want: Wanted, media: Path | None = None) -> list[str]:
    """What else could keep the installed lines from doing their work once an hour, or a day."""
    table = cron_table.read_table()
    old = cron_block.find_block(table, want.project)
    told = [
        f'line {number} of your crontab runs the same once more. Delete it: crontab -e'
        for number in (cron_block.copies_outside(table, old, want.lines) if old else ())
    ]
    if installed_units(want.project):
        told.append(
            'timers of systemd start the same jobs once more. To remove them: '
            'python manage.py schedule remove --format systemd'
        )
    told += [
        f'from line {number} on, your crontab has the jobs of a TOM in {os.fsdecode(path)}, where '
        'nothing is any more. If it is not coming back, delete them: crontab -e'
        for number, path in cron_block.abandoned(table, want.project).items()
    ]
    told += _settings_that_do_harm(table[: old.start] if old else b'')
    machine = machine_warnings(want.project, media or want.project / 'data', cron_daemon_runs())
    return [f'Warning: {sentence}' for sentence in [*told, *machine]]


def _settings_that_do_harm(above: bytes) -> list[str]:
    """Of the variables that the crontab sets `above` the lines, those that they cannot bear."""
    setting = rb'(?m)^[ \t]*["\']?(\w+)["\']?[ \t]*=[ \t]*["\']?(.*?)["\']?[ \t]*$'
    variables = {os.fsdecode(name): os.fsdecode(text) for name, text in re.findall(setting, above)}
    harmful = {
        name: text
        for name, text in variables.items()
        if name in HARMFUL or (name == 'SHELL' and not SH.fullmatch(text))
    }
    return [
        f'your crontab sets {name}={text} above this job, which may fail or go astray with it. '
        'Move the block above that line: crontab -e'
        for name, text in harmful.items()
    ]
