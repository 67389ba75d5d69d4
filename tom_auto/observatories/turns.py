"""Lets as many threads ask a host at a time as keep the CPU at work."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, local
from time import monotonic, thread_time

LEAST = 0.0005  # seconds of CPU that a request takes at least
TIMES = 2  # as much CPU goes by for each request: what it brings has to be written
LATEST = 32  # requests, of which the quick ones tell how long a server lets one wait
MOMENT = 0.02  # seconds, after which more are sent: the first may well hang

of_this_thread = local()


def let_others_ask() -> None:
    """Called in a job when its host has answered: what is left to do keeps nobody waiting.

    Not where the CPU is what all wait for: another thread takes more of it than this one's next job.
    """
    turns, pace = getattr(of_this_thread, 'in_hand', (None, None))
    if turns and pace.others():
        turns.close()


class Pace:
    """How long the latest jobs took, and how much of that was CPU."""

    def __init__(self) -> None:
        self._latest: deque[tuple[float, float]] = deque(maxlen=LATEST)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around a job, or a part of one."""
        begun, worked = monotonic(), thread_time()
        try:
            yield
        finally:
            self._latest.append((monotonic() - begun, thread_time() - worked))

    def others(self) -> int:
        """How many others can work while one of the quick ones waits; one, as long as none has ended."""
        if not self._latest:
            return 1
        times, works = map(sorted, zip(*self._latest.copy(), strict=True))
        work = max(LEAST, works[len(works) // 2])
        return int(times[len(times) // 10] / work / TIMES)


class Line:
    """Lets so many in at a time, in the order of their numbers.

    A semaphore lets whoever comes first after another has left go ahead of those that wait. Only the
    one whose turn it is wakes up: to wake all that wait takes as much CPU as their requests.

    It begins with `few`, and lets as many more in as keep the CPU at work while they wait for a server
    or a disk. Python runs one thread at a time: more of them only wait for each other, and use a
    quarter more CPU.
    """

    def __init__(self, few: int, most: int) -> None:
        self._few, self._most, self._given, self._left = few, most, 0, 0
        self._open, self._since = few, monotonic()  # the last number that may come in, since when
        self._lock, self._waiting, self._pace = Lock(), {}, Pace()

    def number(self) -> int:
        """The next number: whoever takes one has to take a turn as well."""
        with self._lock:
            self._given += 1
            return self._given

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for the turn of `number`."""
        with self._lock:
            if number > self._open:
                self._waiting[number] = Event()
            called = self._waiting.get(number)
        if called:
            called.wait()
        try:
            with self._pace.measured():
                yield
        finally:
            with self._lock:
                self._left += 1
                self._let_in(min(self._most, self._few + self._pace.others()))

    def let_more_in(self) -> bool:
        """Twice as many, where nobody has left for a moment; whether somebody still waits for that."""
        with self._lock:
            inside = self._open - self._left
            if self._waiting and inside < self._most and monotonic() - self._since > MOMENT:
                self._let_in(min(self._most, 2 * inside))
            return bool(self._waiting) and self._open - self._left < self._most

    def _let_in(self, now: int) -> None:
        """Let in whoever comes next, until there are so many."""
        before, self._open = self._open, max(self._open, self._left + now)
        self._since = monotonic()
        for number in range(before + 1, self._open + 1):
            if number in self._waiting:
                self._waiting.pop(number).set()
