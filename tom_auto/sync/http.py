"""How requests leave the TOM: every wait ends, and a file arrives whole or not at all.

Facility classes call `requests` as they like, mostly without a timeout. `patient_requests` is
the one seam through which all of those calls pass while a run is at work: it gives each of
them a pooled connection, timeouts, bounded retries, and a limit on the whole answer.
"""

import hashlib
import os
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from threading import TIMEOUT_MAX, Condition, get_ident
from time import monotonic
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from requests import sessions
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError as BrokenStream
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from ..conf import Automation
from .errors import BadAnswer, NoAnswer, NoRoom

CHUNK = 256 * 1024  # bytes
MAX_ANSWER = 64 * 1024 * 1024  # bytes of an answer that is not a file, such as a list of frames
BIG = 8 * 1024 * 1024  # bytes: what is bigger is hashed and written beside the transfer
AHEAD = 8  # chunks of a big file that may wait to be hashed
HEAD = 2880  # bytes kept of a file's beginning: one FITS block
PASSING = {429, 500, 502, 503, 504}  # statuses that may be other in a moment


@dataclass(frozen=True)
class Received:
    """What is known of a file that was received whole; `head` is its beginning."""

    size: int
    md5: str
    head: bytes


@contextmanager
def patient_requests(limits: Automation, deadline: float = inf) -> Iterator['Turns']:
    """While this lasts, every call made through `requests`, by any code, keeps `limits`.

    Gives the turns that they take, for those who ask by other means.

    No call is repeated when that would be after `deadline`, in the seconds of `monotonic()`.

    A timeout put into `HTTPAdapter.send` reaches all of them; `socket.setdefaulttimeout` does
    not. A session with an adapter class of its own keeps that adapter and gets the timeouts.
    """
    send, turns = HTTPAdapter.send, Turns(limits.WORKERS, deadline)
    pool = HTTPAdapter(pool_maxsize=limits.WORKERS, max_retries=_retries(limits, deadline))

    def patient_send(
        adapter: HTTPAdapter,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        **options: object,
    ) -> requests.Response:
        used = pool if type(adapter) is HTTPAdapter else adapter
        wait = timeout or (limits.CONNECT_TIMEOUT, limits.READ_TIMEOUT)
        end_turn = turns.take(urlsplit(request.url).netloc)
        try:
            response = send(used, request, stream=stream, timeout=wait, **options)
            if stream:
                _when_closed(response, end_turn)
            else:
                _read_answer(response, limits)
                end_turn()
        except BaseException:
            end_turn()
            raise
        return response

    HTTPAdapter.send = patient_send
    look_up, sessions.get_environ_proxies = sessions.get_environ_proxies, remembered_proxies()
    try:
        yield turns
    finally:
        HTTPAdapter.send, sessions.get_environ_proxies = send, look_up
        pool.close()


def remembered_proxies() -> Callable[..., dict[str, str]]:
    """Finds the proxies for an address in the environment, once for each host.

    requests does it for each call, and it takes as long as all else that a small call costs.
    """

    @cache
    def of_host(scheme: str, host: str, no_proxy: str | None) -> dict[str, str]:
        return get_environ_proxies(f'{scheme}://{host}/', no_proxy)

    def of_address(url: str, no_proxy: str | None = None) -> dict[str, str]:
        parts = urlsplit(url)
        return dict(of_host(parts.scheme, parts.netloc, no_proxy))

    return of_address


class Turns:
    """Lets so many threads at a time ask one host, however many facilities are there.

    Or one facility, where its class asks by other means than `requests`.
    """

    def __init__(self, most: int, deadline: float = inf) -> None:
        """`deadline`: when to stop waiting, in the seconds of `monotonic()`."""
        self._most, self._deadline = most, deadline
        self._hosts: dict[str, tuple[Condition, Counter[int]]] = {}  # and turns by thread

    def take(self, host: str) -> Callable[[], None]:
        """Wait for a turn at `host`; returns what ends it. Raises ConnectTimeout at the deadline.

        Those who have the turns now keep limits of their own, so that the queue moves on.
        A thread that has a turn there gets another at once: it may be reading one answer while
        it asks for the next, and would wait for itself.
        """
        ended, busy = self._hosts.setdefault(host, (Condition(), Counter()))
        thread, seconds = get_ident(), min(max(0, self._deadline - monotonic()), TIMEOUT_MAX)
        with ended:
            if not ended.wait_for(lambda: thread in busy or len(busy) < self._most, seconds):
                raise requests.ConnectTimeout(f'no turn at {host} until the deadline')
            busy[thread] += 1

        def end_turn() -> None:
            with ended:
                busy[thread] -= 1
                if not busy[thread]:
                    del busy[thread]
                    ended.notify()

        return Once(end_turn)


