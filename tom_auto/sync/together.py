"""What the main thread does with the database for several records at once.

A check asks for it among its jobs. Rows of twenty records are written in one transaction, with a
statement for each table: a statement for each row takes three times the CPU, and each one lets the
other threads in between.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from django.db import Error as DatabaseTrouble

from .db_retry import connect_again
from .threads import Ended, Job

GATHER = 0.1  # seconds: what is asked for within these is done together
STALE = 1  # seconds, after which what was read for a hook is read again: others took their time


@dataclass(frozen=True)
class Together:
    """Something to do with the database, for all who ask for the same.

    `act` gets the items of all of them, and returns the result for each. It is all or nothing: where
    it raises, it is called once more for each of them alone. `for_hook`: it reads, for a hook.
    """

    act: Callable[[list], Sequence]
    item: object
    for_hook: bool = False
    doing: str = 'the database'


#: A part of a check: it yields the jobs that it needs, and gets their results and errors.
Jobs = Generator[list[Job | Together], list[tuple[Any, Exception | None]], Any]


def one(job: Job | Together) -> Jobs:
    """The result of one job; raises its error."""
    [(result, error)] = yield [job]
    if error is not None:
        raise error
    return result


def alone(steps: Jobs) -> Any:  # noqa: ANN401
    """The result of `steps`, which ask for nothing but the database, without anyone else."""
    results = None
    while True:
        try:
            wishes = steps.send(results)
        except StopIteration as end:
            return end.value
        results = [done for wish in wishes for done in _done(wish.act, [wish.item])]


class Gathered:
    """What checks have asked for."""

    def __init__(self) -> None:
        self._waiting: dict[Callable, list[tuple[Together, object]]] = {}  # with tags, by act
        self._since: deque[float] = deque()  # when the first of each of these was asked for
        self._ready: deque[tuple[Together, Ended, float]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._ready)

    def add(self, wish: Together, tag: object) -> None:
        """Keep a wish; its result comes back with `tag`."""
        if wish.act not in self._waiting:
            self._since.append(monotonic())
        self._waiting.setdefault(wish.act, []).append((wish, tag))

    def due_in(self) -> float:
        """The seconds until the oldest wish has waited long enough."""
        return max(0, self._since[0] + GATHER - monotonic()) if self._since else inf

    def next(self) -> Ended:
        """Tag, result and error of one wish. Whatever has waited for long enough is done first."""
        while True:
            if self._waiting and not (self._ready and self.due_in()):
                self._do_first()
            wish, ended, since = self._ready.popleft()
            if not wish.for_hook or monotonic() - since < STALE:
                return ended
            self.add(wish, ended[0])

    def _do_first(self) -> None:
        act = next(iter(self._waiting))
        waiting = self._waiting.pop(act)
        self._since.popleft()
        results = _done(act, [wish.item for wish, _ in waiting])
        now = monotonic()
        for (wish, tag), done in zip(waiting, results, strict=True):
            self._ready.append((wish, (tag, *done), now))


def _done(act: Callable[[list], Sequence], items: list) -> list[tuple[Any, Exception | None]]:
    try:
        return [(result, None) for result in act(items)]
    except Exception as error:
        if isinstance(error, DatabaseTrouble):  # perhaps it has gone: the next would fail as well
            with suppress(DatabaseTrouble):
                connect_again()
        if len(items) == 1:
            return [(None, error)]
    return [done for item in items for done in _done(act, [item])]
