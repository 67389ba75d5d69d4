"""Whatever is killed, however often: the end is that of an undisturbed run, and no hook is lost.

KILLS in the environment asks for more than the few that CI has time for.
"""

import os
import random
import signal
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest
from django.db import connections
from django.db.models import Count
from tom_dataproducts.models import DataProduct

from celery_programs import LEASE, CeleryProgram, Worker, all_paid, wait_until
from databases import only_on
from home import everything_is_home
from object_store import ObjectStore, at
from program import Program
from tom_auto.models import UpdateRun

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = int(os.environ.get('KILLS', '7'))
SEED = 20261127
VICTIMS = ('worker', 'run', 'broker', 'beat', 'process', 'database', 'store')


@pytest.fixture
def store(settings: object) -> Iterator[ObjectStore]:
    """An empty object store, in which the TOM and its workers keep the data."""
    own = ObjectStore()
    own.start()
    own.empty()
    settings.MEDIA_STORE, settings.STORAGES = own.url, at(own.url)
    yield own
    own.stop()


def start_again_what_has_ended(
    begun: dict[str, CeleryProgram], begin: Callable, number: int
) -> None:
    """As systemd, Compose or Kubernetes does.

    Once a worker of Celery 5.7 ended by itself when its broker was restarted: closing the broken
    connection raised AttributeError in kombu's _connparams.
    """
    starts = {'worker': (Worker, 2), 'beat': (CeleryProgram, f'beat{number}', 'beat')}
    for name, program in begun.items():
        if program.process.poll() is not None:
            begun[name] = begin(*starts[name])


@only_on('postgresql')
def test_whatever_is_killed_at_random_all_comes_home_once(
    own_server, store, celery_tom, begin, redis, sky, observed, settings
):
    rng = random.Random(SEED)
    settings.TOM_AUTO |= {'WORKERS': 4}
    settings.HEARD = celery_tom / 'heard'
    settings.HEARD.touch()
    (celery_tom / 'habit').write_text('sleep 0.02')
    settings.HOOKS = settings.HOOKS | {
        'data_product_post_save': 'worker_hooks.hear',
        'multiple_data_products_post_save': 'worker_hooks.hear_all',
    }
    (celery_tom / 'schedule.toml').write_text(
        'environment = "virtualenv"\n[updatedata]\nwhen = "daily"\n'
    )
    begun = {'worker': begin(Worker, 2).ready(), 'beat': begin(CeleryProgram, 'beat', 'beat')}
    for kill in range(KILLS):
        # All records stay due: a run has four batches at first, and never more than a dozen.
        settings.TOM_AUTO |= {'BATCH': 5 + kill}
        for number in range(12):
            observed('SOAR' if number % 2 else 'LCO', frames=1)
        run = Program(celery_tom)
        wait_until(lambda: UpdateRun.objects.filter(status='running').exists())
        sleep(rng.uniform(0, 2))
        victim = VICTIMS[kill % len(VICTIMS)]
        if victim == 'run':
            run.send(signal.SIGKILL)
        elif victim == 'broker':
            redis.stop()
            redis.start()
        elif victim == 'database':
            own_server.stop()
            connections.close_all()
            own_server.start()
        elif victim == 'store':
            store.stop()
            sleep(rng.uniform(0, 2))
            store.start()
        elif victim == 'process':
            start_again_what_has_ended(begun, begin, kill)
            wait_until(begun['worker'].children, begun['worker'].printed)  # it may just begin
            os.kill(rng.choice(begun['worker'].children()), signal.SIGKILL)
        else:
            begun[victim].kill()
        start_again_what_has_ended(begun, begin, kill)
        run.ended()
    start_again_what_has_ended(begun, begin, KILLS)
    status, report, _ = Program(celery_tom).report()
    assert status == 0, report
    started = monotonic()
    wait_until(all_paid)
    assert monotonic() - started < 2 * LEASE + 30
    everything_is_home(sky)
    assert sky.most_at_once <= 4
    heard = set(map(int, settings.HEARD.read_text().split()))
    assert heard == set(DataProduct.objects.values_list('pk', flat=True))
    doubled = DataProduct.objects.values('product_id').annotate(count=Count('pk'))
    assert not doubled.filter(count__gt=1).exists()
