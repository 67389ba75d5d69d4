"""Trouble with the TOM's own database: locked by another program, or gone for a while.

What is promised: a lock that is shorter than the database's patience costs time and nothing else.
A longer one, or a server that dies, fails the records whose news could not be written, and each
is named; no facility is blamed. Whatever it was, the run ends, and afterwards every frame comes
home, once.
"""

from collections.abc import Iterator
from datetime import timedelta
from threading import Timer
from time import monotonic

import pytest
from django.core.management import CommandError
from django.db import connection

from databases import elsewhere, lock_for, only_on
from fault_table import APART, then
from home import everything_is_home, only_frames_are_stored, two_clean_runs
from tom_auto import db_retry
from tom_auto.models import UpdateRun
from tom_auto.run_job import run_job
from tom_auto.scheduling.definition import Job
from unit.running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

#: At which question of the run the trouble begins, and what would be written next.
MOMENTS = ['/api/', '/frames/', '/store/']


@pytest.mark.parametrize(('moment', 'seconds'), [('before the run', 5), ('in the middle', 15)])
def test_a_database_that_is_locked_for_a_while(sky, observed, moment, seconds):
    for _ in range(6):
        observed()
    with lock_for(seconds) as lock:
        if moment == 'before the run':
            lock.take()
        else:
            sky.break_('/frames/', then(lock.take), times=1)
        begun = monotonic()
        status, report = updatedata()

    assert monotonic() - begun > seconds - 1
    assert (status, report['failures'], report['saved']) == (0, [], 12)
    everything_is_home(sky)
    two_clean_runs(sky)


@pytest.fixture
def impatient(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that waits for a lock for one second only."""
    monkeypatch.setitem(db_retry.LONGEST_WAITS, 'lock_timeout', 1000)
    options = dict(connection.settings_dict.get('OPTIONS', {}))
    short = {'timeout': 1} if connection.vendor == 'sqlite' else {}
    with elsewhere(OPTIONS=options | short):
        yield


@pytest.mark.parametrize('moment', MOMENTS)
def test_a_database_that_is_locked_for_longer_than_it_waits(sky, observed, impatient, moment):
    records = [observed() for _ in range(6)]
    with lock_for(4) as lock:
        sky.break_(moment, then(lock.take), times=1)
        status, report = updatedata('--workers', '2')

    assert status == 1
    some_records_failed(report, records, 'database: locked for longer than it waits')
    only_frames_are_stored(sky, rows_may_lack=True)
    two_clean_runs(sky)


def test_a_database_that_is_locked_before_the_run(sky, observed, impatient, monkeypatch):
    """Without a row of its own a run must not begin: another might."""
    monkeypatch.setattr(db_retry, 'PATIENCE', 0)
    observed()
    with lock_for(4) as lock:
        lock.take()
        with pytest.raises(CommandError, match='keeps the database locked') as raised:
            updatedata()
    assert raised.value.returncode == 1
    two_clean_runs(sky)


def test_a_database_that_is_locked_as_a_job_ends(impatient):
    """What it printed is not lost, and it ended when it ended."""
    with lock_for(5) as lock:

        def locking(text: str) -> None:
            if text.strip() and not lock.process:
                lock.take()

        assert run_job(Job('own', '', command=('diffsettings',)), locking) == 0
    run = UpdateRun.objects.get()
    assert (run.status, 'TIME_ZONE' in run.output) == ('ok', True)
    assert run.finished - run.started < timedelta(seconds=4)


@only_on('postgresql')
@pytest.mark.parametrize('moment', MOMENTS)
def test_a_database_that_goes_away_and_comes_back(own_server, sky, observed, moment):
    records = [observed() for _ in range(12)]
    back = Timer(3, own_server.start)

    def crash() -> None:
        own_server.stop()
        back.start()

    sky.break_(moment, then(crash), times=1)

    status, report = updatedata('--workers', '2')
    back.join()

    assert status == bool(report['failed'])
    # What several records asked for is asked for again when the database is back, so all may be well.
    some_records_failed(report, records, 'database: gone for a while', at_least=0)
    assert report['failed'] <= 3, 'more than the threads of two workers had in hand'
    only_frames_are_stored(sky, rows_may_lack=True)
    two_clean_runs(sky)


def some_records_failed(report: dict, records: list, trouble: str, at_least: int = 1) -> None:
    """Each that failed is named with `trouble`; all the others were checked."""
    assert report['failed'] >= at_least
    assert report['checked'] + report['failed'] == report['due'] == len(records)
    for failure in report['failures']:
        assert failure['record'] in {record.pk for record in records}, failure
        assert APART[trouble] in failure['error']
    assert UpdateRun.objects.get().failed == report['failed']
