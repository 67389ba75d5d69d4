"""Puts observation records into the TOM in whose directory this runs.

    fill.py DUE SETTLED SOAR

DUE records of LCO, pending and never checked, are numbered from 1, and SOAR more of that facility
numbered on; SETTLED others ended a year ago, with a frame each, and nothing is awaited of them.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import django

YEAR = timedelta(days=365)
BATCH = 1000
#: The numbers from 1 to %s, in the words of each database.
NUMBERS = {
    'sqlite': """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)
        """,
    'postgresql': 'WITH numbers(n) AS (SELECT generate_series(1, %s))',
}
RECORDS = """
    INSERT INTO tom_observations_observationrecord
        (target_id, facility, parameters, observation_id, status, created, modified)
    {numbers}
    SELECT %s, 'LCO', '{{}}', CAST(5000000 + n AS VARCHAR(255)), 'COMPLETED', %s, %s FROM numbers
"""
STATES = """
    INSERT INTO tom_auto_recordsync
        (record_id, state, status, next_check, asked_at, checked_at, terminal_since, failures,
         error, error_kind, owes_hook, status_before, saving, newest_product)
    SELECT id, 'settled', status, created, created, created, created, 0, '', '', %s, '', %s, 0
    FROM tom_observations_observationrecord WHERE status = 'COMPLETED'
"""
PRODUCTS = """
    INSERT INTO tom_dataproducts_dataproduct
        (product_id, target_id, observation_record_id, data, extra_data, created, modified,
         data_product_type, featured)
    SELECT observation_id, target_id, id, observation_id, '', created, created, 'fits_file', %s
    FROM tom_observations_observationrecord WHERE status = 'COMPLETED'
"""
FRAMES = """
    INSERT INTO tom_auto_storedframe
        (archive, frame_id, state, origin, record_id, product_id, filename, name, archive_md5, md5, size,
         stored_at, hooks_owed, hooks_due, hooks_holder, hooks_failures, hooks_error)
    SELECT 'archive', product_id, 'stored', 'nothing', observation_record_id, id, data, data, '', '', 0,
        created, %s, created, '', 0, ''
    FROM tom_dataproducts_dataproduct
"""


def main(due: int, settled: int, soar: int) -> None:
    sys.path.insert(0, str(Path.cwd()))
    os.environ['DJANGO_SETTINGS_MODULE'] = 'my_tom.settings'
    django.setup()
    from tom_targets.models import Target

    target = Target.objects.create(name='M 31', type='SIDEREAL', ra=10.6847, dec=41.269)
    add_settled(target, settled)
    add_due(target, 'LCO', range(1, due + 1))
    add_due(target, 'SOAR', range(due + 1, due + soar + 1))


def add_due(target: object, facility: str, numbers: range) -> None:
    from tom_observations.models import ObservationRecord

    records = (
        ObservationRecord(
            target=target,
            facility=facility,
            status='',  # as tomtoolkit's pages leave it
            parameters={},
            observation_id=str(number),
        )
        for number in numbers
    )
    ObservationRecord.objects.bulk_create(records, batch_size=BATCH)


def add_settled(target: object, count: int) -> None:
    from django.db import connection
    from django.utils import timezone

    if not count:
        return
    # A storage that has none of the newest files is not trusted.
    newest = Path('data', str(5_000_000 + count))
    newest.parent.mkdir(exist_ok=True)
    newest.touch()
    then = timezone.now() - YEAR
    statement = RECORDS.format(numbers=NUMBERS[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(statement, [count, target.pk, then, then])
        cursor.execute(STATES, [False, False])
        cursor.execute(PRODUCTS, [False])
        cursor.execute(FRAMES, [False])
        # As PostgreSQL does by itself after a minute.
        cursor.execute('ANALYZE')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
