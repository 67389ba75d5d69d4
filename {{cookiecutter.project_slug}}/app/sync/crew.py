"""The workers of one facility: they take records in turn, and stop when it is no use."""

from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Protocol

from django.db import connection, connections

from .outcomes import Outcome

ENOUGH = 5  # failures to connect, in a row, after which a facility is set aside
GRACE = 3  # seconds after the deadline for what is under way
TICK = 1  # seconds between two looks at the clock


def keep_no_log_of_statements() -> None:
    """With DEBUG, Django remembers each statement of a connection, and that costs as much again."""
    connection.make_debug_cursor = connection.make_cursor


class Checks(Protocol):
    """What a thread needs to check records, one after another."""

    @property
    def doing(self) -> str:
        """What it is at, in words."""

    def check(self, pk: int) -> Outcome:
        """What came of checking the record `pk`; never raises."""


class Crew:
    """The threads that check the records of one facility, a few at a time.

    They are daemons: a facility class that hangs for ever in a client of its own must not keep
    the process from ending.
    """

    def __init__(
        self, facility: str, records: Iterable[int], checker: Callable[[], Checks], deadline: float
    ) -> None:
        """`checker` makes what checks a record, one for each thread; `deadline` is in the
        seconds of `monotonic()`."""
        self.facility = facility
        self.left = list(records)
        self.left.reverse()  # taken from the end
        self.in_hand: dict[int, tuple[Checks, float]] = {}
        self._checker = checker
        self._deadline = deadline
        self._lock = Lock()
        self._silent = 0
        self._stopped = False
        self._threads: list[Thread] = []

    def start(self, workers: int, outcomes: SimpleQueue) -> int:
        """Start as many threads as can be busy, and return how many.

        Each puts outcomes into `outcomes`, and None when it ends.
        """
        count = min(workers, len(self.left))
        for number in range(count):
            name = f'{self.facility}-{number}'
            thread = Thread(target=self._work, args=(outcomes,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        return count

    def stop(self) -> None:
        """Take no more records."""
        with self._lock:
            self._stopped = True

    def let_go(self) -> None:
        """Take no more records, and do not wait for those under way: they are another run's now."""
        self.stop()
        self._threads.clear()

    def join(self, deadline: float) -> None:
        """Wait until what is under way has ended, but not beyond `deadline`."""
        for thread in self._threads:
            thread.join(max(0, deadline - monotonic()))

    def _work(self, outcomes: SimpleQueue) -> None:
        try:
            keep_no_log_of_statements()
            checker = self._checker()
            while (pk := self._next(checker)) is not None:
                outcome = checker.check(pk)
                with self._lock:
                    self.in_hand.pop(pk, None)
                if outcome.error:  # perhaps the database has gone, and come back meanwhile
                    connection.close_if_unusable_or_obsolete()
                for result in (outcome, *self._verdict(outcome)):
                    outcomes.put(result)
        finally:
            connections.close_all()
            outcomes.put(None)

    def _next(self, checker: Checks) -> int | None:
        with self._lock:
            if self._stopped or not self.left or monotonic() > self._deadline:
                return None
            pk = self.left.pop()
            self.in_hand[pk] = checker, monotonic()
            return pk

    def _verdict(self, outcome: Outcome) -> Iterator[Outcome]:
        """Stop the crew where `outcome` says that it is no use, and say why where it does not."""
        with self._lock:
            already, silent_before = self._stopped, self._silent
            self._silent = silent_before + 1 if outcome.no_answer else 0
            down = outcome.record is None and bool(outcome.error)
            self._stopped = already or down or self._silent >= ENOUGH
            if self._stopped and not already and not down:
                yield Outcome(
                    self.facility,
                    error=f'set aside for this run: no answer {ENOUGH} times in a row',
                )


def at_work(crews: list[Crew], workers: int, deadline: float) -> Iterator[Outcome | None]:
    """The outcomes of all crews as they come, and None about once a second in between.

    Ends when every thread has, or soon after `deadline`: then what is still under way is given
    up, and reported as an outcome of its own. Where it is closed, or interrupted, before that,
    what is under way gets a moment to end.
    """
    outcomes: SimpleQueue[Outcome | None] = SimpleQueue()
    try:
        working = sum(crew.start(workers, outcomes) for crew in crews)
        while working and monotonic() < deadline + GRACE:
            try:
                outcome = outcomes.get(timeout=TICK)
            except Empty:
                yield None
                continue
            if outcome is None:
                working -= 1
            else:
                yield outcome
    except BaseException:
        _stop(crews)
        raise
    for crew in crews:
        yield from _not_done(crew)


def _stop(crews: list[Crew]) -> None:
    for crew in crews:
        crew.stop()
    end = monotonic() + GRACE
    for crew in crews:
        crew.join(end)


def _not_done(crew: Crew) -> Iterator[Outcome]:
    for pk, (checker, since) in list(crew.in_hand.items()):
        waited = monotonic() - since
        error = f'given up at the deadline: {checker.doing} has not ended in {waited:.0f} s'
        yield Outcome(crew.facility, pk, error=error)
    if crew.left and not crew._stopped:
        error = f'{len(crew.left)} records were not reached before the deadline'
        yield Outcome(crew.facility, error=error)
