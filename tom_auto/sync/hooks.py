"""Runs the hooks for new statuses and for saved data products, and owes those that fail.

Rules 5 and 10.
tomtoolkit's `ObservationRecord.save` commits the new status first and runs the hook
`observation_change_state` after it, so a hook that raises, or a process that is killed in
between, would lose the change for good. Here the state before is noted first and struck out
when the hook has ended: what is still noted at the next check is owed, and paid then.
"""

from django.db import Error as DatabaseTrouble
from tom_common.hooks import run_hook
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import RecordSync, StoredFrame
from .errors import HookFailed
from .explain import hook_failed
from .facilities import Gateway

FIELDS = ['status', 'scheduled_start', 'scheduled_end']
HOOK = 'observation_change_state'


def refresh_status(record: ObservationRecord, gateway: Gateway) -> None:
    """Ask for the status of `record` and write it where it changed.

    Raises what the facility class raises, and HookFailed, with the status written, where the
    hook raises.
    """
    gateway.doing = HOOK
    late = _pay_owed_hook(record)
    if gateway.writes_status_itself():
        _note_owed(record)
        gateway.update_status(record)
        record.refresh_from_db(fields=FIELDS)
        _strike_out(record)
    else:
        _write_status(record, gateway)
    if late is not None:
        raise late


def _write_status(record: ObservationRecord, gateway: Gateway) -> None:
    status = gateway.status(record)
    news = {
        'status': status.state,
        'scheduled_start': status.scheduled_start,
        'scheduled_end': status.scheduled_end,
    }
    if all(getattr(record, field) == value for field, value in news.items()):
        return
    _note_owed(record)
    for field, value in news.items():
        setattr(record, field, value)
    gateway.doing = HOOK
    try:
        # Only these fields: a whole save would undo what someone edits on the web meanwhile.
        record.save(update_fields=[*FIELDS, 'modified'])
    except (DatabaseTrouble, ObservationRecord.DoesNotExist):
        raise
    except Exception as error:
        raise hook_failed(HOOK, error) from error
    _strike_out(record)


def _note_owed(record: ObservationRecord) -> None:
    """Note the state that `record` had before, unless an older one is noted already."""
    if _owed(record) is None:
        RecordSync.objects.bulk_create(
            [RecordSync(record=record, hook_owed=record.status)],
            update_conflicts=True,
            unique_fields=['record'],
            update_fields=['hook_owed'],
        )


def _pay_owed_hook(record: ObservationRecord) -> HookFailed | None:
    owed = _owed(record)
    if owed is None:
        return None
    if owed != record.status:
        try:
            run_hook(HOOK, record, owed)
        except Exception as error:
            return hook_failed(HOOK, error)
    _strike_out(record)
    return None


def _owed(record: ObservationRecord) -> str | None:
    """What was noted when `record` was read, and not struck out since."""
    return record.sync.hook_owed if hasattr(record, 'sync') else None


def _strike_out(record: ObservationRecord) -> None:
    RecordSync.objects.filter(record=record, hook_owed__isnull=False).update(hook_owed=None)
    if hasattr(record, 'sync'):
        record.sync.hook_owed = None


def announce_products(record: ObservationRecord) -> None:
    """Call the hooks for every product of `record` for which they are owed.

    As tomtoolkit's page does that saves chosen products: `data_product_post_save` with a list
    of one for each, and `multiple_data_products_post_save` with all. After a failure a hook
    may be called twice for the same product, but it is never skipped. Raises HookFailed if one
    of them raised, after all have been tried.
    """
    owed = DataProduct.objects.filter(
        observation_record=record, stored_frame__hooks_owed=True
    ).order_by('pk')
    told, failure = [], None
    for product in owed:
        try:
            run_hook('data_product_post_save', [product])
        except Exception as error:
            failure = hook_failed('data_product_post_save', error)
        else:
            told.append(product)
    failure = _announce_together(told) or failure
    if failure is not None:
        raise failure


def _announce_together(products: list[DataProduct]) -> HookFailed | None:
    if not products:
        return None
    try:
        run_hook('multiple_data_products_post_save', products)
    except Exception as error:
        return hook_failed('multiple_data_products_post_save', error)
    StoredFrame.objects.filter(product__in=products).update(hooks_owed=False)
    return None
