"""Sees at its start that a worker can work, and notes in the database which are at work."""

import socket
import sys
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from celery import signals
from django.db import connection
from django.utils import timezone

from ..files import storage_id
from ..models import StorageMark, TaskWorker
from ..scheduling.runner import say_alive_until
from . import setup
from .sending import BrokerAway, sweep

BEAT = 15  # seconds: a worker says that it is alive about this often
FORGOTTEN = timedelta(days=1)  # after which a worker that was killed is not known any more
STORE = (
    'The worker is on {host}, and its data is in {place}, which is not the storage of this TOM: {reason} '
    'Workers on other machines need a storage that all of them reach: an S3 store '
    '(MEDIA_BUCKET in .env), or a folder that is mounted at the same place.'
)
_last_beat = 0.0


def storage_trouble() -> str:
    """Why the data is not where this process looks for it; empty if it is."""
    from django.conf import settings

    if not StorageMark.objects.filter(pending=False).exists():  # no run has stored anything yet
        return ''
    if reason := storage_id.storage_trouble():
        return STORE.format(host=socket.gethostname(), place=settings.MEDIA_ROOT, reason=reason)
    return ''


@signals.worker_init.connect
def refuse_to_start(sender: object, **rest: object) -> None:
    """End a worker that cannot work before it has begun, and say why, here and to doctor."""
    reason = setup.obstacle() or storage_trouble()
    with suppress(Exception):  # the database may be what is wrong
        if reason:
            _note(sender, refused=reason)
        else:
            TaskWorker.objects.filter(host=socket.gethostname()).exclude(refused='').delete()
            TaskWorker.objects.filter(alive_at__lt=timezone.now() - FORGOTTEN).delete()
    connection.close()
    if reason:
        sys.stderr.write(f'This worker does not start. {reason}\n')
        raise SystemExit(1)


@signals.worker_ready.connect
def begin(sender: object, **rest: object) -> None:
    """Note the worker, and have it look for what is owed."""
    say_alive_until(4 * BEAT)
    _note(sender.controller if hasattr(sender, 'controller') else sender)
    with suppress(BrokerAway):  # beat, or the next run, will do
        sweep()
    connection.close()


@signals.heartbeat_sent.connect
def say_alive(sender: object, **rest: object) -> None:
    """Say now and then that the worker is alive."""
    global _last_beat
    if monotonic() - _last_beat > BEAT:
        _last_beat = monotonic()
        say_alive_until(4 * BEAT)
        with suppress(Exception):  # the database is away
            TaskWorker.objects.filter(name=sender.eventer.hostname).update(alive_at=timezone.now())
        connection.close()


@signals.worker_shutdown.connect
def end(sender: object, **rest: object) -> None:
    """Forget the worker."""
    with suppress(Exception):
        TaskWorker.objects.filter(name=sender.hostname).delete()


def _note(worker: object, refused: str = '') -> None:
    now = timezone.now()
    names = sorted(getattr(getattr(worker, 'app', None), 'amqp', None).queues.consume_from)
    TaskWorker.objects.update_or_create(
        name=worker.hostname[:255],
        defaults={
            'host': socket.gethostname(),
            'processes': worker.concurrency or 0,
            'queues': ', '.join(names)[:500],
            'started': now,
            'alive_at': now,
            'refused': refused,
        },
    )
