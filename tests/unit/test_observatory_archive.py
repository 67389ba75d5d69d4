"""The simulated archive answers as science archive 2.7.2 was measured to answer."""

from datetime import timedelta

import pytest
import requests

from simulated import Observatory


@pytest.fixture
def sky():
    with Observatory() as sky:
        sky.add_request(1234, target='M 31', filter='gp', exposure=30)
        yield sky


def ask(sky, path, token='demo-token'):
    headers = {'Authorization': f'Token {token}'} if token else {}
    url = path if path.startswith('http') else sky.url + path
    return requests.get(url, headers=headers, timeout=5)


def listed(sky, query, **options):
    response = ask(sky, f'/frames/?{query}', **options)
    assert response.status_code == 200, response.text
    return response.json()


def all_pages(sky, query):
    answer = listed(sky, query)
    rows = answer['results']
    while answer['next']:
        answer = ask(sky, answer['next']).json()
        rows += answer['results']
    return [row['id'] for row in rows]


def add_frames(sky, number, request_id=1234):
    return [sky.add_frame(request_id, content=b'x', observed_at=sky.now()) for _ in range(number)]


def test_a_frame_has_its_old_names_and_its_new_ones(sky):
    [frame] = sky.complete(1234, content=b'x')
    [row] = listed(sky, 'request_id=1234')['results']
    assert row['id'] == frame.id
    assert row['filename'] == row['basename'] + '.fits.fz' == frame.filename
    assert row['basename'].startswith('coj1m011-fa12-20')
    assert row['basename'].endswith('-e91')
    assert row['DATE_OBS'] == row['observation_date']
    assert row['REQNUM'] == row['request_id'] == 1234
    assert row['RLEVEL'] == row['reduction_level'] == 91
    assert row['PROPID'] == row['proposal_id'] == 'DEMO2026'
    assert (row['FILTER'], row['EXPTIME'], row['OBJECT']) == ('gp', 30, 'M 31')
    assert row['observation_id'] == sky.requests[1234].observations[0].id
    assert row['url'] == row['version_set'][0]['url']
    assert not {'size', 'filesize'} & row.keys()


def test_one_frame_is_the_same_object(sky):
    [frame] = sky.complete(1234, content=b'x')
    [row] = listed(sky, 'request_id=1234')['results']
    one = ask(sky, f'/frames/{frame.id}/').json()
    assert ask(sky, f'/frames/{frame.id}').json()['id'] == frame.id  # redirected
    for answer in (one, row):  # addresses differ in every answer
        assert answer.pop('url')
        assert answer['version_set'][0].pop('url')
    assert one == row


def test_frames_arrive_late_and_not_in_order_of_their_ids(sky):
    now = sky.now()
    frames = sky.complete(1234, frames=3, available_from=now + timedelta(hours=2), content=b'x')
    assert listed(sky, 'request_id=1234')['count'] == 0
    assert ask(sky, f'/frames/{frames[0].id}/').status_code == 404
    sky.advance(hours=2, seconds=1)
    assert listed(sky, 'request_id=1234')['count'] == 3
    more = add_frames(sky, 300)
    ids = [frame.id for frame in more]
    assert len(set(ids)) == 300
    assert ids != sorted(ids)
    assert ids != sorted(ids, reverse=True)


def test_raw_and_reduced_frames_know_of_each_other(sky):
    raw, reduced = sky.complete(1234, reduction_levels=(0, 91), content=b'x')
    assert raw.basename.removesuffix('-e00') == reduced.basename.removesuffix('-e91')
    assert raw.id != reduced.id
    assert ask(sky, f'/frames/{reduced.id}/').json()['related_frames'] == [raw.id]
    assert ask(sky, f'/frames/{raw.id}/').json()['related_frames'] == [reduced.id]
    [row] = listed(sky, 'request_id=1234&include_related_frames=false&RLEVEL=0')['results']
    assert 'related_frames' not in row


def test_reprocessing_keeps_the_id_and_adds_a_version(sky):
    frame = sky.add_frame(1234, content=b'first')
    sky.advance(hours=1)
    sky.reprocess(frame, content=b'second')
    row = ask(sky, f'/frames/{frame.id}/').json()
    newest, oldest = row['version_set']
    assert newest['created'] > oldest['created']
    assert newest['md5'] != oldest['md5']
    assert requests.get(row['url'], timeout=5).content == b'second'
    assert requests.get(oldest['url'], timeout=5).content == b'first'


