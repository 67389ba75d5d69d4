"""Reads schedule.toml, the one place that says what runs when.

This package needs the standard library alone: the template's hook runs it with any Python from
3.11 on, before the TOM's own packages are installed.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .cron_expression import BadExpression, five_fields

FILE = 'schedule.toml'
ENVIRONMENTS = ('virtualenv', 'conda', 'system')
EXAMPLE = 'For example:\n\n    [updatedata]\n    when = "hourly"'


class ScheduleError(Exception):
    """Something that a person has to put right. The text says what, where, and what to do."""


@dataclass(frozen=True)
class Job:
    """One management command, and when it runs: five fields as cron(8) reads them."""

    name: str
    when: str
    enabled: bool = True


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
        document = tomllib.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ScheduleError(f'There is no {file}. Make it. {EXAMPLE}') from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScheduleError(f'{file} cannot be read: {error}. {EXAMPLE}') from error
    try:
        return _schedule(document, project)
    except ScheduleError as error:
        raise ScheduleError(f'{file}: {error}') from error


def _schedule(document: dict, project: Path) -> Schedule:
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    for name in document.keys() - tables.keys() - {'environment', 'python'}:
        raise ScheduleError(
            f'"{name}" is no option of the file: those are environment and python. '
            f'A job is a table. {EXAMPLE}'
        )
    return Schedule(
        environment=_environment(document.get('environment')),
        python=_python(document.get('python')),
        jobs=tuple(_job(name, table, project) for name, table in tables.items()),
    )


def _environment(value: object) -> str:
    if value not in ENVIRONMENTS:
        choices = ', '.join(f'"{name}"' for name in ENVIRONMENTS)
        raise ScheduleError(
            f'environment = {_shown(value)}, but it has to be one of {choices}. '
            'Write at the top of the file, for example: environment = "virtualenv"'
        )
    return str(value)


def _python(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and value.startswith('/')):
        raise ScheduleError(
            f'python = {_shown(value)}, but it has to be the whole path of a Python. '
            'For example: python = "/opt/tom/bin/python"'
        )
    return value


def _job(name: str, table: dict, project: Path) -> Job:
    if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', name):
        raise ScheduleError(f'[{name}] does not name a command of manage.py. {EXAMPLE}')
    for option in table.keys() - {'when', 'enabled'}:
        raise ScheduleError(
            f'[{name}] has "{option}", but the options of a job are when and enabled. '
            'Options of the whole file stand at its top, above the first [job].'
        )
    enabled = table.get('enabled', True)
    if not isinstance(enabled, bool):
        raise ScheduleError(
            f'[{name}] enabled = {_shown(enabled)}, but it has to be true or false. '
            'For example: enabled = false'
        )
    return Job(name, _when(name, table.get('when'), project), enabled)


def _when(name: str, value: object, project: Path) -> str:
    try:
        return five_fields(value, project, name)
    except BadExpression as error:
        raise ScheduleError(f'[{name}] when = {_shown(value)}: {error}') from error


def _shown(value: object) -> str:
    """`value` about as the file has it."""
    if value is None:
        return '(missing)'
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
