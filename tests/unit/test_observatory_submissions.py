"""The simulated portal takes what tomtoolkit sends, and the broker answers as TNS does."""

from datetime import UTC, datetime, timedelta

import pytest
import requests

from simulated import Observatory


@pytest.fixture
def sky():
    with Observatory() as sky:
        yield sky


def group(sky, requests=1, **changes):
    """A request group as tomtoolkit sends it."""
    start = datetime.now(UTC)
    configuration = {
        'type': 'EXPOSE', 'instrument_type': '1M0-SCICAM-SINISTRO',
        'instrument_configs': [{'exposure_count': 1, 'exposure_time': 30}],
        'target': {'name': 'SN 2026ab', 'type': 'ICRS', 'ra': 10.0, 'dec': 20.0},
    }  # fmt: skip
    request = {
        'configurations': [configuration],
        'windows': [
            {
                'start': start.isoformat(),
                'end': (start + timedelta(days=changes.pop('days', 1))).isoformat(),
            }
        ],
    }
    return {'name': 'mine', 'proposal': sky.proposal, 'requests': [request] * requests} | changes


def send(sky, what, path='', token='demo-token'):
    headers = {'Authorization': f'Token {token}'}
    url = f'{sky.url}/api/requestgroups/{path}'
    return requests.post(url, json=what, headers=headers, timeout=5)


def test_what_is_sent_becomes_a_request_like_others(sky):
    answer = send(sky, group(sky, requests=2))
    assert answer.status_code == 201
    first, second = (one['id'] for one in answer.json()['requests'])
    assert sky.requests[first].group is sky.requests[second].group
    assert (sky.requests[first].target, sky.requests[first].exposure) == ('SN 2026ab', 30)
    sky.complete(first, frames=1)
    headers = {'Authorization': 'Token demo-token'}
    shown = requests.get(f'{sky.url}/api/requests/{first}/', headers=headers, timeout=5).json()
    assert shown['state'] == 'COMPLETED'
    frames = requests.get(f'{sky.url}/frames/?request_id={first}', headers=headers, timeout=5)
    assert frames.json()['count'] == 1


@pytest.mark.parametrize(
    ('changes', 'field'),
    [({'proposal': 'THEIRS'}, 'proposal'), ({'days': -1}, 'requests'), ({'requests': 3}, 'non_f')],
)
def test_what_is_wrong_is_refused_and_leaves_nothing(sky, changes, field):
    what = group(sky) | changes if changes != {'days': -1} else group(sky, days=-1)
    answer = send(sky, what)
    assert answer.status_code == 400
    assert [name[: len(field)] for name in answer.json()] == [field]
    assert not sky.requests


def test_a_check_submits_nothing(sky):
    assert send(sky, group(sky), 'validate/').json() == {'errors': {}}
    assert 'proposal' in send(sky, group(sky, proposal='THEIRS'), 'validate/').json()['errors']
    assert not sky.requests


def test_the_broker_knows_what_was_announced(sky):
    sky.announce('2026ab', ra=10.0, dec=20.0)

    def asked(kind, data, key='demo-token'):
        form = {'api_key': key, 'data': data}
        return requests.post(f'{sky.url}/broker/api/get/{kind}', form, timeout=5)

    found = asked('search', '{"public_timestamp": ""}').json()['data']
    assert found == [{'objname': '2026ab', 'prefix': 'SN'}]
    assert asked('search', '{"public_timestamp": "2126-01-01"}').json()['data'] == []
    assert asked('object', '{"objname": "2026ab"}').json()['data']['radeg'] == 10.0
    assert asked('object', '{"objname": "2026zz"}').status_code == 404
    assert asked('search', '{}', key='wrong').status_code == 401
