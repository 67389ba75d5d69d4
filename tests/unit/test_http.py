"""Every wait ends, and what cannot succeed is not tried again.

`limited_requests` is the one seam: whatever a facility class does with `requests`, it keeps the
limits of the run without knowing of them. `CALLERS` holds the ways in which they do it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from multiprocessing import get_context
from threading import Thread
from time import monotonic
from types import SimpleNamespace

import pytest
import requests
from requests.adapters import HTTPAdapter

import faults
from simulated import Observatory
from tom_auto.conf import Automation
from tom_auto.errors import NoAnswer, SyncError
from tom_auto.files.downloads import download
from tom_auto.observatories.http import limited_requests

fork = get_context('fork')
LIMITS = Automation(RETRIES=2, RETRY_WAIT=0)
# Only for observatories that hang: a busy machine may need half a second for an answer.
SHORT = replace(LIMITS, CONNECT_TIMEOUT=0.5, READ_TIMEOUT=0.5, TRANSFER_TIMEOUT=1)
IMPATIENT = replace(SHORT, RETRIES=0)


@pytest.fixture
def sky():
    with Observatory() as observatory:
        observatory.add_request(1)
        yield observatory


@pytest.fixture
def url(sky):
    [frame] = sky.complete(1, frames=1, size=5_000_000)
    with limited_requests(LIMITS):
        headers = {'Authorization': f'Token {sky.token}'}
        return requests.get(f'{sky.url}/frames/{frame.id}/', headers=headers).json()['url']


def fetch(url, into=None, limits=LIMITS):
    """Download what `url` names."""
    return download(url, 'a.fits', into or BytesIO(), limits)


@pytest.mark.parametrize('fault', [faults.hang(30), faults.hang(30, after=20), faults.drip(0.2)])
def test_no_answer_takes_long(sky, fault):
    sky.break_('/api/', fault)
    begun = monotonic()
    with limited_requests(SHORT), pytest.raises(requests.RequestException):
        requests.get(f'{sky.url}/api/requests/')
    assert monotonic() - begun < 4


@pytest.mark.parametrize('fault', [faults.hang(30), faults.hang(30, after=20), faults.drip(0.2)])
def test_no_download_takes_long(sky, url, fault):
    sky.break_('/store/', fault)
    begun = monotonic()
    with limited_requests(SHORT), pytest.raises(NoAnswer):
        fetch(url, limits=SHORT)
    assert monotonic() - begun < 4


def test_a_timeout_of_the_caller_is_kept(sky):
    sky.break_('/api/', faults.hang(30))
    begun = monotonic()
    with limited_requests(Automation(RETRIES=0)), pytest.raises(requests.RequestException):
        requests.get(f'{sky.url}/api/requests/', timeout=0.2)
    assert monotonic() - begun < 2


class OwnAdapter(HTTPAdapter):
    """A facility's own adapter class: some present a certificate, some choose an address."""

    def add_headers(self, request, **options):
        request.headers['X-Own'] = 'yes'


def get_with_own_adapter(url):
    with requests.Session() as session:
        session.mount('http://', OwnAdapter())
        return session.get(url)


def get_with_mounted_adapter(url):
    with requests.Session() as session:
        session.mount('http://', HTTPAdapter(max_retries=5))
        return session.get(url)


def get_in_a_thread(url):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(requests.get, url).result()


def get_streamed(url):
    with requests.get(url, stream=True) as response:
        assert response.content is not None
        return response


CALLERS: dict[str, Callable] = {
    'requests.get': requests.get,
    'requests.post': requests.post,
    'requests.request': lambda url: requests.request('OPTIONS', url),
    'a session': lambda url: requests.Session().get(url),
    'a prepared request': lambda url: requests.Session().send(
        requests.Request('GET', url).prepare()
    ),
    'an adapter': get_with_mounted_adapter,
    'an adapter class': get_with_own_adapter,
    'a thread': get_in_a_thread,
    'a stream': get_streamed,
}


@pytest.mark.parametrize('caller', CALLERS)
def test_no_caller_waits_for_ever(sky, caller):
    sky.break_('/api/', faults.hang(30))
    begun = monotonic()
    with limited_requests(IMPATIENT), pytest.raises(requests.RequestException):
        CALLERS[caller](f'{sky.url}/api/requests/')
    assert monotonic() - begun < 4