class Once:
    """Calls `act` the first time that it is called, and no more."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


def _when_closed(response: requests.Response, act: Callable[[], None]) -> None:
    """Have `act` called when `response` is closed, or dropped as some facility classes do."""
    close, itself = type(response).close, weakref.ref(response)

    def close_and_act() -> None:
        try:
            close(itself())
        finally:
            act()

    response.close = close_and_act
    weakref.finalize(response, act)


def _retries(limits: Automation, deadline: float) -> Retry:
    class WithinLimits(Retry):
        """Gives up at once where the wait would be longer than anyone would wait for."""

        def increment(self, *args: object, **options: object) -> Retry:
            following = super().increment(*args, **options)
            response = options.get('response')
            asked = self.get_retry_after(response) if response is not None else None
            wait = following.get_backoff_time() if asked is None else asked
            if monotonic() + wait > deadline or (asked or 0) > limits.RETRY_AFTER_MAX:
                # To be asked later and to ask sooner is rude: the next run will do.
                raise MaxRetryError(None, '', f'{wait:.0f} s are too long to wait')
            return following

        def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
            try:
                return super().get_retry_after(response)
            except (InvalidHeader, ValueError, OverflowError):
                return None  # nonsense is as good as nothing said

    return WithinLimits(
        total=limits.RETRIES,
        redirect=False,  # requests follows redirects itself, and takes the token off them
        status_forcelist=PASSING,
        allowed_methods={'GET', 'HEAD'},
        backoff_factor=limits.RETRY_WAIT,
        retry_after_max=10**9,  # the limit is above: urllib3's own would come back too early
        raise_on_status=False,
    )


def _read_answer(response: requests.Response, limits: Automation) -> None:
    """Read the whole of an answer now, as requests would a moment later but without limits."""
    chunks, size = [], 0
    for chunk in _chunks(response, limits.TRANSFER_TIMEOUT):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            response.close()
            raise requests.ConnectionError(f'an answer of more than {MAX_ANSWER} bytes')
    response._content, response._content_consumed = b''.join(chunks), True


def _chunks(response: requests.Response, seconds: float) -> Iterator[bytes]:
    """The body of `response` as it arrives; raises ReadTimeout when it takes over `seconds`.

    A read timeout is about one read: a byte every second defeats it. So does asking for many
    bytes at once, which waits until all of them are there; `read1` returns what has come.
    """
    end, encoded = monotonic() + seconds, 'Content-Encoding' in response.headers
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=encoded):
            yield chunk
            if monotonic() > end:
                raise requests.ReadTimeout(f'not whole after {seconds:.0f} s')
    except BrokenStream as error:
        raise requests.ConnectionError(f'broken off: {type(error).__name__}') from error
    finally:
        response.close()


def download(url: str, into: BinaryIO, limits: Automation, room: float = inf) -> Received:
    """Stream what `url` names, `room` bytes at most, into `into`, in constant memory.

    No credentials go along: an archive's URLs are presigned and refuse them. Raises NoAnswer
    if the server does not answer or breaks off, and SyncError if it says that it has no such
    file. Whether the bytes are those of the wanted frame is for the caller to judge.
    """
    try:
        with requests.get(url, stream=True, auth=_no_auth, headers=PLAIN) as response:
            if response.status_code != requests.codes.ok:
                raise BadAnswer(f'the archive answered {response.status_code} for the file')
            return _receive(response, into, limits, room)
    except requests.TooManyRedirects:
        raise BadAnswer('the archive sent the download in circles') from None
    except ValueError:  # of requests, urllib3 or the codec for host names
        raise BadAnswer('the download address is not valid') from None
    except requests.RequestException as error:
        raise NoAnswer(f'the download did not arrive ({type(error).__name__})') from error


#: A compressed transfer would hide how many bytes the file has.
PLAIN = {'Accept-Encoding': 'identity'}


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking for credentials in the user's .netrc."""
    return request


def _receive(
    response: requests.Response, into: BinaryIO, limits: Automation, room: float
) -> Received:
    promised = _promised(response)
    if promised is not None and promised > room:
        raise NoRoom(f'the file has {promised} bytes, and there is no room for it')
    # Not for security: it is the checksum that the archive publishes.
    digest, size, head = hashlib.md5(usedforsecurity=False), 0, b''
    with ThreadPoolExecutor(max_workers=1) as beside:  # no thread before it is needed
        waiting: deque[Future] = deque()
        for chunk in _chunks(response, limits.TRANSFER_TIMEOUT):
            if size + len(chunk) > room:
                raise NoRoom(f'the file has more than {size} bytes, and there is no more room')
            if size < BIG:
                digest.update(chunk)
            else:
                _update_beside(digest, chunk, waiting, beside)
            into.write(chunk)
            _write_behind(into, size, len(chunk))
            size += len(chunk)
            head += chunk[: HEAD - len(head)]
    if promised is not None and promised != size:
        raise NoAnswer(f'the download broke off after {size} of {promised} bytes')
    return Received(size, digest.hexdigest(), head)


def _update_beside(digest: object, chunk: bytes, waiting: deque[Future], beside: Executor) -> None:
    """Hash `chunk` in a thread beside, in its turn, while the next ones arrive."""
    waiting.append(beside.submit(digest.update, chunk))
    if len(waiting) > AHEAD:
        waiting.popleft().result()


def _write_behind(file: BinaryIO, size: int, more: int) -> None:
    """Have the system begin to write a big file to the disk while the rest of it arrives."""
    done, now = size // BIG, (size + more) // BIG
    if now > done and hasattr(os, 'posix_fadvise'):
        file.flush()
        with suppress(OSError):  # a wish, and some file systems know it not
            os.posix_fadvise(file.fileno(), done * BIG, (now - done) * BIG, os.POSIX_FADV_DONTNEED)


def _promised(response: requests.Response) -> int | None:
    """How many bytes the file is said to have; None where that is not said."""
    length = response.headers.get('Content-Length', '')
    plain = 'Content-Encoding' not in response.headers
    return int(length) if plain and length.isdigit() else None
