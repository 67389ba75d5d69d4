"""`celery worker` and `celery beat` as an operator starts them, on the database of the running test."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from program import TESTS, environment_of, write_settings
from redis_server import Redis, redis_server
from tom_auto.celery_tasks import sending
from tom_auto.celery_tasks.app import app
from tom_auto.hooks.owed import owed
from tom_auto.models import TaskWorker

LEASE = 2  # seconds
#: A machine that is busy with many workers answers late.
PATIENT = {'READ_TIMEOUT': 30, 'CONNECT_TIMEOUT': 30}
PATIENCE = 60  # seconds


class CeleryProgram:
    """`celery` with `words`, in a group of its own so that a kill takes all of it."""

    def __init__(self, directory: Path, name: str, *words: str) -> None:
        """`directory` is the test's own, for the settings and the log."""
        write_settings(directory)
        self._log = directory / f'{name}.log'
        with self._log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'celery', '-A', 'tom_auto.celery_tasks.app', *words],
                cwd=TESTS, env=environment_of(directory), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def printed(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()

    def kill(self) -> None:
        """Kill it and its processes, as a machine that loses power does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Have it end in order; its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


class Worker(CeleryProgram):
    """A worker with so many processes."""

    count = 0

    def __init__(self, directory: Path, processes: int = 2) -> None:
        Worker.count += 1
        self.name = f'w{Worker.count}@here'
        super().__init__(directory, self.name, 'worker', '-n', self.name, '-c', str(processes))

    def ready(self) -> 'Worker':
        """Wait until it is at work."""
        wait_until(self._is_at_work, self.printed)
        return self

    def _is_at_work(self) -> bool:
        assert self.process.poll() is None, self.printed()
        return TaskWorker.objects.filter(name=self.name, refused='').exists()

    def children(self) -> list[int]:
        """The processes that do its tasks."""
        found = Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text()
        return [int(word) for word in found.split()]


def wait_until(
    condition: Callable[[], object], why: Callable[[], object] = str, seconds: float = PATIENCE
) -> None:
    """Wait until `condition` holds; fail with what `why` returns where it takes too long."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, why()
        sleep(0.05)


def all_paid() -> bool:
    """Tell workers of the hooks that are owed, as beat does. Returns whether none is left."""
    sending.sweep()
    return not owed().exists()


@pytest.fixture(scope='module')
def redis() -> Iterator[Redis]:
    """The broker."""
    with redis_server() as own:
        yield own


@pytest.fixture
def celery_tom(redis: Redis, settings: object, tmp_path: Path) -> Path:
    """A TOM that works with Celery, whose queues are empty; gives the test's own directory."""
    redis.client.flushall()
    app.conf.broker_url = redis.url
    settings.CELERY_BROKER_URL = redis.url
    settings.TOM_AUTO |= {'TASK_ENGINE': 'celery', 'LEASE': LEASE} | PATIENT
    return tmp_path


@pytest.fixture
def begin(celery_tom: Path) -> Iterator[Callable[..., CeleryProgram]]:
    """Starts programs of Celery, none of which outlives the test."""
    begun = []

    def start(kind: type[CeleryProgram], *arguments: object) -> CeleryProgram:
        begun.append(kind(celery_tom, *arguments))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
