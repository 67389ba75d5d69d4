"""Reads records from the database a moment before they are checked, some at a time."""

from collections.abc import Collection, Iterable
from itertools import islice
from threading import Lock
from time import monotonic

from django.db.models import Exists, OuterRef
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from .db_retry import patient

MANY = 50  # records in one question to the database
FRESH = 2  # seconds: what was read before that is read once more


class Ahead:
    """The records of one facility, for the threads that check them in turn."""

    def __init__(self, keys: Iterable[int]) -> None:
        """`keys`: their primary keys, in the order in which they are taken."""
        self._keys = iter(keys)
        self._lock = Lock()
        self._read: dict[int, ObservationRecord] = {}
        self._until = 0.0

    def take(self, pk: int) -> ObservationRecord:
        """The record `pk` as it was at most FRESH seconds ago; DoesNotExist where it is gone."""
        with self._lock:
            if pk not in self._read or monotonic() > self._until:
                more = islice(self._keys, max(0, MANY - len(self._read)))
                self._read = _records({pk, *self._read, *more})
                self._until = monotonic() + FRESH
            record = self._read.pop(pk, None)
        if record is None:
            raise ObservationRecord.DoesNotExist(f'there is no record {pk} any more')
        return record


@patient
def _records(keys: Collection[int]) -> dict[int, ObservationRecord]:
    """These records, as soon as the database is there: no record is to blame for its absence.

    Each with what was noted of it, and whether it has products, and owes hooks for them.
    """
    products = DataProduct.objects.filter(observation_record=OuterRef('pk'))
    owed = products.filter(stored_frame__hooks_owed=True)
    records = ObservationRecord.objects.select_related('sync').order_by()
    return records.annotate(has_products=Exists(products), owes_hooks=Exists(owed)).in_bulk(keys)
