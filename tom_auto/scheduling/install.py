"""Puts the project's lines into this user's crontab, removes them, and says whether they work.

It does so without asking, because somebody typed `schedule install`. When a TOM is generated, it is
`hooks/post_gen_project.py` that asks for consent first.
"""

import contextlib
import difflib
import os
import re
from pathlib import Path

from . import cron_block, cron_table
from .command_to_type import typed
from .cron_line import crontab_lines
from .definition import FILE, ScheduleError
from .interpreter import refuse_unusable
from .job_log import log_file
from .moved import remember
from .obstacles import cron_daemon_runs, machine_warnings
from .older_lines import REPLACED, replaced_lines
from .plan import CURRENT, NOT_INSTALLED, STALE, Plan
from .zone import disagreement

BACKUPS = Path('.cache') / 'crontab'
#: The shells that understand the lines.
SH = re.compile(r'(.*/)?(ba|da|a|k|z|)sh')
#: Variables that would change the Python, the settings or the time of a job.
HARMFUL = {'PYTHONHOME', 'PYTHONPATH', 'DJANGO_SETTINGS_MODULE', 'CRON_TZ'}


def install(plan: Plan) -> list[str]:
    """Put the lines of `plan` into the crontab, once. Returns the lines to print."""
    if not crontab_lines(plan):  # which refuses a path that no crontab can hold
        return [f'No job is enabled in {FILE}.', *remove(plan.project)]
    refuse_unusable(plan.start, plan.project)
    _make_log_directory(log_file(plan.project).parent)
    backup = cron_table.change_table(lambda table: changed(table, plan), plan.project / BACKUPS)
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
    after = changed(before, plan)
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


def changed(table: bytes, plan: Plan) -> bytes:
    """`table` with the lines of `plan`, and every other byte as it was."""
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
        return ['Nothing to remove: your crontab has no lines of this TOM.', *_replaced(project)]
    return [
        'Removed from your crontab. Every other line is unchanged.',
        f'A copy of the old crontab: {backup.relative_to(project)}',
        *_replaced(project),
        f'To install again: {_again(project)}',
    ]


def _replaced(project: Path) -> list[str]:
    """The older lines that `schedule init --replace` has switched off, and how to have them back."""
    lines = replaced_lines(cron_table.read_table(), project)
    if not lines:
        return []
    return [
        'The lines that updated this TOM before are still comments. Unless something else updates it '
        f'now, delete `{os.fsdecode(REPLACED).strip()}` in front of them with `crontab -e`:',
        '',
        *(f'    {os.fsdecode(line.text).strip()}' for line in lines),
        '',
    ]


def _without_lines(table: bytes, project: Path) -> bytes:
    old = cron_block.find_block(table, project)
    if not old:
        return table
    cron_block.refuse_what_cannot_be_kept(table)
    return cron_block.without_block(table, old)


def installed(project: Path) -> bool:
    """Whether the crontab has lines of the project; False if it cannot be read."""
    with contextlib.suppress(ScheduleError):
        return cron_block.find_block(cron_table.read_table(), project) is not None
    return False


def status(plan: Plan) -> tuple[int, list[str]]:
    """An exit status (CURRENT, NOT_INSTALLED, STALE), and the lines to print."""
    table, lines = cron_table.read_table(), crontab_lines(plan)
    try:
        old = cron_block.find_block(table, plan.project)
    except ScheduleError as error:
        return STALE, [str(error)]
    again = _again(plan.project)
    if not lines and not old:
        start = f'Take out "enabled = false" in {FILE}, then type: {again}'
        return NOT_INSTALLED, [f'Not installed. No job is enabled in {FILE}.', start]
    if not old and not cron_block.all_copied(table, lines):
        return NOT_INSTALLED, ['Not installed.', f'To install: {again}']
    if change := _out_of_date(table, plan, old):
        return STALE, [f'Installed, but {change}', f'To bring it up to date: {again}']
    if trouble := _trouble(plan):
        return STALE, [f'Installed, but it cannot run: {trouble}', f'After fixing that: {again}']
    report = ['Installed and current:', *indented(plan), *warnings(plan)]
    if cron_daemon_runs() is not False:
        return CURRENT, report
    check = typed(plan.project, 'schedule status')
    return STALE, ['Installed, but nothing starts it:', *report[1:], f'To check again: {check}']


def _again(project: Path) -> str:
    return typed(project, 'schedule install')


def _out_of_date(table: bytes, plan: Plan, old: cron_block.Block | None) -> str:
    """In what the lines in the crontab are not those of today; empty if they are."""
    if old and old.path != os.fsencode(plan.project):
        return f'for {os.fsdecode(old.path)}, and this TOM is now in {plan.project}.'
    lines = crontab_lines(plan)
    if old and cron_block.with_block(table, plan.project, plan.slug, lines, old) != table:
        return (
            'out of date: the lines in the crontab, schedule.toml or the Python of this TOM '
            'have changed since.'
        )
    return ''


def _trouble(plan: Plan) -> str:
    """Why the lines would not work; empty if they would."""
    try:
        refuse_unusable(plan.start, plan.project)
    except ScheduleError as error:
        return str(error)
    logs = log_file(plan.project).parent
    if not os.access(logs, os.W_OK | os.X_OK):
        return f'its log directory {logs} is missing or cannot be written.'
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
    if plan.schedule.environment == 'docker' and (zones := disagreement(plan.project)):
        found.append(zones)
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
