"""Records that tomtoolkit's own pages and API create, without a status, are asked and come home."""

import pytest

import submitting
from tom_auto.models import RecordSync

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize('facility', ['LCO', 'SOAR'])
def test_records_come_home_however_they_were_made(client, staff, sky, target, facility):
    submitting.forget()
    ways = (submitting.by_form, submitting.by_api, submitting.by_number)
    records = [way(client, sky, target, facility) for way in ways]
    status, report = updatedata()
    assert (status, report['due'], report['checked']) == (0, 3, 3), report

    for record in records:
        sky.complete(int(record.observation_id), pixels=32)
    status, report = updatedata()
    assert (status, report['changed'], report['saved']) == (0, 3, 3), report
    assert {sync.state for sync in RecordSync.objects.all()} == {RecordSync.State.WAITING}
