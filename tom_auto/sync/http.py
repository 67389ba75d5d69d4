"""How requests leave the TOM: every wait ends, and a file arrives whole or not at all.

Facility classes call `requests` as they like, mostly without a timeout. `limited_requests` is
the one seam through which all of those calls pass while a run is at work: it gives each of
them a pooled connection, timeouts, bounded retries, and a limit on the whole answer.
"""

import hashlib
import os
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from socket import SHUT_RDWR
from threading import Thread
from time import monotonic, sleep
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from requests import sessions
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError as BrokenStream
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from ..conf import Automation
from ..redact import heard
from .errors import BadAnswer, NoAnswer, NoRoom

CHUNK = 256 * 1024  # bytes
MAX_ANSWER = 64 * 1024 * 1024  # bytes of an answer that is not a file, such as a list of frames
BIG = 8 * 1024 * 1024  # bytes: after so many it is time to look at the disk again
HEAD = 2880  # bytes kept of a file's beginning: one FITS block
PASSING = {429, 500, 502, 503, 504}  # statuses that may be other in a moment
PACKED = ('.gz', '.tgz', '.bz2', '.xz', '.zip', '.fz')
#: A compressed transfer would hide how many bytes the file has.
PLAIN = {'Accept-Encoding': 'identity'}
HEARD = 4096  # bytes kept of each of the latest answers, so that no error repeats them: rule 14


@dataclass(frozen=True)
class Received:
    """What is known of a file that was received whole; `head` is its beginning."""

    size: int
    md5: str
    head: bytes
    content_type: str = ''


@contextmanager
def limited_requests(limits: Automation, deadline: float = inf) -> Iterator[None]:
    """While this lasts, every call made through `requests`, by any code, keeps `limits`.

    No call is repeated when that would be after `deadline`, in the seconds of `monotonic()`.

    A timeout put into `HTTPAdapter.send` reaches all of them; `socket.setdefaulttimeout` does
    not. A session with an adapter class of its own keeps that adapter and gets the timeouts.
    """
    send, answer_of = HTTPAdapter.send, HTTPConnection.getresponse
    pool = HTTPAdapter(pool_maxsize=2 * limits.WORKERS, max_retries=_retries(limits, deadline))

    def limited_send(
        adapter: HTTPAdapter,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        **options: object,
    ) -> requests.Response:
        used = pool if type(adapter) is HTTPAdapter else adapter
        wait = timeout or (limits.CONNECT_TIMEOUT, limits.READ_TIMEOUT)
        response = send(used, request, stream=stream, timeout=wait, **options)
        if not stream:
            _read_answer(response, limits)
        return response

    def limited_headers(connection: HTTPConnection) -> BaseHTTPResponse:
        socket = connection.sock
        with alarms.within(2 * limits.READ_TIMEOUT, socket):
            answer = answer_of(connection)
        answer.socket = socket  # the connection forgets it where the answer is its last
        return answer

    HTTPAdapter.send, HTTPConnection.getresponse = limited_send, limited_headers
    look_up, sessions.get_environ_proxies = sessions.get_environ_proxies, remembered_proxies()
    try:
        yield
    finally:
        HTTPAdapter.send, HTTPConnection.getresponse = send, answer_of
        sessions.get_environ_proxies = look_up
        pool.close()


class _Alarms:
    """Hangs up on servers that drip: a read timeout is about one read, not about a line."""

    def __init__(self) -> None:
        self._armed: dict[object, float] = {}
        self._thread: Thread | None = None

    @contextmanager
    def within(self, seconds: float, sock: object) -> Iterator[None]:
        """Hang up on `sock` after so many seconds. Raises TimeoutError where this takes longer:

        what was cut off may look like a whole answer.
        """
        end = self._armed[sock] = monotonic() + seconds
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._watch, daemon=True, name='alarms')
            self._thread.start()
        try:
            yield
        finally:
            self._armed.pop(sock, None)
        if monotonic() > end:
            raise TimeoutError(f'not whole after {seconds:.0f} s')

    def _watch(self) -> None:
        idle = 0
        while idle < 60:  # ends by itself when nothing was asked for a minute
            sleep(1)
            idle = 0 if self._armed else idle + 1
            for sock, end in list(self._armed.items()):
                if monotonic() > end and sock is not None:
                    with suppress(OSError):
                        sock.shutdown(SHUT_RDWR)


alarms = _Alarms()


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


def _retries(limits: Automation, deadline: float) -> Retry:
    class WithinLimits(Retry):
        """Gives up at once where a retry cannot succeed, or the wait would be too long."""

        def increment(self, *args: object, **options: object) -> Retry:
            following = super().increment(*args, **options)
            if certificate_fault(options.get('error')):
                raise MaxRetryError(None, '', options['error'])
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


