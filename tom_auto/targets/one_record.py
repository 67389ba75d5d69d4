"""One request, one record: whoever else makes one meanwhile, such as tomtoolkit's own pages.

tomtoolkit has no constraint for that. SQLite has one writer at a time. On PostgreSQL others may commit
between a look and what is written after it, so those who record take turns, and look last of all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import QuerySet
from tom_observations.models import ObservationRecord

from ..db_retry import LONGEST_WAITS
from .portals import has_numbers_of_its_own, sharing_a_portal

TURNS = 0x746F6D41  # 'tomA': whoever else uses advisory locks has another number


class MadeMeanwhile(Exception):
    """Somebody has made a record of this request meanwhile: another one is not needed."""


@contextmanager
def recording() -> Iterator[list[ObservationRecord]]:
    """A transaction for new records: each that is made in it is put into the list that this gives.

    Raises MadeMeanwhile, and undoes all, if one of their requests has another record by then.
    """
    made: list[ObservationRecord] = []
    with transaction.atomic():
        take_turns()
        yield made
        if made and connection.vendor == 'postgresql':
            _let_nobody_write()
        for record in made:
            if others_of(record).exists():
                raise MadeMeanwhile(f'observation {record.observation_id} has a record already')


def others_of(record: ObservationRecord) -> QuerySet[ObservationRecord]:
    """The other records of the request that `record` is of; none where numbers may come again."""
    if not has_numbers_of_its_own(record.facility):
        return ObservationRecord.objects.none()
    facilities = sharing_a_portal(record.facility)
    rows = ObservationRecord.objects.filter(observation_id=record.observation_id)
    return rows.filter(facility__in=facilities).exclude(pk=record.pk)


def take_turns() -> None:
    """Until the transaction ends, let others wait who record what was submitted.

    Two that wait for each other's new records below would wait in vain.
    """
    if connection.vendor != 'postgresql':
        return
    with connection.cursor() as cursor:
        cursor.execute(f'SET LOCAL lock_timeout = {LONGEST_WAITS["lock_timeout"]}')
        cursor.execute('SELECT pg_advisory_xact_lock(%s)', [TURNS])


def _let_nobody_write() -> None:
    """Wait for those who are making records, and keep others waiting, until all is committed.

    Not sooner: a hook of the TOM may take long, or write records by itself.
    """
    table = connection.ops.quote_name(ObservationRecord._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f'LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE')


def without_halves(parameters: object) -> object:
    """`parameters` with each time of the window in one place.

    tomtoolkit's form splits the start and the end into a date and a time, stores these beside them, and
    prefers them later on: a replacement would get the window of the observation that it replaces.
    """
    if not isinstance(parameters, dict) or not {'start', 'end'} <= parameters.keys():
        return parameters
    halves = {f'{time}_{half}' for time in ('start', 'end') for half in '01'}
    return {name: value for name, value in parameters.items() if name not in halves}


def in_one_place(instance: ObservationRecord, **signal: object) -> None:
    """Receives `post_init`: a record that tomtoolkit's own command made has halves of times."""
    if 'parameters' in vars(instance):
        instance.parameters = without_halves(instance.parameters)
