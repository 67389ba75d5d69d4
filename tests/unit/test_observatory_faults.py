"""Each fault is what it says, seen from the client; the next question finds all well again."""

import time

import pytest
import requests

import faults
from simulated import Observatory

TOKEN = {'Authorization': 'Token demo-token'}
CONTENT = b'SIMPLE  = ' + bytes(10_000)


@pytest.fixture
def sky():
    with Observatory() as sky:
        sky.add_request(1)
        sky.add_frame(1, frame_id=7, content=CONTENT)
        yield sky


def ask(sky, path='/api/requests/1/', **options):
    return requests.get(sky.url + path, headers=TOKEN, timeout=5, **options)


def download(sky, **options):
    return requests.get(ask(sky, '/frames/7/').json()['url'], timeout=5, **options)


ANSWERS = {
    'status': (faults.status(404), lambda got: got.status_code == 404),
    'status with headers': (
        faults.status(503, retry_after=120, x_cache='Error'),
        lambda got: (
            (got.status_code, got.headers['Retry-After']) == (503, '120')
            and got.headers['X-Cache'] == 'Error'
        ),
    ),
    'html': (faults.html(), lambda got: got.status_code == 200 and got.text.startswith('<!doc')),
    'answer': (faults.answer(['no', 'object']), lambda got: got.json() == ['no', 'object']),
    'edit': (
        faults.edit(lambda request: request.pop('state')),
        lambda got: 'state' not in got.json() and got.json()['id'] == 1,
    ),
    'empty': (faults.empty(), lambda got: got.status_code == 200 and got.content == b''),
    'broken_json': (faults.broken_json(), lambda got: got.text.startswith('{"id": 1')),
    'drip': (faults.drip(0.001, size=100), lambda got: got.json()['id'] == 1),
}


@pytest.mark.parametrize('name', ANSWERS)
def test_answers_that_are_not_the_right_one(sky, name):
    fault, expected = ANSWERS[name]
    sky.break_('/api/', fault, times=1)
    assert expected(ask(sky))
    assert ask(sky).json()['state'] == 'PENDING'


ERRORS = {
    'reset': (faults.reset(), requests.ConnectionError),
    'truncated': (faults.truncated(0.5), requests.exceptions.ChunkedEncodingError),
    'truncated at once': (faults.truncated(0), requests.exceptions.ChunkedEncodingError),
    'huge': (faults.huge(), requests.exceptions.ChunkedEncodingError),
    'lying_gzip': (faults.lying_gzip(), requests.exceptions.ContentDecodingError),
    'redirect_loop': (faults.redirect_loop(), requests.TooManyRedirects),
    'broken_json': (faults.broken_json(), requests.exceptions.JSONDecodeError),
    'hang': (faults.hang(0.1), requests.ConnectionError),
    'hang in the middle': (
        faults.hang(0.1, after=20),
        requests.exceptions.ChunkedEncodingError,
    ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_errors_of_the_client(sky, name):
    fault, error = ERRORS[name]
    sky.break_('/api/', fault)
    with pytest.raises(error):
        ask(sky).json()
    sky.mend()
    assert ask(sky).json()['state'] == 'PENDING'


def test_files_that_are_not_whole(sky):
    sky.break_('/store/', faults.corrupt(), times=1)
    wrong = download(sky).content
    assert len(wrong) == len(CONTENT)
    assert wrong != CONTENT

    sky.break_('/store/', faults.empty(), times=1)
    assert download(sky).content == b''

    sky.break_('/store/', faults.huge(1 << 50), times=1)
    with download(sky, stream=True) as response:
        assert response.headers['Content-Length'] == str(1 << 50)

    sky.break_('/store/', faults.truncated(0.3), times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        download(sky)
    assert download(sky).content == CONTENT


def test_a_hang_outlasts_the_client(sky):
    sky.break_('/api/', faults.hang())
    with pytest.raises(requests.ReadTimeout):
        requests.get(sky.url + '/api/requests/1/', headers=TOKEN, timeout=0.1)


def test_a_drip_defeats_the_read_timeout(sky):
    sky.break_('/store/', faults.drip(0.06, size=1000))
    url = ask(sky, '/frames/7/').json()['url']
    began = time.monotonic()
    assert requests.get(url, timeout=0.5).content == CONTENT
    assert time.monotonic() - began > 0.5


def test_pages_without_end(sky):
    sky.break_('/frames/', faults.endless_next())
    addresses = []
    address = sky.url + '/frames/?request_id=1'
    for _ in range(5):
        addresses.append(address)
        address = requests.get(address, headers=TOKEN, timeout=5).json()['next']
    assert len(set(addresses)) == 5


def test_a_redirect_to_another_host(sky):
    with Observatory() as other:
        sky.break_('/frames/', faults.redirect(other.url))
        ask(sky, '/frames/7/')
        [seen] = other.requests_seen
        # To `requests` another port is another host, and the token is not for it.
        assert (seen.path, seen.had_token) == ('/frames/7/', False)


def test_which_question_meets_which_fault(sky):
    sky.break_('/api/requests/1/$', faults.status(500), times=2)
    sky.break_('/api/', faults.status(502), times=1)
    third = sky.break_('/frames/.*request_id=9', faults.status(503))
    statuses = [ask(sky).status_code for _ in range(4)]
    assert statuses == [500, 500, 502, 200]
    assert ask(sky, '/frames/?request_id=1').status_code == 200
    assert ask(sky, '/frames/?request_id=9').status_code == 503
    assert ask(sky, '/frames/?limit=5&request_id=9').status_code == 503
    assert third.happened == 2


def test_every_fault_is_in_the_table():
    public = {
        name
        for name, thing in vars(faults).items()
        if not name.startswith('_') and getattr(thing, '__module__', '') == faults.__name__
    }
    documented = {
        line.split('`')[1].partition('(')[0]
        for line in faults.__doc__.splitlines()
        if line.startswith('| `')
    }
    assert documented == public
