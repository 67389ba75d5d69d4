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
    'show': 'print what the scheduler would be given, and change nothing',
    'install': 'put the lines into your crontab, or bring them up to date; all else in it stays',
    'remove': 'take the lines out of your crontab; all else in it stays',
    'status': 'exit 0: installed and well; 1: not installed; 2: out of date, overdue, or failing',
}
FORMATS = {
    'show': ('crontab', 'systemd', 'kubernetes'),
    'install': ('crontab', 'systemd'),
    'remove': ('crontab', 'systemd'),
    'status': ('crontab', 'systemd'),
}
TWICE = (
    'Warning: your crontab starts the same jobs once more. To take its lines out: '
    'python manage.py schedule remove'
)
ON_THE_HOST = (
    'This is the inside of a container. The line for cron belongs into the crontab of the machine '
    'that runs the containers. There, in the directory of the project: '
    'python3 -m tom_auto.scheduling install. A machine without cron has a container for it instead: '
    'COMPOSE_PROFILES=scheduler in .env, then docker compose up --detach --wait'
)


@dataclass(frozen=True)
class Site:
    """What is known of the TOM. Without Django that is its directory alone.

    `project` holds manage.py; `python` runs it at this moment; `commands` are the names that it
    knows; `media` is where the data goes; `health` says how the jobs are: what is well, and what
    is wrong.
    """

    project: Path
    python: Path | None = None
    commands: set[str] | None = None
    media: Path | None = None
    health: Callable[[], tuple[list[str], list[str]]] = lambda: ([], [])


def add_actions(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """Let `parser` take one of ACTIONS, as `action`, and its options."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='|'.join(ACTIONS))
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument(
            '--format', choices=FORMATS[name], help='for which scheduler (crontab, if nothing else)'
        )
        if name == 'show':
            action.add_argument(
                '--image', metavar='NAME', help='the image to run in Kubernetes (NAME:latest)'
            )
        if name == 'install':
            action.add_argument(
                '--dry-run', action='store_true', help='show what would change, and change nothing'
            )
    return actions


def act(
    options: dict,
    say: Callable[[str], object],
    complain: Callable[[str], object],
    site: Site,
) -> int:
    """Do the action of `options` for this project, tell the user, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='surrogateescape')  # paths are bytes, and are told as such
    try:
        code, told = _told(options, site)
    except ScheduleError as error:
        complain(str(error))
        return STALE if options['action'] == 'status' else 1  # it may well be installed
    for line in told:
        say(line)
    logs = log_file(site.project).parent
    if options['action'] == 'show' and ' >> ' in told[-1] and not logs.is_dir():
        complain(f'Before you copy this line: mkdir {logs} (without it, the job does not start).')
    return code


def _told(options: dict, site: Site) -> tuple[int, list[str]]:
    """The exit status of an action, and what to tell the user."""
    if options['format'] != 'kubernetes' and in_container(site.project):
        return _told_in_container(options['action'], site)
    match options['action'], options['format']:
        case 'show', scheduler:
            return 0, _show(scheduler, options['image'], site)
        case _, 'systemd':
            return _with_systemd(options, site)
        case 'remove', _:  # works without a schedule that can be read
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
    """What `status` says of this project: 0, 1 or 2, and why. Raises ScheduleError.

    Where the jobs are started by a container, there is nothing to install, and their runs tell.
    """
    schedule = checked_schedule(site.project, site.commands)
    if schedule.environment in ('docker', 'kubernetes'):
        return _with_health(CURRENT, [], *site.health())
    return _told({'action': 'status', 'format': None}, site)


def in_container(project: Path) -> bool:
    """Whether this is the inside of a container: compose.yaml stays on the host."""
    if (project / COMPOSE_FILE).is_file():
        return False
    with contextlib.suppress(ScheduleError):  # which the action names, if it minds at all
        return read_schedule(project).environment == 'docker'
    return False


def _told_in_container(action: str, site: Site) -> tuple[int, list[str]]:
    """Where the line belongs; and with `status`, what the last runs tell."""
    if action == 'status':
        return _with_health(CURRENT, [ON_THE_HOST], *site.health())
    raise ScheduleError(ON_THE_HOST)


def _with_health(
    code: int, told: list[str], notes: list[str], troubles: list[str]
) -> tuple[int, list[str]]:
    """What is wrong with the last runs counts where the schedule itself is all right."""
    if code == NOT_INSTALLED:
        return code, told
    return (STALE if troubles else code), [*told, *notes, *troubles]


def _show(scheduler: str | None, image: str | None, site: Site) -> list[str]:
    schedule = checked_schedule(site.project, site.commands)
    if not schedule.enabled():
        raise ScheduleError(
            f'No job is enabled in {site.project / FILE}, so there is no line to show.'
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