def certificate_fault(error: object, depth: int = 8) -> str:
    """What is wrong with a server's certificate, if `error` is about that; else empty.

    `requests` and urllib3 keep the reason a few levels down.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return getattr(error, 'verify_message', '') or 'not valid'
    if not isinstance(error, Exception) or not depth:
        return ''
    inner = (*error.args, getattr(error, 'reason', None), error.__cause__)
    return next(filter(None, (certificate_fault(one, depth - 1) for one in inner)), '')


def _read_answer(response: requests.Response, limits: Automation) -> None:
    """Read the whole of an answer now, as requests would a moment later but without limits."""
    chunks, size = [], 0
    encoded = 'Content-Encoding' in response.headers
    for chunk in _chunks(response, limits.TRANSFER_TIMEOUT, encoded):
        chunks.append(chunk)
        size += len(chunk)
        if size > answer_limit[0]:
            response.close()
            raise requests.ConnectionError(f'an answer of more than {answer_limit[0]} bytes')
    response._content, response._content_consumed = b''.join(chunks), True
    heard.append(response._content[:HEARD])


#: A class that stores files by itself reads them this way: its process has no such limit.
answer_limit: list[float] = [MAX_ANSWER]


def _chunks(response: requests.Response, seconds: float, decode: bool) -> Iterator[bytes]:
    """The body of `response` as it arrives; raises ReadTimeout when it takes over `seconds`.

    A read timeout is about one read: a byte every second defeats it. So does asking for many
    bytes at once, which waits until all of them are there; `read1` returns what has come.
    """
    end = monotonic() + seconds
    try:
        with alarms.within(seconds, getattr(response.raw, 'socket', None)):
            while chunk := response.raw.read1(CHUNK, decode_content=decode):
                yield chunk
                if monotonic() > end:
                    break
    except TimeoutError as error:
        raise requests.ReadTimeout(str(error)) from None
    except BrokenStream as error:
        raise requests.ConnectionError(f'broken off: {type(error).__name__}') from error
    finally:
        response.close()


class _Downloads(requests.Session):
    """No credentials go along, not even those of .netrc on a redirect.

    An archive's URLs are presigned, and refuse them.
    """

    def rebuild_auth(self, prepared: requests.PreparedRequest, response: object) -> None:
        prepared.headers.pop('Authorization', None)


def download(
    url: str, filename: str, into: BinaryIO, limits: Automation, room_for: Callable, md5: str = ''
) -> Received:
    """Stream what `url` names into `into`, in constant memory, as it comes over the wire.

    Raises NoAnswer where the server does not answer or breaks off, BadAnswer where it answers
    that there is no file, NoRoom where `room_for` says so. Whether the bytes are those of the
    wanted frame is for the caller to judge.
    """
    try:
        with (
            _Downloads() as session,
            session.get(url, stream=True, auth=lambda request: request, headers=PLAIN) as response,
        ):
            if response.status_code != requests.codes.ok:
                raise BadAnswer(f'the archive answered {response.status_code} for the file')
            with room_for(_promised(response) or BIG, limits):
                received = _receive(response, into, limits, room_for)
            encoding = response.headers.get('Content-Encoding', '').lower()
    except requests.TooManyRedirects:
        raise BadAnswer('the archive sent the download in circles') from None
    except ValueError:  # of requests, urllib3 or the codec for host names
        raise BadAnswer('the download address is not valid') from None
    except requests.RequestException as error:
        fault = certificate_fault(error)
        reason = f'certificate: {fault}' if fault else type(error).__name__
        raise NoAnswer(f'the download did not arrive ({reason})') from error
    if encoding not in ('gzip', 'x-gzip') or received.md5 == md5:
        return received
    # Packed for the transfer, or a packed file that was labelled so: see rule 6.
    if filename.lower().endswith(PACKED) and not md5:
        return received
    return _unpacked(into, received)


def _receive(
    response: requests.Response, into: BinaryIO, limits: Automation, room_for: Callable
) -> Received:
    promised = _promised(response)
    # Not for security: it is the checksum that the archive publishes.
    digest, size, head = hashlib.md5(usedforsecurity=False), 0, b''
    for chunk in _chunks(response, limits.TRANSFER_TIMEOUT, decode=False):
        digest.update(chunk)
        into.write(chunk)
        if (size + len(chunk)) // BIG > size // BIG:
            _look_at_the_disk(into, promised, limits, room_for)
        size += len(chunk)
        head += chunk[: HEAD - len(head)]
    if promised is not None and promised != size:
        raise NoAnswer(f'the download broke off after {size} of {promised} bytes')
    kind = response.headers.get('Content-Type', '').partition(';')[0].strip().lower()
    return Received(size, digest.hexdigest(), head, kind)


def _look_at_the_disk(
    file: BinaryIO, promised: int | None, limits: Automation, room_for: Callable
) -> None:
    """Is there still room? And have the system write a big file while the rest of it arrives."""
    if promised is None:
        with room_for(BIG, limits):
            pass
    file.flush()
    if hasattr(os, 'posix_fadvise'):
        with suppress(OSError):  # a wish, and some file systems know it not
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _unpacked(file: BinaryIO, received: Received) -> Received:
    """Unpack `file` in place, through a copy of it in memory: nobody does that to big files."""
    if received.size > MAX_ANSWER:
        raise NoRoom('a file of this size cannot be unpacked')
    file.seek(0)
    try:
        data = zlib.decompress(file.read(), wbits=zlib.MAX_WBITS | 16)
    except zlib.error:
        return received
    file.seek(0)
    file.truncate()
    file.write(data)
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Received(len(data), digest, data[:HEAD], received.content_type)


def _promised(response: requests.Response) -> int | None:
    """How many bytes come over the wire; None where that is not said."""
    if 'Transfer-Encoding' in response.headers:
        return None
    length = response.headers.get('Content-Length', '')
    return int(length) if length.isdigit() else None
