"""One HTTP request and its answer, as the services see them; and the log of all, for tests."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

REMEMBERED = 100_000  # requests; older ones are forgotten


class Cut(Exception):
    """The connection ends here.

    With `reset` the client gets a reset (RST), otherwise the usual end of stream (FIN).
    """

    def __init__(self, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


@dataclass(frozen=True)
class Call:
    """A question: one HTTP request.

    `target` is path and query as they were sent, `base` the scheme, host and port that the
    client used. `pause(seconds)` waits, and raises Cut as soon as the observatory closes.
    """

    method: str
    target: str
    headers: Message
    base: str
    pause: Callable[[float], None]
    body: bytes = b''

    @cached_property
    def path(self) -> str:
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The parameters, each with all its values; empty ones are left out, as Django does."""
        return parse_qs(urlsplit(self.target).query)

    @property
    def url(self) -> str:
        return self.base + self.target

    @property
    def token(self) -> str | None:
        """What follows the word Token (or Bearer); None without an Authorization header."""
        sent = self.headers.get('Authorization')
        return None if sent is None else str(sent).partition(' ')[2].strip()


@dataclass
class Reply:
    """An answer. `length` is the Content-Length, which only a fault makes differ from `body`."""

    status: int
    headers: dict[str, str]
    body: bytes | Iterable[bytes]
    length: int = -1

    def __post_init__(self) -> None:
        if self.length < 0 and isinstance(self.body, bytes):
            self.length = len(self.body)

    def chunks(self) -> Iterable[bytes]:
        return (self.body,) if isinstance(self.body, bytes) else self.body


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """`value` as JSON, with more `headers` if need be."""
    sent = {'Content-Type': 'application/json', 'Vary': 'Accept, Authorization', **(headers or {})}
    return Reply(status, sent, json.dumps(value).encode())


def html_reply(text: str, status: int = 200) -> Reply:
    """A page for people, such as a proxy puts in the place of an answer."""
    page = f'<!doctype html>\n<html><head><title>{text}</title></head><body>{text}</body></html>\n'
    return Reply(status, {'Content-Type': 'text/html; charset=utf-8'}, page.encode())


def redirect_reply(location: str, status: int = 301) -> Reply:
    return Reply(status, {'Content-Type': 'text/html; charset=utf-8', 'Location': location}, b'')


@dataclass
class Seen:
    """A request that arrived. `target` is path and query."""

    method: str
    path: str
    query: str
    had_token: bool
    answered: bool = False

    @property
    def target(self) -> str:
        return f'{self.path}?{self.query}' if self.query else self.path


class Logbook:
    """The last requests; how many there were, on how many connections, how many at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[Seen] = deque(maxlen=REMEMBERED)
        self._at_work = 0
        self.connections = 0
        self.most_at_once = 0
        self.questions = 0
        self.bytes_sent = 0

    def count(self, connections: int = 0, bytes_sent: int = 0) -> None:
        with self._lock:
            self.connections += connections
            self.bytes_sent += bytes_sent

    def begun(self, call: Call) -> Seen:
        """Note `call`, and that it is being answered until `ended`."""
        parts = urlsplit(call.target)
        seen = Seen(call.method, parts.path, parts.query, call.token is not None)
        with self._lock:
            self._seen.append(seen)
            self.questions += 1
            self._at_work += 1
            self.most_at_once = max(self.most_at_once, self._at_work)
        return seen

    def ended(self, seen: Seen) -> None:
        """Note that `seen` is answered. A second call changes nothing."""
        with self._lock:
            self._at_work -= not seen.answered
            seen.answered = True

    @property
    def requests_seen(self) -> list[Seen]:
        """The requests so far, in order of arrival (the last 100,000)."""
        with self._lock:
            return list(self._seen)

    def forget(self) -> None:
        """Empty the log; connections that are open stay so."""
        with self._lock:
            self._seen.clear()
            self.connections = self.questions = self.bytes_sent = 0
            self.most_at_once = self._at_work
