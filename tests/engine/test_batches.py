"""A run in batches, which workers check: the same end as without, and no more requests at a time."""

import json
import signal
from collections import Counter
from pathlib import Path
from time import sleep

import pytest

from celery_programs import Worker, all_paid, wait_until
from databases import only_on
from home import everything_is_home
from program import Program
from tom_auto.models import Batch, UpdateRun

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 4


@pytest.fixture
def tom(celery_tom, settings, sky, observed):
    """A TOM with 60 records that are due, in batches of ten."""
    settings.TOM_AUTO |= {'BATCH': 10, 'WORKERS': WORKERS}
    for number in range(60):
        observed('SOAR' if number % 3 else 'LCO', frames=1)
    return celery_tom


@only_on('postgresql')
def test_workers_check_the_batches_and_never_ask_more_than_one_run_would(tom, begin, sky):
    sky.break_('/store/', lambda call, reply: sleep(0.1) or reply)
    begin(Worker, 2).ready()
    begin(Worker, 3).ready()
    status, report, _ = Program(tom).report()
    assert (status, report['due'], report['checked'], report['saved']) == (0, 60, 60, 60), report
    assert 2 <= sky.most_at_once <= WORKERS
    wait_until(all_paid)
    everything_is_home(sky)
    assert not Batch.objects.exists()
    _, again, _ = Program(tom).report()
    assert (again['saved'], again['failed']) == (0, 0)


@only_on('postgresql')
def test_the_lists_are_read_once_for_all_batches(tom, begin, sky):
    begin(Worker, 2).ready()
    status, report, _ = Program(tom).report()
    assert (status, report['checked'], report['saved']) == (0, 60, 60), report
    asked = Counter(seen.path.partition('?')[0] for seen in sky.requests_seen)
    del asked['/profile/']
    lists = {path: number for path, number in asked.items() if not path.startswith('/store/')}
    assert sum(lists.values()) <= 8, lists  # in place of one for each record, or for each batch
    _, again, _ = Program(tom).report()
    assert (again['checked'], again['saved'], again['failed']) == (60, 0, 0)


@only_on('postgresql')
def test_killed_workers_and_coordinators_lose_no_record(tom, begin, sky):
    sky.break_('/store/', lambda call, reply: sleep(0.3) or reply)
    killed = begin(Worker, 2).ready()
    coordinator = Program(tom)
    wait_until(lambda: Batch.objects.filter(state='out').exclude(holder='').exists())
    killed.kill()
    other = begin(Worker, 2).ready()
    wait_until(lambda: Batch.objects.filter(state='done').exists())
    coordinator.send(signal.SIGKILL)
    coordinator.ended()
    status, report, seconds = Program(tom).report()
    assert status == 0, report
    assert sky.most_at_once <= WORKERS
    wait_until(all_paid)
    everything_is_home(sky)
    assert [run.status for run in UpdateRun.objects.order_by('pk')] == ['died', 'ok']
    assert not Batch.objects.exists()
    assert other.process.poll() is None


def without_broker(tom: Path, redis: object) -> tuple[int, dict, str]:
    """The exit status of a run, its report, and what it says, while the broker is away."""
    redis.stop()
    try:
        status, output, errors, _ = Program(tom).ended()
    finally:
        redis.start()
    return status, json.loads(output), errors


@only_on('postgresql')
def test_while_the_broker_is_away_the_run_checks_them_by_itself(tom, redis, sky):
    status, report, errors = without_broker(tom, redis)
    assert (status, report['checked'], report['saved']) == (0, 60, 60), report
    assert 'Until it is back, this run checks the records by itself.' in errors
    everything_is_home(sky)


@only_on('postgresql')
def test_a_run_that_waits_for_the_broker_in_vain_accounts_for_all(tom, redis, sky, settings):
    settings.TOM_AUTO |= {'BROKER_AWAY': 'wait', 'DEADLINE': 4}
    status, report, errors = without_broker(tom, redis)
    assert (status, report['not_reached']) == (1, 60), report
    assert 'not accounted for' not in str(report) + errors
