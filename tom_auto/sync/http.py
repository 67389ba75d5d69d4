"""How requests leave the TOM: every wait ends, and no answer is without a limit.

Facility classes call `requests` as they like, mostly without a timeout. `limited_requests` is
the one seam through which all of those calls pass while a run is at work: it gives each of
them a pooled connection, timeouts, bounded retries, and a limit on the whole answer.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from socket import SHUT_RDWR
from threading import Thread
from time import monotonic, sleep
from urllib.parse import urljoin

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

CHUNK = 256 * 1024  # bytes
MAX_ANSWER = 64 * 1024 * 1024  # bytes of an answer that is not a file, such as a list of frames
#: A class that stores files by itself reads them this way: its process has no such limit.
answer_limit: list[float] = [MAX_ANSWER]
PASSING = {429, 500, 502, 503, 504}  # statuses that may be other in a moment
HEARD = 4096  # bytes kept of each of the latest answers, so that no error repeats them: rule 14


@contextmanager
def limited_requests(limits: Automation, deadline: float = inf) -> Iterator[None]:
    """While this lasts, every call made through `requests`, by any code, keeps `limits`.

    No call is repeated when that would be after `deadline`, in the seconds of `monotonic()`.

    A timeout put into `HTTPAdapter.send` reaches all of them; `socket.setdefaulttimeout` does
    not. A session with an adapter class of its own keeps that adapter and gets the timeouts.
    """
    send, answer_of = HTTPAdapter.send, HTTPConnection.getresponse
    proxies_of, retries = cache(get_environ_proxies), _retries(limits, deadline)

    @cache
    def pool_of(process: int) -> HTTPAdapter:
        # A forked process must not talk through the connections of the one it came from.
        return HTTPAdapter(pool_maxsize=2 * limits.WORKERS, max_retries=retries)

    def limited_send(
        adapter: HTTPAdapter,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        **options: object,
    ) -> requests.Response:
        used = pool_of(os.getpid()) if type(adapter) is HTTPAdapter else adapter
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

    def remembered_proxies(url: str, no_proxy: str | None = None) -> dict[str, str]:
        # Once for each host: to look takes as long as all else that a small call costs.
        return dict(proxies_of(urljoin(url, '/'), no_proxy))

    HTTPAdapter.send, HTTPConnection.getresponse = limited_send, limited_headers
    sessions.get_environ_proxies = remembered_proxies
    try:
        yield
    finally:
        HTTPAdapter.send, HTTPConnection.getresponse = send, answer_of
        sessions.get_environ_proxies = get_environ_proxies
        pool_of(os.getpid()).close()


class _Alarms:
    """Hangs up on servers that drip: a read timeout is about one read, not about a line."""

    def __init__(self) -> None:
        self._armed: dict[object, float] = {}
        self._thread: Thread | None = None

    @contextmanager
    def within(self, seconds: float, sock: object) -> Iterator[float]:
        """Hang up on `sock` after so many seconds, and raise TimeoutError.

        What was cut off may look like a whole answer. Gives the end, in those of `monotonic()`.
        """
        end = self._armed[sock] = monotonic() + seconds
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._watch, daemon=True, name='alarms')
            self._thread.start()
        try:
            yield end
        finally:
            self._armed.pop(sock, None)
        if monotonic() > end:
            raise TimeoutError(f'not whole after {seconds:.0f} s')

    def _watch(self) -> None:
        while True:
            sleep(1)
            for sock, end in list(self._armed.items()):
                if monotonic() > end and sock is not None:
                    with suppress(OSError):
                        sock.shutdown(SHUT_RDWR)


alarms = _Alarms()
os.register_at_fork(after_in_child=alarms.__init__)  # which has no thread, and its own sockets


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
        return f'certificate: {getattr(error, "verify_message", "") or "not valid"}'
    if not isinstance(error, Exception) or not depth:
        return ''
    inner = (*error.args, getattr(error, 'reason', None), error.__cause__)
    return next(filter(None, (certificate_fault(one, depth - 1) for one in inner)), '')


def _read_answer(response: requests.Response, limits: Automation) -> None:
    """Read the whole of an answer now, as requests would a moment later but without limits."""
    chunks, size = [], 0
    encoded = 'Content-Encoding' in response.headers
    for chunk in chunks_of(response, limits.TRANSFER_TIMEOUT, encoded):
        chunks.append(chunk)
        size += len(chunk)
        if size > answer_limit[0]:
            response.close()
            raise requests.ConnectionError(f'an answer of more than {answer_limit[0]} bytes')
    response._content, response._content_consumed = b''.join(chunks), True
    heard.append(response._content[:HEARD])


def chunks_of(response: requests.Response, seconds: float, decode: bool) -> Iterator[bytes]:
    """The body of `response` as it arrives; raises ReadTimeout when it takes over `seconds`.

    A read timeout is about one read: a byte every second defeats it. So does asking for many
    bytes at once, which waits until all of them are there; `read1` returns what has come.
    Raises ConnectionError where less comes than the server promised.
    """
    try:
        with alarms.within(seconds, getattr(response.raw, 'socket', None)) as end:
            while (
                chunk := response.raw.read1(CHUNK, decode_content=decode)
            ) and monotonic() <= end:
                yield chunk
    except TimeoutError as error:
        raise requests.ReadTimeout(str(error)) from None
    except BrokenStream as error:
        raise requests.ConnectionError(f'broken off: {type(error).__name__}') from error
    finally:
        response.close()
