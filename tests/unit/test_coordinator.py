"""A run in batches whose broker is away: the coordinator checks them, whatever the lists say."""

from contextlib import contextmanager
from datetime import timedelta
from math import nan

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

import faults
from tom_auto import db_retry
from tom_auto.models import Batch
from tom_auto.observatories.portal_lists import FEWEST

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 3  # records
RECORDS = max(2 * BATCH, FEWEST)  # so many that lists are read, and batches made


@pytest.fixture
def in_batches(settings, monkeypatch):
    """A TOM with Celery, in which the run checks its batches by itself."""
    settings.TOM_AUTO |= {'TASK_ENGINE': 'celery', 'HOOKS': 'run', 'BATCH': BATCH}
    settings.CELERY_BROKER_URL = 'redis://127.0.0.1:9/0'  # nobody listens
    monkeypatch.setattr('tom_auto.celery_tasks.setup.insist', lambda: None)  # on SQLite as well


def test_an_address_that_is_none_is_that_facilitys_trouble_alone(in_batches, observed, settings):
    for name in ['LCO', 'SOAR'] * BATCH:
        observed(name)
    broken = settings.FACILITIES['SOAR'] | {'portal_url': 'http://[archive/'}
    settings.FACILITIES = settings.FACILITIES | {'SOAR': broken}

    status, report = updatedata()

    assert (status, report['checked'], report['unsupported']) == (0, BATCH, BATCH)
    assert 'cannot be used as settings.py has it' in report['unsupported_facilities']['SOAR']


def change_filename(text):
    return lambda page: page['results'][0].update(filename=text)


def add_nan(page):
    page['results'][0]['version_set'][0]['size'] = nan


def change_start(page):
    for block in page['results'][:1]:
        block['start'] = 'soon\0'


@pytest.fixture
def listed(sky, add_record):
    """Records whose statuses and frames the observatory's lists have, of which none is stored."""
    records = [add_record(status='', parameters={'proposal': 'DEMO2026'}) for _ in range(RECORDS)]
    ago = timezone.now() - timedelta(hours=2)
    for number in (int(record.observation_id) for record in records):
        sky.add_request(number, proposal='DEMO2026')
        sky.observe(number, ago)
        sky.add_frame(number, pixels=32, observed_at=ago)
    return records


@pytest.mark.parametrize(
    'change', [change_filename('a\0b.fits.fz'), change_filename('\ud800.fz'), add_nan]
)
def test_odd_text_in_the_lists_of_frames_is_told_as_it_is(in_batches, sky, listed, change):
    """PostgreSQL's own JSON takes none of these."""
    sky.break_(r'/frames/\?proposal_id', faults.edit(change))

    status, report = updatedata()

    assert (status, report['checked'], report['saved']) == (0, RECORDS, RECORDS)
    assert not any('request_id=' in seen.target for seen in sky.requests_seen)
    assert sorted(files().values()) == contents(sky)


def test_odd_text_in_the_lists_of_requests_is_that_records_trouble_alone(in_batches, sky, listed):
    sky.break_('/api/observations/', faults.edit(change_start))

    status, report = updatedata()

    assert (status, report['checked'], report['failed']) == (1, RECORDS - 1, 1)
    assert 'a scheduled start that is not a time' in report['failures'][0]['error']
    assert sorted(files().values()) == contents(sky)


@pytest.fixture
def away_at_first(settings, monkeypatch):
    """While this lasts, each statement about batches finds the database away the first time."""
    settings.TOM_AUTO |= {'LEASE': 1}
    monkeypatch.setattr(db_retry, 'sleep', lambda seconds: None)
    met, table = set(), Batch._meta.db_table

    def execute_at_second(execute, sql, params, many, context):
        statement = sql.partition(' VALUES ')[0]
        if table in sql and statement not in met:
            met.add(statement)
            raise OperationalError('the server has closed the connection')
        return execute(sql, params, many, context)

    @contextmanager
    def while_this_lasts():
        with connection.execute_wrapper(execute_at_second):
            yield met

    return while_this_lasts


def test_a_database_that_is_away_for_a_moment_ends_no_run(in_batches, observed, away_at_first):
    for _ in range(RECORDS):
        observed('LCO', frames=1)

    with away_at_first() as met:
        status, report = updatedata()

    assert len(met) >= 10
    assert (status, report['checked'], report['saved']) == (0, RECORDS, RECORDS)
    assert not Batch.objects.exists()


def test_nor_does_it_lose_a_record_where_the_run_waits_for_the_broker(
    in_batches, observed, settings, away_at_first
):
    settings.TOM_AUTO |= {'BROKER_AWAY': 'wait', 'DEADLINE': 2}
    for _ in range(RECORDS):
        observed('LCO', frames=1)

    with away_at_first():
        status, report = updatedata()

    assert (status, report['not_reached']) == (1, RECORDS)
    assert 'not accounted for' not in str(report)
