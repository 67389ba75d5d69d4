"""A paused job does nothing for the schedule, and everything for a person."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from tom_auto.models import JobPause, UpdateRun
from tom_auto.running.runs import ASKED_BY, started_by

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def paused():
    return JobPause.objects.create(job='updatedata', by='ada', since=timezone.now())


def test_the_schedules_run_ends_at_once_and_says_who_paused_it(paused, observed):
    observed()
    output = StringIO()
    call_command('updatedata', stdout=output)
    assert 'updatedata is paused by ada since 20' in output.getvalue()
    assert not UpdateRun.objects.exists()
    assert updatedata()[1]['status'] == 'paused'


def test_a_persons_run_still_runs(paused, observed, monkeypatch):
    observed()
    monkeypatch.setenv(ASKED_BY, 'bob')
    assert updatedata()[1]['checked'] == 1
    assert UpdateRun.objects.get().started_by == 'bob'


def test_another_job_goes_on(observed):
    JobPause.objects.create(job='updatetargets', by='ada', since=timezone.now())
    observed()
    assert updatedata()[1]['checked'] == 1


def test_a_terminal_is_a_person(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr('sys.stdin', Terminal())
    assert started_by()
    monkeypatch.setattr('sys.stdin', None)
    assert started_by() == ''


def test_what_a_run_was_limited_to_is_remembered(observed):
    record = observed()
    updatedata('--target_id', str(record.target_id), '--facility', 'LCO')
    assert UpdateRun.objects.get().only == f'target {record.target_id}, LCO'
    updatedata()
    assert UpdateRun.objects.first().only == ''
