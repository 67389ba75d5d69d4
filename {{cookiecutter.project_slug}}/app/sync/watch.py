"""Notes which records others add or change, so that a run need not look through all of them.

The database does it, with triggers: they see what `QuerySet.update`, another process, or a
person with psql does, of which no signal of Django tells. What they note is only where to look;
`sync.due` compares. Where they are not there (another kind of database, a restored dump), it
looks through everything, which is slower and as right.

`manage.py migrate` takes them away before it changes tables and puts them back afterwards: a
change of tomtoolkit's tables would lose them on SQLite. So it would an index that tomtoolkit does
not have: by the names of files, as each new one is compared with those that there are.
"""

from django.db import connections, router, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import ChangedRecord, RecordSync

NAMES = ('app_record_added', 'app_record_changed', 'app_state_deleted')
FILES = 'app_product_files'
CHUNK = 1000
RECORDS, STATES, CHANGED = (
    model._meta.db_table for model in (ObservationRecord, RecordSync, ChangedRecord)
)
# Where the row is there already it is locked all the same: `forget_the_same` must not take away
# what another transaction, which has not ended, relies on.
NOTE = f"""
    INSERT INTO {CHANGED} (record_id) VALUES (%s)
    ON CONFLICT (record_id) DO UPDATE SET record_id = EXCLUDED.record_id;
"""
INDEX = f"""
    CREATE INDEX IF NOT EXISTS {FILES} ON {DataProduct._meta.db_table} (data);
"""
SQLITE = f"""
    CREATE TRIGGER {NAMES[0]} AFTER INSERT ON {RECORDS}
    BEGIN {NOTE % 'NEW.id'} END;

    CREATE TRIGGER {NAMES[1]} AFTER UPDATE OF status ON {RECORDS} WHEN NEW.status <> OLD.status
    BEGIN {NOTE % 'NEW.id'} END;

    CREATE TRIGGER {NAMES[2]} AFTER DELETE ON {STATES}
    BEGIN {NOTE % 'OLD.record_id'} END;
"""
POSTGRESQL = f"""
    CREATE OR REPLACE FUNCTION app_note_record() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {NOTE % 'NEW.id'} RETURN NULL; END $$;

    CREATE OR REPLACE FUNCTION app_note_state() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {NOTE % 'OLD.record_id'} RETURN NULL; END $$;

    CREATE TRIGGER {NAMES[0]} AFTER INSERT ON {RECORDS}
    FOR EACH ROW EXECUTE FUNCTION app_note_record();

    CREATE TRIGGER {NAMES[1]} AFTER UPDATE OF status ON {RECORDS}
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION app_note_record();

    CREATE TRIGGER {NAMES[2]} AFTER DELETE ON {STATES}
    FOR EACH ROW EXECUTE FUNCTION app_note_state();
"""
STATEMENTS = {'sqlite': INDEX + SQLITE, 'postgresql': INDEX + POSTGRESQL}
#: How many of them are there and at work.
COUNT = {
    'sqlite': "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN (%s, %s, %s)",
    'postgresql': f"""
        SELECT count(*) FROM pg_trigger WHERE tgname IN (%s, %s, %s) AND tgenabled IN ('O', 'A')
        AND tgrelid IN (to_regclass('{RECORDS}'), to_regclass('{STATES}'))
    """,
}


def differing() -> QuerySet[ObservationRecord]:
    """The records that were never checked, or whose status is not the one that a check left."""
    records = ObservationRecord.objects.order_by()
    return records.filter(Q(sync=None) | ~Q(status=F('sync__status')))


def changed_by_others() -> QuerySet[ObservationRecord]:
    """The same records, found without looking through all of them where that is possible."""
    if not is_kept(ObservationRecord.objects.db):
        return differing()
    return differing().filter(pk__in=ChangedRecord.objects.values('pk'))


def forget_the_same() -> None:
    """Forget the notes about records that a check has caught up with, or that are gone."""
    differs = differing().filter(pk=OuterRef('pk'))
    with transaction.atomic():
        # Locked, and compared once more: someone may be changing one of them now.
        free = ChangedRecord.objects.select_for_update(skip_locked=True)
        while keys := list(free.filter(~Exists(differs)).values_list('pk', flat=True)[:CHUNK]):
            gone, _ = ChangedRecord.objects.filter(~Exists(differs), pk__in=keys).delete()
            if gone < len(keys):
                return


def is_kept(using: str) -> bool:
    """Whether the database notes every change."""
    connection = connections[using]
    if connection.vendor not in COUNT:
        return False
    with connection.cursor() as cursor:
        cursor.execute(COUNT[connection.vendor], NAMES)
        return cursor.fetchone()[0] == len(NAMES)


def begin(using: str, **signal: object) -> None:
    """Have the database note every change from now on, and note what differs already."""
    connection = connections[using]
    if connection.vendor not in STATEMENTS or not _are_there(using) or is_kept(using):
        return
    with transaction.atomic(using):
        _drop(using)
        with connection.cursor() as cursor:
            for statement in STATEMENTS[connection.vendor].split('\n\n'):
                cursor.execute(statement)
        keys = differing().using(using).values_list('pk', flat=True).iterator()
        notes = ChangedRecord.objects.using(using)
        notes.bulk_create((ChangedRecord(pk) for pk in keys), CHUNK, ignore_conflicts=True)


def stop(using: str, **signal: object) -> None:
    """Take the triggers away, so that tables can be changed."""
    if connections[using].vendor in STATEMENTS and _are_there(using):
        with transaction.atomic(using):
            _drop(using)


def _are_there(using: str) -> bool:
    """Whether this database has the tables."""
    connection = connections[using]
    if not router.allow_migrate_model(using, ChangedRecord):
        return False
    return {RECORDS, STATES, CHANGED} <= set(connection.introspection.table_names())


def _drop(using: str) -> None:
    connection = connections[using]
    with connection.cursor() as cursor:
        for name, table in zip(NAMES, (RECORDS, RECORDS, STATES), strict=True):
            on = f' ON {table}' if connection.vendor == 'postgresql' else ''
            cursor.execute(f'DROP TRIGGER IF EXISTS {name}{on}')
