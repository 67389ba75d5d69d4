"""What a strategy sees of its observation group, and that it leaves nothing behind in a dry run.

It goes on from one observation of that, whatever it has read by itself, and whatever is added meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q, QuerySet
from tom_observations import models as observation_models
from tom_observations.cadence import CadenceStrategy
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.models import DynamicCadence, ObservationRecord

from ..errors import CannotRepeat
from ..hooks import calls as hooks
from ..stand_in import in_the_place_of


def as_seen(cadence: DynamicCadence, trigger: ObservationRecord) -> DynamicCadence:
    """`cadence`, whose group shows a strategy what there is up to `trigger`, whatever is added meanwhile.

    It writes to the real rows.
    """
    _show(cadence, Q(pk=trigger.pk) | Q(created__lt=trigger.created))
    return cadence


def _show(cadence: DynamicCadence, its: Q) -> '_Shown':
    group = cadence.observation_group
    # Not by the manager of before, which may show less.
    rows = ObservationRecord.objects.filter(its, observationgroup=group)
    group._prefetched_objects_cache = shown = _Shown(observation_records=rows)
    return shown


class _Shown(dict):
    """What Django takes a group's observations from, until some are added: read anew each time."""

    def __getitem__(self, name: str) -> QuerySet[ObservationRecord]:
        return super().__getitem__(name).all()


@contextmanager
def one_at_a_time(choose: Callable[[], ObservationRecord | None]) -> Iterator[None]:
    """While this lasts, tomtoolkit's `run` that replaces all failed observations replaces one.

    Whoever calls it: a class of the TOM's own may have done so, or have read its cadence again. So what
    it sees is put there at the last moment. `choose` says which one that is; None: there is none.
    """
    plain = RetryFailedObservationsStrategy.run

    def run(strategy: CadenceStrategy) -> list:
        if (trigger := choose()) is None:
            return []
        cadence = strategy.dynamic_cadence
        before = vars(cadence.observation_group).get('_prefetched_objects_cache', {})
        seen = _show(cadence, Q(pk=trigger.pk))
        try:
            if [*strategy.dynamic_cadence.observation_group.observation_records.all()] != [trigger]:
                words = f'{type(strategy).__name__} cannot be shown one observation at a time'
                raise CannotRepeat(words)
            return plain(strategy)
        finally:
            if seen:  # or it has added some, and sees all
                cadence.observation_group._prefetched_objects_cache = before

    with in_the_place_of(RetryFailedObservationsStrategy, 'run', run):
        yield


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is written in this, and call no hook for it."""
    with (
        in_the_place_of(observation_models, 'run_hook', lambda *arguments: None),
        in_the_place_of(hooks, 'run_hook', lambda *arguments: None),
        transaction.atomic(),
    ):
        try:
            yield
        finally:
            transaction.set_rollback(True)
