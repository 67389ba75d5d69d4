"""The workers of one facility: they take records in turn, and stop if it does not answer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Protocol

from django.db import InterfaceError, OperationalError, connection, connections

from .db_retry import connect_again
from .errors import NoAnswer, OutOfTime
from .outcomes import Outcome

ENOUGH = 5  # failures to connect, in a row, after which a facility is set aside
LAST_SECONDS = 3  # after the deadline, for what is under way
TICK = 1  # seconds between two looks at the clock
GATHER = 0.2  # seconds: the outcomes of so long are written together
#: Threads at most beyond the requests that may be in flight: while these wait for the observatory,
#: those write to the disk and to the database. `transport.Turns` keeps the limit.
SPARE = 8


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

    They are daemons: a facility class that hangs in a client of its own must not keep
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
        self._spare = 0
        self.at_work = 0  # threads that have not ended

    def start(self, workers: int, outcomes: SimpleQueue) -> None:
        """Start as many threads as may ask at a time, `workers` at most.

        Once the facility has answered well, some more are started: see SPARE. Each puts outcomes
        into `outcomes`, and None when it ends.
        """
        self._spare = min(SPARE, workers - 1)
        with self._lock:
            self._start(workers, outcomes)

    def _start(self, count: int, outcomes: SimpleQueue) -> None:
        for _ in range(min(count, len(self.left))):
            name = f'{self.facility}-{len(self._threads)}'
            thread = Thread(target=self._work, args=(outcomes,), name=name, daemon=True)
            self.at_work += 1
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Take no more records."""
        with self._lock:
            self._stopped = True

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
                    if outcome.checked and not self._stopped:
                        spare, self._spare = self._spare, 0
                        self._start(spare, outcomes)
                if outcome.error:  # perhaps the database has gone: the next would fail as well
                    with suppress(OperationalError, InterfaceError):
                        connect_again()
                for result in self._verdict(outcome):
                    outcomes.put(result)
        finally:
            connections.close_all()
            with self._lock:
                self.at_work -= 1
            outcomes.put(None)

    def _next(self, checker: Checks) -> int | None:
        with self._lock:
            if self._stopped or not self.left or monotonic() > self._deadline:
                return None
            pk = self.left.pop()
            self.in_hand[pk] = checker, monotonic()
            return pk

    def _verdict(self, outcome: Outcome) -> Iterator[Outcome]:
        """`outcome`, and the reason if the crew stops because of it.

        That the facility as a whole is in trouble is said once, not by each thread.
        """
        with self._lock:
            already = self._stopped
            self._silent = self._silent + 1 if outcome.no_answer else 0
            down = outcome.record is None and bool(outcome.error)
            silent = self._silent >= ENOUGH
            self._stopped = already or down or silent
        if not (down and already):
            yield outcome
        if silent and not already and not down:
            error = f'set aside for this run: no answer {ENOUGH} times in a row'
            yield Outcome(self.facility, error=error, kind=NoAnswer.kind)


def at_work(crews: list[Crew], workers: int, deadline: float) -> Iterator[list[Outcome]]:
    """The outcomes of all crews, a list at a time. The list is empty if a second brings nothing.

    Ends when every thread has, or soon after `deadline`: then what is still under way is given
    up, and reported as an outcome of its own. Where it is closed, or interrupted, before that,
    what is under way gets a moment to end.
    """
    outcomes: SimpleQueue[Outcome | None] = SimpleQueue()
    try:
        for crew in crews:
            crew.start(workers, outcomes)
        while _are_at_work(crews, outcomes) and monotonic() < deadline + LAST_SECONDS:
            yield _gathered(crews, outcomes)
    except BaseException:
        _stop(crews)
        raise
    yield [outcome for crew in crews for outcome in _not_done(crew)]


def _are_at_work(crews: list[Crew], outcomes: SimpleQueue) -> bool:
    """Whether there is, or will be, something in `outcomes`."""
    return any(crew.at_work for crew in crews) or not outcomes.empty()


def _gathered(crews: list[Crew], outcomes: SimpleQueue) -> list[Outcome]:
    """The next outcome and what comes within a moment after it; none where a while brings none."""
    some: list[Outcome] = []
    end = monotonic() + TICK
    with suppress(Empty):
        while _are_at_work(crews, outcomes):
            outcome = outcomes.get(timeout=max(0, end - monotonic()))
            if outcome is not None:
                end = end if some else monotonic() + GATHER
                some.append(outcome)
    return some


def _stop(crews: list[Crew]) -> None:
    for crew in crews:
        crew.stop()
    end = monotonic() + LAST_SECONDS
    for crew in crews:
        crew.join(end)


def _not_done(crew: Crew) -> Iterator[Outcome]:
    for pk, (checker, since) in list(crew.in_hand.items()):
        waited = monotonic() - since
        error = f'given up at the deadline: {checker.doing} has not ended in {waited:.0f} s'
        yield Outcome(crew.facility, pk, error=error, kind=OutOfTime.kind)
    if crew.left and not crew._stopped:
        error = f'{len(crew.left)} records were not reached before the deadline'
        yield Outcome(crew.facility, error=error, kind=OutOfTime.kind)
