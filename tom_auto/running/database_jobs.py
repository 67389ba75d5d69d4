"""What the main thread does with the database for several records at once.

A check asks for it among its jobs. Rows of twenty records are written in one transaction, with a
statement for each table: a statement for each row takes three times the CPU, and each one lets the
other threads in between.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from django.db import Error as DatabaseTrouble

from ..db_retry import is_there_again
from .threads import Ended, Job

MOST = 100  # of a kind, which are done at a time
GATHER = 0.1  # seconds: what is asked for within these is done together


@dataclass(frozen=True)
class DatabaseJob:
    """Something to do with the database, for all who ask for the same.

    `act` gets the items of all of them, and returns the result for each. It is all or nothing: where
    it raises, it is called once more for each of them alone. `by_itself`: it is for one of them, and
    nothing else comes between it and the rest of that check. A hook gets what it has not changed.
    """

    act: Callable[[list], Sequence]
    item: object
    by_itself: bool = False
    doing: str = 'the database'


#: A part of a check: it yields the jobs that it needs, and gets their results and errors.
Jobs = Generator[list[Job | DatabaseJob], list[tuple[Any, Exception | None]], Any]


def one(job: Job | DatabaseJob) -> Jobs:
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
        results = [_done(wish) for wish in wishes]


def _done(wish: DatabaseJob) -> tuple[Any, Exception | None]:
    try:
        return wish.act([wish.item])[0], None
    except Exception as error:
        return None, error


class Gathered:
    """What checks have asked for."""

    def __init__(self) -> None:
        #: What each act was asked for, with tags, and when it was asked for first.
        self._waiting: dict[Callable, tuple[float, list[tuple[DatabaseJob, object]]]] = {}
        self._by_itself: deque[tuple[DatabaseJob, object]] = deque()
        self._ready: deque[Ended] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._by_itself or self._ready)

    def add(self, wish: DatabaseJob, tag: object) -> None:
        """Keep a wish; its result comes back with `tag`."""
        if wish.by_itself:
            self._by_itself.append((wish, tag))
        else:
            _, wishes = self._waiting.setdefault(wish.act, (monotonic(), []))
            wishes.append((wish, tag))

    def due_in(self) -> float:
        """The seconds until something has waited long enough."""
        if self._by_itself or self._ready:
            return 0
        return max(0, self._since() + GATHER - monotonic())

    def next(self) -> Ended:
        """Tag, result and error of one wish. First comes what has waited for long enough."""
        while True:
            is_due = self._since() + GATHER < monotonic()
            if is_due or not (self._ready or self._by_itself):
                act, (since, wishes) = next(iter(self._waiting.items()))  # asked for first
                self._waiting[act] = since, wishes[MOST:]
                if not wishes[MOST:]:
                    del self._waiting[act]
                self._do(wishes[:MOST])
            elif not self._ready:
                self._do([self._by_itself.popleft()])
            if self._ready:
                return self._ready.popleft()

    def _since(self) -> float:
        return min((since for since, _ in self._waiting.values()), default=inf)

    def _do(self, wishes: list[tuple[DatabaseJob, object]]) -> None:
        """Do what all of these ask for. Where that fails, each is done by itself, one after another."""
        try:
            results = wishes[0][0].act([wish.item for wish, _ in wishes])
        except Exception as error:
            is_there = not isinstance(error, DatabaseTrouble) or is_there_again()
            if is_there and len(wishes) > 1:
                self._by_itself += wishes
            else:
                self._ready += [(tag, None, error) for _, tag in wishes]
        else:
            self._ready += [
                (tag, each, None) for (_, tag), each in zip(wishes, results, strict=True)
            ]
