"""How requests leave the TOM: every wait ends, and no answer is without a limit.

Facility classes call `requests` as they like, mostly without a timeout. `limited_requests` is
the one seam through which all of those calls pass while a run is at work: it gives each of
them a pooled connection, timeouts, bounded retries, and a limit on the whole answer.
"""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from math import inf
from pathlib import Path
from time import monotonic
from urllib.parse import urljoin

import requests
from requests import sessions
from requests.adapters import HTTPAdapter
from requests.certs import where
from requests.utils import default_user_agent, get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError as BrokenStream
from urllib3.exceptions import LocationParseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Timeout, create_urllib3_context, parse_url

from .. import __version__
from ..conf import Automation
from ..redact import heard
from .retries import retries_within

CHUNK = 256 * 1024  # bytes
MAX_ANSWER = 64 * 1024 * 1024  # bytes of an answer that is not a file, such as a list of frames
#: A class that stores files by itself reads them this way: its process has no such limit.
answer_limit: list[float] = [MAX_ANSWER]
USER_AGENT = f'tom-auto/{__version__} {default_user_agent()}'
_asks: list[Callable[[str, dict], BaseHTTPResponse]] = []  # of each `limited_requests` that lasts
HEARD = 4096  # bytes kept of each of the latest answers, so that no error repeats them: rule 14


@contextmanager
def limited_requests(limits: Automation, deadline: float = inf) -> Iterator[None]:
    """While this lasts, every call made through `requests`, by any code, keeps `limits`.

    No call is repeated when that would be after `deadline`, in the seconds of `monotonic()`.

    A timeout put into `HTTPAdapter.send` reaches all of them; `socket.setdefaulttimeout` does
    not. A session with an adapter class of its own keeps that adapter and gets the timeouts.
    """
    send, plain_answer = HTTPAdapter.send, HTTPConnection.response_class
    proxies_of, retries = cache(get_environ_proxies), retries_within(limits, deadline)
    trusting, at_the_end = cache(_trusting), ExitStack()

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
        if request.headers.get('User-Agent', '') == default_user_agent():
            # Or the people who run the observatory could not tell whose requests these are.
            request.headers['User-Agent'] = USER_AGENT
        used = pool_of(os.getpid()) if type(adapter) is HTTPAdapter else adapter
        wait = timeout or (limits.CONNECT_TIMEOUT, limits.READ_TIMEOUT)
        response = send(used, request, stream=stream, timeout=wait, **options)
        if not stream:
            _read_answer(response)
        return response

    def remembered_proxies(url: str, no_proxy: str | None = None) -> dict[str, str]:
        # Once for each host: to look takes as long as all else that a small call costs.
        return dict(proxies_of(urljoin(url, '/'), no_proxy))

    @cache
    def connections_to(process: int, scheme: str, host: str) -> tuple[HTTPConnectionPool, bool]:
        """What reaches this host, and whether that is a proxy which wants to see the whole URL."""
        site = f'{scheme}://{host}/'
        proxy = select_proxy(site, remembered_proxies(site)) or ''
        if proxy and '://' not in proxy:
            proxy = f'http://{proxy}'
        secure = {'ssl_context': trusting(process)} if scheme == 'https' else {}
        if proxy.lower().startswith('https'):
            secure['proxy_ssl_context'] = trusting(process)
        if proxy:
            adapter = HTTPAdapter(pool_maxsize=2 * limits.WORKERS)
            manager = adapter.proxy_manager_for(proxy, **secure)
        else:
            manager = PoolManager(1, maxsize=2 * limits.WORKERS, **secure)
        connections = manager.connection_from_url(site)
        at_the_end.callback(connections.close)
        is_seen = manager.proxy is not None and scheme == 'http'
        return connections, is_seen

    def ask(url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        parts = parse_url(url.lstrip())
        if parts.scheme not in ('http', 'https') or not parts.host:
            raise LocationParseError('no web server')
        connections, is_seen = connections_to(os.getpid(), parts.scheme, parts.netloc)
        return connections.urlopen(
            'GET',
            parts._replace(auth=None, fragment=None).url if is_seen else parts.request_uri,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=limits.CONNECT_TIMEOUT, read=limits.READ_TIMEOUT),
            retries=retries,
        )

    HTTPAdapter.send, HTTPConnection.response_class = limited_send, _timed_answer(limits)
    sessions.get_environ_proxies = remembered_proxies
    _asks.append(ask)
    try:
        with at_the_end:
            yield
    finally:
        _asks.remove(ask)
        HTTPAdapter.send, HTTPConnection.response_class = send, plain_answer
        sessions.get_environ_proxies = get_environ_proxies
        pool_of(os.getpid()).close()


