"""While strategies run, what they ask of facility classes goes through the automation.

A strategy submits, may cancel, and has the status of an observation refreshed. tomtoolkit's own
method for that looks for records by their number alone, whatever the facility, and saves them
whole, as they were before the observatory was asked: see rules 2 and 5.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import getattr_static, isfunction

from django.db import transaction
from django.db.models import Model
from tom_observations.facility import BaseObservationFacility
from tom_observations.models import ObservationRecord

from ..models import RecordSync
from ..observatories.facilities import TIMES, facility_classes, status_of
from ..running.database_jobs import alone
from ..stand_in import in_the_place_of
from ..sync.record_status import write_status

#: What a class that refreshes a status changes, and what changes by itself.
NOT_NOTES = {'id', 'status', 'created', 'modified', *TIMES}


@contextmanager
def through(method: str, instead: Callable) -> Iterator[None]:
    """While this lasts, `method` of every facility class is `instead`, installed or not.

    That gets the class's own method, bound, then the facility, and then what the caller gives.
    """
    base = BaseObservationFacility
    before = getattr_static(base, '__init_subclass__')
    with ExitStack() as stack:

        def replace(one: type) -> None:
            plain = getattr_static(one, method, None)
            if plain is not None and not isinstance(plain, _Through):  # that is inherited
                stack.enter_context(in_the_place_of(one, method, _Through(plain, instead)))

        def come(one: type, **options: object) -> None:
            before.__get__(None, one)(**options)
            replace(one)

        for one in {*facility_classes()[0].values(), *_derived(base)}:
            replace(one)
        # A strategy may import a facility class as it runs.
        stack.enter_context(in_the_place_of(base, '__init_subclass__', classmethod(come)))
        yield


def _derived(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        yield one
        yield from _derived(one)


class _Through:
    """In the place of a method, be it that of an instance, of the class, or static."""

    def __init__(self, plain: object, instead: Callable) -> None:
        self._plain, self._instead = plain, instead

    def __get__(self, facility: object, owner: type) -> Callable:
        if facility is None and isfunction(self._plain):  # `Its.method(facility, …)`
            return lambda one, *arguments, **named: self.__get__(one, owner)(*arguments, **named)
        bound, its = self._plain.__get__(facility, owner), owner if facility is None else facility

        def call(*arguments: object, **named: object) -> object:
            return self._instead(bound, its, *arguments, *named.values())

        return call


def refreshed(original: Callable, facility: object, number: object) -> object:
    """Let `original` refresh the status of an observation: that of the facility's own records,
    where it has changed, and nobody else has written a newer one meanwhile.
    """
    rows = ObservationRecord.objects.filter(facility=facility.name, observation_id=number)
    before = {record.pk: record for record in rows}
    plain = ObservationRecord.save

    def save(record: ObservationRecord, *arguments: object, **options: object) -> None:
        if record.pk is None:
            plain(record, *arguments, **options)
        elif record.pk in before:
            _write(before[record.pk], record)

    with in_the_place_of(ObservationRecord, 'save', save):
        return original(number)


def _write(before: ObservationRecord, record: ObservationRecord) -> None:
    _write_notes(before, record)
    RecordSync.objects.get_or_create(pk=before.pk)  # where its hook is noted
    told = {'state': record.status} | {name: getattr(record, name) for name in TIMES}
    alone(write_status(before, status_of(told, record.facility)))


def _write_notes(before: ObservationRecord, record: ObservationRecord) -> None:
    """Write what a class has changed besides the status, where nobody else has meanwhile."""
    names = {one.attname for one in record._meta.concrete_fields} - NOT_NOTES
    changed = {one for one in names if getattr(record, one) != getattr(before, one)}
    if not changed:
        return
    with transaction.atomic():
        fresh = ObservationRecord.objects.select_for_update().filter(pk=record.pk).first()
        if fresh is None:
            return
        news = [one for one in changed if getattr(fresh, one) == getattr(before, one)]
        for one in news:
            setattr(fresh, one, getattr(record, one))
        # Not by tomtoolkit's own `save`, which calls the hook for a status.
        Model.save(fresh, update_fields=[*news, 'modified'])
