"""Turns the schedule into systemd units, and installs them for this user.

Each job is a oneshot service and a timer that starts it. They belong to the project whose path is in their
first line.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from .command_to_type import typed
from .cron_expression import numbers_of
from .definition import FILE, Job, ScheduleError
from .install import difference
from .interpreter import run
from .moved import is_of, remember
from .plan import CURRENT, NOT_INSTALLED, STALE, Plan
from .zone import disagreement

WEEKDAYS = ('Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
COMMAND_SECONDS = 30
OWNER = re.compile(rb'# tom-auto \S+ (.+)')


def units(plan: Plan) -> dict[str, bytes]:
    """The unit files of the enabled jobs, by name. Raises ScheduleError if no unit can be written."""
    owner = b'# tom-auto ' + plan.slug.encode() + b' ' + _utf8(os.fsencode(plan.project)) + b'\n'
    # Two projects may share a name.
    prefix = f'tom-auto-{plan.slug}-{hashlib.sha256(os.fsencode(plan.project)).hexdigest()[:8]}'
    files = {}
    for job in plan.schedule.enabled():
        files[f'{prefix}-{job.name}.service'] = owner + _service(job, plan)
        files[f'{prefix}-{job.name}.timer'] = owner + _timer(job, plan)
    return files


def _utf8(path: bytes) -> bytes:
    r"""`path` as UTF-8, which systemd needs, with `\xff` for other bytes."""
    return path.decode('utf-8', 'backslashreplace').encode()


def _service(job: Job, plan: Plan) -> bytes:
    words = [os.fsencode(word) for word in plan.command(job)]
    if any(b'\n' in word for word in words):
        raise ScheduleError(
            f'{str(plan.project)!r} contains a line break. Move the project to a path without one.'
        )
    text = (
        f'# From {FILE}. Change it there, then install it again: README.md says how.\n'
        f'[Unit]\nDescription=manage.py {job.name}, of the TOM {plan.slug}\n\n'
        f'[Service]\nType=oneshot\n'
    )
    # systemd accepts no program path with quotes or backslashes, but any argument of sh.
    command = b' '.join([b'/bin/sh -c \'exec "$$0" "$$@"\'', *map(_quoted, words)])
    return text.encode() + b'ExecStart=' + command + b'\n'


def _quoted(word: bytes) -> bytes:
    r"""`word` as one word of ExecStart: % and $ are doubled, other bytes become `\xff`."""
    if re.fullmatch(rb'[A-Za-z0-9_@+=:,./-]+', word):
        return word
    escapes = {b'%': b'%%', b'$': b'$$', b'"': b'\\"', b'\\': b'\\\\'}
    text = re.sub(rb'[%$"\\]', lambda found: escapes[found.group()], word)
    text = re.sub(rb'[\x00-\x1f\x7f]', lambda found: b'\\x%02x' % found.group()[0], text)
    return b'"' + _utf8(text) + b'"'


def _timer(job: Job, plan: Plan) -> bytes:
    times = ''.join(f'OnCalendar={when}\n' for when in calendar(job.when))
    return (
        f'[Unit]\nDescription=When manage.py {job.name} of the TOM {plan.slug} runs\n\n'
        # Persistent: runs missed while the machine was off are made up for, once.
        f'[Timer]\n{times}Persistent=true\n\n[Install]\nWantedBy=timers.target\n'
    ).encode()


def calendar(expression: str) -> list[str]:
    """Five cron fields as one or two OnCalendar values; of two, either is enough."""
    minutes, hours, days, months, weekdays = numbers_of(expression)
    time = f'{_list(hours)}:{_list(minutes)}:00'
    by_day = f'*-{_list(months)}-{_list(days)} {time}'
    if weekdays is None:
        return [by_day]
    names = ','.join(dict.fromkeys(WEEKDAYS[number] for number in weekdays))
    by_weekday = f'{names} *-{_list(months)}-* {time}'
    return [by_weekday] if days is None else [by_day, by_weekday]


def _list(numbers: list[int] | None) -> str:
    return '*' if numbers is None else ','.join(f'{number:02}' for number in numbers)


def install(plan: Plan) -> list[str]:
    """Install the units of `plan` for this user, and start their timers.

    Returns the lines to print. Raises ScheduleError if systemd does not answer.
    """
    files = units(plan)
    _systemctl('show-environment')
    if not files:
        return [f'No job is enabled in {FILE}.', *remove(plan.project)]
    old = installed(plan.project)
    _disable([name for name in old if name not in files])
    directory = unit_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_bytes(text)
    except OSError as error:
        raise ScheduleError(f'The units cannot be written: {error}') from error
    _systemctl('daemon-reload')
    timers = _timers(files)
    _systemctl('enable', *timers)
    _systemctl('restart', *timers)
    remember(plan.project, changed=old != files)
    return [
        f'Installed in {directory}:',
        '',
        *(f'    {name}' for name in files),
        '',
        f'The output of the jobs: journalctl --user -u {timers[0].removesuffix(".timer")}',
    ]


def preview(plan: Plan) -> list[str]:
    old, files = installed(plan.project), units(plan)
    if old == files:
        return ['Nothing to do: systemd already has these units.']
    changes = (
        difference(old.get(name, b''), files.get(name, b''), name)
        for name in sorted({*old, *files})
    )
    return [*(line for change in changes for line in change), 'Nothing was changed.']


def remove(project: Path) -> list[str]:
    """Stop the project's timers and remove its units. Returns the lines to print."""
    old = installed(project)
    if not old:
        return ['Nothing to remove: you have no systemd units of this TOM.']
    _disable([*old])
    _systemctl('daemon-reload')
    return [f'Removed from {unit_directory()}:', '', *(f'    {name}' for name in old), '']