def ask(url: str, headers: dict[str, str]) -> BaseHTTPResponse:
    """The answer for `url`, while `limited_requests` lasts, and within its limits.

    Without the layers of `requests`: they take as much CPU as all else that a small file costs. What
    they do is done here for proxies and certificates; no redirect is followed, and no credentials go
    along. Raises HTTPError of urllib3; it is a ValueError too where the URL is not valid.
    """
    if not _asks:
        raise BrokenStream('the run has ended')
    return _asks[-1](url, headers)


def _trusting(process: int) -> ssl.SSLContext:
    """Trusts the certificate authorities that `requests` trusts, for all requests of this process."""
    trusted = os.environ.get('REQUESTS_CA_BUNDLE') or os.environ.get('CURL_CA_BUNDLE') or where()
    if not Path(trusted).exists():
        raise OSError(f'there are no certificates at {trusted}')
    context = create_urllib3_context()
    kind = 'capath' if Path(trusted).is_dir() else 'cafile'
    context.load_verify_locations(**{kind: trusted})
    return context


class _TimedReads(RawIOBase):
    """What comes over a connection before `end`, in the seconds of `monotonic()`.

    A read timeout is about one read: a byte every second, in a header as well, defeats it.
    """

    def __init__(self, reads: RawIOBase, end: float) -> None:
        self._reads, self.end = reads, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:
        if monotonic() > self.end:
            raise TimeoutError('not whole in time')
        return self._reads.readinto(buffer)

    def close(self) -> None:
        self._reads.close()
        super().close()


def _timed_answer(limits: Automation) -> type[HTTPResponse]:
    class TimedAnswer(HTTPResponse):
        """An answer whose headers, and then whose body, arrive within the limits."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            self._reads = _TimedReads(self.fp.detach(), monotonic() + 2 * limits.READ_TIMEOUT)
            self.fp = BufferedReader(self._reads)

        def begin(self) -> None:
            super().begin()
            self._reads.end = monotonic() + limits.TRANSFER_TIMEOUT

    return TimedAnswer


def _read_answer(response: requests.Response) -> None:
    """Read the whole of an answer now, as requests would a moment later but without limits."""
    chunks, size = [], 0
    for chunk in chunks_of(response.raw, decode='Content-Encoding' in response.headers):
        chunks.append(chunk)
        size += len(chunk)
        if size > answer_limit[0]:
            response.close()
            raise requests.ConnectionError(f'an answer of more than {answer_limit[0]} bytes')
    response._content, response._content_consumed = b''.join(chunks), True
    heard.append(response._content[:HEARD])


def chunks_of(response: BaseHTTPResponse, decode: bool) -> Iterator[bytes]:
    """The body of `response` as it arrives; raises ConnectionError where it does so too slowly,

    or where less comes than was promised. To ask for many bytes at once waits until all of them
    are there; `read1` returns what has come.
    """
    try:
        while chunk := response.read1(CHUNK, decode_content=decode):
            yield chunk
    except BrokenStream as error:
        raise requests.ConnectionError(f'broken off: {type(error).__name__}') from error
    finally:
        response.close()
