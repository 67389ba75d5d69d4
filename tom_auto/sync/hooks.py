"""Runs the hooks for new statuses, and owes those that fail: rule 5.

tomtoolkit's `ObservationRecord.save` commits the new status first and runs the
hook after it, so a hook that raises, or a process that is killed in between, would lose the
change for good. Here the hook is noted together with the new status, and struck out when it has
ended: what is still noted at the next check is owed, and paid then.
"""

from django.db import transaction
from django.db.models import Model
from tom_common.hooks import run_hook
from tom_observations.models import ObservationRecord

from ..models import RecordSync
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
        run_own_hook('observation_change_state', record, before)
    RecordSync.objects.filter(pk=record.pk).update(owes_hook=False, status_before='')


def run_own_hook(hook: str, *arguments: object) -> None:
    """Call a hook of this TOM. Raises HookFailed where it raises."""
    try:
        run_hook(hook, *arguments)
    except Exception as error:
        raise hook_failed(hook, error) from error
