"""The simulated portal answers as observation portal 4.18.9 was measured to answer."""

from datetime import timedelta

import pytest
import requests

from simulated import Observatory


@pytest.fixture
def sky():
    with Observatory() as sky:
        yield sky


def ask(sky, path, token='demo-token', **options):
    headers = {'Authorization': f'Token {token}'} if token else {}
    return requests.get(sky.url + path, headers=headers, timeout=5, **options)


def ids(response):
    assert response.status_code == 200, response.text
    return [row['id'] for row in response.json()['results']]


def test_a_request_and_its_observations(sky):
    sky.add_request(1234, target='M 31', filter='gp')
    request = ask(sky, '/api/requests/1234/').json()
    assert request['state'] == 'PENDING'
    assert request['configurations'][0]['target']['name'] == 'M 31'
    assert request['windows'][0]['end'].endswith('Z')
    assert ask(sky, '/api/requests/1234/observations/').json() == []

    sky.schedule(1234)
    [observation] = ask(sky, '/api/requests/1234/observations/').json()
    assert observation['request'] == 1234
    assert observation['state'] == 'PENDING'
    assert observation['start'] < observation['end']

    sky.complete(1234)
    assert ask(sky, '/api/requests/1234/').json()['state'] == 'COMPLETED'
    [observation] = ask(sky, '/api/requests/1234/observations/').json()
    assert observation['state'] == 'COMPLETED'


def test_no_state_is_final(sky):
    sky.add_request(1, state='WINDOW_EXPIRED')
    sky.set_state(1, 'COMPLETED')
    assert ask(sky, '/api/requests/1/').json()['state'] == 'COMPLETED'
    sky.complete(1)
    sky.reject(1)
    assert ask(sky, '/api/requests/1/').json()['state'] == 'PENDING'
    assert ask(sky, '/api/requests/1/observations/').json()[0]['state'] == 'BAD_DATA'


def test_scheduling_leaves_the_request_as_it_was(sky):
    sky.add_request(1)
    before = ask(sky, '/api/requests/1/').json()['modified']
    sky.advance(hours=1)
    sky.schedule(1)
    assert ask(sky, '/api/requests/1/').json()['modified'] == before
    sky.unschedule(1)
    assert ask(sky, '/api/observations/').json()['count'] == 0


@pytest.mark.parametrize('path', ['/api/requests/1', '/api/requestgroups?request_id=1'])
def test_without_the_final_slash_it_redirects(sky, path):
    sky.add_request(1)
    response = ask(sky, path, allow_redirects=False)
    assert response.status_code == 301
    assert response.headers['Location'] == path.replace('/1', '/1/').replace('ps?', 'ps/?')
    assert ask(sky, path).status_code == 200


@pytest.mark.parametrize('path', ['/api/requests/1/', '/api/requests/', '/api/profile/'])
@pytest.mark.parametrize('token', ['wrong', 'revoked'])
def test_a_bad_token_is_refused(sky, path, token):
    sky.add_request(1)
    sky.add_token('revoked', proposals=['DEMO2026'], username='ada')
    sky.revoke('revoked')
    response = ask(sky, path, token)
    assert response.status_code == 403
    assert response.json() == {'detail': 'Invalid token.'}


def test_a_stranger_cannot_tell_what_exists(sky):
    sky.add_request(1)
    sky.add_request(2, proposal='THEIRS2026', group=20)
    answers = [
        ask(sky, '/api/requests/1/', token=None),
        ask(sky, '/api/requests/2/'),
        ask(sky, '/api/requests/2/observations/'),
        ask(sky, '/api/requestgroups/20/'),
        ask(sky, '/api/requests/999/'),
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (404, '{"detail": "Not found."}')
    }
    assert ids(ask(sky, '/api/requests/')) == [1]
    assert ids(ask(sky, '/api/requests/', token=None)) == []


def test_public_proposals_are_for_everyone(sky):
    sky.add_request(1, proposal='OUTREACH')
    sky.public.add('OUTREACH')
    assert ids(ask(sky, '/api/requests/', token=None)) == [1]


def test_each_token_sees_its_proposals(sky):
    sky.add_token('theirs', proposals=['THEIRS2026', 'OLD2020'], username='ada')
    sky.add_request(1)
    sky.add_request(2, proposal='THEIRS2026')
    assert ids(ask(sky, '/api/requestgroups/?request_id=2', 'theirs')) != []
    assert ids(ask(sky, '/api/requests/', 'theirs')) == [2]
    profile = ask(sky, '/api/profile/', 'theirs').json()
    assert profile['username'] == 'ada'
    assert [proposal['id'] for proposal in profile['proposals']] == ['OLD2020', 'THEIRS2026']
    assert ask(sky, '/api/profile/', token=None).status_code == 403


def test_pages(sky):
    for number in range(1, 26):
        sky.add_request(number)
    first = ask(sky, '/api/requests/?offset=0').json()
    assert (first['count'], len(first['results']), first['previous']) == (25, 10, None)
    second = ask(sky, first['next'].removeprefix(sky.url)).json()
    assert len(second['results']) == 10
    assert second['previous']
    last = ask(sky, second['next'].removeprefix(sky.url)).json()
    assert (len(last['results']), last['next']) == (5, None)
    assert len(ids(ask(sky, '/api/requests/?limit=100000'))) == 25


