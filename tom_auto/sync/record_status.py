"""Writes the new status of a record, and owes its hook until that has ended: rules 2 and 5.

tomtoolkit's `ObservationRecord.save` commits the new status first and runs the
hook after it, so a hook that raises, or a process that is killed in between, would lose the
change for good. Here the hook is noted together with the new status, and struck out when it has
ended: what is still noted at the next check is owed, and paid then.
"""

from django.db import transaction
from django.db.models import Model
from tom_observations.models import ObservationRecord

from ..hooks.calls import OF_STATUS, is_plain, run_own_hook
from ..models import RecordSync
from ..observatories.facilities import TIMES, Status
from ..running.database_jobs import DatabaseJob, Jobs, one

FIELDS = 'status', *TIMES


def write_status(record: ObservationRecord, status: Status) -> Jobs:
    """Write `status` into `record` where it changed; whether it could be written.

    Not where somebody has written another status, or other times, since `record` was read: the
    newer ones stay (rule 2). Raises HookFailed, when all is written, where the hook raised.
    """
    news = {'status': status.state} | {
        name: getattr(status, name) for name in TIMES if name not in status.not_times
    }
    if all(getattr(record, field) == value for field, value in news.items()):
        return True
    changed = record.status != status.state
    if not (yield from one(DatabaseJob(_write_statuses, (record, news)))):
        return False
    before = record.status
    for field, value in news.items():
        setattr(record, field, value)
    if changed and is_plain(OF_STATUS):  # which needs no objects of its own
        run_own_hook(OF_STATUS, record, before)
        yield from one(DatabaseJob(_strike_out, record.pk))
    elif changed:
        yield from pay_status_hook(record.pk)
    return True


def _write_statuses(news: list[tuple[ObservationRecord, dict]]) -> list[bool]:
    with transaction.atomic():
        keys = [record.pk for record, _ in news]
        # What somebody keeps locked is waited for alone.
        rows = ObservationRecord.objects.select_for_update(nowait=len(news) > 1)
        there = {row.pk: row for row in rows.filter(pk__in=keys).order_by('pk')}
        for record, _ in news:
            row = there.get(record.pk)
            if row and any(getattr(row, field) != getattr(record, field) for field in FIELDS):
                del there[record.pk]
        note_owed([
            record for record, its in news
            if record.pk in there and record.status != its['status']
        ])  # fmt: skip
        for record, its in news:
            if row := there.get(record.pk):
                for field, value in its.items():
                    setattr(row, field, value)
                # Only these fields: a whole save would undo what someone edits on the web meanwhile.
                # Not tomtoolkit's own `save`, which would call the hook within this transaction.
                Model.save(row, update_fields=[*its, 'modified'])
    return [record.pk in there for record, _ in news]


def note_owed(records: list[ObservationRecord]) -> None:
    """Note the status that each record has, for its hook, unless an older one is noted."""
    for status in sorted({record.status for record in records}):
        keys = [record.pk for record in records if record.status == status]
        free = RecordSync.objects.filter(pk__in=keys, owes_hook=False)
        free.update(owes_hook=True, status_before=status)


def pay_status_hook(pk: int) -> Jobs:
    """Run the hook that the record `pk` owes, with objects read for it. Raises HookFailed."""
    is_own = not is_plain(OF_STATUS)
    record = yield from one(DatabaseJob(_read_owing, pk, by_itself=is_own))
    if record is None:
        return
    if record.status != record.sync.status_before:
        run_own_hook(OF_STATUS, record, record.sync.status_before)
    if is_own:  # at once: it may have sent a mail
        _strike_out([pk])
    else:
        yield from one(DatabaseJob(_strike_out, pk))


def _read_owing(keys: list[int]) -> list[ObservationRecord | None]:
    rows = ObservationRecord.objects.select_related('target', 'sync').filter(sync__owes_hook=True)
    found = rows.in_bulk(keys)
    return [found.get(key) for key in keys]


def _strike_out(keys: list[int]) -> list[int]:
    RecordSync.objects.filter(pk__in=keys).update(owes_hook=False, status_before='')
    return keys
