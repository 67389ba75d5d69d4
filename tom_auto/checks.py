"""What `manage.py check` says of the automation beyond its options, and what others can look into."""

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.management import CommandError, get_commands, load_command_class

from .scheduling.definition import Job

# Modules that take long to import are imported where they are needed: every start imports this one.

OK, WARNING, FAILED = 'ok', 'warning', 'failed'  # what a check of doctor ends with
#: What is secret in a project, for which not even a group is needed.
SECRETS = ('.env', 'local_settings.py', 'db.sqlite3*', 'logs', '.cache', 'backups')


@register(Tags.compatibility)
def check_facilities(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W003: WANTED_FRAMES names a facility that this TOM does not have."""
    from .sync.facilities import facility_classes

    options = getattr(settings, 'TOM_AUTO', {})
    wanted = options.get('WANTED_FRAMES', {}) if isinstance(options, dict) else {}
    known = facility_classes()[0]
    return [
        Warning(
            f"TOM_AUTO['WANTED_FRAMES'] names {name!r}, which is not a facility of this TOM.",
            hint=f'The facilities are: {", ".join(sorted(known))}.',
            id='tom_auto.W003',
        )
        for name in (wanted if isinstance(wanted, dict) else ())
        if name not in known
    ]


@register(Tags.compatibility)
def check_jobs(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W004: the command of a job does not exist, or does not take its options."""
    from .jobs import jobs

    wrong = [(job, mistake) for job in jobs().jobs if (mistake := _mistake(job))]
    return [
        Warning(
            f'schedule.toml, [{job.name}]: {mistake}',
            hint=f'manage.py help {job.words[0]}',
            id='tom_auto.W004',
        )
        for job, mistake in wrong
    ]


def _mistake(job: Job) -> str:
    name, *options = job.words
    app = get_commands().get(name)
    if app is None:
        return f'there is no command {name!r}.'
    command = load_command_class(app, name) if isinstance(app, str) else app
    try:
        command.create_parser('manage.py', name).parse_args(options)
    except CommandError as error:
        return f'{name} does not take these options: {error}'
    return ''


def privacy() -> Iterator[tuple[str, ...]]:
    """For doctor: whether other users of this machine can look into the project."""
    from .jobs import jobs

    if jobs().contained:
        yield OK, 'Not checked: a container has no other users'
    elif names := [str(path) for path in open_to_others()]:
        found = f'Others on this machine can look into {", ".join(names)}'
        yield WARNING, found, f'chmod go-rwx {shlex.join(names)}'
    else:
        yield OK, 'No other user of this machine can look into the project'


def open_to_others() -> Iterator[Path]:
    """What other users of this machine can read or enter in the project, and should not."""
    project = Path(settings.BASE_DIR)
    if not project.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return
    for pattern in SECRETS:
        yield from (path for path in sorted(project.glob(pattern)) if path.stat().st_mode & 0o077)
    data = Path(settings.MEDIA_ROOT)
    if data.is_dir() and data.stat().st_mode & stat.S_IRWXO:
        yield data
