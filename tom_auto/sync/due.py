"""Which records are due, and when each is due again: rules 1 to 3.

A record is due when it was never checked, when its status is no longer the one that the last
check left (whoever changed it), when that check seems to lie ahead, as the clock was wrong then
or is now, or when its time has come:

====================================  =================================================
after a check that went well, and     the record is due again
====================================  =================================================
its status is not terminal            at the next run
it became terminal less than a day    at the next run: raw frames arrive within minutes,
ago                                   reduced ones within hours
it is terminal, but the data window   after an eighth of the time since it became
is not over                           terminal, and once more when the window is over
the data window is over               never: it is settled
====================================  =================================================

A record whose facility class cannot be asked is due at the next run: looking costs nothing.
After a failed check it is due at the next run, then after half an hour, an hour, two hours,
and so on up to a day, until it succeeds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from tom_observations.models import ObservationRecord

from ..models import RecordSync
from .outcomes import Outcome

EAGER = timedelta(days=1)  # after becoming terminal: asked at every run
FIRST_BACKOFF = timedelta(minutes=30)
LONGEST_BACKOFF = timedelta(days=1)
# Runs do not start on the dot: what is due within a few minutes of the run after next must
# not be put off by a whole period.
SLACK = 0.9


@dataclass(frozen=True)
class Selection:
    """Which records a run is about; an empty collection means all of them."""

    targets: Collection[int] = ()
    facilities: Collection[str] = ()
    recheck: bool = False

    def words(self) -> str:
        """What the run is limited to, for a person; empty where it is not."""
        return ', '.join(
            [*(f'target {pk}' for pk in self.targets), *(str(name) for name in self.facilities)]
        )

    def records(self) -> QuerySet[ObservationRecord]:
        """The selected records, due or not."""
        records = ObservationRecord.objects.all()
        if self.targets:
            records = records.filter(target__in=self.targets)
        if self.facilities:
            records = records.filter(facility__in=self.facilities)
        return records


def records_due(now: datetime, selection: Selection | None = None) -> QuerySet[ObservationRecord]:
    """The selected records that are due at `now`; with `recheck`, all that are selected."""
    selection = selection or Selection()
    if selection.recheck:
        return selection.records()
    # A union, as a database looks up each part by its index: an OR would have it read all.
    time_has_come = RecordSync.objects.filter(next_check__lte=now).values('pk')
    clock_went_back = RecordSync.objects.filter(asked_at__gt=now).values('pk')
    due = time_has_come.union(clock_went_back, changed_by_others().values('pk'))
    return selection.records().filter(pk__in=due)


def changed_by_others() -> QuerySet[ObservationRecord]:
    """The records that were never checked, or whose status has changed since their last check.

    Every record is compared with its state: 200,000 of them take a quarter of a second.
    """
    records = ObservationRecord.objects.order_by()
    return records.filter(Q(sync=None) | ~Q(status=F('sync__status')))


def note_success(
    sync: RecordSync, status: str, terminal: bool, now: datetime, window: timedelta
) -> None:
    """Write into `sync` that the record was checked at `now`, and when it is due again."""
    _note_status(sync, status, terminal, now)
    sync.checked_at = now
    sync.failures, sync.failing_since, sync.error, sync.error_kind = 0, None, '', ''
    sync.next_check = _next_check(sync.terminal_since, now, window)
    sync.settled_at = None if sync.next_check else now


def note_failure(
    sync: RecordSync, status: str, terminal: bool, failure: Outcome, now: datetime
) -> None:
    """Write into `sync` that the check at `now` failed, why, and when to try again."""
    _note_status(sync, status, terminal, now)
    sync.failures += 1
    sync.failing_since = min(sync.failing_since or now, now)
    sync.error, sync.error_kind = failure.error, failure.kind
    sync.settled_at = None
    sync.next_check = now + _backoff(sync.failures)


def note_unsupported(sync: RecordSync, status: str, terminal: bool, now: datetime) -> None:
    """Write into `sync` that the facility class cannot be asked: another version of it may."""
    _note_status(sync, status, terminal, now)
    sync.next_check = now


def _note_status(sync: RecordSync, status: str, terminal: bool, now: datetime) -> None:
    if not terminal:
        sync.terminal_since = None
    elif sync.terminal_since is None or sync.terminal_since > now or sync.status != status:
        sync.terminal_since = now
    sync.status, sync.asked_at = status, now


def _next_check(
    terminal_since: datetime | None, now: datetime, window: timedelta
) -> datetime | None:
    if terminal_since is None:
        return now
    age = now - terminal_since
    if age >= window:
        return None
    if age < EAGER:
        return now
    return min(now + age / 8 * SLACK, terminal_since + window)


def _backoff(failures: int) -> timedelta:
    if failures <= 1:
        return timedelta(0)
    doublings = min(failures - 2, 10)  # beyond that the longest is reached anyway
    return min(FIRST_BACKOFF * 2**doublings, LONGEST_BACKOFF) * SLACK
