"""Every wait ends, and what cannot succeed is not tried again."""

from io import BytesIO
from time import monotonic

import pytest
import requests

from app.conf import Automation
from app.observatory import Observatory, faults
from app.sync.errors import NoAnswer, SyncError
from app.sync.transport import download, patient_requests

LIMITS = Automation(
    CONNECT_TIMEOUT=0.5, READ_TIMEOUT=0.5, TRANSFER_TIMEOUT=1, RETRIES=2, RETRY_WAIT=0
)


@pytest.fixture
def sky():
    with Observatory() as observatory:
        observatory.add_request(1)
        yield observatory


@pytest.fixture
def url(sky):
    [frame] = sky.complete(1, frames=1, size=5_000_000)
    with patient_requests(LIMITS):
        headers = {'Authorization': f'Token {sky.token}'}
        return requests.get(f'{sky.url}/frames/{frame.id}/', headers=headers).json()['url']


@pytest.mark.parametrize('fault', [faults.hang(30), faults.hang(30, after=20), faults.drip(0.2)])
def test_no_answer_takes_long(sky, fault):
    sky.break_('/api/', fault)
    begun = monotonic()
    with patient_requests(LIMITS), pytest.raises(requests.RequestException):
        requests.get(f'{sky.url}/api/requests/')
    assert monotonic() - begun < 4


@pytest.mark.parametrize('fault', [faults.hang(30), faults.hang(30, after=20), faults.drip(0.2)])
def test_no_download_takes_long(sky, url, fault):
    sky.break_('/store/', fault)
    begun = monotonic()
    with patient_requests(LIMITS), pytest.raises(NoAnswer):
        download(url, BytesIO(), LIMITS)
    assert monotonic() - begun < 4


def test_a_timeout_of_the_caller_is_kept(sky):
    sky.break_('/api/', faults.hang(30))
    begun = monotonic()
    with patient_requests(Automation(RETRIES=0)), pytest.raises(requests.RequestException):
        requests.get(f'{sky.url}/api/requests/', timeout=0.2)
    assert monotonic() - begun < 2


@pytest.mark.parametrize('status', [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(sky, status):
    sky.break_('/api/', faults.status(status), times=2)
    with patient_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 200


@pytest.mark.parametrize('status', [400, 401, 403, 404, 410])
def test_what_cannot_succeed_is_asked_once(sky, status):
    sky.break_('/api/', faults.status(status))
    with patient_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == status
    assert len(sky.requests_seen) == 1


def test_retries_are_bounded(sky):
    sky.break_('/api/', faults.status(503))
    with patient_requests(LIMITS):
        assert requests.get(f'{sky.url}/api/requests/').status_code == 503
    assert len(sky.requests_seen) == 1 + LIMITS.RETRIES


def test_what_changes_something_is_never_sent_twice(sky):
    sky.break_('/api/', faults.status(503))
    with patient_requests(LIMITS):
        requests.post(f'{sky.url}/api/requestgroups/', json={})
    assert len(sky.requests_seen) == 1


def test_connections_are_kept(sky):
    with patient_requests(LIMITS):
        for _ in range(10):
            requests.get(f'{sky.url}/api/requests/')
    assert sky.connections == 1


def test_afterwards_requests_is_as_it_was(sky):
    before = requests.adapters.HTTPAdapter.send
    with pytest.raises(ZeroDivisionError), patient_requests(LIMITS):
        raise ZeroDivisionError
    assert requests.adapters.HTTPAdapter.send is before


def test_a_download_says_what_came(sky, url):
    [frame] = sky.frames.values()
    into = BytesIO()
    with patient_requests(LIMITS):
        received = download(url, into, LIMITS)
    assert received.size == into.tell() == 5_000_000
    assert received.md5 == frame.md5
    assert into.getvalue().startswith(received.head)


def test_no_credentials_go_along_with_a_download(sky, url, tmp_path, monkeypatch):
    """requests looks into .netrc by itself, and archives refuse signed requests with a token."""
    netrc = tmp_path / 'netrc'
    netrc.write_text('machine 127.0.0.1 login me password secret\n')
    monkeypatch.setenv('NETRC', str(netrc))
    sky.forget()
    with patient_requests(LIMITS):
        download(url, BytesIO(), LIMITS)
    assert [seen.had_token for seen in sky.requests_seen] == [False]


def test_an_expired_address_is_an_error(sky, url):
    sky.advance(hours=49)
    with patient_requests(LIMITS), pytest.raises(SyncError, match='403'):
        download(url, BytesIO(), LIMITS)


def test_an_endless_answer_is_cut_off(sky, monkeypatch):
    monkeypatch.setattr('app.sync.transport.MAX_ANSWER', 1_000_000)
    sky.break_('/api/', faults.answer(['x' * 1000] * 2000))
    with patient_requests(LIMITS), pytest.raises(requests.ConnectionError, match='more than'):
        requests.get(f'{sky.url}/api/requests/')
