"""The main job on real input: real HTTP, real files, real rows."""

import pytest
from django.core.management import call_command
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import faults
from tom_auto.models import RecordSync, RunFailure, StoredFrame, UpdateRun

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize('facility', ['LCO', 'LCORedirect', 'SOAR', 'BLANCO'])
def test_status_and_frames_come_home(sky, observed, facility):
    record = observed(facility)

    status, report = updatedata()

    record.refresh_from_db()
    assert (status, report['status']) == (0, 'ok')
    assert record.status == 'COMPLETED'
    assert (
        record.scheduled_start.isoformat()
        == sky.observations[sky.requests[int(record.observation_id)].observations[-1].id]
        .start.replace(microsecond=record.scheduled_start.microsecond)
        .isoformat()
    )
    assert report['due'] == report['checked'] == report['changed'] == 1
    assert report['found'] == report['saved'] == 2
    assert sorted(files().values()) == contents(sky)
    for product in DataProduct.objects.all():
        assert product.observation_record == record
        assert product.target == record.target
        assert product.data_product_type == 'fits_file'
        assert product.data.read() in contents(sky)


def test_twenty_records_with_trouble_among_them(sky, observed, add_record):
    """Each record's trouble is its own; after the cause is gone all is well."""
    for facility in ('LCO', 'LCORedirect'):
        for _ in range(5):
            observed(facility)
        for _ in range(2):
            pending = add_record(facility)
            sky.add_request(int(pending.observation_id))
    hidden = [add_record(facility) for facility in ('LCO', 'LCORedirect')]
    for record in hidden:
        sky.add_request(int(record.observation_id), proposal='OTHERS2026')
        sky.complete(int(record.observation_id), frames=1, pixels=32)
    gemini = [add_record('GEM', status='ON_HOLD') for _ in range(4)]

    status, report = updatedata()

    assert status == 1
    assert ObservationRecord.objects.count() == report['due'] == 20
    assert (report['checked'], report['failed'], report['unsupported']) == (14, 2, 4)
    assert {failure['observation_id'] for failure in report['failures']} == {
        record.observation_id for record in hidden
    }
    assert report['saved'] == 20
    for record in gemini:
        record.refresh_from_db()
        assert record.status == 'ON_HOLD'

    sky.accounts[sky.token].proposals.add('OTHERS2026')
    status, report = updatedata()

    assert (status, report['failed'], report['saved']) == (0, 0, 2)
    assert sorted(files().values()) == contents(sky)


@pytest.mark.parametrize('facility', ['LCO', 'SOAR'])
def test_frames_come_home_although_others_have_seen_the_end(sky, observed, facility):
    """tomtoolkit's own downloaddata skips what its updatestatus has seen completed."""
    record = observed(facility)
    call_command('updatestatus')
    record.refresh_from_db()
    assert record.status == 'COMPLETED'

    _, report = updatedata()

    assert report['saved'] == 2
    assert report['changed'] == 0


def test_a_second_run_stores_nothing_twice(sky, observed):
    observed()
    updatedata()
    before = files()

    _, report = updatedata()

    assert (report['due'], report['found'], report['saved']) == (1, 2, 0)
    assert files() == before
    assert DataProduct.objects.count() == 2


def test_late_frames_are_awaited(sky, observed):
    record = observed(frames=0)
    _, report = updatedata()
    assert report['found'] == 0

    sky.add_frame(int(record.observation_id), pixels=32)
    _, report = updatedata()

    assert report['saved'] == 1


def test_a_record_that_fails_is_never_settled(sky, observed):
    record = observed()
    sky.break_('/store/', faults.status(404))

    status, report = updatedata()

    sync = RecordSync.objects.get(record=record)
    assert status == 1
    assert report['failures'][0]['error'] == (
        '2 of 2 frames: the archive answered 404 for the file'
    )
    assert (sync.failures, sync.state) == (1, 'backing off')
    assert files() == {}
    assert DataProduct.objects.count() == 0

    sky.mend()
    status, report = updatedata()
    sync.refresh_from_db()
    assert (status, report['saved'], sync.failures, sync.error) == (0, 2, 0, '')


def test_the_same_observation_id_at_another_facility_is_left_alone(sky, observed, add_record):
    """tomtoolkit writes LCO's answer into every record with that id."""
    record = observed('LCO')
    other = add_record('GEM', status='ON_HOLD', observation_id=record.observation_id)

    updatedata()

    other.refresh_from_db()
    assert other.status == 'ON_HOLD'


