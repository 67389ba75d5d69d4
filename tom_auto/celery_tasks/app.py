"""The Celery application. `<project>/celery.py` gives it to `celery -A <project>`.

Every setting of Celery may be in the settings of the TOM, with CELERY_ before its name. Messages
only announce work. The database says what the work is and who is doing it, so emptying a queue
loses nothing, and an extra message does no harm.
"""

import re

import django
from celery import Celery
from django.apps import apps
from kombu import Queue

from ..conf import automation, slug

BUDGET = 60  # seconds after which a task that has found much to do lets others go first
CONNECT_SECONDS = 3
#: The words of a queue's name after that of the project: several TOMs may share a broker.
HOOKS, JOBS = 'hooks', 'jobs'


def queue(words: str) -> str:
    """The name of a queue of this TOM."""
    return f'{slug()}.{words}'


def batches_of(facility: str) -> str:
    """The words for the queue of the batches of a facility: workers may be there for one alone."""
    return f'batches.{re.sub(r"[^a-z0-9]+", "-", facility.lower())}'


def _queues() -> list[Queue]:
    if not apps.ready:  # `celery -A` asks for the queues before it sets Django up
        django.setup()
    from ..observatories.facilities import facility_classes, is_stock

    known, _ = facility_classes()
    batches = sorted({batches_of(name) for name, one in known.items() if is_stock(one)})
    return [Queue(queue(words)) for words in (HOOKS, JOBS, *batches)]


def _defaults() -> dict:
    # The last hook for one product, and those for all of them together.
    longest = BUDGET + 3 * automation().HOOK_SECONDS
    return {
        'task_queues': _queues(),
        'task_default_queue': queue(HOOKS),
        'task_ignore_result': True,
        # A message is gone when its task has ended, not when it begins.
        'task_acks_late': True,
        'task_reject_on_worker_lost': True,
        'worker_prefetch_multiplier': 1,
        'beat_scheduler': 'tom_auto.celery_tasks.beat:FromScheduleToml',
        # A hook that takes too long is stopped by itself: this is for one that cannot be.
        'task_time_limit': longest + 60,
        'broker_connection_timeout': CONNECT_SECONDS,
        'broker_connection_retry_on_startup': True,
        'broker_connection_max_retries': None,  # a worker waits for as long as it takes
        'broker_transport_options': {
            'max_retries': 0,  # of whoever sends: a run does not wait for a broker
            'socket_connect_timeout': CONNECT_SECONDS,
            'socket_timeout': 30,
            'visibility_timeout': 2 * longest + 120,
        },
        'worker_cancel_long_running_tasks_on_connection_loss': False,
        'worker_hijack_root_logger': False,  # the log of the TOM is without secrets
        'timezone': 'UTC',
    }


app = Celery('tom_auto', include=['tom_auto.celery_tasks.tasks'])
app.add_defaults(_defaults)
app.config_from_object('django.conf:settings', namespace='CELERY')
