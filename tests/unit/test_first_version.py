"""What the first version left in a database: nothing of it is lost, and what it got wrong is asked."""

from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord

from tom_auto.arrivals.models import Arrival
from tom_auto.models import RecordSync, StoredFrame, Submission

from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
#: How a record stood in the first version, and how it stands now.
STATES = {
    'made to look settled by a run that was stopped': ({}, 'new'),
    'settled': (
        {'status': 'COMPLETED', 'checked_at': NOW, 'settled_at': NOW, 'terminal_since': NOW},
        'settled',
    ),
    'waiting': ({'status': 'PENDING', 'checked_at': NOW, 'next_check': NOW}, 'waiting'),
    'failed at its first check': (
        {'failures': 3, 'failing_since': NOW, 'error': 'x', 'next_check': NOW + timedelta(days=1)},
        'backing off',
    ),
    'failed, and settled all the same': (
        {'failures': 1, 'failing_since': NOW, 'error': 'x', 'checked_at': NOW, 'settled_at': NOW},
        'backing off',
    ),
}


@pytest.fixture
def first_version():
    """The tables of the first version; after the test, those of today again."""
    yield from tables_of('0001_initial')


@pytest.fixture
def before_submissions_survived():
    """The same, of a later one."""
    yield from tables_of('0011_newest_runs')


def tables_of(name):
    today = MigrationExecutor(connection).loader.graph.leaf_nodes('tom_auto')
    migrate([('tom_auto', name)])
    yield MigrationExecutor(connection).loader.project_state([('tom_auto', name)]).apps
    migrate(today)


def migrate(nodes):
    MigrationExecutor(connection).migrate(nodes)


def update_the_tables():
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes('tom_auto'))


def test_every_record_has_a_state_that_is_named(add_record, first_version):
    """A1: nothing told a record that was never checked from one that was settled."""
    states = first_version.get_model('tom_auto', 'RecordSync').objects
    records = {}
    for words, (before, _) in STATES.items():
        records[words] = add_record(status=before.get('status', '')).pk
        states.create(**{'record_id': records[words], 'status': '', **before})

    update_the_tables()

    for words, (before, expected) in STATES.items():
        sync = RecordSync.objects.get(record=records[words])
        assert sync.state == expected, words
        assert (sync.checked_at, sync.failures) == (
            before.get('checked_at'),
            before.get('failures', 0),
        )


def test_a_hook_that_was_owed_is_owed(add_record, first_version):
    record = add_record(status='COMPLETED')
    first_version.get_model('tom_auto', 'RecordSync').objects.create(
        record_id=record.pk, status='COMPLETED', next_check=NOW, hook_owed='PENDING'
    )
    update_the_tables()
    sync = RecordSync.objects.get(record=record)
    assert (sync.owes_hook, sync.status_before) == (True, 'PENDING')


def test_the_frames_stay_and_are_known(sky, observed, first_version):
    """None is fetched again, each stays in its place, and a new version is still noticed."""
    record = observed(status='COMPLETED', frames=2)
    kept, version = sky.frames_of[int(record.observation_id)]
    frames = first_version.get_model('tom_auto', 'StoredFrame').objects
    for frame in (kept, version):
        name = f'm-31/LCO/{frame.filename}'
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record, data=name
        )
        product.data.storage.save(name, ContentFile(frame.content))
        product.save()
        frames.create(
            frame_id=str(frame.id), name=name, product_id=product.pk, md5=frame.md5,
            size=len(frame.content), stored_at=NOW,
        )  # fmt: skip
    frames.create(frame_id='7', name='m-31/LCO/reserved.fits')
    before = files()

    update_the_tables()

    assert StoredFrame.objects.count() == 2
    came = Arrival.objects.values_list('target', 'facility', 'at', 'picture')
    assert set(came) == {(record.target_id, 'LCO', NOW, 'waiting')}
    assert len(came) == 2
    status, report = updatedata()
    assert (status, report['found'], report['saved']) == (0, 2, 0)
    assert {name: before[name] for name in before} == {name: files()[name] for name in before}
    assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]

    sky.reprocess(version)
    status, report = updatedata()
    assert (status, report['saved']) == (0, 1)
    assert files()[f'm-31/LCO/{version.filename}'] == version.content


def test_a_record_that_was_never_asked_comes_home(observed, first_version):
    record = observed(status='', frames=1)
    first_version.get_model('tom_auto', 'RecordSync').objects.create(record_id=record.pk, status='')
    update_the_tables()
    status, report = updatedata()
    assert (status, report['due'], report['saved']) == (0, 1, 1)
    assert ObservationRecord.objects.get().status == 'COMPLETED'


def test_a_submission_keeps_the_number_of_its_trigger(add_record, before_submissions_survived):
    record = add_record()
    group = ObservationGroup.objects.create(name='mine')
    cadence = DynamicCadence.objects.create(
        observation_group=group, cadence_strategy='', cadence_parameters={}, active=True
    )
    before_submissions_survived.get_model('tom_auto', 'Submission').objects.create(
        cadence_id=cadence.pk,
        trigger_id=record.pk,
        facility='LCO',
        name='x',
        payload={},
        created=NOW,
    )
    update_the_tables()
    record.delete(), cadence.delete()
    left = Submission.objects.get()
    assert (left.trigger_number, left.trigger, left.cadence) == (record.observation_id, None, None)
    assert left.trigger_facility == record.facility
