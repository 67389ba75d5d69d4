"""Whatever is killed, however often: the end is that of an undisturbed run, and no hook is lost.

KILLS in the environment asks for more than the few that CI has time for, on a machine that does nothing
else. There a kill may cost two leases of time: so much longer than undisturbed the work may take.
--log-cli-level=INFO shows what each has cost.
"""

import logging
import os
import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic, sleep

import pytest
from django.db import connections
from django.db.models import Count
from django.utils import timezone
from tom_dataproducts.models import DataProduct

from celery_programs import CeleryProgram, Worker, all_paid, wait_until
from databases import only_on
from home import everything_is_home
from object_store import ObjectStore, at
from program import Program
from tom_auto.models import RecordSync, UpdateRun

log = logging.getLogger(__name__)
pytestmark = pytest.mark.django_db(transaction=True)

KILLS = int(os.environ.get('KILLS', '7'))
IS_IDLE = 'KILLS' in os.environ  # the machine: seconds beside other tests say nothing
SEED = 20261127
LEASE = 8  # seconds
NEW, DUE, BATCH = 12, 84, 7  # records: come before each kill, are due at most, are in a batch
WORKERS = ('one worker', 'the other')
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


class Cluster:
    """Two workers and a beat, which are started again where one has ended.

    As systemd, Compose and Kubernetes do. A worker of Celery 5.7 has been seen to end by itself when its
    broker was restarted: closing the broken connection raised AttributeError in kombu's _connparams.
    """

    def __init__(self, begin: Callable) -> None:
        self._begin, self._beats = begin, 0
        self.programs = {}
        self.mend()
        for name in WORKERS:
            self.programs[name].ready()

    def mend(self) -> None:
        """Start what has ended."""
        for name in (*WORKERS, 'beat'):
            if name not in self.programs or self.programs[name].process.poll() is not None:
                self.programs[name] = self._start(name)

    def has_paid_all(self) -> bool:
        """Have what is owed paid by workers that are alive; whether nothing is left."""
        self.mend()
        return all_paid()

    def kill_process(self, name: str) -> None:
        """Kill the one process of this worker that does its tasks."""
        worker = self.programs[name]
        wait_until(worker.children, worker.printed)  # it may just begin
        os.kill(worker.children()[0], signal.SIGKILL)

    def _start(self, name: str) -> CeleryProgram:
        if name in WORKERS:
            return self._begin(Worker, 1)
        self._beats += 1
        return self._begin(CeleryProgram, f'beat{self._beats}', 'beat')


def seconds_of(work: Callable[[], float], observed: Callable, cluster: Cluster) -> float:
    """How long it takes until the NEW records are checked and their hooks are paid.

    `work` does it, and gives the seconds that do not count, such as those for which something was away.
    """
    rest_all_but_the_newest()
    for number in range(NEW):
        observed('SOAR' if number % 2 else 'LCO', frames=1)
    started = monotonic()
    besides = work()
    wait_until(cluster.has_paid_all)
    return monotonic() - started - besides


def rest_all_but_the_newest() -> None:
    """From the sixth kill on each meets as much work as the one before: their times can be compared."""
    newest = RecordSync.objects.order_by('-record_id').values_list('pk', flat=True)[: DUE - NEW]
    older = RecordSync.objects.filter(state='waiting').exclude(pk__in=list(newest))
    older.update(next_check=timezone.now() + timedelta(days=1))


@only_on('postgresql')
def test_whatever_is_killed_at_random_all_comes_home_once(
    own_server, store, celery_tom, begin, redis, sky, observed, settings
):
    rng = random.Random(SEED)
    settings.TOM_AUTO |= {'WORKERS': 4, 'LEASE': LEASE, 'BATCH': BATCH}
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
    cluster = Cluster(begin)

    def undisturbed() -> float:
        status, report, _ = Program(celery_tom).report()
        assert status == 0, report
        return 0

    def killed() -> float:
        begun = monotonic()
        run = Program(celery_tom)
        wait_until(lambda: UpdateRun.objects.filter(status='running').exists())
        sleep(rng.uniform(0, 2))
        struck = monotonic()
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
            cluster.kill_process(rng.choice(WORKERS))
        else:
            cluster.programs['beat' if victim == 'beat' else rng.choice(WORKERS)].kill()
        away = monotonic() - struck
        cluster.mend()
        run.ended()
        if victim != 'run':
            return away
        Program(celery_tom).ended()  # which checks all of them, as all are due again
        return struck - begun

    for kill in range(KILLS):
        if kill % len(VICTIMS) == 0:
            usual = seconds_of(undisturbed, observed, cluster)
        victim = VICTIMS[kill % len(VICTIMS)]
        seconds = seconds_of(killed, observed, cluster)
        log.info('kill %d, %s: %.1f s, undisturbed %.1f s', kill + 1, victim, seconds, usual)
        if IS_IDLE:
            assert seconds < usual + 2 * LEASE, victim
    cluster.mend()
    RecordSync.objects.filter(state='waiting').update(next_check=timezone.now())
    settings.TOM_AUTO |= {'BATCH': 100}
    undisturbed()
    started = monotonic()
    wait_until(cluster.has_paid_all)
    assert monotonic() - started < 34  # seconds, the machine being busy
    everything_is_home(sky)
    assert sky.most_at_once <= 4
    heard = set(map(int, settings.HEARD.read_text().split()))
    assert heard == set(DataProduct.objects.values_list('pk', flat=True))
    doubled = DataProduct.objects.values('product_id').annotate(count=Count('pk'))
    assert not doubled.filter(count__gt=1).exists()
