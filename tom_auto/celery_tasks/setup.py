"""Is Celery set up so that it can work? This module needs no Celery: who has none is told so."""

import os
import re
from contextlib import suppress
from importlib.util import find_spec

from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from .. import environment
from ..conf import Automation
from ..conf import mistakes as conf_mistakes
from ..hooks.calls import OF_PRODUCTS, is_plain
from ..models import TaskWorker
from ..redact import redact
from ..running.sharing import HandOut, Share, keep_all, nobody

BROKERS = r'(redis|rediss|amqp|amqps)://[^\s/]+\S*'
EXAMPLE = 'For example: CELERY_BROKER_URL=redis://localhost:6379/0'


def in_use() -> bool:
    """Whether this TOM works with Celery."""
    options = getattr(settings, 'TOM_AUTO', {})
    return isinstance(options, dict) and options.get('TASK_ENGINE') == 'celery'


def mistakes() -> list[tuple[str, str]]:
    """Why Celery cannot work with these settings: each reason, and what to do."""
    if not in_use():
        return []
    found = []
    if find_spec('celery') is None:
        wrong = 'TASK_ENGINE is celery, and Celery is not installed.'
        found.append((wrong, 'Type: python -m pip install -r requirements-celery.txt'))
    if not settings.DATABASES['default']['ENGINE'].endswith('postgresql'):
        wrong = 'TASK_ENGINE is celery, and the database is not PostgreSQL, which workers need.'
        hint = 'write the address of a PostgreSQL database there; or set TASK_ENGINE=none.'
        found.append((wrong, f'DATABASE_URL, {line_of("DATABASE_URL")}: {hint}'))
    address = getattr(settings, 'CELERY_BROKER_URL', '')
    if not re.fullmatch(BROKERS, address):
        is_what = f'is {redact(address)!r}, not the address of a broker' if address else 'is empty'
        wrong = f'TASK_ENGINE is celery, and CELERY_BROKER_URL {is_what}.'
        kinds = 'It begins with redis://, rediss://, amqp:// or amqps://.'
        found.append((wrong, f'{line_of("CELERY_BROKER_URL")}. {kinds} {EXAMPLE}'))
    return found


def line_of(name: str) -> str:
    """Where a person changes the variable `name`."""
    return environment.place(name) if name in os.environ else '.env'


def insist() -> None:
    """Raise ImproperlyConfigured where Celery cannot work with these settings."""
    if found := mistakes():
        raise ImproperlyConfigured(' '.join(f'{wrong} {hint}' for wrong, hint in found))


def obstacle() -> str:
    """Why no worker and no beat can work here; empty if they can."""
    if not in_use():
        return f'This TOM works without Celery. Set TASK_ENGINE=celery: {line_of("TASK_ENGINE")}.'
    try:
        insist()
    except ImproperlyConfigured as mistake:
        return str(mistake)
    return broker_trouble()


def broker_trouble() -> str:
    """Why the broker cannot be reached, and which line says where it is; empty if it can."""
    from .sending import why_away

    if reason := why_away():
        return f'{reason} See CELERY_BROKER_URL: {line_of("CELERY_BROKER_URL")}.'
    return ''


def queues() -> tuple[dict[str, int], str]:
    """How many messages wait in each queue; or why nobody knows."""
    if found := mistakes():
        return {}, ' '.join(found[0])
    from .sending import BrokerAway, lengths

    try:
        return lengths(), ''
    except BrokerAway as error:
        return {}, str(error)


def tell_workers() -> str:
    """Tell workers of all hooks that are due; why that cannot be done, or empty."""
    if found := mistakes():
        return ' '.join(found[0])
    from .sending import BrokerAway, sweep

    try:
        sweep()
    except BrokerAway as error:
        return str(error)
    return ''


def who_runs_hooks(limits: Automation) -> HandOut:
    """Who runs the hooks for what a run saves: the run itself, or workers.

    To have a worker run tomtoolkit's own, which only log their call, takes longer than they do.
    """
    if limits.TASK_ENGINE != 'celery' or limits.HOOKS == 'run':
        return nobody
    if is_plain(*OF_PRODUCTS):
        tell_workers()  # there may have been others, which are owed since then
        return nobody
    from .hand_out import ToWorkers

    return ToWorkers(limits)


def who_shares(limits: Automation, user: User | None) -> Share:
    """Who checks a part of what is due in a run: nobody else, or workers."""
    if limits.TASK_ENGINE != 'celery' or not limits.BATCH:
        return keep_all
    from .coordinator import Coordinator

    return Coordinator(limits, user)


def refused_workers() -> list[TaskWorker]:
    """The workers that could not start, and have not since."""
    return list(TaskWorker.objects.exclude(refused='').order_by('name')) if in_use() else []


@register(Tags.compatibility)
def check_celery(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.E002: Celery cannot work with these settings. W006: a part of it does not work now."""
    found: list[CheckMessage] = [
        Error(wrong, hint=hint, id='tom_auto.E002') for wrong, hint in mistakes()
    ]
    if found or not in_use() or conf_mistakes(settings.TOM_AUTO):
        return found
    return [Warning(trouble, id='tom_auto.W006') for trouble in troubles()]


def troubles() -> list[str]:
    """What does not work now, though the settings are right."""
    found = list(filter(None, [broker_trouble()]))
    with suppress(DatabaseError):  # there is no such table before the first migrate
        found += [f'The worker {one} has not started. {one.refused}' for one in refused_workers()]
    return found