def test_an_adapter_class_is_kept(sky):
    with limited_requests(LIMITS):
        response = get_with_own_adapter(f'{sky.url}/api/requests/')
    assert (response.status_code, response.request.headers['X-Own']) == (200, 'yes')


@pytest.mark.parametrize('status', [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(sky, status):
    sky.break_('/api/', faults.status(status), times=2)
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200


@pytest.mark.parametrize('status', [400, 401, 403, 404, 410])
def test_what_cannot_succeed_is_asked_once(sky, status):
    sky.break_('/api/', faults.status(status))
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == status
    assert len(sky.requests_seen) == 1


def test_retries_are_bounded(sky):
    sky.break_('/api/', faults.status(503))
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 503
    assert len(sky.requests_seen) == 1 + LIMITS.RETRIES


@pytest.mark.parametrize(
    'fault', [faults.status(503), faults.status(503, retry_after=0), faults.reset()]
)
def test_each_repetition_waits_twice_as_long_as_the_one_before(sky, monkeypatch, fault):
    waits = []
    monkeypatch.setattr('urllib3.util.retry.time', SimpleNamespace(sleep=waits.append))
    sky.break_('/api/', fault, times=3)
    with limited_requests(replace(LIMITS, RETRIES=3, RETRY_WAIT=0.5)):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200
    assert waits == [0.5, 1, 2]


@pytest.mark.parametrize('method', ['POST', 'PUT', 'PATCH', 'DELETE'])
@pytest.mark.parametrize('fault', [faults.status(503, retry_after=0), faults.reset()])
def test_what_changes_something_is_never_sent_twice(sky, method, fault):
    sky.break_('/api/', fault)
    with limited_requests(LIMITS), suppress(requests.ConnectionError):
        requests.request(method, f'{sky.url}/api/requestgroups/', json={})
    assert len(sky.requests_seen) == 1


def in_seconds(seconds):
    """A time so far from now, as HTTP writes it: in whole seconds."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(('wish', 'least'), [(lambda: 1, 1.0), (lambda: in_seconds(2), 0.9)])
def test_a_short_retry_after_is_honoured(sky, wish, least):
    sky.break_('/api/', faults.status(429, retry_after=wish()), times=1)
    begun = monotonic()
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200
    assert least <= monotonic() - begun < least + 3


@pytest.mark.parametrize('status', [429, 503])
@pytest.mark.parametrize(
    ('wish', 'deadline'),
    [
        (lambda: 61, 1000),
        (lambda: 10**12, 1000),
        (lambda: in_seconds(600), 1000),
        (lambda: in_seconds(10**9), 1000),
        (lambda: 30, 20),
        (lambda: in_seconds(30), 20),
    ],
)
def test_a_long_retry_after_is_left_for_the_next_run(sky, status, wish, deadline):
    """Longer than RETRY_AFTER_MAX (60 s), or than the run lasts: neither waited for nor ignored."""
    sky.break_('/api/', faults.status(status, retry_after=wish()))
    begun = monotonic()
    with limited_requests(LIMITS, deadline=begun + deadline):
        assert requests.get(f'{sky.url}/api/requests/').status_code == status
    assert monotonic() - begun < 2
    assert len(sky.requests_seen) == 1


@pytest.mark.parametrize(
    'wish', ['soon', '', '-5', '1.5', 'inf', '0', 'Mon, 99 Foo 2026 25:61:61', '9' * 5000]
)
def test_a_retry_after_that_says_nothing_is_as_none(sky, wish):
    sky.break_('/api/', faults.status(503, retry_after=wish), times=1)
    begun = monotonic()
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200
    assert monotonic() - begun < 2


def test_a_retry_after_in_the_past_is_no_wait(sky):
    sky.break_('/api/', faults.status(503, retry_after=in_seconds(-3600)), times=1)
    with limited_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200


def test_nothing_is_repeated_after_the_deadline(sky):
    sky.break_('/api/', faults.reset())
    with limited_requests(LIMITS, monotonic()), pytest.raises(requests.ConnectionError):
        requests.get(f'{sky.url}/api/requests/')
    assert len(sky.requests_seen) == 1


@pytest.mark.parametrize('fault', [faults.status(503), faults.status(503, retry_after=0)])
def test_a_wait_that_would_end_after_the_deadline_is_not_begun(sky, fault):
    sky.break_('/api/', fault)
    with limited_requests(replace(LIMITS, RETRY_WAIT=60), deadline=monotonic() + 20):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 503
    assert len(sky.requests_seen) == 1


def test_no_token_follows_a_redirect_to_another_host(sky):
    """A port of its own is another host: it may be someone else's."""
    headers = {'Authorization': f'Token {sky.token}'}
    with Observatory() as other:
        other.add_request(1)
        sky.break_('/api/', faults.redirect(other.url))
        with limited_requests(LIMITS):
            for call in (requests.get, requests.Session().get):
                call(f'{sky.url}/api/requests/1/', headers=headers)
        assert [seen.had_token for seen in sky.requests_seen] == [True, True]
        assert [seen.had_token for seen in other.requests_seen] == [False, False]


def test_a_token_follows_a_redirect_on_the_same_host(sky):
    """The portal redirects an address without its final slash, as tomtoolkit asks."""
    headers = {'Authorization': f'Token {sky.token}'}
    with limited_requests(LIMITS):
        answer = requests.get(f'{sky.url}/api/requests/1', headers=headers)
    assert answer.json()['id'] == 1
    assert [seen.had_token for seen in sky.requests_seen] == [True, True]


def test_connections_are_kept(sky):
    with limited_requests(LIMITS):
        for _ in range(10):
            requests.get(f'{sky.url}/api/requests/')
    assert sky.connections == 1


def test_afterwards_requests_is_as_it_was(sky):
    before = requests.adapters.HTTPAdapter.send
    with pytest.raises(ZeroDivisionError), limited_requests(LIMITS):
        raise ZeroDivisionError
    assert requests.adapters.HTTPAdapter.send is before


def test_a_download_says_what_came(sky, url):
    [frame] = sky.frames.values()
    into = BytesIO()
    with limited_requests(LIMITS):
        received = fetch(url, into)
    assert received.size == into.tell() == 5_000_000
    assert received.md5 == frame.md5
    assert into.getvalue().startswith(received.head)


class SaysWhoAsks(BaseHTTPRequestHandler):
    """Answers with the port at the other end of the connection, and keeps it open."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        body = str(self.client_address[1]).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_a_forked_process_shares_no_connection():
    """Each would read answers to the other: a class's process is started again during a run."""
    ours, its_end = fork.Pipe()
    with ThreadingHTTPServer(('127.0.0.1', 0), SaysWhoAsks) as server, limited_requests(LIMITS):
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

        def port():
            return requests.get(f'http://127.0.0.1:{server.server_port}/').text

        before = port()
        child = fork.Process(target=lambda: its_end.send(port()), daemon=True)
        child.start()
        assert ours.poll(10)
        theirs = ours.recv()
        child.join(10)
        assert (before == port(), before == theirs) == (True, False)
        server.shutdown()


def test_no_credentials_go_along_with_a_download(sky, url, tmp_path, monkeypatch):
    """requests looks into .netrc by itself, and archives refuse signed requests with a token."""
    netrc = tmp_path / 'netrc'
    netrc.write_text('machine 127.0.0.1 login me password secret\n')
    monkeypatch.setenv('NETRC', str(netrc))
    sky.forget()
    with limited_requests(LIMITS):
        fetch(url)
    assert [seen.had_token for seen in sky.requests_seen] == [False]


def test_an_expired_address_is_an_error(sky, url):
    sky.advance(hours=49)
    with limited_requests(LIMITS), pytest.raises(SyncError, match='403'):
        fetch(url)


def test_an_endless_answer_is_cut_off(sky, monkeypatch):
    monkeypatch.setattr('tom_auto.observatories.http.answer_limit', [1_000_000])
    sky.break_('/api/', faults.answer(['x' * 1000] * 2000))
    with limited_requests(LIMITS), pytest.raises(requests.ConnectionError, match='more than'):
        requests.get(f'{sky.url}/api/requests/')
