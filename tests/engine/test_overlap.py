"""One run at a time, whatever starts together, dies, or sleeps and wakes up: rule 13.

Every run is a real process of `manage.py updatedata` on the database that the settings give.
"""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from threading import Event
from time import monotonic, sleep

import pytest
from django.conf import settings
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import forked
from app.models import StoredFrame, UpdateRun
from app.observatory.messages import Call, Reply
from app.sync import crew, history
from app.tests.running import contents, files
from stage import Stage
from steps import Steps

pytestmark = pytest.mark.django_db(transaction=True)

BUSY = 75
TOGETHER = 12


@pytest.fixture
def stage(sky, add_record, settings, tmp_path) -> Stage:
    return Stage(sky, add_record, settings, tmp_path)


class Gate:
    """A fault that holds answers back until it is opened."""

    def __init__(self) -> None:
        self._open = Event()
        self.waiting = 0

    def __call__(self, call: Call, reply: Reply) -> Reply:
        self.waiting += 1
        assert self._open.wait(forked.PATIENCE)
        return reply

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(stage) -> Iterator[Gate]:
    """Every question to the portal waits until it is opened."""
    gate = Gate()
    stage.sky.break_('/api/', gate)
    yield gate
    gate.open()


def one_host(number: int) -> None:
    """All runs are in one directory of one host, as cron starts them."""


def a_host_each(number: int) -> None:
    """Each run is on a host of its own: the database alone can tell."""
    elsewhere(f'host-{number}')


def containers_of_one_name(number: int) -> None:
    """Each run has a file system of its own on what seems to be one host."""
    elsewhere(f'host-{number}')
    socket.gethostname = lambda: 'tom'


def elsewhere(name: str) -> None:
    """Be on another host from now on, with a project directory of its own."""
    socket.gethostname = lambda: name
    settings.BASE_DIR = settings.BASE_DIR / name
    (settings.BASE_DIR / 'logs').mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize('place', [one_host, a_host_each, containers_of_one_name])
def test_twelve_runs_started_together_do_the_work_once(stage, gate, place):
    for _ in range(8):
        stage.observe(frames=2)
    together = forked.barrier(TOGETHER)

    def start(number: int) -> BaseProcess:
        def first() -> None:
            place(number)
            together.wait(forked.PATIENCE)

        return stage.start(first=first)

    runs = [start(number) for number in range(TOGETHER)]
    # The one at work gets no answer before the others have given up.
    wait_until(lambda: sum(run.exitcode is not None for run in runs) == TOGETHER - 1)
    gate.open()

    statuses = Counter(forked.ended(run) for run in runs)
    assert statuses == {0: 1, BUSY: TOGETHER - 1}, stage.printed.read_text()
    assert 'Traceback' not in stage.printed.read_text()
    everything_came_once(stage)


def everything_came_once(stage: Stage) -> None:
    asked = Counter(seen.path for seen in stage.sky.requests_seen)
    for number in stage.sky.requests:
        assert asked[f'/api/requests/{number}/'] == 1
    assert sum(count for path, count in asked.items() if path.startswith('/store/')) == len(
        stage.sky.frames
    )
    assert sorted(files().values()) == contents(stage.sky)
    assert DataProduct.objects.count() == StoredFrame.objects.count() == len(stage.sky.frames)
    assert UpdateRun.objects.get().status == 'ok'


def wait_until(happened: Callable[[], object]) -> None:
    end = monotonic() + forked.PATIENCE
    while not happened():
        assert monotonic() < end, 'waited in vain'
        sleep(0.01)


def test_runs_overlap_while_the_web_application_writes(stage, gate):
    """Nobody gets an error of the database, and nothing is lost between the two."""
    for _ in range(8):
        stage.observe(frames=2)
    together = forked.barrier(TOGETHER)
    stop = forked.event()
    errors = stage.world.root / 'errors'
    errors.touch()
    web = forked.start(stage.printed, write_as_the_web_application_does, stop, errors)
    runs = [stage.start(first=lambda: together.wait(forked.PATIENCE)) for _ in range(TOGETHER)]
    wait_until(lambda: sum(run.exitcode is not None for run in runs) == TOGETHER - 1)
    gate.open()
    statuses = Counter(forked.ended(run) for run in runs)
    for _ in range(3):
        stage.run('--recheck')
    stop.set()
    forked.ended(web)
    print(statuses)
    print(errors.read_text())
    print(stage.printed.read_text())
    print([(p.product_id, p.data.name) for p in DataProduct.objects.filter(product_id__isnull=False)])
    print(list(files()))
    assert stage.run() == 0
    print(list(files()))
    print([(p.product_id, p.data.name) for p in DataProduct.objects.filter(product_id__isnull=False)])
    assert 0


