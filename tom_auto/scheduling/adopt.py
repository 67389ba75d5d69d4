"""`schedule init`: a schedule.toml for a TOM that has none, in place of an older line of cron.

tomtoolkit's documentation and its tutorials have people put `updatestatus`, `downloaddata` or an
`updatedata` of their own into the crontab. Beside the jobs of schedule.toml they would ask every
observatory twice.
"""

import os
import secrets
import sys
from pathlib import Path

from . import cron_table
from .command_to_type import typed
from .definition import FILE, OWN_ENVIRONMENT, ScheduleError, read_schedule
from .install import BACKUPS, changed, difference, indented
from .interpreter import refuse_unusable
from .moved import remember
from .older_lines import REPLACED, OlderLine, older_lines
from .plan import Plan, Site, plan_of

WITHOUT = 'the jobs in schedule.toml would run without that.'
PUT_VARIABLES = (
    'Put its variables into settings.py, or into .env if that is read, and DJANGO_SETTINGS_MODULE '
    'into manage.py.'
)
TEXT = """\
# What runs when. After a change: {install}
#
# Each [job] is a command of manage.py, with these options:
#   when     "hourly", "every 15 minutes", "every 6 hours", "daily", or a cron expression of
#            five fields: minute hour day-of-month month day-of-week
#   enabled  false: do not run it
#   timeout  stop it after this many seconds
#   command  if it is more than the name: ["updatedata", "--facility", "LCO"]

environment = "{environment}"  # where the jobs run: "virtualenv", "conda" or "system"
id = "{id}"  # made once for this project: words such as "hourly" get their minute from it

[updatedata]
when = "{when}"

# Reads every stored file once a month and compares it with its checksum, a share of them at each run.
# [auditdata]
# when = "daily"
"""


def init(site: Site, replace: bool) -> list[str]:
    """Write schedule.toml if it is missing, and list the older cron lines that were found.

    `replace`: put the jobs into the crontab in their place. Returns the lines to print.
    """
    table, trouble = _table()
    lines = older_lines(table, site.project)
    old = [line for line in lines if not line.does_more]
    said = [*_write(site, [line.when for line in lines]), *_left(lines)]
    if trouble:
        return [*said, f'Could not check your crontab for older lines: {trouble}']
    if not old:
        return [*said, f'To install it: {typed(site.project, "schedule install")}']
    plan = plan_of(site)
    if not replace:
        after = replaced(table, plan)
        return [
            *said,
            f'Your crontab has {len(old)} older line{"s" if len(old) > 1 else ""} for this TOM. '
            'Replacing would change this:',
            '',
            *difference(table, after, 'crontab'),
            '',
            f'To replace: {typed(site.project, "schedule init --replace")}',
        ]
    refuse_unusable(plan.start, plan.project)
    (site.project / 'logs').mkdir(exist_ok=True)
    backup = cron_table.change_table(lambda now: replaced(now, plan), site.project / BACKUPS)
    remember(site.project, changed=backup is not None)
    return [
        *said,
        f'Replaced {len(old)} older line{"s" if len(old) > 1 else ""} of your crontab, kept as '
        'comments, by:',
        *indented(plan),
        f'A copy of the old crontab: {backup.relative_to(site.project) if backup else "none needed"}',
    ]


def replaced(table: bytes, plan: Plan) -> bytes:
    """`table` with the jobs of `plan`, and as comments the older lines that do nothing else."""
    for line in reversed(older_lines(table, plan.project)):
        if not line.does_more:
            table = table[: line.start] + REPLACED + line.text.lstrip() + table[line.end :]
    return changed(table, plan)


def _left(lines: list[OlderLine]) -> list[str]:
    """What is to be done by hand about the lines that stay."""
    said = []
    for line in lines:
        if line.does_more:
            said += [
                'This line of your crontab does something else as well, and stays as it is:',
                '',
                f'    {os.fsdecode(line.text).strip()}',
                '',
                *_why(line),
                f'Take {" and ".join(line.commands)} out of it with `crontab -e`, or put a # before it '
                'if nothing else is left: updatedata does that now.',
            ]
    return said


def _why(line: OlderLine) -> list[str]:
    """What a line does to the older command itself, and where that belongs now."""
    why = [*line.gives, *(f'pipes its output to {name}' for name in line.readers)]
    said = f'It {" and ".join(why)}: {WITHOUT}'
    return [f'{said} {PUT_VARIABLES}' if line.gives else said] if why else []


def _table() -> tuple[bytes, str]:
    try:
        return cron_table.read_table(), ''
    except ScheduleError as error:
        return b'', str(error)


def _write(site: Site, old: list[str]) -> list[str]:
    file = site.project / FILE
    if file.exists():
        read_schedule(site.project)
        return [f'{file} is there already, and stays as it is.']
    if not (site.project / 'manage.py').is_file():
        raise ScheduleError(
            f'There is no manage.py in {site.project}. Go to the directory that has it.'
        )
    when = old[0] if old else 'hourly'
    text = TEXT.format(
        environment=_environment(site.project),
        id=secrets.token_hex(4),
        when=when,
        install=typed(site.project, 'schedule install'),
    )
    try:
        with file.open('x', encoding='utf-8') as written:
            written.write(text)
    except OSError as error:
        raise ScheduleError(f'{file} cannot be written: {error}') from error
    return [f'{file} is written: updatedata runs {when}. Change it there.']


def _environment(project: Path) -> str:
    """Where the packages of this TOM are, by the Python that runs this."""
    for name, directory in OWN_ENVIRONMENT.items():
        if (project / directory / 'bin' / 'python').exists():
            return name
    if (Path(sys.prefix) / 'conda-meta').is_dir():
        return 'conda'
    return 'virtualenv' if sys.prefix != sys.base_prefix else 'system'
