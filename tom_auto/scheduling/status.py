"""Compares the crontab with schedule.toml, and warns about what would keep it from running."""

import os
import re

from . import cron_block, cron_table
from .cron_line import crontab_lines
from .definition import FILE, ScheduleError
from .install import AGAIN, indented
from .interpreter import refuse_unusable
from .job_log import log_file
from .obstacles import cron_daemon_runs, machine_warnings
from .plan import Plan

CURRENT, NOT_INSTALLED, STALE = 0, 1, 2
#: The shells that understand the lines.
SH = re.compile(r'(.*/)?(ba|da|a|k|z|)sh')
#: Variables that would change the Python, the settings or the time of a job.
HARMFUL = {'PYTHONHOME', 'PYTHONPATH', 'DJANGO_SETTINGS_MODULE', 'CRON_TZ'}


def status(plan: Plan) -> tuple[int, list[str]]:
    """An exit status (CURRENT, NOT_INSTALLED, STALE), and the lines to print."""
    table, lines = cron_table.read_table(), crontab_lines(plan)
    try:
        old = cron_block.find_block(table, plan.project)
    except ScheduleError as error:
        return STALE, [str(error)]
    if not old and not cron_block.all_copied(table, lines):
        reason = '' if lines else f' No job is enabled in {FILE}.'
        return NOT_INSTALLED, [f'Not installed.{reason}', f'To install: {AGAIN}']
    trouble = _trouble(table, plan, old)
    if trouble:
        return STALE, [f'Installed, but {trouble}', f'After fixing that: {AGAIN}']
    report = ['Installed and current:', *indented(plan), *warnings(plan)]
    return (STALE if cron_daemon_runs() is False else CURRENT), report


def _trouble(table: bytes, plan: Plan, old: cron_block.Block | None) -> str:
    """Why the lines in the crontab would not work; empty if they would."""
    if old and old.path != os.fsencode(plan.project):
        return f'for {os.fsdecode(old.path)}, and this TOM is now in {plan.project}.'
    lines = crontab_lines(plan)
    if old and cron_block.with_block(table, plan.project, plan.slug, lines, old) != table:
        return (
            'out of date: the lines in the crontab, schedule.toml or the Python of this TOM '
            'have changed since.'
        )
    try:
        refuse_unusable(plan.start, plan.project)
    except ScheduleError as error:
        return f'it cannot run: {error}'
    logs = log_file(plan.project).parent
    if not os.access(logs, os.W_OK | os.X_OK):
        return f'it cannot run: its log directory {logs} is missing or cannot be written.'
    return ''


def warnings(plan: Plan) -> list[str]:
    """What else could keep the installed lines from running, or run them twice."""
    table = cron_table.read_table()
    old = cron_block.find_block(table, plan.project)
    copies = cron_block.copies_outside(table, old, crontab_lines(plan)) if old else ()
    found = [
        f'line {number} of your crontab runs the same job a second time. Delete it: crontab -e'
        for number in copies
    ]
    found += [
        f'from line {number} on, your crontab has the jobs of a TOM in {os.fsdecode(path)}, which no '
        'longer exists. If it will not come back, delete these lines: crontab -e'
        for number, path in cron_block.abandoned(table, plan.project).items()
    ]
    found += _harmful_settings(table[: old.start] if old else b'')
    media = plan.media or plan.project / 'data'
    machine = machine_warnings(plan.project, media, cron_daemon_runs())
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