def write_as_the_web_application_does(stop, errors) -> None:
    import random
    chance = random.Random(1)
    done = Counter()
    while not stop.is_set():
        record = chance.choice(ObservationRecord.objects.all())
        for action in (edit, save_data, upload):
            try:
                action(record)
                done[action.__name__] += 1
            except Exception as error:
                with errors.open('a') as file:
                    file.write(f'{action.__name__} {error!r}\n')
    print(done)


def edit(record):
    record.target.save()
    record.refresh_from_db()
    record.parameters = {'edited': record.parameters.get('edited', 0) + 1}
    record.save()


def save_data(record):
    record.save_data()


def upload(record):
    from django.core.files.base import ContentFile
    product = DataProduct(target=record.target, observation_record=record)
    product.data.save('notes.txt', ContentFile(b'seeing 1.2'))
    product.save()


def test_susp(stage):
    from app.sync import history
    stage.observe()
    stage.world.remember()
    expected = stage.play()
    stage.world.restore()
    steps = Steps(stage.world.root)
    def first():
        elsewhere('first')
        history.BEAT = 0
        crew.TICK = 60
        steps.watch()
    assert stage.run(first=first) == 0
    names = steps.log.read_text().splitlines()
    for number, name in enumerate(names, 1):
        if 'transaction' in name: continue
        stage.world.restore()
        open(stage.printed, 'w').close()
        steps = Steps(stage.world.root, number, signal.SIGSTOP)
        def first():
            elsewhere('first')
            history.BEAT = 0
            crew.TICK = 60
            steps.watch()
        begun = monotonic()
        a = stage.start(first=first)
        wait_until(lambda: open(f'/proc/{a.pid}/stat').read().split()[2] == 'T')
        UpdateRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
        b = stage.start(first=lambda: elsewhere('second'))
        b.join(3)
        done = b.exitcode
        os.kill(a.pid, signal.SIGCONT)
        statuses = forked.ended(a), forked.ended(b)
        from world import differences
        d = differences(stage.world.state(), expected)
        print(number, name, done, statuses, f'{monotonic()-begun:.2f}', d)
        if statuses[1] or statuses[0] not in (0, 75) or d: print(stage.printed.read_text())
        t = stage.trouble(expected)
        print('   then', t)
    assert 0


def test_susq(stage):
    from app.sync import history
    stage.observe()
    stage.world.remember()
    expected = stage.play()
    stage.world.restore()
    steps = Steps(stage.world.root)
    def first():
        elsewhere('first')
        history.BEAT = 0
        crew.TICK = 60
        steps.watch()
    assert stage.run(first=first) == 0
    names = steps.log.read_text().splitlines()
    for number, name in enumerate(names, 1):
        if 'transaction' in name: continue
        stage.world.restore()
        stage.sky.mend()
        open(stage.printed, 'w').close()
        steps = Steps(stage.world.root, number, signal.SIGSTOP)
        def first():
            elsewhere('first')
            history.BEAT = 0.5
            crew.TICK = 0.3
            steps.watch()
        begun = monotonic()
        a = stage.start(first=first)
        wait_until(lambda: open(f'/proc/{a.pid}/stat').read().split()[2] == 'T')
        UpdateRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
        gate = Gate()
        stage.sky.break_('/store/', gate)
        b = stage.start(first=lambda: elsewhere('second'))
        wait_until(lambda: gate.waiting or b.exitcode is not None)
        done = b.exitcode
        os.kill(a.pid, signal.SIGCONT)
        a.join(5)
        adone = a.exitcode
        gate.open()
        statuses = forked.ended(a), forked.ended(b)
        from world import differences
        d = differences(stage.world.state(), expected)
        print(number, name, done, adone, statuses, f'{monotonic()-begun:.2f}', d)
        if statuses[1] or statuses[0] not in (0, 75) or d: print(stage.printed.read_text())
        t = stage.trouble(expected)
        print('   then', t)
    assert 0
