"""What keeps Celery from working is named, with the line to change, before anything begins."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from tom_auto import environment
from tom_auto.celery_tasks import setup, workers
from tom_auto.models import StorageMark, TaskWorker

NOBODY = 'redis://:secret@127.0.0.1:9/0'  # the port that discards: nobody listens
POSTGRESQL = 'django.db.backends.postgresql'


@pytest.fixture
def celery(settings, monkeypatch):
    """Settings with which Celery could work, were there a broker."""
    settings.TOM_AUTO |= {'TASK_ENGINE': 'celery'}
    settings.CELERY_BROKER_URL = NOBODY
    monkeypatch.setitem(settings.DATABASES['default'], 'ENGINE', POSTGRESQL)
    return settings


def found() -> list[str]:
    return [f'{message.id} {message.msg} {message.hint or ""}' for message in setup.check_celery()]


def test_without_celery_nothing_is_asked_and_celery_is_not_imported():
    assert setup.check_celery() == []
    code = (
        'import django, sys; django.setup(); from tom_auto.management.commands import updatedata; '
        'from tom_auto.page import urls; print({"celery", "kombu"} & set(sys.modules))'
    )
    command = [sys.executable, '-c', code]
    environ = os.environ | {'PYTHONPATH': ':'.join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == 'set()\n'


@pytest.mark.parametrize(
    ('address', 'said'),
    [
        ('', 'CELERY_BROKER_URL is empty.'),
        ('localhost:6379', "CELERY_BROKER_URL is 'localhost:6379', not the address of a broker."),
        ('http://localhost', "CELERY_BROKER_URL is 'http://localhost', not the address"),
        ('redis://', "CELERY_BROKER_URL is 'redis://', not the address of a broker."),
    ],
)
def test_a_wrong_address_is_named_with_its_line(celery, monkeypatch, address, said):
    celery.CELERY_BROKER_URL = address
    monkeypatch.setenv('CELERY_BROKER_URL', address)
    monkeypatch.setitem(environment._lines, 'CELERY_BROKER_URL', 12)
    [one] = found()
    assert one.startswith(f'tom_auto.E002 TASK_ENGINE is celery, and {said}')
    assert '.env, line 12. It begins with redis://' in one


def test_sqlite_is_refused_by_check_and_by_the_first_command(celery, monkeypatch, db):
    sqlite = 'django.db.backends.sqlite3'
    monkeypatch.setitem(celery.DATABASES['default'], 'ENGINE', sqlite)
    monkeypatch.setenv('DATABASE_URL', 'sqlite:///x')
    monkeypatch.setitem(environment._lines, 'DATABASE_URL', 7)
    [one] = found()
    assert 'the database is not PostgreSQL, which workers need' in one
    assert 'DATABASE_URL, .env, line 7: write' in one
    with pytest.raises(CommandError, match='the database is not PostgreSQL') as refused:
        call_command('updatedata')
    assert refused.value.returncode == 2


def test_a_broker_that_is_away_and_a_worker_that_was_refused_are_warnings(celery, db):
    TaskWorker.objects.create(
        name='celery@far', host='far', processes=2, queues='', started='2026-01-01T00:00Z',
        alive_at='2026-01-01T00:00Z', refused='Its data is elsewhere.',
    )  # fmt: skip
    away, refused = found()
    assert away.startswith('tom_auto.W006 The broker at redis://127.0.0.1:9 cannot be reached')
    assert 'See CELERY_BROKER_URL: .env' in away
    assert 'secret' not in away
    assert 'The worker celery@far has not started. Its data is elsewhere.' in refused


def test_a_worker_that_does_not_see_the_storage_is_told_what_to_do(db, settings):
    assert workers.storage_trouble() == ''  # nothing was stored yet
    StorageMark.objects.create(mark='of another folder')
    trouble = workers.storage_trouble()
    assert f'its data is in {settings.MEDIA_ROOT}, which is not the storage of this TOM' in trouble
    assert 'an S3 store (MEDIA_BUCKET in .env), or a folder that is mounted' in trouble


def test_no_worker_starts_in_a_tom_without_celery():
    assert setup.obstacle() == ('This TOM works without Celery. Set TASK_ENGINE=celery: .env.')


def test_each_facility_that_workers_can_ask_has_a_queue(settings):
    """Those that are not of LCO's kind stay with the coordinator."""
    from tom_auto.celery_tasks.app import _defaults

    facilities = 'tom_observations.facilities.'
    settings.TOM_FACILITY_CLASSES = [
        f'{facilities}lco_redirect.LCORedirectFacility',
        f'{facilities}soar.SOARFacility',
        f'{facilities}gemini.GEMFacility',
    ]
    names = [queue.name.partition('.')[2] for queue in _defaults()['task_queues']]
    assert names == ['hooks', 'jobs', 'batches.lcoredirect', 'batches.soar']
