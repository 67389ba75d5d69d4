"""One run at a time, whatever starts together, dies, or sleeps and wakes up: rule 13.

Every run is a real process of `manage.py updatedata` on the database that the settings give.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from threading import Event
from time import monotonic, sleep

import pytest
from django.conf import settings
from tom_dataproducts.models import DataProduct

import forked
from app.models import StoredFrame, UpdateRun
from app.observatory.messages import Call, Reply
from app.tests.running import contents, files
from stage import Stage

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
