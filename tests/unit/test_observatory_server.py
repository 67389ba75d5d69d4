"""The HTTP server: connections that stay open, a log, delays, and an end that really is one."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import faults
from simulated import Observatory

TOKEN = {'Authorization': 'Token demo-token'}


def ask(sky, path='/api/requests/1/', session=requests, **options):
    options = {'headers': TOKEN, 'timeout': 5} | options
    return session.get(sky.url + path, **options)


@pytest.fixture
def sky():
    with Observatory() as sky:
        sky.add_request(1)
        yield sky


def test_a_connection_serves_many_questions(sky):
    with requests.Session() as session:
        for _ in range(20):
            assert ask(sky, session=session).status_code == 200
        assert ask(sky, '/api/requests/2/', session=session).status_code == 404
        assert session.post(sky.url + '/frames/', data=b'x' * 9999, timeout=5).status_code == 405
        assert session.head(sky.url + '/api/', timeout=5).status_code == 404
    assert sky.connections == 1


def test_the_log_of_questions(sky):
    ask(sky)
    ask(sky, '/frames/?request_id=1&limit=5', headers={})
    first, second = sky.requests_seen
    assert (first.method, first.path, first.query, first.had_token) == (
        'GET',
        '/api/requests/1/',
        '',
        True,
    )
    assert second.target == '/frames/?request_id=1&limit=5'
    assert not second.had_token
    sky.forget()
    assert sky.requests_seen == []


def test_latency_and_how_many_were_asked_at_once():
    with Observatory(latency=0.2) as sky, ThreadPoolExecutor(8) as pool:
        sky.add_request(1)
        began = time.monotonic()
        assert {answer.status_code for answer in pool.map(ask, [sky] * 16)} == {200}
        assert 0.4 <= time.monotonic() - began < 2.5  # one after another: 3.2
        assert 2 <= sky.most_at_once <= 8


@pytest.mark.parametrize(('accepted', 'encoding'), [('gzip, deflate', 'gzip'), ('identity', None)])
def test_json_is_compressed_for_those_who_accept_it(sky, accepted, encoding):
    answer = ask(sky, headers=TOKEN | {'Accept-Encoding': accepted})
    assert answer.headers.get('Content-Encoding') == encoding
    assert answer.json()['id'] == 1


def test_it_ends_at_once_whatever_is_under_way():
    before = set(threading.enumerate())
    sky = Observatory().start()
    sky.add_request(1)
    sky.add_frame(1, frame_id=7, content=bytes(100_000))
    url = ask(sky, '/frames/7/').json()['url']
    sky.break_('/api/', faults.hang(60))
    sky.break_('/store/', faults.drip(0.05))
    sessions = [requests.Session() for _ in range(3)]
    for session in sessions:  # connections that are open and idle
        ask(sky, '/frames/', session=session)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, sky) for _ in range(4)]
        asked += [pool.submit(requests.get, url, timeout=5) for _ in range(4)]
        deadline = time.monotonic() + 5
        while len(sky.requests_seen) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        sky.stop()
        took = time.monotonic() - began
        assert all(isinstance(future.exception(5), requests.RequestException) for future in asked)
    assert took < 1
    assert set(threading.enumerate()) <= before
    for session in sessions:
        session.close()


def test_it_can_be_down_for_a_while(sky):
    url = sky.url
    sky.stop()
    with pytest.raises(requests.ConnectionError):
        ask(sky)
    sky.start()
    assert sky.url == url
    assert ask(sky).status_code == 200


def test_it_has_no_address_before_it_starts():
    with pytest.raises(RuntimeError, match='before it starts'):
        _ = Observatory().url


def test_several_at_once(sky):
    with Observatory(token='another', proposal='SOAR2026') as soar:
        soar.add_request(1, state='COMPLETED')
        assert soar.url != sky.url
        assert ask(sky).json()['state'] == 'PENDING'
        assert ask(soar, headers={'Authorization': 'Token another'}).json()['state'] == 'COMPLETED'
        assert ask(soar).status_code == 403
        assert soar.settings()['api_key'] == 'another'


def test_it_runs_alone():
    command = [sys.executable, '-m', 'tom_auto.simulator', '--requests', '2', '--frames', '1']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url, *words = process.stdout.readline().split()
            assert words == ['token', 'demo-token', 'requests', '1', 'to', '2']
            answer = requests.get(f'{url}/api/requests/2/', headers=TOKEN, timeout=5)
            assert answer.json()['state'] == 'COMPLETED'
        finally:
            process.terminate()
            process.wait(5)
