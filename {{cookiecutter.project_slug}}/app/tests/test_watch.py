"""The database notes which records others change, whoever they are and however they do it."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from app.models import ChangedRecord, RecordSync
from app.sync import watch
from app.sync.due import note_success, records_due
from app.sync.watch import forget_the_same

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def settled(add_record):
    """A record of which nothing is awaited, and of which nothing is noted any more."""
    record, now = add_record(status='COMPLETED'), timezone.now()
    sync = RecordSync(record=record)
    note_success(sync, 'COMPLETED', True, now, now - now)
    sync.save()
    forget_the_same()
    assert not ChangedRecord.objects.exists()
    return record


def due():
    return list(records_due(timezone.now()))


def in_sql(record):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tom_observations_observationrecord SET status = 'CANCELED'")


CHANGES = {
    'save': lambda record: (setattr(record, 'status', 'CANCELED'), record.save()),
    'update': lambda record: ObservationRecord.objects.update(status='CANCELED'),
    'bulk_update': lambda record: (
        setattr(record, 'status', 'CANCELED'),
        ObservationRecord.objects.bulk_update([record], ['status']),
    ),
    'SQL': in_sql,
    'the state is deleted': lambda record: RecordSync.objects.all().delete(),
}


@pytest.mark.parametrize('watched', [True, False])
@pytest.mark.parametrize('change', CHANGES)
def test_every_change_makes_a_settled_record_due(settled, change, watched):
    if not watched:
        watch.stop('default')
    try:
        assert due() == []
        CHANGES[change](settled)
        forget_the_same()
        assert due() == [settled]
    finally:
        watch.begin('default')


def test_bulk_creation_is_noted(settled):
    settled.pk = None
    ObservationRecord.objects.bulk_create([settled])
    assert len(due()) == 1


def test_what_is_changed_and_changed_back_is_forgotten(settled):
    for status in ('PENDING', 'COMPLETED'):
        ObservationRecord.objects.update(status=status)
    assert ChangedRecord.objects.count() == 1
    assert due() == []
    forget_the_same()
    assert not ChangedRecord.objects.exists()


def test_a_deleted_record_can_be_deleted_and_is_forgotten(settled):
    settled.delete()
    forget_the_same()
    assert not ChangedRecord.objects.exists()


def test_more_than_one_chunk_is_forgotten(settled, monkeypatch):
    monkeypatch.setattr(watch, 'CHUNK', 2)
    ChangedRecord.objects.bulk_create(ChangedRecord(10_000 + number) for number in range(5))
    forget_the_same()
    assert not ChangedRecord.objects.exists()


def test_migrate_puts_back_what_was_lost_and_notes_what_was_missed(settled):
    watch.stop('default')
    assert not watch.is_kept('default')
    ObservationRecord.objects.update(status='PENDING')
    assert not ChangedRecord.objects.exists()

    call_command('migrate', verbosity=0)

    assert watch.is_kept('default')
    assert ChangedRecord.objects.count() == 1


def test_no_table_is_looked_through(settled):
    """Looking things up by an index is what keeps a run from slowing down with history."""
    if connection.vendor != 'sqlite':  # PostgreSQL scans small tables, rightly
        return
    plan = records_due(timezone.now()).explain()
    assert 'SCAN tom_' not in plan
    assert 'SCAN app_recordsync' not in plan
    assert 'app_recordsync_next_check' in plan


def test_a_name_is_looked_up_by_an_index_that_migrate_keeps():
    """Each new frame's name is compared with those of all products that there are."""
    table = DataProduct._meta.db_table

    def indexes():
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(cursor, table)
        return {name for name, found in constraints.items() if found['columns'] == ['data']}

    assert indexes() == {watch.FILES}
    with connection.cursor() as cursor:
        cursor.execute(
            f'DROP INDEX {watch.FILES}'
        )  # as SQLite does when tomtoolkit's table changes
    call_command('migrate', verbosity=0)
    assert indexes() == {watch.FILES}