def test_a_group_of_many_requests(sky):
    for number in (1, 2, 3):
        sky.add_request(number, group=50, name='Light curve')
    sky.complete(2)
    group = ask(sky, '/api/requestgroups/50/').json()
    assert (group['name'], group['operator'], group['state']) == ('Light curve', 'MANY', 'PENDING')
    states = {request['id']: request['state'] for request in group['requests']}
    assert states == {1: 'PENDING', 2: 'COMPLETED', 3: 'PENDING'}


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('', {10, 20, 30}),
        ('state=PENDING', {10}),
        ('state=PENDING&state=CANCELED', {10, 30}),
        ('exclude_state=PENDING', {20, 30}),
        ('exclude_state=PENDING&exclude_state=CANCELED', {20}),
        ('proposal=SECOND2026', {30}),
        ('name=vega', {20}),
        ('user=ada', {30}),
        ('request_id=2', {20}),
        ('modified_after=AFTER', {20}),
        ('modified_before=AFTER', {10, 30}),
        ('created_before=AFTER', {10, 20, 30}),
        ('created_after=AFTER', set()),
        ('state=', {10, 20, 30}),
        # These are no filters, and nobody says so:
        ('id=20', {10, 20, 30}),
        ('id__in=20,30', {10, 20, 30}),
    ],
)
def test_filters_of_request_groups(sky, query, expected):
    sky.accounts[sky.token].proposals.add('SECOND2026')
    sky.add_request(1, group=10)
    sky.add_request(2, group=20, target='Vega')
    sky.add_request(3, group=30, proposal='SECOND2026', submitter='ada', state='CANCELED')
    after = (sky.now() + timedelta(minutes=30)).strftime('%Y-%m-%dT%H:%M:%S')
    sky.advance(hours=1)
    sky.complete(2)
    query = query.replace('AFTER', after)
    assert set(ids(ask(sky, f'/api/requestgroups/?limit=1000&{query}'))) == expected


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('', {1, 2, 3}),
        ('state=PENDING', {1}),
        ('state=PENDING&state=COMPLETED', {2}),  # a single choice: the last one counts
        ('telescope_class=1m0', {1, 2, 3}),
        ('telescope_class=0m4', set()),
        ('request_id=1', {1, 2, 3}),
    ],
)
def test_filters_of_requests(sky, query, expected):
    for number, state in ((1, 'PENDING'), (2, 'COMPLETED'), (3, 'CANCELED')):
        sky.add_request(number, state=state)
    assert set(ids(ask(sky, f'/api/requests/?{query}'))) == expected


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('', {1, 2}),
        ('request_id=1', {1}),
        ('state=COMPLETED', {2}),
        ('state=COMPLETED&state=PENDING', {1, 2}),
        ('request_state=PENDING', {1}),
        ('proposal=NONE', set()),
        ('start_after=SOON', {1}),
        ('start_before=SOON', {2}),
        ('end_after=SOON', {1}),
        ('end_before=SOON', {2}),
        ('modified_after=SOON', set()),
    ],
)
def test_filters_of_observations(sky, query, expected):
    sky.add_request(1)
    sky.add_request(2)
    sky.schedule(1, start=sky.now() + timedelta(hours=2))
    sky.complete(2)
    soon = (sky.now() + timedelta(hours=1)).isoformat()[:19]
    rows = ask(sky, f'/api/observations/?{query.replace("SOON", soon)}').json()['results']
    assert {row['request']['id'] for row in rows} == expected


@pytest.mark.parametrize(
    ('query', 'name'),
    [
        ('requestgroups/?state=NOT_ATTEMPTED', 'state'),  # a state of observations, not of groups
        ('requestgroups/?exclude_state=Done', 'exclude_state'),
        ('requestgroups/?request_id=abc', 'request_id'),
        ('requestgroups/?modified_after=yesterday', 'modified_after'),
        ('observations/?state=DONE', 'state'),
    ],
)
def test_a_value_that_a_filter_cannot_use(sky, query, name):
    sky.add_request(1)
    sky.schedule(1)
    response = ask(sky, f'/api/{query}')
    assert response.status_code == 400
    assert list(response.json()) == [name]


def test_what_nobody_may_send_and_what_it_does_not_take(sky):
    sent = requests.post(sky.url + '/api/requestgroups/', json={'name': 'x'}, timeout=5)
    assert sent.status_code == 403
    sent = requests.post(sky.url + '/api/requests/', json={'name': 'x'}, timeout=5)
    assert sent.status_code == 405


def test_states_that_do_not_exist_are_refused():
    sky = Observatory()
    with pytest.raises(ValueError, match='DONE'):
        sky.add_request(1, state='DONE')
    assert not sky.groups
    sky.add_request(1)
    with pytest.raises(ValueError, match='already a request 1'):
        sky.add_request(1)
    with pytest.raises(ValueError, match='PENDING, COMPLETED'):
        sky.set_state(1, 'IN_PROGRESS')
