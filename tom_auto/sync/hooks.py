"""Runs the hooks for new statuses and for saved data products, and owes those that fail.

Rules 5 and 10. tomtoolkit's `ObservationRecord.save` commits the new status first and runs the
hook after it, so a hook that raises, or a process that is killed in between, would lose the
change for good. Here the hook is noted together with the new status, and struck out when it has
ended: what is still noted at the next check is owed, and paid then.
"""

from collections.abc import Collection

from django.db import transaction
from django.db.models import Model
from tom_common.hooks import run_hook
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import RecordSync, StoredFrame
from .errors import HookFailed
from .explain import hook_failed
from .facilities import TIMES, Status


def write_status(record: ObservationRecord, status: Status) -> bool:
    """Write `status` into `record` where it changed; whether it could be written.

    Not where somebody has written another status, or other times, since `record` was read: the
    newer ones stay (rule 2). Raises HookFailed, when all is written, where the hook raised.
    """
    news = {'status': status.state} | {
        name: getattr(status, name) for name in TIMES if name.replace('_', ' ') not in status.fault
    }
    if all(getattr(record, field) == value for field, value in news.items()):
        return True
    with transaction.atomic():
        rows = ObservationRecord.objects.select_related('target').select_for_update(of=('self',))
        fresh = rows.filter(pk=record.pk).first()
        fields = 'status', *TIMES
        if fresh is None or any(getattr(fresh, one) != getattr(record, one) for one in fields):
            return False
        before = note_owed(record) if fresh.status != status.state else None
        for field, value in news.items():
            setattr(fresh, field, value)
            setattr(record, field, value)
        # Only these fields: a whole save would undo what someone edits on the web meanwhile. Not
        # by tomtoolkit's own `save`, which would call the hook within this transaction.
        Model.save(fresh, update_fields=[*news, 'modified'])
    if before is not None:
        _pay_status_hook(fresh, before)
    return True


def note_owed(record: ObservationRecord) -> str:
    """Note the status that `record` has, for its hook, unless an older one is; gives which is."""
    rows = RecordSync.objects.filter(pk=record.pk)
    if rows.filter(owes_hook=False).update(owes_hook=True, status_before=record.status):
        return record.status
    return rows.values_list('status_before', flat=True).first() or ''


def pay_status_hook(pk: int) -> None:
    """Run the hook that the record `pk` owes, with objects read for it. Raises HookFailed."""
    record = ObservationRecord.objects.filter(pk=pk, sync__owes_hook=True).first()
    if record is not None:
        _pay_status_hook(record, record.sync.status_before)


def _pay_status_hook(record: ObservationRecord, before: str) -> None:
    if record.status != before:
        _run('observation_change_state', record, before)
    RecordSync.objects.filter(pk=record.pk).update(owes_hook=False, status_before='')


def _run(hook: str, *arguments: object) -> None:
    try:
        run_hook(hook, *arguments)
    except Exception as error:
        raise hook_failed(hook, error) from error


def records_that_owe() -> set[int]:
    """The records whose saved products hooks are owed for, since an earlier run."""
    return set(StoredFrame.objects.filter(hooks_owed=True).values_list('record', flat=True))


def products_owed(record: int) -> list[int]:
    """The products of `record` that hooks are owed for."""
    frames = StoredFrame.objects.filter(record=record, hooks_owed=True, product__isnull=False)
    return list(frames.values_list('product', flat=True))


def pay_product_hooks(products: Collection[int]) -> None:
    """Run the hooks that these products are owed.

    As tomtoolkit's page does that saves chosen products: one call for each, and one with all.
    After a failure a hook may run twice, but it is never skipped. Raises HookFailed, after all
    have been tried, where one raised.
    """
    rows = DataProduct.objects.order_by('pk')
    heard, failure = [], None
    for product in rows.filter(pk__in=products) if products else ():
        try:
            _run('data_product_post_save', [product])
            heard.append(product.pk)
        except HookFailed as error:
            if rows.filter(pk=product.pk).exists():  # or a hook has deleted it
                failure = error
    if heard and (together := list(rows.filter(pk__in=heard))):
        _run('multiple_data_products_post_save', together)
        StoredFrame.objects.filter(product__in=heard).update(hooks_owed=False)
    if failure is not None:
        raise failure
