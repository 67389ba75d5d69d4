"""Checks of Celery: its settings, the broker, the workers, and the hooks that they owe."""

from datetime import timedelta

from django.utils import timezone

from ..celery_tasks import setup
from ..conf import slug
from ..hooks.owed import due, keep_failing, owed
from ..jobs import beat
from ..models import TaskWorker
from .finding import FAILED, OK, WARNING, Found

SILENT = timedelta(minutes=2)  # a worker that says nothing for so long is dead, or suspended


def workers() -> Found:
    """Can Celery work, and does it?"""
    if not setup.in_use():
        yield OK, 'This TOM works without Celery'
        return
    if found := setup.mistakes():
        for wrong, hint in found:
            yield FAILED, wrong, hint
        return
    trouble = setup.broker_trouble()
    yield (
        (FAILED, trouble, 'Start it, or correct its address')
        if trouble
        else (OK, 'The broker answers')
    )
    yield from _at_work()
    by_beat, words = beat()
    yield OK, words if by_beat else 'No beat is at work'
    yield from _hooks()


def _at_work() -> Found:
    for refused in setup.refused_workers():
        yield FAILED, f'The worker {refused} has not started', refused.refused
    alive = TaskWorker.objects.filter(refused='', alive_at__gte=timezone.now() - SILENT)
    if not alive:
        yield FAILED, 'No worker is running', f'On each machine: celery -A {slug()} worker'
    for one in alive.order_by('name'):
        yield OK, f'{one}: {one.processes} processes, queues {one.queues}'


def _hooks() -> Found:
    count, waiting = owed().count(), due().count()
    yield OK, f'Hooks still to run: for {count} files, {waiting} of them due now'
    if failing := keep_failing().count():
        worst = keep_failing().order_by('-hooks_failures').first()
        found = f'Hooks for {failing} files keep failing, such as {worst}: {worst.hooks_error}'
        yield WARNING, found, 'Fix the hook; then press the button on /automation/'
