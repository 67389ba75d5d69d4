"""A run in batches whose broker is away: the coordinator checks them, whatever the lists say."""

import pytest

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 3  # records


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
