"""Reads schedule.toml, which says what runs when.

This package needs only the standard library: the template's hook runs it with any Python from 3.11 on,
before the TOM's packages are installed.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .cron_expression import BadExpression, five_fields

FILE = 'schedule.toml'
CONTAINERS = ('docker', 'kubernetes')
ENVIRONMENTS = ('virtualenv', 'conda', 'system', *CONTAINERS)
#: Where an environment is made in the project, and the service that runs the jobs in a container.
OWN_ENVIRONMENT = {'virtualenv': '.venv', 'conda': '.conda'}
SERVICE = 'web'
JOB_OPTIONS = ('when', 'enabled', 'command', 'timeout')
EXAMPLE = 'For example:\n\n    environment = "virtualenv"\n\n    [updatedata]\n    when = "hourly"'
#: A key, or several joined by dots, as the name of a table or before a value.
KEY = r'\s*(?:[\w-]+|"[^"]*"|\'[^\']*\')\s*'
NAMED = re.compile(rf'\s*(\[*)({KEY}(?:\.{KEY})*)[\]=]')
LONGEST_TIMEOUT = 7 * 24 * 3600
#: In this order commands begin that are due in the same minute: each builds on those before it.
ORDER = ('updatedata', 'updatecadences', 'updatetargets', 'findrequests')


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

    @property
    def is_ordered(self) -> bool:
        """Whether it waits for its turn among the jobs of its minute."""
        return self.words[0] in ORDER

    @property
    def place(self) -> int:
        """Its place among them; all others come last."""
        return ORDER.index(self.words[0]) if self.is_ordered else len(ORDER)


@dataclass(frozen=True)
class Schedule:
    """The content of schedule.toml: which Python runs the jobs, and the jobs in their order."""

    environment: str
    python: str | None
    jobs: tuple[Job, ...]

    def enabled(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.enabled)


def read_schedule(project: Path) -> Schedule:
    """The schedule of the project in the directory `project`.

    Words such as "hourly" get a minute that depends on the project's `id`. Without one they get it
    from its path. Raises ScheduleError if the file is missing or has mistakes.
    """
    file = project / FILE
    try:
        text = file.read_text(encoding='utf-8-sig')  # Windows editors may write a byte order mark
    except FileNotFoundError as error:
        is_django = (project / 'manage.py').is_file()
        how = 'Have one made (manage.py schedule init), or write it.' if is_django else 'Write one.'
        raise ScheduleError(f'There is no {file}. {how} {EXAMPLE}') from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error
    return _read(file, text)


def environment_of(project: Path) -> str:
    """Where the jobs run; empty if the schedule cannot be read: whoever needs it says what is wrong."""
    try:
        return read_schedule(project).environment
    except ScheduleError:
        return ''


@lru_cache(maxsize=8)  # a page with 25 failures names a command for each
def _read(file: Path, text: str) -> Schedule:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(file, error) from error
    try:
        return _schedule(document, file.parent)
    except _Mistake as error:
        raise ScheduleError(f'{file}{_line(text, error.place)}: {error}') from error


def _unreadable(file: Path, error: Exception) -> ScheduleError:
    return ScheduleError(f'{file} cannot be read: {error}. {EXAMPLE}')


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
    for name in document.keys() - tables.keys() - {'environment', 'id', 'python'}:
        raise _Mistake(
            f'"{name}" is not an option of the file. The options are environment, id and python. '
            f'A job is a table. {EXAMPLE}',
            name,
        )
    choices = ', '.join(f'"{name}"' for name in ENVIRONMENTS)
    needed = f'one of {choices}. For example: environment = "virtualenv"'
    environment = _value(document, 'environment', ENVIRONMENTS.__contains__, needed, required=True)
    needed = 'the full path of a Python. For example: python = "/opt/tom/bin/python"'
    python = _value(document, 'python', _is_path, needed)
    needed = 'letters and digits, made once for this project. For example: id = "7f3a09c2"'
    project_id = _value(document, 'id', _is_id, needed)
    # The path of the host says nothing in a container, nor the other way round.
    seed = project_id or ('' if environment in CONTAINERS else os.fspath(project))
    jobs = tuple(_job(name, table, seed) for name, table in tables.items())
    return Schedule(environment, python, jobs)


def _job(name: str, table: dict, seed: str) -> Job:
    if not re.fullmatch(r'[a-z]([a-z0-9_]{0,38}[a-z0-9])?', name):  # Kubernetes takes no _ at ends
        raise _Mistake(
            f'[{name}] is not a valid job name. Use up to 40 lower case letters and digits, with _ '
            'between them. The name is the command of manage.py; if the command has another '
            'name, write: command = ["the-command"]',
            name,
        )
    for option in table.keys() - set(JOB_OPTIONS):
        raise _Mistake(
            f'[{name}] has "{option}", but the options of a job are {", ".join(JOB_OPTIONS)}. '
            f'Options of the whole file go at its top, above the first [job]. {EXAMPLE}',
            name,
            option,
        )
    needed = 'true or false. For example: enabled = false'
    enabled = _value(table, 'enabled', lambda value: isinstance(value, bool), needed, name)
    needed = (
        'a list: a command of manage.py, then its arguments, without line breaks. For example: '
        'command = ["updatedata", "--facility", "LCO"]'
    )
    command = _value(table, 'command', _is_command, needed, name)
    if name == 'updatedata' and command and command[0] != name:
        raise _Mistake(
            f'[{name}] runs {command[0]}. Give the job of another command another name',
            name,
            'command',
        )
    needed = (
        f'a whole number of seconds, from 1 to {LONGEST_TIMEOUT} (a week). For example: '
        'timeout = 3600'
    )
    timeout = _value(table, 'timeout', _is_timeout, needed, name)
    try:
        # "hourly" is one minute for all of ORDER, so that they follow each other.
        when = five_fields(table.get('when'), seed, ORDER[0] if name in ORDER else name)
    except BadExpression as error:
        text = f'[{name}] when = {_shown(table.get("when"))}: {error}'
        raise _Mistake(text, name, 'when') from error
    return Job(name, when, enabled is not False, tuple(command or ()), timeout)


def _value(
    table: dict,
    option: str,
    is_sound: Callable[[Any], bool],
    needed: str,
    job: str = '',
    required: bool = False,
) -> Any:
    """The value of an option; None without one. Raises _Mistake if it is not sound."""
    value = table.get(option)
    if is_sound(value) or (value is None and not required):
        return value
    text = f'{option} = {_shown(value)}, but it must be {needed}'
    raise _Mistake(f'[{job}] {text}', job, option) if job else _Mistake(text, option)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and not re.search(r'[\x00-\x1f\x7f]', value)


def _is_path(value: object) -> bool:
    return _is_word(value) and str(value).startswith('/')


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch('[A-Za-z0-9]{1,40}', value))


def _is_timeout(value: object) -> bool:
    return type(value) is int and 1 <= value <= LONGEST_TIMEOUT


def _is_command(value: object) -> bool:
    is_list = isinstance(value, list) and value and all(_is_word(word) for word in value)
    return bool(is_list and re.fullmatch(r'[A-Za-z][A-Za-z0-9_-]*', value[0]))


def _shown(value: object) -> str:
    """`value`, about as it is in the file."""
    return '(missing)' if value is None else json.dumps(value, ensure_ascii=False, default=str)


def slug_of(project: Path) -> str:
    """The name of the project's Python package, which does not change in a move."""
    try:
        manage = (project / 'manage.py').read_text(encoding='utf-8')
    except OSError as error:
        raise ScheduleError(f'The jobs run manage.py, which cannot be read: {error}') from error
    name = re.search(r'DJANGO_SETTINGS_MODULE\W+(\w+)\.', manage)
    return name.group(1) if name else 'tom'
