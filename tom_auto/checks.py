"""What `manage.py check` says of the automation beyond its options."""

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, get_commands, load_command_class
from django.db import DatabaseError
from django.utils.module_loading import import_string

from .scheduling.definition import Job

# Modules that take long to import are imported where they are needed: every start imports this one.


@register(Tags.compatibility)
def check_facilities(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W003: WANTED_FRAMES names a facility that this TOM does not have."""
    from .observatories.facilities import facility_classes

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


@register(Tags.compatibility)
def check_new_targets(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W005: nobody, or a group that does not exist, would see what updatetargets makes."""
    hint = "For example: TOM_AUTO = {'NEW_TARGETS': {'groups': ['Supernovae']}}"
    wrong = new_targets_mistake()
    return [Warning(wrong, hint=hint, id='tom_auto.W005')] if wrong else []


def new_targets_mistake() -> str:
    """Why nobody would see what `updatetargets` makes, if it is scheduled; else empty."""
    from .jobs import jobs
    from .new_target_access import HIDDEN, access_to_new_targets, is_hidden

    if not any(job.enabled and job.words[0] == 'updatetargets' for job in jobs().jobs):
        return ''
    try:
        return HIDDEN if is_hidden(access_to_new_targets()) else ''
    except ImproperlyConfigured as mistake:
        return str(mistake)
    except DatabaseError:  # there are no groups before the first migrate
        return ''


@register(Tags.compatibility)
def check_hooks(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W007: HOOKS names a function that cannot be imported."""
    named = ((name, path) for name, path in getattr(settings, 'HOOKS', {}).items() if path)
    return [
        Warning(
            f"HOOKS['{name}']: {path!r} cannot be imported: {wrong}",
            hint='Correct HOOKS in the settings, or the module that it names.',
            id='tom_auto.W007',
        )
        for name, path in named
        if (wrong := _import_trouble(path))
    ]


def _import_trouble(path: str) -> str:
    """What keeps the function of this dotted name from being imported; empty if nothing does."""
    from .redact import redact

    try:
        import_string(path)
    except (Exception, SystemExit) as error:  # of whatever the module does as it is imported
        return redact(f'{type(error).__name__}: {error}')
    return ''


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
