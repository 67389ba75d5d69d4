"""The threads of a run: they ask observatories and fetch files, and never touch the database.

Only so many ask one host at a time. What must not go on (a host that is silent, an account that
is refused, a full disk) is set aside for the rest of the run: rule 3.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic

from .. import errors
from ..explain import explained
from ..observatories.turns import MOMENT, Line, Pace, of_this_thread

ENOUGH = 5  # failures in a row of one host, class or storage, after which it is set aside
FEW = 1  # requests that a host gets at a time, to begin with
REFUSALS = 3  # of one account, with no success between
DISK = ('disk',)  # the storage of the data
ROOM = ('room',)  # on it, for what is downloaded
#: What counts against a key, by its first word, and how many in a row set it aside.
AGAINST = {
    'account': ((errors.AccessRefused, errors.CredentialsRefused, errors.NoKey), REFUSALS),
    'host': ((errors.NoAnswer, errors.ServerError), ENOUGH),
    'class': ((errors.NoAnswer, errors.ServerError, errors.BrokenClass), ENOUGH),
    'disk': (errors.StorageAway, ENOUGH),
    'room': (errors.NoRoom, 1),
}
Ended = tuple[object, object, Exception | None]  # tag, result, error


@dataclass(frozen=True)
class Job:
    """Something to do in a thread.

    `keys` say what it needs: hosts, accounts, a class. `limits` are those of them that only so
    many may use at a time.
    """

    work: Callable[[], object]
    doing: str
    facility: str
    keys: tuple[Hashable, ...] = ()
    limits: tuple[tuple[Hashable, int], ...] = ()


class Pool:
    """A fixed number of threads. `_work` and what it calls run in these, all else in the main thread."""

    def __init__(self, threads: int, deadline: float) -> None:
        """`deadline`: when nothing more is started, in the seconds of `monotonic()`."""
        self._deadline = deadline
        self._todo: SimpleQueue = SimpleQueue()
        self._done: SimpleQueue = SimpleQueue()
        self._waiting: OrderedDict[Hashable, list] = OrderedDict()  # heaps, by what limits them
        self._numbers = count()
        self._lines: dict[Hashable, Line] = {}
        #: Of whole jobs, by what they need. A line's own is of the time until its host has answered.
        self._paces: dict[tuple, Pace] = defaultdict(Pace)
        self._started: Counter[Hashable] = Counter()
        self._in_a_row: Counter[tuple] = Counter()
        self._noting = Lock()
        self.set_aside: dict[Hashable, str] = {}
        #: What was set aside: facility, reason, kind.
        self.news: deque[tuple[str, str, str]] = deque()
        self.in_hand: dict[object, tuple[Job, float]] = {}
        self._threads, self._stopped = threads, False
        for number in range(threads):
            try:
                Thread(target=self._work, name=f'worker-{number}', daemon=True).start()
            except RuntimeError:  # this user or this machine may have no more (`ulimit -u`)
                if not number:
                    raise
                break

    def stop(self) -> None:
        """Let each thread end when it has done what it is doing; nothing more is started.

        Nobody waits for one that something holds.
        """
        self._stopped = True
        for _ in range(self._threads):
            self._todo.put(None)

    def submit(self, job: Job, tag: object, rank: int = 0) -> None:
        """Have `job` done; its result comes back with `tag`, which no other job in hand has.

        Of those that wait for the same host, the lowest rank comes first.
        """
        group = job.limits[0][0] if job.limits else None
        heappush(self._waiting.setdefault(group, []), (rank, next(self._numbers), job, tag))

    @property
    def is_at_work(self) -> bool:
        """Whether anything is in hand, or waits for its turn."""
        return bool(self.in_hand or self._waiting)

    def finished(self, seconds: float) -> list[Ended]:
        """Tag, result and error of what has ended; waits for the first, but not longer than that."""
        if refused := self._dispatch():
            return refused
        ended, end = [], monotonic() + seconds
        while not ended:
            left = max(0, end - monotonic())
            more_wait = {line.let_more_in() for line in self._lines.values()}
            with suppress(Empty):
                wait = min(left, MOMENT) if True in more_wait else left
                ended.append(self._noted(*self._done.get(timeout=wait)))
                while True:
                    ended.append(self._noted(*self._done.get_nowait()))
            if not left:
                break
        return ended

    def _dispatch(self) -> list[Ended]:
        """Hand out what may start, in turns; returns what may not start any more."""
        refused, groups = [], deque(self._waiting)
        while groups:
            group = groups.popleft()
            _, _, job, tag = self._waiting[group][0]
            if error := self._refusal(job):
                refused.append((tag, None, error))
            elif len(self.in_hand) >= 2 * self._threads or any(
                self._started[key] >= 2 * most for key, most in job.limits
            ):
                continue  # it keeps its turn
            else:
                self._start(job, tag)
            heappop(self._waiting[group])
            self._waiting.move_to_end(group)
            if self._waiting[group]:
                groups.append(group)
            else:
                del self._waiting[group]
        return refused

    def _refusal(self, job: Job) -> Exception | None:
        for key in job.keys:
            if key in self.set_aside:
                return errors.SetAside(self.set_aside[key])
        late = monotonic() > self._deadline
        return errors.OutOfTime('not reached before the deadline') if late else None

    def _start(self, job: Job, tag: object) -> None:
        for key, most in job.limits:
            self._started[key] += 1
            if key not in self._lines:
                self._lines[key] = Line(FEW if key[0] == 'host' else most, most)
        lines = [self._lines[key] for key, _ in job.limits]
        first = lines[0].number() if lines else 0
        self.in_hand[tag] = job, monotonic()
        self._todo.put((job, tag, lines, first))

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            job, tag, lines, first = task
            result = None
            with ExitStack() as turns:
                of_this_thread.in_hand = turns, self._paces[job.keys]
                # A number of the next line only now: who waits in one must not hold up another.
                for number, line in enumerate(lines):
                    turns.enter_context(line.turn(line.number() if number else first))
                # Once more, and noted before the next one's turn: whoever refuses is not asked again.
                error = self._refusal(job)
                if error is None:
                    try:
                        with self._paces[job.keys].measured():
                            result = None if self._stopped else job.work()
                    except BaseException as raised:  # a facility class may even call sys.exit()
                        error = explained(raised, job.facility)
                    with self._noting:
                        for key in job.keys:
                            self._note(key, job, error)
            self._done.put((job, tag, result, error))

    def _noted(self, job: Job, tag: object, result: object, error: Exception | None) -> Ended:
        self.in_hand.pop(tag, None)
        self._started.subtract(key for key, _ in job.limits)
        return tag, result, error

    def _note(self, key: Hashable, job: Job, error: Exception | None) -> None:
        """Count failures in a row, and set `key` aside where they are enough."""
        kinds, most = AGAINST[key[0]]
        if isinstance(error, errors.CredentialsRefused):
            most = 1
        unknown = key[0] == 'class' and type(error) is errors.SyncError
        counts = unknown or isinstance(error, kinds)
        self._in_a_row[key] = self._in_a_row[key] + 1 if counts else 0
        if self._in_a_row[key] >= most and key not in self.set_aside:
            times = f' ({most} times in a row)' if most > 1 else ''
            # A host may be that of several facilities, of which `error` has the last.
            who = f'{key[1].rpartition("@")[2]} is ' if key[0] == 'host' else ''
            self.set_aside[key] = f'{who}set aside for this run: {error}{times}'
            self.news.append((job.facility, self.set_aside[key], error.kind))
