"""Checks the records that are due: in a run, or in a batch that a worker has of one.

The main thread does all that touches the database, one record after another. What asks an
observatory or fetches a file is a job for the `threads`. The check of a record is written as
one generator, in `check_record`, which yields the jobs that it needs and gets their results.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import ExitStack
from time import monotonic

from django.contrib.auth.models import User
from django.db import Error as DatabaseTrouble

from ..conf import Automation
from ..db_retry import is_there_again
from ..errors import OutOfTime, StorageAway, SyncError
from ..explain import explained
from ..models import UpdateRun
from ..running.database_jobs import DatabaseJob, Gathered
from ..running.failures import fail
from ..running.heartbeat import Heartbeat
from ..running.outcomes import Ending, Outcome, Report
from ..running.sharing import HandOut
from ..running.threads import DISK, Pool
from .check_record import Check, Records
from .facility_jobs import Facilities
from .reading_lists import ListReading
from .record_outcomes import record_outcomes

logger = logging.getLogger(__name__)

TICK = 0.5  # seconds between two looks at the clock
GATHER = 0.3  # seconds: the outcomes of so long are written together
AT_LEAST = 32  # records are in hand at a time, so that their rows are written together
LAST_SECONDS = 3  # after the deadline, for what is under way


def read_nothing(facilities: Facilities) -> Collection[str]:
    """Nobody has read any lists for this: it reads them by itself."""
    return ()


class Checks:
    """The checks of a run, or of a batch of one: the main thread's work."""

    def __init__(
        self,
        run: UpdateRun,
        report: Report,
        limits: Automation,
        deadline: float,
        heart: Heartbeat,
        progress: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._run, self._report, self._limits = run, report, limits
        self._deadline, self._heart, self._progress = deadline, heart, progress
        self._active: dict[int, Check] = {}
        self._suspect = 0  # the last one that was begun
        self._database = Gathered()
        self._outcomes: list[Outcome] = []
        self._not_reached: Counter[str] = Counter()  # records, by facility
        self._written = monotonic()

    def go(
        self,
        due: dict[str, deque[int]],
        away: StorageAway | None,
        user: User | None,
        hand_out: HandOut,
        take_lists: Callable[[Facilities], Collection[str]] = read_nothing,
        suspects: Collection[tuple[str, int]] = (),
    ) -> None:
        """Check these records, facilities in turn, until all are done or time is up.

        What comes of each is written into the database and into the report. `away`: why nothing
        can be stored, if so. `take_lists` hands over the lists that somebody has read, and says of
        which facilities those are. `suspects`: records whose hooks may end this process, by facility;
        they are checked after all others, one at a time. Raises AnotherRun where the heart says
        that this process has lost the run.
        """
        with ExitStack() as at_the_end:
            at_the_end.callback(hand_out.end)
            self._suspects = deque((name, deque([pk])) for name, pk in suspects)
            names = dict.fromkeys([*due, *(name for name, _ in suspects)])
            self._facilities, self._hand_out = Facilities(names, self._limits, user), hand_out
            at_the_end.callback(self._facilities.stop)
            self._pool = Pool(2 * self._limits.WORKERS, self._deadline)
            at_the_end.callback(self._pool.stop)
            if away is not None:
                self._pool.set_aside[DISK] = str(away)
            for error in filter(None, (away, self._facilities.trouble)):
                self._outcomes.append(Outcome('', error=str(error), kind=error.kind))
            self._reading = ListReading(self._facilities, self._pool)
            known = take_lists(self._facilities)
            queues = deque((name, due[name]) for name in known)
            unread = {name: keys for name, keys in due.items() if name not in known}
            queues += self._reading.begin(unread)
            self._work(queues)
            self._say_what_was_not_reached()
            self._write_outcomes(at_once=True)
            self._account()

    def _work(self, queues: deque) -> None:
        while self._active or queues or self._reading.waiting or self._suspects:
            self._heart.insist()
            if self._suspects and self._is_a_suspects_turn(queues):
                queues.appendleft(self._suspects.popleft())
                self._suspect = queues[0][1][0]
            if not (self._database.due_in() and self._pool.is_at_work):
                self._do_database_jobs()
            self._begin_more(queues)
            wait = min(TICK, self._database.due_in()) if self._pool.is_at_work else 0
            for (pk, number), result, error in self._pool.finished(wait):
                if pk in self._active:
                    self._resume(self._active[pk], number, result, error)
                elif pk in self._reading.waiting:
                    queues += self._reading.go_on(pk, result or {})
            self._write_outcomes(at_once=not self._active)
            if monotonic() > self._deadline and self._is_over(queues):
                break

    def _is_a_suspects_turn(self, queues: deque) -> bool:
        """When all others have ended; or half of the time has, as one of them may hang in each run."""
        others = self._active or queues or self._reading.waiting
        half = self._deadline - self._limits.DEADLINE / 2
        is_another_begun = self._suspect in self._active or (
            queues and queues[0][1][0] == self._suspect
        )
        return not others or (monotonic() > half and not is_another_begun)

    def _do_database_jobs(self) -> None:
        """Do what checks ask of the database, and what that leads to."""
        end = min(self._deadline + LAST_SECONDS, monotonic() + TICK)  # or the threads would be idle
        while self._database and not self._heart.lost and monotonic() < end:
            (pk, number), result, error = self._database.next()
            self._resume(self._active[pk], number, result, error)

    def _begin_more(self, queues: deque) -> None:
        """Take more records in hand, one of each facility in turn."""
        most, records, begun = max(4 * self._limits.WORKERS, AT_LEAST), Records(), []
        while queues and monotonic() < self._deadline:
            if len(self._active) >= most and queues[0][1][0] != self._suspect:
                break
            name, keys = queues.popleft()
            key = keys.popleft()
            if keys:
                queues.append((name, keys))
            records.keys.append(key)
            self._active[key] = Check(
                name, key, records, self._facilities, self._limits, self._hand_out
            )
            begun.append(self._active[key])
        for check in begun:
            self._step(check)

    def _resume(self, check: Check, number: int, result: object, error: Exception | None) -> None:
        if check.receive(number, result, error):
            self._step(check)

    def _step(self, check: Check) -> None:
        """Let a check go on until it needs something, or has ended."""
        try:
            for number, job in check.advance():
                tag = check.outcome.record, number
                if isinstance(job, DatabaseJob):
                    self._database.add(job, tag)
                else:  # what was begun first is to end first
                    self._pool.submit(job, tag, check.number)
        except Exception as error:
            check.fail(explained(error, check.outcome.facility))
            if isinstance(error, DatabaseTrouble):  # or the next record would fail as well
                is_there_again()
        if check.ended:
            del self._active[check.outcome.record]
            self._outcomes.append(check.outcome)
            if check.outcome.ending is Ending.NOT_REACHED:
                self._not_reached[check.outcome.facility] += 1

    def _write_outcomes(self, at_once: bool) -> None:
        while self._pool.news:
            facility, reason, kind = self._pool.news.popleft()
            self._outcomes.append(Outcome(facility, error=reason, kind=kind))
        if self._outcomes and (at_once or monotonic() - self._written > GATHER):
            outcomes, self._outcomes, self._written = self._outcomes, [], monotonic()
            record_outcomes(self._run, outcomes, self._limits)
            for outcome in outcomes:
                self._report.add(outcome)
        self._progress(self._report)
        self._hand_out.look_after()
        self._facilities.restart_dead()

    def _is_over(self, queues: deque) -> bool:
        """After the deadline: give up what is under way when it had time to end."""
        if self._active and monotonic() < self._deadline + LAST_SECONDS:
            return False
        held = {pk: (job, since) for (pk, _), (job, since) in self._pool.in_hand.items()}
        for pk, check in list(self._active.items()):
            job, since = held.get(pk, (None, 0))
            doing = job.doing if job else check.doing
            waited = f' in {monotonic() - since:.0f} s' if job else ''
            check.fail(OutOfTime(f'given up at the deadline: {doing} has not ended{waited}'))
            self._outcomes.append(check.outcome)
        self._active.clear()
        waiting = self._reading.waiting
        for job, since in (held[account] for account in waiting if account in held):
            waited = f'{monotonic() - since:.0f} s'
            error = f'given up at the deadline: the {job.doing} have not ended in {waited}'
            self._outcomes.append(Outcome(job.facility, error=error, kind=OutOfTime.kind))
        left = *queues, *self._suspects, *(one for some in waiting.values() for one in some)
        for name, keys in left:
            self._report.not_reached += len(keys)
            self._not_reached[name] += len(keys)
        queues.clear()
        self._suspects.clear()
        waiting.clear()
        return True

    def _say_what_was_not_reached(self) -> None:
        for name, count in self._not_reached.items():
            records = '1 record was' if count == 1 else f'{count} records were'
            error = f'{records} not reached before the deadline'
            self._outcomes.append(Outcome(name, error=error, kind=OutOfTime.kind))

    def _account(self) -> None:
        """See that every record went somewhere: rule 16."""
        if missing := self._report.still_open():
            error = f'{missing} due records are not accounted for. Please report this'
            outcome = Outcome('', error=error, kind=SyncError.kind, ending=Ending.FAILED)
            fail(self._run, self._report, outcome)
