"""What can go wrong between a TOM and an observatory.

A fault takes the request and the right answer, and returns the answer to send instead; or it pauses; or
it raises Cut, which ends the connection. `Observatory.break_` puts faults in place:

| fault | what the client sees |
|---|---|
| `status(503, retry_after=30)` | this status, with a JSON body and any header |
| `html(200)` | a page for people where an answer should be |
| `answer(value)` | other JSON than expected, with 200 |
| `edit(change)` | the right JSON after `change(it)` |
| `broken_json()` | the right JSON, half of it, with the length to match |
| `endless_next()` | pages that always have a next one |
| `redirect(base)` | 302 to the same path on another host |
| `redirect_loop()` | 302 to where it already is |
| `reset()` | the connection reset before the answer |
| `truncated(0.5)` | the connection closed after half of the body |
| `hang(seconds)` | silence before the answer, or after some bytes; then the connection closed |
| `drip(seconds)` | the body byte by byte, with a pause after each |
| `corrupt()` | a body of the right length with a wrong checksum |
| `empty()` | 200 and nothing |
| `huge(length)` | a Content-Length far beyond the body |
| `lying_gzip()` | `Content-Encoding: gzip` on a body that is not |

No fault outlasts the observatory: each ends at once when it closes.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tom_auto.simulator.lists import with_query
from tom_auto.simulator.messages import (
    Call,
    Cut,
    Reply,
    html_reply,
    json_reply,
    redirect_reply,
)

#: Takes the question and the right answer; gives another answer, waits, or raises Cut.
Fault = Callable[[Call, Reply], Reply]


def status(code: int, *, retry_after: int | str | None = None, **headers: str) -> Fault:
    """This status. `retry_after` is in seconds or an HTTP date; other headers go by name."""
    sent = {name.replace('_', '-').title(): value for name, value in headers.items()}
    if retry_after is not None:
        sent['Retry-After'] = str(retry_after)
    return lambda call, reply: json_reply({'detail': f'Simulated status {code}.'}, code, sent)


def html(code: int = 200) -> Fault:
    """A page of a proxy, or of someone's maintenance, in the place of an answer."""
    return lambda call, reply: html_reply('Down for maintenance', code)


def answer(value: Any) -> Fault:
    """JSON of the wrong shape: a list for an object, a key missing, null."""
    return lambda call, reply: json_reply(value)


def edit(change: Callable[[Any], object]) -> Fault:
    """The right answer after `change`, which alters it in place."""

    def fault(call: Call, reply: Reply) -> Reply:
        value = json.loads(b''.join(reply.chunks()))
        change(value)
        return json_reply(value, reply.status)

    return fault


def broken_json() -> Fault:
    """Half of the JSON, but a complete HTTP answer: only a parser notices."""

    def fault(call: Call, reply: Reply) -> Reply:
        whole = b''.join(reply.chunks())
        return Reply(reply.status, reply.headers, whole[: len(whole) // 2])

    return fault


def endless_next() -> Fault:
    """Every page names another one, each at a new address."""

    def fault(call: Call, reply: Reply) -> Reply:
        offset = int(call.query.get('offset', ['0'])[-1])
        after = with_query(call.url, offset=offset + 1)
        return edit(lambda value: value.update(next=after))(call, reply)

    return fault


def redirect(base: str, code: int = 302) -> Fault:
    """To the same path on another host, such as `other_sky.url`."""
    return lambda call, reply: redirect_reply(base + call.target, code)


def redirect_loop() -> Fault:
    """To the same URL, without end."""
    return lambda call, reply: redirect_reply(call.url, 302)


def reset() -> Fault:
    """The connection is reset before any answer."""

    def fault(call: Call, reply: Reply) -> Reply:
        raise Cut(reset=True)

    return fault


def truncated(part: float = 0.5) -> Fault:
    """The connection ends after this part of the body; the Content-Length promised it all."""

    def fault(call: Call, reply: Reply) -> Reply:
        sent = _first(reply, int(reply.length * part))
        return Reply(reply.status, reply.headers, _then_cut(sent), reply.length)

    return fault


def hang(seconds: float = 60, after: int | None = None) -> Fault:
    """Silence for so long, then the end: before the answer, or `after` some bytes of the body."""

    def fault(call: Call, reply: Reply) -> Reply:
        if after is None:
            call.pause(seconds)
            raise Cut()
        return Reply(reply.status, reply.headers, stuck(call, reply), reply.length)

    def stuck(call: Call, reply: Reply) -> Iterator[bytes]:
        yield from _first(reply, after or 0)
        call.pause(seconds)
        raise Cut()

    return fault


def drip(seconds: float = 0.05, size: int = 1) -> Fault:
    """The body, `size` bytes at a time with a pause after each: no single read is slow."""

    def drops(call: Call, reply: Reply) -> Iterator[bytes]:
        for chunk in reply.chunks():
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]
                call.pause(seconds)

    return lambda call, reply: Reply(reply.status, reply.headers, drops(call, reply), reply.length)


def corrupt() -> Fault:
    """A body of the right length in which the last bytes of each chunk are wrong."""

    def wrong(reply: Reply) -> Iterator[bytes]:
        for chunk in reply.chunks():
            yield chunk[:-8] + bytes(255 - byte for byte in chunk[-8:])

    return lambda call, reply: Reply(reply.status, reply.headers, wrong(reply), reply.length)


def empty() -> Fault:
    """200, the right headers, and not a byte."""
    return lambda call, reply: Reply(200, reply.headers, b'')


def huge(length: int = 1 << 40) -> Fault:
    """A Content-Length of a tebibyte, and then the body that there is."""
    return lambda call, reply: Reply(reply.status, reply.headers, _then_cut(reply.chunks()), length)


def lying_gzip() -> Fault:
    """The body as it is, under a header that says it is compressed."""

    def fault(call: Call, reply: Reply) -> Reply:
        headers = reply.headers | {'Content-Encoding': 'gzip'}
        return Reply(reply.status, headers, reply.chunks(), reply.length)

    return fault


def _first(reply: Reply, length: int) -> Iterator[bytes]:
    """The first `length` bytes of the body."""
    for chunk in reply.chunks():
        yield chunk[:length]
        length -= len(chunk)
        if length <= 0:
            return


def _then_cut(chunks: Any) -> Iterator[bytes]:
    yield from chunks
    raise Cut()
