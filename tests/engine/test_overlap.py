"""One run at a time, whatever starts together, dies, or sleeps and wakes up: rule 13.

Each run is a process of `manage.py updatedata`, on the database that the settings give. Other
hosts are processes with another host name and another project directory: what is left in common
is the database, the observatory and the data.
"""

import json
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import forked
from home import everything_is_home
from stage import Stage
from steps import IN_TRANSACTION, Steps
from tom_auto.models import UpdateRun
from tom_auto.running import runs
from tom_auto.simulator.messages import Call, Reply
from tom_auto.sync import check_due

pytestmark = pytest.mark.django_db(transaction=True)

BUSY = 75
TOGETHER = 12
AT_LEAST = 20  # things that the web application does
LONG = timedelta(minutes=5)  # much longer than a living run is ever silent
SEED = 20261123


class Gate:
    """A fault: answers wait before it until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self._open = Event()

    def __call__(self, call: Call, reply: Reply) -> Reply:
        self.waiting += 1
        self._open.wait(forked.PATIENCE)
        return reply

    def open(self) -> None:
        self._open.set()


def be_at(host: str, directory: str) -> None:
    """Be on another host from now on, with a project directory of its own."""
    socket.gethostname = lambda: host
    settings.BASE_DIR = settings.BASE_DIR / directory
    (settings.BASE_DIR / 'logs').mkdir(parents=True, exist_ok=True)


def on_one_host(number: int) -> None:
    """As cron starts them: in one directory of one host."""


def on_a_host_each(number: int) -> None:
    be_at(f'host-{number}', f'host-{number}')


def in_containers_of_one_name(number: int) -> None:
    be_at('tom', f'container-{number}')


def together(stage: Stage, place: Callable[[int], None]) -> Counter:
    """Start twelve runs at one moment; how many ended with which status.

    Whoever is at work gets no answer before the eleven others have ended.
    """
    gate, barrier = Gate(), forked.fork.Barrier(TOGETHER)
    stage.sky.break_('/api/', gate)

    def first(number: int) -> None:
        place(number)
        barrier.wait(forked.PATIENCE)

    runs = [stage.start(first=partial(first, number)) for number in range(TOGETHER)]
    try:
        forked.wait_until(lambda: sum(map(has_ended, runs)) >= TOGETHER - 1)
    finally:
        gate.open()
    return Counter(map(forked.ended, runs))


def has_ended(run: BaseProcess) -> bool:
    return run.exitcode is not None


@pytest.mark.parametrize('place', [on_one_host, on_a_host_each, in_containers_of_one_name])
def test_twelve_that_start_together_do_the_work_once(stage, place):
    for _ in range(8):
        stage.observe(frames=2)
    before = len(stage.sky.requests_seen)

    assert together(stage, place) == {0: 1, BUSY: TOGETHER - 1}, stage.printed.read_text()

    assert 'Traceback' not in stage.printed.read_text()
    asked = Counter(seen.path for seen in stage.sky.requests_seen[before:])
    assert asked['/api/requestgroups/'] == 2  # the pending ones, and those that have ended
    assert asked['/frames/'] == 1  # of all of them
    downloads = [count for path, count in asked.items() if path.startswith('/store/')]
    assert downloads == [1] * len(stage.sky.frames)
    everything_is_home(stage.sky)


def test_nobody_fails_while_the_web_application_writes(stage):
    """It saves targets, edits records, takes uploads, and saves the very same frames."""
    for _ in range(8):
        stage.observe(frames=2)
    stop, failures = forked.fork.Event(), stage.world.root / 'failures'
    edited = stage.world.root / 'edited.json'
    web = forked.start(failures, the_web_application, stop, edited)

    statuses = together(stage, on_one_host)
    for _ in range(3):
        statuses[stage.run('--recheck')] += 1
    stop.set()

    assert forked.ended(web) == 0, failures.read_text()
    assert statuses == {0: 4, BUSY: TOGETHER - 1}, stage.printed.read_text()
    assert 'Traceback' not in stage.printed.read_text()
    uploads = DataProduct.objects.filter(product_id=None)
    assert uploads
    for product in uploads:
        product.data.delete(save=False)
        product.delete()
    assert stage.run('--recheck') == 0
    everything_is_home(stage.sky)
    edits = dict(ObservationRecord.objects.values_list('pk', 'parameters__edits'))
    last = {int(pk): number for pk, number in json.loads(edited.read_text()).items()}
    assert last, 'nobody edited anything'
    assert last == {pk: edits[pk] for pk in last}, 'an edit was lost'


def test_a_page_that_is_slower_leaves_no_second_file(stage):
    """It has its row first, and knows nothing of the file that a run has stored for it meanwhile."""
    record = stage.observe()
    [frame] = stage.sky.frames.values()
    pages = DataProduct.objects.create(
        product_id=str(frame.id), target=record.target, observation_record=record
    )
    assert stage.run() == 0, stage.printed.read_text()
    pages.data.save(frame.filename, ContentFile(frame.content))

    assert stage.run('--recheck') == 0, stage.printed.read_text()

    everything_is_home(stage.sky)


def the_web_application(stop: object, edited: Path) -> None:
    """What a TOM's pages write, in no order, until it is told to stop.

    The number of the last edit of each record goes into the file `edited`.
    """
    chance, number, last = random.Random(SEED), 0, {}
    while not (stop.is_set() and last and number >= AT_LEAST):
        number += 1
        record = chance.choice(ObservationRecord.objects.order_by('pk'))
        act = chance.choice([edit, upload, save_target, ObservationRecord.save_data])
        if act is edit:
            record.parameters['edits'] = last[record.pk] = number
        act(record)
    edited.write_text(json.dumps(last))


def edit(record: ObservationRecord) -> None:
    record.save()


def upload(record: ObservationRecord) -> None:
    product = DataProduct(target=record.target, observation_record=record)
    product.data.save('seeing.csv', ContentFile(b'time,seeing'))


def save_target(record: ObservationRecord) -> None:
    record.target.save()


def killed_at_work(stage: Stage, place: Callable[[int], None]) -> None:
    """Leave a run behind that was killed while it waited for an answer."""
    gate = Gate()
    stage.sky.break_('/api/', gate)
    run = stage.start(first=partial(place, 1))
    forked.wait_until(lambda: gate.waiting)
    run.kill()
    forked.ended(run)
    gate.open()
    stage.sky.mend()
    assert UpdateRun.objects.get().status == 'running'


def test_a_killed_run_is_taken_over_at_once_on_its_own_host(stage):
    stage.observe()
    killed_at_work(stage, on_one_host)

    assert stage.run() == 0, stage.printed.read_text()

    assert UpdateRun.objects.filter(status='died').count() == 1
    everything_is_home(stage.sky)


def test_a_killed_run_is_taken_over_by_another_host_after_its_silence(stage, monkeypatch):
    monkeypatch.setattr(runs, 'SILENCE', timedelta(seconds=2))
    stage.observe()
    killed_at_work(stage, on_a_host_each)

    begun, statuses = monotonic(), [BUSY]
    while statuses[-1] == BUSY and monotonic() - begun < forked.PATIENCE:
        statuses.append(stage.run(first=partial(on_a_host_each, 2)))
        sleep(0.2)

    assert statuses[1] == BUSY, 'it was taken over at once'
    assert statuses[-1] == 0, stage.printed.read_text()
    everything_is_home(stage.sky)


def test_a_run_that_waits_long_for_an_answer_is_not_taken_over(stage, monkeypatch):
    """It says that it is alive all the while."""
    monkeypatch.setattr(runs, 'SILENCE', timedelta(seconds=3))
    monkeypatch.setattr(runs, 'BEAT', 0.2)
    monkeypatch.setattr(check_due, 'TICK', 0.1)
    stage.settings.TOM_AUTO['READ_TIMEOUT'] = forked.PATIENCE
    stage.observe()
    gate = Gate()
    stage.sky.break_('/api/', gate)
    run = stage.start(first=partial(on_a_host_each, 1))
    forked.wait_until(lambda: gate.waiting)

    begun = monotonic()
    while monotonic() - begun < 4:
        assert stage.run(first=partial(on_a_host_each, 2)) == BUSY
    gate.open()

    assert forked.ended(run) == 0, stage.printed.read_text()
    everything_is_home(stage.sky)


class Sleeper:
    """A run on a host of its own that is suspended before one of its steps, as a laptop may be.

    When it wakes up, its clock has gone on for so long that others took it for dead.
    """

    def __init__(self, stage: Stage, number: int | None = None, looks_up: bool = True) -> None:
        """`looks_up`: whether its heart beats as soon as it wakes up."""
        self.steps = Steps(stage.world.root, number, signal.SIGSTOP)
        self._looks_up = looks_up
        self.run = stage.start(first=self._first)

    def _first(self) -> None:
        woken = []

        def clock() -> float:
            return monotonic() + (LONG.total_seconds() if woken else 0)

        class Waking(Event):
            def wait(self, timeout: float | None = None) -> bool:
                end = clock() + timeout
                while not self.is_set() and clock() < end:
                    super().wait(0.02)
                return self.is_set()

        signal.signal(signal.SIGCONT, lambda *_: woken.append(True))
        if self._looks_up:
            runs.Event = Waking
        on_a_host_each(1)
        self.steps.watch()

    def fall_asleep(self) -> None:
        """Wait until it is suspended, and let so much time pass that it counts as dead."""
        forked.wait_until(lambda: is_suspended(self.run))
        UpdateRun.objects.update(heartbeat=timezone.now() - LONG)

    def wake_up(self) -> None:
        os.kill(self.run.pid, signal.SIGCONT)

    def dies(self) -> int:
        """Its exit status in the end."""
        return forked.ended(self.run)


def is_suspended(run: BaseProcess) -> bool:
    state = Path(f'/proc/{run.pid}/stat').read_text().rpartition(')')[2].split()[0]
    return state == 'T'


def a_frame(stage: Stage) -> None:
    stage.observe()


def a_new_version(stage: Stage) -> None:
    stage.observe()
    assert stage.run() == 0
    [frame] = stage.sky.frames.values()
    stage.sky.reprocess(frame)


def sleeping_places(stage: Stage) -> list[int]:
    """The numbers of the steps before which a run may be suspended without harm to others.

    Who sleeps in the middle of a transaction locks others out, for as long as the database lets it.
    """
    stage.world.restore()
    sleeper = Sleeper(stage)
    assert sleeper.dies() == 0, stage.printed.read_text()
    names = sleeper.steps.log.read_text().splitlines()
    numbers = [number for number, name in enumerate(names, 1) if IN_TRANSACTION not in name]
    assert len(numbers) >= 12, names
    return numbers


@pytest.mark.parametrize('scene', [a_frame, a_new_version])
def test_who_wakes_up_after_another_has_done_the_work_does_no_harm(stage, scene):
    """Not even where it carries on to the end of what it has in hand before it looks up."""
    scene(stage)
    stage.world.remember()
    expected = stage.play()

    for number in sleeping_places(stage):
        stage.world.restore()
        sleeper = Sleeper(stage, number, looks_up=False)
        sleeper.fall_asleep()
        assert stage.run(first=partial(on_a_host_each, 2)) == 0, stage.printed.read_text()
        sleeper.wake_up()

        awake = monotonic()
        assert sleeper.dies() in (0, BUSY), stage.printed.read_text()
        assert monotonic() - awake < runs.BEAT / 2, f'it goes round before step {number}'
        assert stage.world.state() == expected, f'suspended before step {number}'


@pytest.mark.parametrize('scene', [a_frame, a_new_version])
def test_who_wakes_up_while_another_is_at_work_stops(stage, scene):
    """The other one may fail with what both had in hand; the next run has it all in order."""
    scene(stage)
    stage.world.remember()
    expected = stage.play()

    for number in sleeping_places(stage):
        stage.world.restore()
        wakes_up_while_another_downloads(stage, Sleeper(stage, number))
        every_row_is_a_whole_file(stage)
        assert stage.trouble(expected) == {}, f'suspended before step {number}'


def wakes_up_while_another_downloads(stage: Stage, sleeper: Sleeper) -> None:
    sleeper.fall_asleep()
    gate = Gate()
    stage.sky.break_('/store/', gate)
    other = stage.start(first=partial(on_a_host_each, 2))
    forked.wait_until(lambda: gate.waiting or has_ended(other))
    sleeper.wake_up()
    assert sleeper.dies() in (0, BUSY), stage.printed.read_text()
    gate.open()
    assert forked.ended(other) in (0, 1), stage.printed.read_text()
    stage.sky.mend()


def every_row_is_a_whole_file(stage: Stage) -> None:
    """Of one version of its frame or another."""
    for product in DataProduct.objects.all():
        versions = stage.sky.frames[int(product.product_id)].versions
        bodies = [b''.join(version.body.chunks()) for version in versions]
        with product.data.open() as file:
            assert file.read() in bodies
