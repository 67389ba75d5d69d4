"""Reads schedule.toml, which says what runs when.

This package needs only the standard library: the template's hook runs it with any Python from 3.11 on,
before the TOM's packages are installed.
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .cron_expression import BadExpression, five_fields

FILE = 'schedule.toml'
ENVIRONMENTS = ('virtualenv', 'conda', 'system', 'docker', 'kubernetes')
OPTIONS = ('when', 'enabled', 'command', 'timeout')
EXAMPLE = 'For example:\n\n    environment = "virtualenv"\n\n    [updatedata]\n    when = "hourly"'
#: A key, or several joined by dots, as the name of a table or before a value.
KEY = r'\s*(?:[\w-]+|"[^"]*"|\'[^\']*\')\s*'
NAMED = re.compile(rf'\s*(\[*)({KEY}(?:\.{KEY})*)[\]=]')
CONTROL = r'[\x00-\x1f\x7f]'
LONGEST_TIMEOUT = 7 * 24 * 3600


class ScheduleError(Exception):
    """Something that a person has to fix. The text says what, where, and how."""


class _Mistake(ScheduleError):
    """A mistake in the file, and its place: the table, the option, or both."""

    def __init__(self, text: str, *place: str) -> None:
        super().__init__(text)
        self.place = place


@dataclass(frozen=True)
class Job:
    """A management command with its arguments, and when it runs, as five cron fields."""

    name: str
    when: str
    enabled: bool = True
    command: tuple[str, ...] = ()  # if it is more than the name
    timeout: int | None = None  # seconds after which it is stopped

    @property
    def words(self) -> tuple[str, ...]:
        """The words after `manage.py`."""
        return self.command or (self.name,)


@dataclass(frozen=True)
class Schedule:
    """The content of schedule.toml: which Python runs the jobs, and the jobs in their order."""

    environment: str
    python: str | None
    jobs: tuple[Job, ...]

    def enabled(self) -> tuple[Job, ...]:
        """The enabled jobs."""
        return tuple(job for job in self.jobs if job.enabled)


def read_schedule(project: Path) -> Schedule:
    """The schedule of the project in the directory `project`.

    Words such as "hourly" get a minute that depends on the project's path. Raises ScheduleError if the
    file is missing or has mistakes.
    """
    file = project / FILE
    try:
        text = file.read_text(encoding='utf-8-sig')  # Windows editors may write a byte order mark
        document = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ScheduleError(f'There is no {file}. Write one. {EXAMPLE}') from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScheduleError(f'{file} cannot be read: {error}. {EXAMPLE}') from error
    try:
        return _schedule(document, project)
    except _Mistake as error:
        raise ScheduleError(f'{file}{_line(text, error.place)}: {error}') from error


def _line(text: str, place: tuple[str, ...]) -> str:
    """The number of the line that names `place`, or most of it; empty if no line does."""
    found, known, table = '', 0, ()
    for number, line in enumerate(text.splitlines(), start=1):
        named = NAMED.match(line)
        if not named:
            continue
        keys = tuple(key.strip(' \t"\'') for key in re.findall(KEY, named.group(2)))
        if named.group(1):
            table, path = keys, keys
        else:
            path = (*table, *keys)
        same = len(os.path.commonprefix([path, place]))
        if same > known:
            found, known = f', line {number}', same
    return found


def _schedule(document: dict, project: Path) -> Schedule:
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    for name in document.keys() - tables.keys() - {'environment', 'python'}:
        raise _Mistake(
            f'"{name}" is not an option of the file. The options are environment and python. '
            f'A job is a table. {EXAMPLE}',
            name,
        )
    return Schedule(
        environment=_environment(document.get('environment')),
        python=_python(document.get('python')),
        jobs=tuple(_job(name, table, project) for name, table in tables.items()),
    )


def _environment(value: object) -> str:
    if value not in ENVIRONMENTS:
        choices = ', '.join(f'"{name}"' for name in ENVIRONMENTS)
        raise _wrong(value, f'one of {choices}', 'environment = "virtualenv"', 'environment')
    return str(value)


def _python(value: object) -> str | None:
    sound = isinstance(value, str) and value.startswith('/') and not re.search(CONTROL, value)
    if value is not None and not sound:
        raise _wrong(value, 'the full path of a Python', 'python = "/opt/tom/bin/python"', 'python')
    return value


def _job(name: str, table: dict, project: Path) -> Job:
    if not re.fullmatch(r'[a-z]([a-z0-9_]{0,38}[a-z0-9])?', name):  # Kubernetes takes no _ at ends
        raise _Mistake(
            f'[{name}] is not a valid job name. Use up to 40 lower case letters and digits, with _ '
            'between them. The name is the command of manage.py; if the command has another '
            'name, write: command = ["the-command"]',
            name,
        )
    for option in table.keys() - set(OPTIONS):
        raise _Mistake(
            f'[{name}] has "{option}", but the options of a job are {", ".join(OPTIONS)}. '
            f'Options of the whole file go at its top, above the first [job]. {EXAMPLE}',
            name,
            option,
        )
    enabled = table.get('enabled', True)
    if not isinstance(enabled, bool):
        raise _wrong(enabled, 'true or false', 'enabled = false', name, 'enabled')
    when = _when(name, table.get('when'), project)
    return Job(name, when, enabled, _command(name, table), _timeout(name, table))


def _when(name: str, value: object, project: Path) -> str:
    try:
        return five_fields(value, project, name)
    except BadExpression as error:
        raise _Mistake(f'[{name}] when = {_shown(value)}: {error}', name, 'when') from error


def _command(name: str, table: dict) -> tuple[str, ...]:
    if 'command' not in table:
        return ()
    words = table['command']
    sound = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not sound or not words or not re.fullmatch(r'[A-Za-z][A-Za-z0-9_-]*', words[0]):
        needed = 'a list: a command of manage.py, then its arguments'
        example = 'command = ["updatedata", "--facility", "LCO"]'
        raise _wrong(words, needed, example, name, 'command')
    if any(re.search(CONTROL, word) for word in words):
        needed = 'without line breaks and other control characters'
        raise _wrong(words, needed, 'command = ["updatedata"]', name, 'command')
    return tuple(words)


def _timeout(name: str, table: dict) -> int | None:
    value = table.get('timeout')
    if value is not None and not (type(value) is int and 1 <= value <= LONGEST_TIMEOUT):
        needed = f'a whole number of seconds, from 1 to {LONGEST_TIMEOUT} (a week)'
        raise _wrong(value, needed, 'timeout = 3600', name, 'timeout')
    return value


def _wrong(value: object, needed: str, example: str, *place: str) -> _Mistake:
    """The mistake of an option with a wrong `value`; `place` is its table, if any, and its name."""
    *tables, option = place
    where = ''.join(f'[{table}] ' for table in tables)
    return _Mistake(
        f'{where}{option} = {_shown(value)}, but it must be {needed}. For example: {example}',
        *place,
    )


def _shown(value: object) -> str:
    """`value`, about as it is in the file."""
    return '(missing)' if value is None else json.dumps(value, ensure_ascii=False, default=str)
