"""The actions of `manage.py schedule` and of `python -m tom_auto.scheduling`."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from . import install as crontab
from . import kubernetes, systemd
from .adopt import init
from .command_to_type import name_in_cluster, typed
from .cron_line import crontab_lines
from .definition import FILE, ScheduleError, environment_of, slug_of
from .interpreter import COMPOSE_FILE
from .job_log import log_file
from .moved import note_removal
from .plan import CURRENT, NOT_INSTALLED, STALE, Site, checked_schedule, plan_of

ACTIONS = {
    'init': 'write schedule.toml, and find older lines of your crontab that start the same jobs',
    'show': 'print what would be installed, and change nothing',
    'install': 'put the lines into your crontab, or update them; every other line stays',
    'remove': 'remove the lines from your crontab; every other line stays',
    'status': 'exit 0: installed and well; 1: not installed; 2: out of date, overdue, or failing',
}
#: Modules with the same functions, each for one scheduler.
SCHEDULERS = {'crontab': crontab, 'systemd': systemd}
TWICE_BY_BEAT = (
    'Warning: {} starts the same jobs a second time. To stop that, end that beat, or: {}'
)
TWICE = 'Warning: {} starts the same jobs a second time. To stop that: {}'
ON_THE_HOST = (
    'This is inside a container. The crontab line belongs in the crontab of the machine that runs '
    'the containers. On that machine, in the directory of the project, type: '
    'python3 -m tom_auto.scheduling install. If it has no cron, use the scheduler container: set '
    'SCHEDULER=1 in .env, then type: docker compose up --detach --wait'
)


def add_actions(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """Add ACTIONS to `parser`, as `action`, with their options."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='|'.join(ACTIONS))
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        add = action.add_argument
        if name == 'init':
            help_text = 'put the jobs in the place of the older lines, which stay as comments'
            add('--replace', action='store_true', help=help_text)
            continue
        formats = [*SCHEDULERS, *(['kubernetes'] if name == 'show' else [])]
        add('--format', choices=formats, help='for which scheduler (default: crontab)')
        if name == 'show':
            help_text = (
                'the image to run in Kubernetes (default: the one of deploy/kustomization.yaml)'
            )
            add('--image', metavar='NAME', help=help_text)
        if name == 'install':
            add('--dry-run', action='store_true', help='show what would change, and change nothing')
    return actions


def act(
    options: dict,
    print_line: Callable[[str], object],
    print_error: Callable[[str], object],
    site: Site,
) -> int:
    """Carry out the action in `options`, print the result, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # paths are bytes, and are printed as they are
            stream.reconfigure(errors='surrogateescape')
    try:
        code, lines = _carry_out(options, site)
    except ScheduleError as error:
        print_error(str(error))
        return STALE if options['action'] == 'status' else 1  # 1 would mean: not installed
    for line in lines:
        print_line(line)
    logs = log_file(site.project).parent
    if options['action'] == 'show' and ' >> ' in lines[-1] and not logs.is_dir():
        print_error(f'Before you copy this line: mkdir {logs} (without it, no job starts).')
    return code


def _carry_out(options: dict, site: Site) -> tuple[int, list[str]]:
    """The exit status of an action, and the lines to print."""
    action, name, project = options['action'], options.get('format'), site.project
    if name != 'kubernetes' and in_container(project):
        if action != 'status':
            raise ScheduleError(ON_THE_HOST)
        return _with_health(CURRENT, [ON_THE_HOST], *site.health())
    if action == 'init':
        return 0, init(site, options['replace'])
    if not name and action in ('install', 'status') and environment_of(project) == 'kubernetes':
        return _in_cluster(action, options, site)
    if action == 'show':
        return 0, _show(name, options['image'], site)
    by_beat, beat = site.beat()
    if action == 'status' and not name and not crontab.installed(project):
        name = 'systemd' if systemd.installed(project) else 'crontab'
        if by_beat and name == 'crontab':
            return _with_health(CURRENT, [beat], *site.health())
    scheduler = SCHEDULERS[name or 'crontab']
    if action == 'remove':  # needs no readable schedule
        return 0, _remove(scheduler, project)
    plan = plan_of(site)
    if action == 'install' and options['dry_run']:
        return 0, scheduler.preview(plan)
    twice = [
        TWICE.format(other, typed(project, f'schedule remove --format {other}'))
        for other, module in SCHEDULERS.items()
        if module is not scheduler and module.installed(project)
    ]
    if by_beat:
        remove = typed(project, f'schedule remove --format {name or "crontab"}')
        twice.append(TWICE_BY_BEAT.format(beat.rstrip('.'), remove))
    if action == 'install':
        return 0, [*scheduler.install(plan), *scheduler.warnings(plan), *twice]
    code, lines = scheduler.status(plan)
    if code == NOT_INSTALLED and beat:
        lines = [*lines, beat]
    lines = [*lines, *twice] if code == CURRENT else [*twice, *lines]  # the last says what to do
    return _with_health(code, lines, *site.health())


def _remove(scheduler: ModuleType, project: Path) -> list[str]:
    """Remove the jobs from one scheduler, and note it if no other has them."""
    before, lines = _installed(project), scheduler.remove(project)
    if before and not _installed(project):
        note_removal(project)
    return lines


def _installed(project: Path) -> bool:
    return any(module.installed(project) for module in SCHEDULERS.values())


def state(site: Site) -> tuple[int, list[str]]:
    """What `status` reports: 0, 1 or 2, and why; if not 0, the last line says what to do.

    Raises ScheduleError. If the jobs run in containers, there is nothing to install in here, and only their runs count.
    """
    if checked_schedule(site).environment == 'docker':
        _, beat = site.beat()
        starter = beat or 'The cron of the host, or the scheduler container, starts the jobs.'
        return _with_health(CURRENT, [starter], *site.health())
    return _carry_out({'action': 'status', 'format': None}, site)


def in_container(project: Path) -> bool:
    """Whether this runs inside a container, where there is no compose.yaml."""
    if (project / COMPOSE_FILE).is_file():
        return False
    return environment_of(project) == 'docker'


def _in_cluster(action: str, options: dict, site: Site) -> tuple[int, list[str]]:
    """The same for a TOM in a cluster, where `deploy/` takes the place of the crontab."""
    if action == 'install':
        return 0, kubernetes.preview(site) if options['dry_run'] else kubernetes.install(site)
    code, lines = kubernetes.status(site)
    _, beat = site.beat()
    return _with_health(code, [beat] if beat and code == CURRENT else lines, *site.health())


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
            name = image or name_in_cluster(site.project)
            return kubernetes.manifests(schedule, slug_of(site.project), name).splitlines()
        case 'systemd':
            files = systemd.units(plan_of(site))
            return [f'### {name}\n{os.fsdecode(text)}' for name, text in files.items()]
    return [os.fsdecode(line) for line in crontab_lines(plan_of(site))]