def status(plan: Plan) -> tuple[int, list[str]]:
    found, files = installed(plan.project), units(plan)
    again = typed(plan.project, 'schedule install --format systemd')
    if not found:
        return NOT_INSTALLED, ['Not installed.', f'To install: {again}']
    if found != files:
        return STALE, [
            'Installed, but out of date: schedule.toml, the TOM or its Python have changed.',
            f'To bring it up to date: {again}',
        ]
    for name in _timers(files):
        try:
            _systemctl('is-active', name)
        except ScheduleError as error:
            return STALE, [
                f'Installed, but {name} is not active. {error}',
                f'After fixing that: {again}',
            ]
    return CURRENT, ['Installed and current: ' + ', '.join(files)]


def unit_directory() -> Path:
    config = os.environ.get('XDG_CONFIG_HOME', '')
    return (Path(config) if config.startswith('/') else Path.home() / '.config') / 'systemd/user'


def installed(project: Path) -> dict[str, bytes]:
    """The units of the project by name, including those that it left behind in a move."""
    found = {}
    with contextlib.suppress(OSError):  # a home that is not readable has none
        for file in sorted(unit_directory().glob('tom-auto-*')):
            if file.is_file():  # a directory holds what `systemctl --user edit` adds to a unit
                found[file.name] = file.read_bytes()
    return {name: text for name, text in found.items() if _belongs(text, project)}


def _belongs(unit: bytes, project: Path) -> bool:
    owner = OWNER.match(unit)
    if not owner:
        return False
    path = owner.group(1)
    escaped = rb'\\x([89a-f][0-9a-f])'  # from _utf8, or really part of the path: try both
    return is_of(project, path) or is_of(
        project, re.sub(escaped, lambda found: bytes.fromhex(found.group(1).decode()), path)
    )


def _timers(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.endswith('.timer')]


def _disable(names: list[str]) -> None:
    if timers := _timers(names):
        _systemctl('disable', '--now', *timers)
    for name in names:
        (unit_directory() / name).unlink(missing_ok=True)


def warnings(plan: Plan) -> list[str]:
    """Without lingering, a user's units stop when the user logs out."""
    command = ['loginctl', 'show-user', str(os.getuid()), '--property=Linger']
    status, said = run(command, COMMAND_SECONDS)
    found = []
    if status != 'failed' and 'Linger=yes' not in said:
        found.append('they stop when you log out. To keep them running: loginctl enable-linger')
    if plan.schedule.environment == 'docker' and (zones := disagreement(plan.project)):
        found.append(zones)
    return [f'Warning: {sentence}' for sentence in found]


def _systemctl(*words: str) -> None:
    status, said = run(['systemctl', '--user', *words], COMMAND_SECONDS)
    if status:
        raise ScheduleError(
            f'systemd does not work here (systemctl --user {" ".join(words)}): {said}\n'
            'For cron instead, leave out: --format systemd'
        )
