"""Which records are due, and when each is due again: rules 1 to 3.

A record is due when it was never checked, when its status is no longer the one that the last
check left (whoever changed it), when that check seems to lie ahead, as the clock was wrong then
or is now, or when its time has come:

====================================  =================================================
after a check that went well, and     the record is due again
====================================  =================================================
its status is not terminal            at the next run
it ended less than a day ago          at the next run: raw frames arrive within minutes,
                                      reduced ones within hours
it is terminal, but the data window   after an eighth of the time since it ended, and once
is not over                           more when the window is over
the data window is over               never: it is settled
====================================  =================================================

A record whose facility class cannot be asked is due at the next run, until its status is terminal.
After a failed check it is due at the next run, then after half an hour, an hour, two hours, and
so on up to a day, until it succeeds.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..errors import BrokenClass, HookUnfinished
from ..models import RecordSync, SharedFrame, StoredFrame
from ..running.backoff import SLACK, backoff
from ..running.outcomes import Ending, Outcome, Report

State = RecordSync.State
EAGER = timedelta(days=1)  # after the end: asked at every run
CHUNK = 1000  # rows in one statement


@dataclass(frozen=True)
class Selection:
    """Which records a run is about; an empty collection means all of them."""

    targets: Collection[int] = ()
    facilities: Collection[str] = ()
    recheck: bool = False
    observations: Collection[int] = ()

    def words(self) -> str:
        """What the run is limited to, for a person; empty where it is not."""
        number = len(self.observations)
        some = [f'{number} observation{"" if number == 1 else "s"}'] if number else []
        targets = (f'target {pk}' for pk in self.targets)
        return ', '.join([*some, *targets, *map(str, self.facilities)])

    def records(self) -> QuerySet[ObservationRecord]:
        """The selected records, due or not."""
        records = ObservationRecord.objects.all()
        if self.observations:
            records = records.filter(pk__in=self.observations)
        if self.targets:
            records = records.filter(target__in=self.targets)
        if self.facilities:
            records = records.filter(facility__in=self.facilities)
        return records


def enrol() -> None:
    """Give every record a state of its own: one that has none was never checked.

    Records that shared a frame which is gone are due again.
    """
    missing = (
        ObservationRecord.objects.filter(sync=None).order_by('pk').values_list('pk', flat=True)
    )
    while keys := list(missing[:CHUNK]):
        RecordSync.objects.bulk_create((RecordSync(pk=pk) for pk in keys), ignore_conflicts=True)
    kept = StoredFrame.objects.filter(archive=OuterRef('archive'), frame_id=OuterRef('frame_id'))
    lost = SharedFrame.objects.filter(~Exists(kept))
    _remember_deleted(lost.filter(deleted=True))
    if keys := set(lost.values_list('record', flat=True)):
        RecordSync.objects.filter(pk__in=keys, state=State.SETTLED).update(state=State.WAITING)
        lost.delete()


def _remember_deleted(lost: QuerySet[SharedFrame]) -> None:
    """Let each of these stay deleted, for a record that has it still: rule 7."""
    deleted = StoredFrame.State.DELETED
    StoredFrame.objects.bulk_create(
        (
            StoredFrame(
                archive=one.archive, frame_id=one.frame_id, record_id=one.record_id,
                state=deleted, size=0, stored_at=timezone.now(),
            )
            for one in lost
        ),
        ignore_conflicts=True,  # one of them is enough for a frame
    )  # fmt: skip


def records_due(now: datetime, selection: Selection | None = None) -> QuerySet[ObservationRecord]:
    """The selected records that are due at `now`; with `recheck`, all that are selected."""
    selection = selection or Selection()
    if selection.recheck:
        return selection.records()
    # A union, as a database looks up each part by its index: an OR would have it read all.
    waiting = RecordSync.objects.exclude(state=State.SETTLED)
    never_checked = waiting.filter(state=State.NEW).values('pk')
    time_has_come = waiting.filter(next_check__lte=now).values('pk')
    clock_went_back = RecordSync.objects.filter(asked_at__gt=now).values('pk')
    # Every record is compared with its state: 200,000 of them take a quarter of a second.
    records = ObservationRecord.objects.order_by()
    changed = records.filter(Q(sync=None) | ~Q(status=F('sync__status'))).values('pk')
    return selection.records().filter(
        pk__in=time_has_come.union(never_checked, clock_went_back, changed)
    )


def due_by_facility(
    now: datetime, selection: Selection, suspected: Collection[int] = ()
) -> tuple[dict[str, deque[int]], list[tuple[str, int]]]:
    """The primary keys of the records that are due and enrolled, by facility; and the suspects.

    Those that were asked longest ago come first, so that a deadline starves none of them. A run
    ended while it called a hook of a suspect, or of another one at that time: it may end this run as
    well. Those that have ended the fewest come first. `suspected`: see `hooks.owed`.
    """
    asked = F('sync__asked_at').asc(nulls_first=True)
    records = records_due(now, selection).filter(sync__isnull=False).order_by(asked, 'pk')
    by_facility: dict[str, deque[int]] = {}
    suspects: list[tuple[int, str, int]] = []
    fields = 'facility', 'pk', 'sync__error_kind', 'sync__failures'
    for facility, pk, kind, failures in records.values_list(*fields).iterator():
        if kind == HookUnfinished.kind or pk in suspected:
            suspects.append((failures, facility, pk))
        else:
            by_facility.setdefault(facility, deque()).append(pk)
    return by_facility, [(facility, pk) for _, facility, pk in sorted(suspects)]


def next_news(awaited: QuerySet[RecordSync], now: datetime) -> datetime | None:
    """When the first of these observations begins; None where one can have news before that.

    A schedule may change, so that statuses are asked for all the same.
    """
    awaited = awaited.exclude(state=State.SETTLED)
    in_the_future = {
        'state': State.WAITING, 'terminal_since': None, 'record__scheduled_start__gt': now
    }  # fmt: skip
    if awaited.exclude(**in_the_future).exists():
        return None
    return awaited.aggregate(first=Min('record__scheduled_start'))['first']


def look_ahead(run_started: datetime, report: Report) -> None:
    """Note what waits after failures, and when the next observation begins."""
    waiting = RecordSync.objects.filter(failing_since__isnull=False, next_check__gt=run_started)
    report.waiting_after_failures = waiting.exclude(asked_at=run_started).count()
    report.next_news = next_news(RecordSync.objects.all(), run_started)


def note(sync: RecordSync, outcome: Outcome, now: datetime, window: timedelta) -> None:
    """Write into `sync` what came of its check in the run that began at `now`."""
    before = sync.asked_at
    _note_status(sync, outcome, now)
    if outcome.ending is Ending.CHECKED:
        sync.checked_at = now
        _note_well(sync)
        sync.next_check, settled = _next_check(sync, outcome, before, now, window)
        sync.state = State.SETTLED if settled else State.WAITING
    elif outcome.ending is Ending.UNSUPPORTED:
        _note_well(sync)
        sync.error, sync.error_kind = outcome.error, outcome.kind  # not a failure: a reason
        sync.next_check = now
        sync.state = State.SETTLED if outcome.terminal else State.WAITING
    elif outcome.ending is Ending.NOT_REACHED:
        if outcome.saved or outcome.repaired:  # progress is not a failure
            _note_well(sync)
        if outcome.error:
            sync.error, sync.error_kind = outcome.error, outcome.kind
        sync.next_check = now
        sync.state = State.BACKING_OFF if sync.failing_since else State.WAITING
    else:
        sync.failures += outcome.ending is Ending.FAILED
        sync.failing_since = min(sync.failing_since or now, now)
        sync.error, sync.error_kind = outcome.error, outcome.kind
        # What a class saves that is broken is no progress: it may save it anew in each run.
        progress = (outcome.saved or outcome.repaired) and outcome.kind != BrokenClass.kind
        sync.next_check = now if progress else now + backoff(sync.failures)
        sync.state = State.BACKING_OFF


def _note_well(sync: RecordSync) -> None:
    sync.failures, sync.failing_since, sync.error, sync.error_kind = 0, None, '', ''


def _note_status(sync: RecordSync, outcome: Outcome, now: datetime) -> None:
    is_told = outcome.ending in (Ending.CHECKED, Ending.UNSUPPORTED)
    if not outcome.terminal:
        if is_told or sync.status != outcome.status:  # or the check ended before it knew
            sync.terminal_since = None
    elif sync.terminal_since is None or sync.terminal_since > now or sync.status != outcome.status:
        sync.terminal_since = now
    sync.status, sync.asked_at = outcome.status, now


def _next_check(
    sync: RecordSync, outcome: Outcome, before: datetime | None, now: datetime, window: timedelta
) -> tuple[datetime, bool]:
    """When the record is due again, and whether it is settled instead."""
    if sync.terminal_since is None:
        return now, False
    known = outcome.ended is not None and outcome.ended <= now
    if not known and before and now - before > max(window, EAGER) and sync.terminal_since < now:
        sync.terminal_since = now  # nobody looked for so long, or the clock has jumped
    age = now - (outcome.ended if known else sync.terminal_since)
    if age >= window:
        return now, True
    if age < EAGER:
        return now, False
    return now + min(age / 8 * SLACK, window - age), False