def by_record(report):
    """The failures of records, and those of what several share."""
    of_records = [failure for failure in report['failures'] if failure['record']]
    return of_records, [failure for failure in report['failures'] if failure not in of_records]


def test_credentials_that_are_refused_to_three_in_a_row_are_set_aside(sky, observed, settings):
    for _ in range(12):
        observed('SOAR')
    observed('LCO')
    settings.FACILITIES['SOAR'] = sky.settings(token='expired')

    status, report = updatedata('--workers', '1')

    assert status == 1
    assert report['saved'] == 2
    refused, [shared] = by_record(report)
    assert (shared['facility'], shared['kind']) == ('SOAR', 'access refused')
    assert 'refuses the credentials (3 times in a row)' in shared['error']
    assert 3 <= len(refused) <= 4  # one may be on its way by then
    assert report['set_aside'] == 12 - len(refused)

    settings.FACILITIES['SOAR'] = sky.settings()
    status, report = updatedata()
    assert (status, report['saved']) == (0, 24)


def test_an_observatory_that_does_not_answer_is_set_aside_after_five(observed, settings):
    for _ in range(12):
        observed('SOAR')
    settings.FACILITIES['SOAR'] = {
        'portal_url': 'http://127.0.0.1:9',  # the port of "discard": nobody listens
        'archive_url': 'http://127.0.0.1:9',
        'api_key': 'x',
    }

    status, report = updatedata('--workers', '1')

    assert status == 1
    records, [shared] = by_record(report)
    assert 5 <= len(records) <= 6  # one may be on its way by then
    assert shared['kind'] == 'no answer'
    assert report['set_aside'] == 12 - len(records)
    assert RecordSync.objects.filter(asked_at=None).count() == 0


def test_a_host_that_does_not_answer_is_named_as_it_may_be_that_of_several(observed, settings):
    """It said "BLANCO: set aside for this run", and LCO's requests had failed as well."""
    for name in ('LCO', 'BLANCO'):
        observed(name)
        observed(name)
        observed(name)
        url = 'http://me:secret@127.0.0.1:9'
        settings.FACILITIES[name] = {'portal_url': url, 'archive_url': url, 'api_key': 'x'}

    _, report = updatedata('--workers', '1')

    _, [shared] = by_record(report)
    assert shared['error'].startswith('127.0.0.1:9 is set aside for this run: ')


def test_without_an_api_key_a_completed_record_without_frames_is_a_failure(sky, observed, settings):
    """The archive answers 200 and nothing: data would be missing in silence."""
    record = observed('SOAR', status='COMPLETED')
    sky.public.add(sky.proposal)
    settings.FACILITIES['SOAR'] = sky.settings(token='')
    sky.break_('/frames/', faults.answer({'count': 0, 'next': None, 'results': []}))

    status, report = updatedata()

    assert status == 1
    assert 'SOAR_API_KEY' in report['failures'][0]['error']
    assert not RecordSync.objects.get(record=record).is_settled


@pytest.mark.parametrize('workers', ['1', '4'])
def test_a_frame_that_two_records_share_is_no_error(sky, observed, add_record, workers):
    """tomtoolkit looks a frame up by record as well, and fails at the second record for ever."""
    record = observed('LCO', frames=3)
    add_record('LCORedirect', observation_id=record.observation_id)
    other = Target.objects.create(name='Beside it', type='SIDEREAL', ra=10, dec=41)
    add_record('SOAR', observation_id=record.observation_id, target=other)

    status, report = updatedata('--workers', workers)

    assert (status, report['found'], report['saved']) == (0, 9, 3)
    assert DataProduct.objects.count() == StoredFrame.objects.count() == 3
    assert sorted(files().values()) == contents(sky)


def test_the_run_is_remembered(sky, observed, add_record):
    observed()
    add_record()  # of which the observatory knows nothing

    updatedata()

    run = UpdateRun.objects.get()
    assert (run.status, run.due, run.checked, run.saved, run.failed) == ('failed', 2, 1, 2, 1)
    assert run.finished is not None
    assert 'does not know' in RunFailure.objects.get().error


def test_an_uninstalled_facility_is_reported_and_does_no_harm(sky, observed, add_record):
    observed()
    add_record('Keck', status='PENDING')

    status, report = updatedata()

    assert (status, report['saved'], report['unsupported']) == (0, 2, 1)
    assert 'no facility Keck' in report['unsupported_facilities']['Keck']
