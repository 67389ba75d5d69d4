"""A run in batches, which workers check: the coordinator cuts, gives out, and counts.

All that are out together may have WORKERS requests in flight, so no host ever sees more. A batch
whose worker has died is given out again when its lease ends. What nobody takes, the coordinator
checks by itself, and so it does with facilities whose classes take one call at a time.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from math import ceil
from time import monotonic, sleep

from django.contrib.auth.models import User
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from ..conf import Automation, automation
from ..models import Batch, TaskWorker, UpdateRun
from ..sync import runs, storage
from ..sync.check_due import check_due
from ..sync.errors import AnotherRun, OutOfTime, SyncError
from ..sync.facilities import facility_classes, is_stock
from ..sync.outcomes import Outcome, Report
from ..sync.product_hooks import Prolonged
from ..sync.recorded_run import limited_part
from ..sync.sharing import Heart
from ..sync.storage_id import storage_trouble
from . import setup
from .app import batches_of
from .sending import Broker, send

TICK = 0.5  # seconds between two looks at the batches
LAST_SECONDS = 15  # after the deadline, for batches that are out
MOST_TRIES = 3  # after which a batch is no worker's any more
ME = 'the coordinator'
INSTEAD = {
    'work': 'Until it is back, this run checks the records by itself.',
    'wait': 'The run waits until it is back.',
}
State = Batch.State
#: What is added up. `due` is known before.
COUNTED = (
    'checked', 'changed', 'found', 'saved', 'repaired', 'failed', 'unsupported', 'set_aside',
    'not_reached', 'gone', 'filtered', 'adopted', 'damaged', 'missing',
)  # fmt: skip


class Coordinator:
    """Has workers check what is due in a run."""

    def __init__(self, limits: Automation, user: User | None) -> None:
        self._limits, self._user = limits, user
        self._given: dict[int, float] = {}  # when, by batch
        self._requests: dict[int, int] = {}  # of those that are out, by batch
        self._broker = Broker(INSTEAD[limits.BROKER_AWAY])
        self._waits = limits.BROKER_AWAY == 'wait'
        self._is_alone = False  # nobody has taken the last batch that was given out

    def __call__(
        self,
        run: UpdateRun,
        due: dict[str, deque[int]],
        report: Report,
        deadline: float,
        heart: Heart,
        progress: Callable[[Report], None],
    ) -> None:
        """Have batches checked as long as there are any; what is not cut is left in `due`."""
        if not self._former_are_at_work(run):
            storage.empty_parts()
        most = self._most()
        waiting = self._cut(run, due, deadline)
        ended = deadline + LAST_SECONDS
        while waiting or self._given:
            if heart.lost:
                raise AnotherRun(runs.TAKEN_OVER)
            if monotonic() > (ended if self._given else deadline):
                break
            self._count_done(report)
            progress(report)
            if waiting and len(self._given) < most and not self._former_are_at_work(run):
                self._give(waiting, most, deadline)
            self._look_after(report, deadline, heart)
            sleep(TICK)
        self._not_reached(run, report)
        # And those of runs that were killed: whoever still has one is to stop.
        Batch.objects.filter(Q(run=run) | ~Q(run__status=UpdateRun.Status.RUNNING)).delete()

    def _most(self) -> int:
        """How many batches may be out: as many as there are processes, and as there are requests."""
        alive = TaskWorker.objects.filter(
            refused='',
            alive_at__gte=timezone.now() - timedelta(seconds=2 * self._limits.LEASE + 60),
        )
        processes = sum(alive.values_list('processes', flat=True))
        return max(1, min(self._limits.WORKERS, processes))

    def _cut(self, run: UpdateRun, due: dict[str, deque[int]], deadline: float) -> deque[Batch]:
        """Make batches of the records of facilities of LCO's kind, facilities in turn."""
        known, _ = facility_classes()
        names = [name for name in due if name in known and is_stock(known[name])]
        if sum(len(due[name]) for name in names) < 2 * self._limits.BATCH:
            return deque()
        common = {
            'run': run,
            'requests': 1,  # until it is given out
            'username': self._user.get_username() if self._user else '',
            'ends': timezone.now() + timedelta(seconds=deadline - monotonic()),
        }
        rows, left = [], {name: due.pop(name) for name in names}
        while left:
            for name in list(left):
                keys = left[name]
                part = [keys.popleft() for _ in range(min(self._limits.BATCH, len(keys)))]
                rows.append(Batch(facility=name, records=part, **common))
                if not keys:
                    del left[name]
        return deque(Batch.objects.bulk_create(rows))

    def _former_are_at_work(self, run: UpdateRun) -> bool:
        """Whether workers still check for a run that has died: they will find out soon."""
        former = Batch.objects.filter(state=State.OUT, until__gte=Now()).exclude(holder='')
        return former.exclude(run=run).exists()

    def _give(self, waiting: deque[Batch], most: int, deadline: float) -> None:
        if self._waits and self._broker.is_away or monotonic() > deadline:
            return
        batch = waiting.popleft()
        left = self._limits.WORKERS - sum(self._requests[pk] for pk in self._given)
        requests = min(ceil(self._limits.WORKERS / most), left)
        if requests < 1:
            waiting.appendleft(batch)
            return
        self._requests[batch.pk] = requests
        free = Batch.objects.filter(pk=batch.pk)
        free.update(state=State.OUT, until=Now(), requests=requests)
        if not self._tell(batch):
            if self._waits:
                waiting.appendleft(batch)
                return
            self._is_alone = True
        self._given[batch.pk] = monotonic()

    def _tell(self, batch: Batch) -> bool:
        to = batches_of(batch.facility)
        return self._broker.told(partial(send, 'tom_auto.check_batch', to, batch.pk))

    def _look_after(self, report: Report, deadline: float, heart: Heart) -> None:
        """Give out again what has lapsed; check by itself what nobody takes."""
        out = Batch.objects.filter(pk__in=self._given, state=State.OUT)
        lapsed = out.filter(until__lt=Now()).select_related('run').order_by('pk')
        for batch in lapsed:
            if batch.tries >= MOST_TRIES:
                self._give_up(batch, report)
            elif batch.holder:
                Batch.objects.filter(pk=batch.pk, holder=batch.holder).update(holder='')
                self._given[batch.pk] = monotonic()
                self._tell(batch)
            elif self._is_alone or monotonic() > self._given[batch.pk] + self._limits.LEASE:
                self._is_alone = True
                if claim(batch.pk, ME, self._limits.LEASE):
                    self._check_myself(batch.pk, deadline, heart)
                return
        if out.exclude(holder='').exclude(holder=ME).exists():
            self._is_alone = False

    def _check_myself(self, pk: int, deadline: float, heart: Heart) -> None:
        batch = Batch.objects.select_related('run').get(pk=pk)
        with _prolonged(batch, self._limits.LEASE):
            _check(batch, self._limits, deadline, heart)

    def _give_up(self, batch: Batch, report: Report) -> None:
        error = f'a batch of {len(batch.records)} records has ended its worker {batch.tries} times'
        outcome = Outcome(batch.facility, error=error, kind=SyncError.kind)
        runs.record_outcomes(batch.run, [outcome], self._limits)
        report.add(outcome)
        report.not_reached += len(batch.records)
        del self._given[batch.pk]

    def _count_done(self, report: Report) -> None:
        for batch in Batch.objects.filter(pk__in=self._given, state=State.DONE):
            _add(report, batch.report)
            del self._given[batch.pk]

    def _not_reached(self, run: UpdateRun, report: Report) -> None:
        """Count what time was too short for."""
        self._count_done(report)
        for batch in run.batches.exclude(state=State.DONE):
            if batch.state == State.WAITING or batch.pk in self._given:
                report.not_reached += len(batch.records)
                error = f'{len(batch.records)} records were not reached before the deadline'
                outcome = Outcome(batch.facility, error=error, kind=OutOfTime.kind)
                runs.record_outcomes(run, [outcome], self._limits)
                report.add(outcome)