@pytest.mark.parametrize(
    ('token', 'status', 'count'),
    [('demo-token', 200, 1), (None, 200, 0), ('revoked', 200, 0), ('wrong', 401, None)],
)
def test_who_sees_a_frame(sky, token, status, count):
    [frame] = sky.complete(1234, content=b'x')
    sky.add_token('revoked', proposals=['DEMO2026'], username='ada')
    sky.revoke('revoked')
    response = ask(sky, '/frames/?request_id=1234', token)
    assert (response.status_code, response.json().get('count')) == (status, count)
    alone = ask(sky, f'/frames/{frame.id}/', token)
    assert alone.status_code == {1: 200, 0: 404, None: 401}[count]


def test_a_missing_frame_and_a_forbidden_one_look_the_same(sky):
    sky.add_request(2, proposal='THEIRS2026')
    [frame] = sky.complete(2, content=b'x')
    missing, forbidden = ask(sky, '/frames/1/'), ask(sky, f'/frames/{frame.id}/')
    assert missing.status_code == forbidden.status_code == 404
    assert missing.text == forbidden.text
    assert listed(sky, 'request_id=2')['count'] == 0
    sky.public.add('THEIRS2026')
    assert listed(sky, 'request_id=2', token=None)['count'] == 1


def test_pages_hold_100_and_never_more_than_1000(sky):
    frames = add_frames(sky, 1500)
    assert len(listed(sky, 'request_id=1234')['results']) == 100
    answer = listed(sky, 'request_id=1234&limit=5000')
    assert (answer['count'], len(answer['results'])) == (1500, 1000)
    expected = {frame.id for frame in frames}
    for query in ('limit=1000', 'limit=700'):
        found = all_pages(sky, f'request_id=1234&include_related_frames=false&{query}')
        assert (len(found), set(found)) == (1500, expected), query


def test_reqnum_loses_frames_in_silence_when_told_to(sky):
    add_frames(sky, 1500)
    assert len(all_pages(sky, 'REQNUM=1234&limit=1000')) == 1500
    sky.estimate = 1
    answer = listed(sky, 'REQNUM=1234&limit=1000')
    assert (answer['count'], len(answer['results']), answer['next']) == (1, 1000, None)
    assert len(all_pages(sky, 'request_id=1234&limit=1000')) == 1500


@pytest.mark.parametrize('name', ['REQNUM', 'request_id', 'RLEVEL'])
def test_a_number_that_is_none(sky, name):
    sky.complete(1234, content=b'x')
    response = ask(sky, f'/frames/?{name}=abc')
    assert (response.status_code, response.json()) == (400, {name: ['Enter a number.']})


@pytest.mark.parametrize(
    ('query', 'count'),
    [
        ('', 3),
        ('request_id=1234', 2),
        ('request_id=9', 0),
        ('reduction_level=0', 1),
        ('RLEVEL=91', 2),
        ('proposal_id=DEMO2026', 3),
        ('PROPID=OTHER', 0),
        ('OBJECT=vega', 1),
        ('basename=E00', 1),
        ('basename_exact=picture', 1),
        ('start=LATER', 1),
        ('end=LATER', 2),
        ('modified_after=LATER', 3),  # no such filter, and nobody says so
    ],
)
def test_filters(sky, query, count):
    sky.add_request(2, target='Vega')
    sky.complete(1234, reduction_levels=(0, 91), content=b'x')
    later = (sky.now() + timedelta(minutes=1)).isoformat()[:19]
    sky.advance(hours=1)
    sky.add_frame(2, filename='picture.png', content=b'x')
    assert listed(sky, query.replace('LATER', later))['count'] == count


def test_frames_of_any_name(sky):
    names = ['../../etc/passwd.fits', '/etc/passwd.fits.fz', 'λ Cen.csv', 'README', '.profile']
    for name in names:
        sky.add_frame(1234, filename=name, content=name.encode())
    rows = listed(sky, 'request_id=1234')['results']
    assert {row['filename'] for row in rows} == set(names)
    for row in rows:
        assert requests.get(row['url'], timeout=5).text.encode() == row['filename'].encode()
    with pytest.raises(ValueError, match='already a frame 5'):
        for _ in range(2):
            sky.add_frame(1234, frame_id=5, content=b'x')
