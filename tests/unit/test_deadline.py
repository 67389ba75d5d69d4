"""A run ends, whatever a facility does."""

import multiprocessing
import re
from threading import Event, Timer
from time import monotonic

import pytest
from django.db import connections
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facilities.soar import SOARFacility
from tom_observations.models import ObservationRecord

import faults
from tom_auto.models import RecordSync
from tom_auto.observatories import portal_lists
from tom_auto.sync import check_due

from .facility_classes import Hangs, HangsInAnUpdate
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def little_grace(monkeypatch):
    monkeypatch.setattr(check_due, 'LAST_SECONDS', 1)
    monkeypatch.setattr(check_due, 'TICK', 0.1)


def test_a_facility_that_hangs_in_a_client_of_its_own_is_given_up(observed, monkeypatch):
    """SOAP and vendors' clients pass by the timeouts of requests."""
    record = observed('SOAR')
    observed('LCO')
    release = Event()
    monkeypatch.setattr(SOARFacility, 'get_observation_status', lambda *args: release.wait(30))
    begun = monotonic()
    try:
        status, report = updatedata('--deadline', '1')
    finally:
        release.set()

    assert monotonic() - begun < 6
    assert (status, report['saved']) == (1, 2)
    [failure] = report['failures']
    assert failure['record'] == record.pk
    assert 'given up at the deadline' in failure['error']
    assert RecordSync.objects.get(record=record).failures == 1


@pytest.mark.parametrize(('seconds', 'error'), [(1, 'has not ended after 1 s'), (30, 'given up')])
def test_a_class_that_hangs_is_ended(observed, add_record, settings, automation, seconds, error):
    """After TRANSFER_TIMEOUT, or at the deadline: no other waits for it, and it leaves nothing."""
    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, f'{Hangs.__module__}.Hangs'
    ]  # fmt: skip
    automation['TRANSFER_TIMEOUT'] = seconds
    record = add_record('Hangs')
    observed('LCO')
    begun = monotonic()

    status, report = updatedata('--deadline', '2')

    assert monotonic() - begun < 6
    assert (status, report['saved']) == (1, 2)
    [failure] = report['failures']
    assert failure['record'] == record.pk
    assert error in failure['error']
    assert not multiprocessing.active_children()


def test_a_record_that_is_deleted_while_its_class_hangs_is_no_trouble_of_the_others(
    observed, add_record, settings
):
    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, f'{HangsInAnUpdate.__module__}.HangsInAnUpdate'
    ]  # fmt: skip
    record = add_record('HangsInAnUpdate')
    observed('LCO')

    def delete():
        ObservationRecord.objects.filter(pk=record.pk).delete()
        connections.close_all()

    deleting = Timer(1, delete)
    deleting.start()

    status, report = updatedata('--deadline', '2')
    deleting.join()

    assert (report['due'], report['checked'], report['gone'], report['saved']) == (2, 1, 1, 2)
    assert status == 0


#: What may hang, as the failure names it: a place of the observatory.
STUCK = [
    ('/api/', 'LCO: the status of '),
    ('/frames/', 'the list of frames of '),
    ('/store/', 'the download of coj1m011-fa12-'),
]


@pytest.mark.parametrize(('where', 'name'), STUCK)
def test_what_hangs_is_named(sky, observed, automation, where, name):
    observed()
    automation['READ_TIMEOUT'] = 30
    sky.break_(where, faults.hang(30))
    try:
        _, report = updatedata('--deadline', '1')
    finally:
        sky.stop()

    [failure] = report['failures']
    assert failure['error'].startswith(f'given up at the deadline: {name}')
    assert re.search(r'has not ended in \d s$', failure['error'])


@pytest.mark.parametrize('status', [429, 503])
def test_who_asks_to_come_back_later_is_left_for_the_next_run(sky, observed, status):
    """Later than the deadline is the next run's time: nobody waits for it, and nobody insists."""
    record = observed()
    sky.break_('/frames/', faults.status(status, retry_after=30))
    begun = monotonic()

    code, report = updatedata('--deadline', '20')

    assert monotonic() - begun < 3
    assert code == 1
    assert report['failures'][0]['record'] == record.pk
    assert [seen.path for seen in sky.requests_seen].count('/frames/') == 1
    sky.mend()
    assert updatedata()[1]['saved'] == 2


def test_what_was_not_reached_is_left_for_the_next_run(observed, monkeypatch):
    monkeypatch.setattr(portal_lists, 'FEWEST', 100)  # each is asked singly
    for _ in range(12):
        observed()
    ask = LCOFacility.get_observation_status

    def slow(self, observation_id):
        Event().wait(0.3)
        return ask(self, observation_id)

    with monkeypatch.context() as patch:
        patch.setattr(LCOFacility, 'get_observation_status', slow)
        status, report = updatedata('--deadline', '2', '--workers', '1')

    assert status == 1
    assert 0 < report['checked'] < 7  # what would begin after the deadline does not
    [failure] = report['failures']
    assert (
        failure['error'] == f'{report["not_reached"]} records were not reached before the deadline'
    )
    assert report['checked'] + report['not_reached'] == 12
    status, report = updatedata()
    assert status == 0
    assert RecordSync.objects.filter(checked_at=None).count() == 0
