"""Reads schedule.toml, the one place that says what runs when.

This package needs the standard library alone: the template's hook runs it with any Python from
3.11 on, before the TOM's own packages are installed.
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
#: A key, or several with dots between them, as the name of a table or before a value.
KEY = r'\s*(?:[\w-]+|"[^"]*"|\'[^\']*\')\s*'
NAMED = re.compile(rf'\s*(\[*)({KEY}(?:\.{KEY})*)[\]=]')
CONTROL = r'[\x00-\x1f\x7f]'
LONGEST_TIMEOUT = 7 * 24 * 3600


class ScheduleError(Exception):
    """Something that a person has to put right. The text says what, where, and what to do."""


class _Mistake(ScheduleError):
    """A mistake in the file, and the table and the option where it is, or only one of them."""

    def __init__(self, text: str, *place: str) -> None:
        super().__init__(text)
        self.place = place


@dataclass(frozen=True)
class Job:
    """A management command with its arguments, and when it runs: five fields as cron reads them."""

    name: str
    when: str
    enabled: bool = True
    command: tuple[str, ...] = ()  # where it is not just the name
    timeout: int | None = None  # seconds after which it is stopped

    @property
    def words(self) -> tuple[str, ...]:
        """What follows `manage.py`."""
        return self.command or (self.name,)


@dataclass(frozen=True)
class Schedule:
    """What schedule.toml says: whose Python runs the jobs, and the jobs in the file's order."""

    environment: str
    python: str | None
    jobs: tuple[Job, ...]

    def enabled(self) -> tuple[Job, ...]:
        """The jobs that are to run."""
        return tuple(job for job in self.jobs if job.enabled)


def read_schedule(project: Path) -> Schedule:
    """The schedule of the project in the directory `project`.

    Words such as "hourly" get a minute of the project's own, the same for as long as it stays
    where it is. Raises ScheduleError for a file that is missing or means nothing.
    """
    file = project / FILE
    try:
        text = file.read_text(encoding='utf-8-sig')  # Windows puts a mark before it
        document = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ScheduleError(f'There is no {file}. Make it. {EXAMPLE}') from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScheduleError(f'{file} cannot be read: {error}. {EXAMPLE}') from error
    try:
        return _schedule(document, project)
    except _Mistake as error:
        raise ScheduleError(f'{file}{_line(text, error.place)}: {error}') from error


def _line(text: str, place: tuple[str, ...]) -> str:
    """The line that names `place`, or as much of it as any line does; empty where none does."""
    told, known, table = '', 0, ()
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
            told, known = f', line {number}', same
    return told


def _schedule(document: dict, project: Path) -> Schedule:
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    for name in document.keys() - tables.keys() - {'environment', 'python'}:
        raise _Mistake(
            f'"{name}" is no option of the file: those are environment and python. '
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
        raise _wrong(
            value, 'the whole path of a Python', 'python = "/opt/tom/bin/python"', 'python'
        )
    return value


def _job(name: str, table: dict, project: Path) -> Job:
    if not re.fullmatch(r'[a-z]([a-z0-9_]{0,38}[a-z0-9])?', name):  # Kubernetes takes no _ at ends
        raise _Mistake(
            f'[{name}] cannot be the name of a job: that has small letters, digits and _ between '
            'them, and no more than 40. It is the command of manage.py that runs; where that is called '
            'otherwise, say so with: command = ["the-command"]',
            name,
        )
    for option in table.keys() - set(OPTIONS):
        raise _Mistake(
            f'[{name}] has "{option}", but the options of a job are {", ".join(OPTIONS)}. '
            f'Options of the whole file stand at its top, above the first [job]. {EXAMPLE}',
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
        needed = 'without line breaks and other control characters, which no scheduler passes on'
        raise _wrong(words, needed, 'command = ["updatedata"]', name, 'command')
    return tuple(words)


def _timeout(name: str, table: dict) -> int | None:
    value = table.get('timeout')
    if value is not None and not (type(value) is int and 1 <= value <= LONGEST_TIMEOUT):
        needed = f'a whole number of seconds, from 1 to {LONGEST_TIMEOUT} (a week)'
        raise _wrong(value, needed, 'timeout = 3600', name, 'timeout')
    return value


def _wrong(value: object, needed: str, example: str, *place: str) -> _Mistake:
    """The mistake of an option that has `value`: its place is its table, if it is in one, and it."""
    *tables, option = place
    where = ''.join(f'[{table}] ' for table in tables)
    return _Mistake(
        f'{where}{option} = {_shown(value)}, but it has to be {needed}. For example: {example}',
        *place,
    )


def _shown(value: object) -> str:
    """`value` about as the file has it."""
    return '(missing)' if value is None else json.dumps(value, ensure_ascii=False, default=str)
