"""The actions of `manage.py schedule` and of `python -m tom_auto.scheduling`."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .cron_line import crontab_lines
from .definition import FILE, ScheduleError, read_schedule
from .install import has_lines, install, preview, remove
from .interpreter import COMPOSE_FILE
from .job_log import log_file
from .kubernetes import manifests
from .plan import Plan, Site, checked_schedule, plan_of, slug_of
from .status import CURRENT, NOT_INSTALLED, STALE, status, warnings
from .systemd import (
    install_units,
    installed_units,
    lingering_warnings,
    preview_units,
    remove_units,
    unit_state,
    units,
)

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
ON_THE_HOST = (
    'This is inside a container. The crontab line belongs in the crontab of the machine that runs '
    'the containers. On that machine, in the directory of the project, type: '
    'python3 -m tom_auto.scheduling install. If it has no cron, use the scheduler container: set '
    'COMPOSE_PROFILES=scheduler in .env, then type: docker compose up --detach --wait'
)


class Scheduler(NamedTuple):
    """What does the actions for one scheduler."""

    install: Callable[[Plan], list[str]]
    warnings: Callable[[Plan], list[str]]
    preview: Callable[[Plan], list[str]]
    remove: Callable[[Path], list[str]]
    status: Callable[[Plan], tuple[int, list[str]]]
    has_jobs: Callable[[Path], object]  # whether it starts jobs of the project
    twice: str  # the warning if it does, and another one as well


SCHEDULERS = {
    'crontab': Scheduler(
        install,
        warnings,
        preview,
        remove,
        status,
        has_lines,
        'Warning: your crontab starts the same jobs a second time. To remove its lines: '
        'python manage.py schedule remove',
    ),
    'systemd': Scheduler(
        install_units,
        lingering_warnings,
        preview_units,
        remove_units,
        unit_state,
        installed_units,
        'Warning: systemd timers start the same jobs a second time. To remove them: '
        'python manage.py schedule remove --format systemd',
    ),
}


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
    action, name = options['action'], options['format']
    if name != 'kubernetes' and in_container(site.project):
        return _in_container(action, site)
    if action == 'show':
        return 0, _show(name, options['image'], site)
    if action == 'status' and not name and not has_lines(site.project):
        name = 'systemd' if installed_units(site.project) else 'crontab'
    name = name or 'crontab'
    scheduler = SCHEDULERS[name]
    if action == 'remove':  # needs no readable schedule
        return 0, scheduler.remove(site.project)
    plan = plan_of(site)
    if action == 'install' and options['dry_run']:
        return 0, scheduler.preview(plan)
    twice = [
        other.twice
        for other_name, other in SCHEDULERS.items()
        if other_name != name and other.has_jobs(site.project)
    ]
    if action == 'install':
        return 0, [*scheduler.install(plan), *scheduler.warnings(plan), *twice]
    code, lines = scheduler.status(plan)
    return _with_health(code, [*lines, *twice], *site.health())


def state(site: Site) -> tuple[int, list[str]]:
    """What `status` reports: 0, 1 or 2, and why. Raises ScheduleError.

    If the jobs run in containers, there is nothing to install in here, and only their runs count.
    """
    if checked_schedule(site).environment in ('docker', 'kubernetes'):
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
    schedule = checked_schedule(site)
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
            files = units(plan_of(site))
            return [f'### {name}\n{os.fsdecode(text)}' for name, text in files.items()]
    return [os.fsdecode(line) for line in crontab_lines(plan_of(site))]
