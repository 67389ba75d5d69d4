"""What Celery's workers bring: hooks that take long, and very many records, on PostgreSQL."""

import json
import subprocess
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import postgres
from redis_server import redis_server
from running import clean_environment, tom_python
from sky import sky
from stage import HERE, Cost, Stage, cost_of, measured

HOOK = """
from time import sleep, thread_time


def calculate(products):
    begun = thread_time()
    while thread_time() - begun < 0.05:
        pass


def wait(products):
    sleep(0.5)
"""
CHOICE = """
from my_tom.settings import HOOKS
HOOKS['data_product_post_save'] = 'long_hook.{name}'
"""
OWED = 'SELECT count(*) FROM tom_auto_storedframe WHERE hooks_owed'
AT_WORK = 'SELECT count(*) FROM tom_auto_taskworker'
SECONDS = 900  # that anything may take


def hooks(stage: Stage, sizes: Namespace) -> dict[str, Cost]:
    """Frames whose hooks calculate, or wait: in the run, and by so many processes of a worker.

    From the beginning of the run to the end of the last hook.
    """
    found = {}
    for hook, processes, records in (
        ('calculate', 2, sizes.records),
        ('wait', 8, sizes.records // 10),
    ):
        for many in (0, processes):
            scene = {'completed': records, 'frames': 2, 'size': 28_800}
            with _tom(stage, many, scene, due=records) as measure:
                who = f'{many} processes' if many else 'in the run'
                found[f'{hook}, {who}'] = measure(hook)
    return found


def cluster(stage: Stage, sizes: Namespace) -> dict[str, Cost]:
    """What a coordinator does by itself for one due record in eleven of very many; beside it, of a tenth.

    As `choose.py` measures it: the observatory is not asked.
    """
    found = {}
    for who, part in (('a tenth', 10), ('all', 1)):
        due, settled = sizes.settled // 10 // part, sizes.settled // part
        with postgres.server() as server:
            database = {'DATABASE_URL': server.url}
            with stage.tom(due=due, settled=settled, **database) as tom:
                variables = database | {'TASK_ENGINE': 'celery'}
                cost, said = measured([str(tom_python()), str(HERE / 'choose.py')], tom, variables)
        steps = json.loads(said.splitlines()[-1])
        assert steps['due'] == due, said
        seconds = sum(steps[name] for name in ('choose', 'cut', 'write'))
        found[who] = Cost(seconds, cost.cpu, steps['memory'])
    return found


def batches(stage: Stage, sizes: Namespace) -> dict[str, Cost]:
    """Very many records at an observatory that takes its time, by one process and by workers."""
    records = 5 * sizes.records
    scene = {'completed': records, 'frames': 2, 'size': 2880, 'latency': sizes.latency}
    found = {}
    for who, many in (('one process', 0), ('2 processes', 2)):
        with _tom(stage, many, scene, due=records) as measure:
            found[who] = measure()
    return found


@contextmanager
def _tom(
    stage: Stage, processes: int, scene: dict, **records: int
) -> Iterator[Callable[..., Cost]]:
    """Measures a run of a TOM whose worker has so many processes; none: a TOM without."""
    with (
        postgres.server() as server,
        redis_server() as broker,
        stage.tom(**records, DATABASE_URL=server.url) as tom,
        sky(**scene) as observatory,
    ):
        variables = {'DATABASE_URL': server.url, 'DJANGO_SETTINGS_MODULE': 'my_tom.settings'}
        if processes:
            variables |= {'TASK_ENGINE': 'celery', 'CELERY_BROKER_URL': broker.url}

        def measure(hook: str = '') -> Cost:
            if hook:
                (tom / 'long_hook.py').write_text(HOOK)
                (tom / 'local_settings.py').write_text(CHOICE.format(name=hook))
            with _worker(tom, processes, server, variables | observatory.variables()):
                begun = monotonic()
                cost = cost_of(tom, 'updatedata', sky=observatory, **variables)
                while server.run('psql', '-Atc', OWED, server.url).strip() != '0':
                    assert monotonic() - begun < SECONDS, 'the hooks do not end'
                    sleep(0.2)
                cost.seconds = monotonic() - begun
            return cost

        yield measure


@contextmanager
def _worker(
    tom: Path, processes: int, server: postgres.Server, variables: dict[str, str]
) -> Iterator[None]:
    """While this lasts, a worker with so many processes is at work."""
    if not processes:
        yield
        return
    log = tom / 'worker.log'
    app = ['-m', 'celery', '-A', 'tom_auto.celery_tasks.app']
    with log.open('w') as file:
        worker = subprocess.Popen(
            [tom_python(), *app, 'worker', '-c', str(processes)], cwd=tom, env=clean_environment(tom, **variables),
            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        end = monotonic() + SECONDS
        while server.run('psql', '-Atc', AT_WORK, server.url).strip() == '0':
            assert monotonic() < end and worker.poll() is None, log.read_text()
            sleep(0.1)
        yield
    finally:
        worker.terminate()
        worker.wait(60)
