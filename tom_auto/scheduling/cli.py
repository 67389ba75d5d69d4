"""The actions of `manage.py schedule` and of `python -m tom_auto.scheduling`."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cron_line import log_file
from .definition import FILE, Schedule, ScheduleError, read_schedule
from .install import checked_schedule, has_lines, install, preview, remove, slug_of, wanted
from .interpreter import COMPOSE_FILE, command_start
from .kubernetes import manifests
from .status import CURRENT, NOT_INSTALLED, STALE, status, warnings
from .systemd import install_units, installed_units, preview_units, remove_units, unit_state, units

ACTIONS = {
    'show': 'print what would be installed, and change nothing',
    'install': 'put the lines into your crontab, or update them; every other line stays',
    'remove': 'remove the lines from your crontab; every other line stays',
    'status': 'exit 0: installed and well; 1: not installed; 2: out of date, overdue, or failing',
}
FORMATS = {
    'show': ('crontab', 'systemd', 'kubernetes'),
    'install': ('crontab', 'systemd'),
    'remove': ('crontab', 'systemd'),
    'status': ('crontab', 'systemd'),
}
TWICE = (
    'Warning: your crontab starts the same jobs a second time. To remove its lines: '
    'python manage.py schedule remove'
)
ON_THE_HOST = (
    'This is inside a container. The crontab line belongs in the crontab of the machine that runs '
    'the containers. On that machine, in the directory of the project, type: '
    'python3 -m tom_auto.scheduling install. If it has no cron, use the scheduler container: set '
    'COMPOSE_PROFILES=scheduler in .env, then type: docker compose up --detach --wait'
)


@dataclass(frozen=True)
class Site:
    """What is known about the TOM. Without Django that is only its directory.

    `project` is the directory of manage.py, `python` the Python that runs it now, `commands` the names
    of its commands, `media` the directory of the data. `health` returns the state of the jobs: what
    is well, and what is wrong.
    """

    project: Path
    python: Path | None = None
    commands: set[str] | None = None
    media: Path | None = None
    health: Callable[[], tuple[list[str], list[str]]] = lambda: ([], [])


def add_actions(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """Add ACTIONS to `parser`, as `action`, with their options."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='|'.join(ACTIONS))
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument(
            '--format', choices=FORMATS[name], help='for which scheduler (default: crontab)'
        )
        if name == 'show':
            action.add_argument(
                '--image',
                metavar='NAME',
                help='the image to run in Kubernetes (default: NAME:latest)',
            )
        if name == 'install':
            action.add_argument(
                '--dry-run', action='store_true', help='show what would change, and change nothing'
            )
    return actions


def act(
    options: dict,
    print_line: Callable[[str], object],
    print_error: Callable[[str], object],
    site: Site,
) -> int:
    """Carry out the action in `options`, print the result, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors='surrogateescape'
            )  # paths are bytes, and are printed as they are
    try:
        code, lines = _carry_out(options, site)
    except ScheduleError as error:
        print_error(str(error))
        return STALE if options['action'] == 'status' else 1  # 1 would mean: not installed
    for line in lines:
        print_line(line)
    logs = log_file(site.project).parent
    if options['action'] == 'show' and ' >> ' in lines[-1] and not logs.is_dir():
        print_error(
            f'Before you copy this line: mkdir {logs} (without it, the job does not start).'
        )
    return code


def _carry_out(options: dict, site: Site) -> tuple[int, list[str]]:
    """The exit status of an action, and the lines to print."""
    if options['format'] != 'kubernetes' and in_container(site.project):
        return _in_container(options['action'], site)
    match options['action'], options['format']:
        case 'show', scheduler:
            return 0, _show(scheduler, options['image'], site)
        case _, 'systemd':
            return _with_systemd(options, site)
        case 'remove', _:  # needs no readable schedule
            return 0, remove(site.project)
        case 'status', None if installed_units(site.project) and not has_lines(site.project):
            return _with_systemd(options, site)
        case 'status', _:
            want = wanted(site.project, site.python, site.commands)
            return _with_health(*status(want, site.media), *site.health())
    want = wanted(site.project, site.python, site.commands)
    if options['dry_run']:
        return 0, preview(want)
    return 0, [*install(want), *warnings(want, site.media)]


def state(site: Site) -> tuple[int, list[str]]:
    """What `status` reports: 0, 1 or 2, and why. Raises ScheduleError.

    If the jobs run in containers, there is nothing to install in here, and only their runs count.
    """
    schedule = checked_schedule(site.project, site.commands)
    if schedule.environment in ('docker', 'kubernetes'):
        return _with_health(CURRENT, [], *site.health())
    return _carry_out({'action': 'status', 'format': None}, site)


def in_container(project: Path) -> bool:
    """Whether this runs inside a container, where there is no compose.yaml."""
    if (project / COMPOSE_FILE).is_file():
        return False
    with contextlib.suppress(ScheduleError):  # the action reports it, if it matters
        return read_schedule(project).environment == 'docker'
    return False


def _in_container(action: str, site: Site) -> tuple[int, list[str]]:
    """Say where the line belongs; with `status`, also how the last runs went."""
    if action == 'status':
        return _with_health(CURRENT, [ON_THE_HOST], *site.health())
    raise ScheduleError(ON_THE_HOST)


def _with_health(
    code: int, lines: list[str], notes: list[str], troubles: list[str]
) -> tuple[int, list[str]]:
    """Add the state of the last runs, which counts if the schedule is installed."""
    if code == NOT_INSTALLED:
        return code, lines
    return (STALE if troubles else code), [*lines, *notes, *troubles]


def _show(scheduler: str | None, image: str | None, site: Site) -> list[str]:
    schedule = checked_schedule(site.project, site.commands)
    if not schedule.enabled():
        raise ScheduleError(
            f'No job is enabled in {site.project / FILE}, so there is nothing to show.'
        )
    default = 'kubernetes' if schedule.environment == 'kubernetes' else 'crontab'
    match scheduler or default:
        case 'kubernetes':
            slug = slug_of(site.project)
            return manifests(schedule, slug, image or f'{slug}:latest').splitlines()
        case 'systemd':
            files = _units(schedule, site)
            return [f'### {name}\n{os.fsdecode(text)}' for name, text in files.items()]
    return [os.fsdecode(line) for line in wanted(site.project, site.python, site.commands).lines]


def _units(schedule: Schedule, site: Site) -> dict[str, bytes]:
    start = command_start(schedule, site.project, site.python)
    return units(schedule, site.project, slug_of(site.project), start)


def _with_systemd(options: dict, site: Site) -> tuple[int, list[str]]:
    if options['action'] == 'remove':
        return 0, remove_units(site.project)
    schedule = checked_schedule(site.project, site.commands)
    files = _units(schedule, site)
    if options['action'] == 'install' and options['dry_run']:
        return 0, preview_units(files, site.project)
    twice = [TWICE] if has_lines(site.project) else []
    if options['action'] == 'status':
        code, why = unit_state(files, site.project)
        return _with_health(code, [why, *twice], *site.health())
    return 0, [*install_units(files, site.project), *twice]
