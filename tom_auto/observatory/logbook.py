"""The requests that arrived, for tests to read."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from .messages import Call

REMEMBERED = 100_000  # questions; older ones are forgotten


class Seen(NamedTuple):
    """A question, as it came in. `target` is path and query, `connection` counts from 1."""

    method: str
    path: str
    query: str
    had_token: bool
    connection: int

    @property
    def target(self) -> str:
        return f'{self.path}?{self.query}' if self.query else self.path


class Logbook:
    """The last questions; how many there were, on how many connections, how many at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[Seen] = deque(maxlen=REMEMBERED)
        self._at_work = 0
        self.connections = 0
        self.most_at_once = 0
        self.questions = 0
        self.bytes_sent = 0

    def connected(self) -> int:
        """The number of a new connection."""
        with self._lock:
            self.connections += 1
            return self.connections

    def sent(self, count: int) -> None:
        """So many bytes have left, headers and all."""
        with self._lock:
            self.bytes_sent += count

    @contextmanager
    def noted(self, call: Call, connection: int) -> Iterator[Callable[[], None]]:
        """Note `call`, and that it is being answered until what this gives is called.

        Call it before the last byte leaves: the client may ask the next question at once.
        """
        parts = urlsplit(call.target)
        here = Seen(call.method, parts.path, parts.query, call.has_token, connection)
        answered = False

        def done() -> None:
            nonlocal answered
            with self._lock:
                self._at_work -= not answered
                answered = True

        with self._lock:
            self._seen.append(here)
            self.questions += 1
            self._at_work += 1
            self.most_at_once = max(self.most_at_once, self._at_work)
        try:
            yield done
        finally:
            done()

    def seen(self) -> list[Seen]:
        with self._lock:
            return list(self._seen)

    def forget(self) -> None:
        """Begin a new page: no questions, no connections but those that are open."""
        with self._lock:
            self._seen.clear()
            self.connections = self.questions = self.bytes_sent = 0
            self.most_at_once = self._at_work
