"""Runs the hooks for new statuses and for saved data products, and owes those that fail.

Rules 5 and 10. tomtoolkit's `ObservationRecord.save` commits the new status first and runs the
hook after it, so a hook that raises, or a process that is killed in between, would lose the
change for good. Here the hook is noted together with the new status, and struck out when it has
ended: what is still noted at the next check is owed, and paid then.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q
from tom_common.hooks import run_hook
from tom_dataproducts.models import DataProduct
from tom_observations import models as observation_models
from tom_observations.models import ObservationRecord

from ..models import RecordSync, StoredFrame
from .errors import HookFailed
from .explain import hook_failed
from .facilities import TIMES, Status


def write_status(record: ObservationRecord, status: Status) -> bool:
    """Write `status` into `record` where it changed; whether it could be written.

    Not where somebody has written another status, or other times, since `record` was read: the
    newer ones stay (rule 2).
    """
    news = {'status': status.state} | {
        name: getattr(status, name) for name in TIMES if name.replace('_', ' ') not in status.fault
    }
    if all(getattr(record, field) == value for field, value in news.items()):
        return True
    with transaction.atomic(), _without_hooks():
        rows = ObservationRecord.objects.select_for_update(of=('self',))
        fresh = rows.filter(pk=record.pk).first()
        fields = 'status', *TIMES
        if fresh is None or any(getattr(fresh, one) != getattr(record, one) for one in fields):
            return False
        if fresh.status != status.state:
            note_owed(record)
        for field, value in news.items():
            setattr(fresh, field, value)
            setattr(record, field, value)
        # Only these fields: a whole save would undo what someone edits on the web meanwhile.
        fresh.save(update_fields=[*news, 'modified'])
    return True


@contextmanager
def _without_hooks() -> Iterator[None]:
    """Saving calls no hook while this lasts: it is called afterwards, outside the transaction."""
    call, observation_models.run_hook = observation_models.run_hook, lambda *arguments: None
    try:
        yield
    finally:
        observation_models.run_hook = call


def note_owed(record: ObservationRecord) -> None:
    """Note the status that `record` has, for its hook, unless an older one is noted already."""
    RecordSync.objects.filter(pk=record.pk, owes_hook=False).update(
        owes_hook=True, status_before=record.status
    )


def pay_status_hook(pk: int) -> None:
    """Run the hook that the record `pk` owes, with objects read for it. Raises HookFailed."""
    rows = ObservationRecord.objects.select_related('target', 'sync')
    record = rows.filter(pk=pk, sync__owes_hook=True).first()
    if record is None:
        return
    if record.status != record.sync.status_before:
        _run('observation_change_state', record, record.sync.status_before)
    RecordSync.objects.filter(pk=pk).update(owes_hook=False, status_before='')


def _run(hook: str, *arguments: object) -> None:
    try:
        run_hook(hook, *arguments)
    except Exception as error:
        raise hook_failed(hook, error) from error


def records_that_owe() -> set[int]:
    """The records whose saved products hooks are owed for, since an earlier run."""
    return set(StoredFrame.objects.filter(hooks_owed=True).values_list('record', flat=True))


def pay_product_hooks(record: int, frames: list[int]) -> None:
    """Run the hooks for every product of `record`, and of these `frames`, that they are owed for.

    As tomtoolkit's page does that saves chosen products: one call for each, and one with all.
    After a failure a hook may run twice, but it is never skipped. Raises HookFailed, after all
    have been tried, where one raised.
    """
    owed = Q(stored_frame__record=record) | Q(stored_frame__in=frames)
    products = DataProduct.objects.filter(owed, stored_frame__hooks_owed=True).order_by('pk')
    heard, failure = [], None
    for pk in list(products.values_list('pk', flat=True)):
        if (product := DataProduct.objects.filter(pk=pk).first()) is None:
            continue  # the hook before has deleted it
        try:
            _run('data_product_post_save', [product])
            heard.append(pk)
        except HookFailed as error:
            failure = error
    if together := list(DataProduct.objects.filter(pk__in=heard).order_by('pk')):
        _run('multiple_data_products_post_save', together)
        StoredFrame.objects.filter(product__in=heard).update(hooks_owed=False)
    if failure is not None:
        raise failure
