"""A run ends, whatever a facility does."""

from threading import Event
from time import monotonic

import pytest
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facilities.soar import SOARFacility

from app.models import RecordSync
from app.sync import crew

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def little_grace(monkeypatch):
    monkeypatch.setattr(crew, 'GRACE', 1)
    monkeypatch.setattr(crew, 'TICK', 0.1)


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


def test_what_was_not_reached_is_left_for_the_next_run(observed, monkeypatch):
    for _ in range(5):
        observed()
    ask = LCOFacility.get_observation_status

    def slow(self, observation_id):
        Event().wait(0.6)
        return ask(self, observation_id)

    with monkeypatch.context() as patch:
        patch.setattr(LCOFacility, 'get_observation_status', slow)
        status, report = updatedata('--deadline', '1', '--workers', '1')

    assert status == 1
    assert 0 < report['checked'] < 5
    assert 'not reached before the deadline' in report['failures'][-1]['error']
    status, report = updatedata()
    assert status == 0
    assert RecordSync.objects.filter(checked_at=None).count() == 0
