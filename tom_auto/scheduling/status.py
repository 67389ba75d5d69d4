"""Compares the crontab with schedule.toml, and warns about what would keep it from running."""

import os
import re
from pathlib import Path

from . import cron_block, cron_table
from .cron_line import log_file
from .definition import FILE, ScheduleError
from .install import AGAIN, Wanted
from .interpreter import refuse_unusable
from .obstacles import cron_daemon_runs, machine_warnings
from .systemd import installed_units

CURRENT, NOT_INSTALLED, STALE = 0, 1, 2
#: The shells that understand the lines.
SH = re.compile(r'(.*/)?(ba|da|a|k|z|)sh')
#: Variables that would change the Python, the settings or the time of a job.
HARMFUL = {'PYTHONHOME', 'PYTHONPATH', 'DJANGO_SETTINGS_MODULE', 'CRON_TZ'}


def status(want: Wanted, media: Path | None = None) -> tuple[int, list[str]]:
    """An exit status (CURRENT, NOT_INSTALLED, STALE), and the lines to print.

    `media` is the directory of the data, if known.
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
        return STALE, [f'Installed, but {trouble}', f'After fixing that: {AGAIN}']
    lines = ['Installed and current:', *want.shown(), *warnings(want, media)]
    return (STALE if cron_daemon_runs() is False else CURRENT), lines


def _trouble(table: bytes, want: Wanted, old: cron_block.Block | None) -> str:
    """Why the lines in the crontab would not work; empty if they would."""
    if old and old.path != os.fsencode(want.project):
        return f'for {os.fsdecode(old.path)}, and this TOM is now in {want.project}.'
    if old and cron_block.with_block(table, want.project, want.slug, want.lines, old) != table:
        return (
            'out of date: the lines in the crontab, schedule.toml or the Python of this TOM '
            'have changed since.'
        )
    try:
        refuse_unusable(want.start, want.project)
    except ScheduleError as error:
        return f'it cannot run: {error}'
    logs = log_file(want.project).parent
    if not os.access(logs, os.W_OK | os.X_OK):
        return f'it cannot run: its log directory {logs} is missing or cannot be written.'
    return ''


def warnings(want: Wanted, media: Path | None = None) -> list[str]:
    """What else could keep the installed lines from running, or run them twice."""
    table = cron_table.read_table()
    old = cron_block.find_block(table, want.project)
    found = [
        f'line {number} of your crontab runs the same job a second time. Delete it: crontab -e'
        for number in (cron_block.copies_outside(table, old, want.lines) if old else ())
    ]
    if installed_units(want.project):
        found.append(
            'systemd timers start the same jobs a second time. To remove them: '
            'python manage.py schedule remove --format systemd'
        )
    found += [
        f'from line {number} on, your crontab has the jobs of a TOM in {os.fsdecode(path)}, which no '
        'longer exists. If it will not come back, delete these lines: crontab -e'
        for number, path in cron_block.abandoned(table, want.project).items()
    ]
    found += _harmful_settings(table[: old.start] if old else b'')
    machine = machine_warnings(want.project, media or want.project / 'data', cron_daemon_runs())
    return [f'Warning: {sentence}' for sentence in [*found, *machine]]


def _harmful_settings(above: bytes) -> list[str]:
    """The variables that the crontab sets `above` the lines and that may break them."""
    setting = rb'(?m)^[ \t]*["\']?(\w+)["\']?[ \t]*=[ \t]*["\']?(.*?)["\']?[ \t]*$'
    variables = {os.fsdecode(name): os.fsdecode(text) for name, text in re.findall(setting, above)}
    harmful = {
        name: text
        for name, text in variables.items()
        if name in HARMFUL or (name == 'SHELL' and not SH.fullmatch(text))
    }
    return [
        f'your crontab sets {name}={text} above this job, which may break it. Move the block above '
        'that line: crontab -e'
        for name, text in harmful.items()
    ]