def claim(pk: int, holder: str, lease: float) -> bool:
    """Take a batch that is given out, and that nobody has or whose holder has died."""
    free = Batch.objects.filter(pk=pk, state=State.OUT, until__lte=Now(), tries__lt=MOST_TRIES)
    until = Now() + timedelta(seconds=lease)
    return bool(free.update(holder=holder, until=until, tries=F('tries') + 1))


def check(pk: int, holder: str) -> None:
    """Check the records of a batch, in a worker, unless somebody else does."""
    known = automation()
    if not claim(pk, holder, known.LEASE):
        return
    batch = Batch.objects.select_related('run').get(pk=pk)
    seconds = (batch.ends - timezone.now()).total_seconds()
    limits = replace(known, WORKERS=batch.requests, DEADLINE=max(1.0, seconds))
    try:
        with limited_part(limits) as deadline, _prolonged(batch, known.LEASE) as heart:
            _check(batch, limits, deadline, heart)
    except AnotherRun:  # the run is not any more, or another worker has the batch
        Batch.objects.filter(pk=pk, holder=holder).update(until=Now())


def _check(batch: Batch, limits: Automation, deadline: float, heart: Heart) -> None:
    report = Report(due=len(batch.records))
    user = User.objects.get(username=batch.username) if batch.username else None
    limits = replace(limits, WORKERS=batch.requests)
    due = {batch.facility: deque(batch.records)}
    hand_out = setup.who_runs_hooks(limits)
    away = storage_trouble()
    check_due(batch.run, due, report, limits, deadline, heart, away, user, hand_out)
    mine = Batch.objects.filter(pk=batch.pk, holder=batch.holder)
    mine.update(state=State.DONE, report=_as_json(report))


def _as_json(report: Report) -> dict:
    return {name: getattr(report, name) for name in COUNTED} | {
        'status': report.status,
        'unsupported_facilities': report.unsupported_facilities,
        'failures': [asdict(failure) | {'ended': None} for failure in report.failures],
    }


def _add(report: Report, found: dict) -> None:
    for name in COUNTED:
        setattr(report, name, getattr(report, name) + found[name])
    report.unsupported_facilities |= found['unsupported_facilities']
    report.failures += [Outcome(**failure) for failure in found['failures']]
    if found['status'] == 'failed':
        report.status = 'failed'


def _prolonged(batch: Batch, lease: float) -> Prolonged:
    """While a batch is checked: its heart, which knows when another worker or run has it."""
    running = UpdateRun.objects.filter(status=UpdateRun.Status.RUNNING)
    mine = Batch.objects.filter(pk=batch.pk, holder=batch.holder, run__in=running, state=State.OUT)
    return Prolonged(lambda: mine.update(until=Now() + timedelta(seconds=lease)), lease)
