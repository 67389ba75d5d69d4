"""Notes that a hook is called once more which a run may not have come to an end of: rule 3.

If it ends the process, that is a failure like others, and its record backs off. Otherwise what comes
of the check takes the place of the note.
"""

from django.db import transaction
from django.utils import timezone

from ..db_retry import patient
from ..errors import HookUnfinished
from ..models import RecordSync
from ..running.backoff import backoff

SAID = 'a run ended while a hook of this observation was owed'
NOTED = 'state', 'status', 'failures', 'failing_since', 'next_check', 'error', 'error_kind'


@patient
def note_attempt(record: int) -> None:
    """Note that a hook of `record`, owed since before this check, is about to be called."""
    with transaction.atomic():
        rows = RecordSync.objects.filter(pk=record).select_related('record')
        for sync in rows.select_for_update(of=('self',)):
            now = timezone.now()
            # Or the record would be due because its status is another one.
            sync.status = sync.record.status
            sync.failures += 1
            sync.failing_since = min(sync.failing_since or now, now)
            sync.next_check = now + backoff(sync.failures)
            sync.state = RecordSync.State.BACKING_OFF
            sync.error, sync.error_kind = SAID, HookUnfinished.kind
            sync.save(update_fields=NOTED)


def withdraw_attempt(sync: RecordSync) -> None:
    """Take the note back, unsaved: the check has come to an end."""
    if sync.error_kind == HookUnfinished.kind:
        sync.failures -= 1
        if not sync.failures:
            sync.failing_since, sync.error, sync.error_kind = None, '', ''
