"""One HTTP request and its answer, as the services see them."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit


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
    def has_token(self) -> bool:
        return 'Authorization' in self.headers

    @property
    def token(self) -> str | None:
        """What follows the word Token (or Bearer); None without an Authorization header."""
        if not self.has_token:
            return None
        return str(self.headers['Authorization']).partition(' ')[2].strip()


@dataclass
class Reply:
    """An answer. `length` is the Content-Length, which only a fault makes differ from `body`."""

    status: int
    headers: dict[str, str]
    body: bytes | Iterable[bytes]
    length: int = field(default=-1)

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
    """Go there instead."""
    return Reply(status, {'Content-Type': 'text/html; charset=utf-8', 'Location': location}, b'')
