"""A run in batches, which workers check: the coordinator cuts, gives out, and counts.

It reads the lists of the observatory, and tells each batch what they say of its records: so they
are read once, however many workers there are. All batches that are out together may have WORKERS
requests in flight, so no host ever sees more. A batch whose worker has died is given out again when
its lease ends. What nobody takes, the coordinator checks by itself, and so it does with facilities
whose classes take one call at a time.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from math import ceil
from time import monotonic, sleep

from django.contrib.auth.models import User
from django.db import Error as DatabaseTrouble
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ..conf import Automation
from ..db_retry import patient
from ..errors import OutOfTime, SyncError
from ..files import storage
from ..models import Batch, TaskWorker, UpdateRun
from ..observatories.facilities import facility_classes, is_stock
from ..running.failures import fail
from ..running.heartbeat import Heartbeat
from ..running.outcomes import Outcome, Report
from ..sync.facility_jobs import Facilities
from .app import batches_of
from .batches import MOST_TRIES, State, add, check_claimed, claim, prolonged
from .lists import read_all, what_the_lists_say
from .sending import Broker, send

logger = logging.getLogger(__name__)

TICK = 0.2  # seconds between two looks at the batches
LAST_SECONDS = 15  # after the deadline, for batches that are out
PART = 10_000  # records whose lists are read together: memory has no room for those of 100,000
ME = 'the coordinator'
INSTEAD = {
    'work': 'Until it is back, this run checks the records by itself.',
    'wait': 'The run waits until it is back.',
}
Queues = dict[str, deque[int]]  # records that are due, by facility


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
        due: Queues,
        report: Report,
        deadline: float,
        heart: Heartbeat,
        progress: Callable[[Report], None],
    ) -> None:
        """Have batches checked as long as there are any; what is not cut is left in `due`."""
        self._run, self._report, self._progress = run, report, progress
        self._deadline, self._heart = deadline, heart
        known, _ = facility_classes()
        stock = {name: due[name] for name in due if name in known and is_stock(known[name])}
        are_many = sum(map(len, stock.values())) >= 2 * self._limits.BATCH
        while are_many and self._former_are_at_work() and self._goes_on(deadline):
            sleep(TICK)
        if not self._former_are_at_work():
            storage.empty_parts()
        if are_many:
            facilities = Facilities(stock, self._limits, self._user)
            while monotonic() < deadline and (part := part_of(stock)):
                read_all(part, facilities, deadline, heart)
                self._have_checked(self.cut(run, part, facilities, deadline))
            for name in stock:
                if not due[name]:
                    del due[name]
        # And those of runs that were killed: whoever still has one is to stop.
        over = ~Q(run__status=UpdateRun.Status.RUNNING)
        patient(Batch.objects.filter(Q(run=run) | over).delete)()

    def _goes_on(self, until: float) -> bool:
        """Whether there is time before `until`. Raises AnotherRun where the run is lost."""
        self._heart.insist()
        return monotonic() <= until

    def _have_checked(self, batches: Iterator[Batch]) -> None:
        """Have these batches checked, as far as there is time. While some are cut, others are out."""
        most, waiting = self._most(), deque()
        for batch in batches:
            waiting.append(batch)
            self._give_out(waiting, most)
        while waiting or self._given:
            last = LAST_SECONDS if self._given else 0
            if not self._goes_on(self._deadline + last):
                break
            self._count_done()
            self._progress(self._report)
            self._give_out(waiting, most)
            self._look_after()
            sleep(TICK)
        self._not_reached(waiting)

    @patient
    def _most(self) -> int:
        """How many batches may be out: as many as there are processes, and as there are requests."""
        since = timezone.now() - timedelta(seconds=2 * self._limits.LEASE + 60)
        alive = TaskWorker.objects.filter(refused='', alive_at__gte=since)
        processes = sum(alive.values_list('processes', flat=True))
        return max(1, min(self._limits.WORKERS, processes))

    def cut(
        self, run: UpdateRun, part: Queues, facilities: Facilities, deadline: float
    ) -> Iterator[Batch]:
        """Make batches of these records, facilities in turn, with what the lists say of each."""
        common = {
            'run': run,
            'requests': 1,  # until it is given out
            'username': self._user.get_username() if self._user else '',
            'ends': timezone.now() + timedelta(seconds=deadline - monotonic()),
        }
        for name, keys in _in_turn(part, self._limits.BATCH):
            lists = patient(what_the_lists_say)(facilities, name, keys)
            made = patient(Batch.objects.create)(facility=name, records=keys, lists=lists, **common)
            made.lists = ''  # here nobody needs them any more
            yield made

    @patient
    def _former_are_at_work(self) -> bool:
        """Whether workers still check for a run that has died: they will find out soon."""
        former = Batch.objects.filter(state=State.OUT, until__gte=Now()).exclude(holder='')
        return former.exclude(run=self._run).exists()

    def _give_out(self, waiting: deque[Batch], most: int) -> None:
        while waiting and len(self._given) < most and self._give(waiting, most):
            pass

    @patient
    def _give(self, waiting: deque[Batch], most: int) -> bool:
        """Give out the next batch; False where none may be given now."""
        if self._waits and self._broker.is_away or monotonic() > self._deadline:
            return False
        left = self._limits.WORKERS - sum(self._requests[pk] for pk in self._given)
        requests = min(ceil(self._limits.WORKERS / most), left)
        if requests < 1:
            return False
        batch = waiting[0]
        self._requests[batch.pk] = requests
        free = Batch.objects.filter(pk=batch.pk)
        free.update(state=State.OUT, until=Now(), requests=requests)
        if not self._tell(batch):
            if self._waits:
                free.filter(holder='').update(state=State.WAITING)  # nobody was told of it
                return False
            self._is_alone = True
        waiting.popleft()
        self._given[batch.pk] = monotonic()
        return True

    def _tell(self, batch: Batch) -> bool:
        to = batches_of(batch.facility)
        return self._broker.told(partial(send, 'tom_auto.check_batch', to, batch.pk))

    @patient
    def _look_after(self) -> None:
        """Give out again what has lapsed; check by itself what nobody takes."""
        out = Batch.objects.filter(pk__in=self._given, state=State.OUT)
        lapsed = out.filter(until__lt=Now()).defer('lists').order_by('pk')
        for batch in lapsed:
            if batch.tries >= MOST_TRIES:
                self._give_up(batch)
            elif batch.holder:
                Batch.objects.filter(pk=batch.pk, holder=batch.holder).update(holder='')
                self._given[batch.pk] = monotonic()
                self._tell(batch)
            elif self._is_alone or monotonic() > self._given[batch.pk] + self._limits.LEASE:
                self._is_alone = True
                if claim(batch.pk, ME, self._limits.LEASE):
                    self._check_myself(batch.pk)
                return
        if out.exclude(holder='').exclude(holder=ME).exists():
            self._is_alone = False

    def _check_myself(self, pk: int) -> None:
        try:
            batch = Batch.objects.select_related('run').get(pk=pk)
            with prolonged(batch, self._limits.LEASE):
                check_claimed(batch, self._limits, self._deadline, self._heart)
        except DatabaseTrouble as error:  # as where a worker dies: it is given out again
            logger.warning('A batch was not checked to its end: %s', error)

    def _give_up(self, batch: Batch) -> None:
        times = f'has ended its worker {batch.tries} times'
        self._count_out(batch, f'a batch of {len(batch.records)} records {times}', SyncError.kind)
        del self._given[batch.pk]

    def _count_out(self, batch: Batch, error: str, kind: str) -> None:
        """Count the records of a batch as not reached, and say why."""
        outcome = Outcome(batch.facility, error=error, kind=kind)
        fail(self._run, self._report, outcome)
        self._report.not_reached += len(batch.records)

    @patient
    def _count_done(self) -> None:
        done = Batch.objects.filter(pk__in=self._given, state=State.DONE)
        for pk, found in done.values_list('pk', 'report'):
            add(self._report, found)
            del self._given[pk]

    def _not_reached(self, waiting: deque[Batch]) -> None:
        """Count what time was too short for: what was not given out, and what is still out."""
        self._count_done()
        out = Batch.objects.filter(pk__in=self._given).defer('lists')
        for batch in [*waiting, *patient(list)(out)]:
            error = f'{len(batch.records)} records were not reached before the deadline'
            self._count_out(batch, error, OutOfTime.kind)


def part_of(queues: Queues) -> Queues:
    """The next PART records, out of these queues, facilities in turn; empty if none is left."""
    part: Queues = {}
    size = 0
    for name, keys in _in_turn(queues, ceil(PART / len(queues))):
        part.setdefault(name, deque()).extend(keys)
        size += len(keys)
        if size >= PART:
            break
    return part


def _in_turn(queues: Queues, most: int) -> Iterator[tuple[str, list[int]]]:
    """So many records of each facility in turn, taken out of its queue, until none is left."""
    left = {name: keys for name, keys in queues.items() if keys}
    while left:
        for name, keys in list(left.items()):
            yield name, [keys.popleft() for _ in range(min(most, len(keys)))]
            if not keys:
                del left[name]
