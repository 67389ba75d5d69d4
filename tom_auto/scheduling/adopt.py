"""`schedule init`: a schedule.toml for a TOM that has none, in place of an older line of cron.

tomtoolkit's documentation and its tutorials have people put `updatestatus`, `downloaddata` or an
`updatedata` of their own into the crontab. Beside the jobs of schedule.toml they would ask every
observatory twice.
"""

import os
import re
import secrets
import sys
from pathlib import Path

from . import cron_block, cron_table
from .command_to_type import typed
from .cron_expression import BadExpression, five_fields
from .definition import FILE, OWN_ENVIRONMENT, ScheduleError, read_schedule
from .install import BACKUPS, changed, difference, indented
from .interpreter import refuse_unusable
from .moved import remember
from .plan import Plan, Site, plan_of

#: The commands that `updatedata` replaces.
OLD = rb'updatestatus|downloaddata|updatedata'
NAMES = re.compile(rb'(?:^|[\s;&/\'"])manage\.py[\'"]?\s+(?:' + OLD + rb')(?![\w-])')
LINE = re.compile(rb'\s*(@\w+\s+|(?:\S+\s+){5})(.*?)\s*')
REPLACED = b'# Replaced by tom-auto: '
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
    old = old_lines(table, site.project)
    said = _write(site, [when for _, _, when in old])
    if trouble:
        return [*said, f'Whether an older line starts its jobs is not known: {trouble}']
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


def old_lines(table: bytes, project: Path) -> list[tuple[int, int, str]]:
    """The lines of `table` that run an older command of this project: start, end, and when.

    `when` is a word of schedule.toml where the line has that meaning, or its five fields.
    """
    block = cron_block.find_block(table, project)
    found = []
    for line in re.finditer(cron_block.LINE, table):
        inside = block and block.start <= line.start() < block.end
        entry = LINE.fullmatch(line.group())
        if inside or entry is None or line.group().lstrip().startswith(b'#'):
            continue
        if NAMES.search(entry[2]) and _is_about(entry[2], project):
            found.append((*line.span(), _when(os.fsdecode(entry[1]).split())))
    return found


def replaced(table: bytes, plan: Plan) -> bytes:
    """`table` with the jobs of `plan`, and the older lines as comments."""
    for start, end, _ in reversed(old_lines(table, plan.project)):
        table = table[:start] + REPLACED + table[start:end].lstrip() + table[end:]
    return changed(table, plan)


def _table() -> tuple[bytes, str]:
    try:
        return cron_table.read_table(), ''
    except ScheduleError as error:
        return b'', str(error)


def _is_about(command: bytes, project: Path) -> bool:
    """Whether a command names the directory of the project, as a path or by a `cd`."""
    home = os.fsencode(Path.home())
    for short in (b'~/', b'$HOME/', b'${HOME}/'):
        command = command.replace(short, home + b'/')
    here = re.escape(os.fsencode(project))
    return (
        re.search(rb'(?:^|[\s\'"=;&])' + here + rb'(?:/manage\.py)?/?(?=[\s\'";&]|$)', command)
        is not None
    )


def _when(fields: list[str]) -> str:
    text = ' '.join(fields)
    words = {'@hourly': 'hourly', '@daily': 'daily', '@midnight': 'daily'}
    if text in words:
        return words[text]
    if re.fullmatch(r'\d+ \* \* \* \*', text):
        return 'hourly'
    try:
        five_fields(text, '', '')
        return text
    except BadExpression:
        return 'hourly'


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
