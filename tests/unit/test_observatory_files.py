"""The simulated file store hands out bytes as Amazon's S3 does, for presigned addresses only."""

import hashlib
import tracemalloc

import pytest
import requests

from simulated import Observatory

TOKEN = {'Authorization': 'Token demo-token'}
CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope='module')
def sky():
    with Observatory() as sky:
        sky.add_request(1)
        sky.add_frame(1, frame_id=7, content=CONTENT)
        yield sky


def shown(sky, frame_id=7):
    return requests.get(f'{sky.url}/frames/{frame_id}/', headers=TOKEN, timeout=5).json()


def test_a_whole_file(sky):
    frame = shown(sky)
    response = requests.get(frame['url'], timeout=5)
    assert response.content == CONTENT
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    assert frame['version_set'][0]['md5'] == md5
    assert response.headers['ETag'] == f'"{md5}"'
    assert response.headers['Content-Length'] == '10240'
    assert 'Content-Encoding' not in response.headers


def test_the_address_is_never_the_same_and_tells_its_age(sky):
    addresses = {shown(sky)['url'] for _ in range(5)}
    assert len(addresses) == 5
    assert all('X-Amz-Expires=172800' in address for address in addresses)
    assert all('X-Amz-Signature=' in address for address in addresses)


@pytest.mark.parametrize(
    ('spoil', 'headers', 'status', 'code'),
    [
        (lambda url: url, TOKEN, 400, 'InvalidArgument'),
        (lambda url: url[:-1] + ('0' if url[-1] != '0' else '1'), {}, 403, 'SignatureDoesNotMatch'),
        (lambda url: url.replace('-e91', '-e00'), {}, 403, 'SignatureDoesNotMatch'),
        (lambda url: url.replace('172800', '999999'), {}, 403, 'SignatureDoesNotMatch'),
        (lambda url: url.partition('?')[0], {}, 403, 'SignatureDoesNotMatch'),
    ],
)
def test_refusals(sky, spoil, headers, status, code):
    response = requests.get(spoil(shown(sky)['url']), headers=headers, timeout=5)
    assert response.status_code == status
    assert response.headers['Content-Type'] == 'application/xml'
    assert f'<Code>{code}</Code>' in response.text


def test_an_address_is_for_get_alone(sky):
    assert requests.head(shown(sky)['url'], timeout=5).status_code == 403


def test_an_address_lasts_48_hours():
    with Observatory() as sky:
        sky.add_request(1)
        sky.add_frame(1, frame_id=7, content=b'x')
        url = shown(sky)['url']
        sky.advance(hours=47, minutes=59)
        assert requests.get(url, timeout=5).status_code == 200
        sky.advance(minutes=2)
        late = requests.get(url, timeout=5)
        assert late.status_code == 403
        assert 'Request has expired' in late.text
        assert requests.get(shown(sky)['url'], timeout=5).status_code == 200


def test_a_file_larger_than_memory_should_hold(sky):
    size = 2880 * 20_000  # 58 MB
    frame = sky.add_frame(1, size=size, extension='.fits')
    url = shown(sky, frame.id)['url']
    digest, received = hashlib.md5(usedforsecurity=False), 0
    tracemalloc.start()
    try:
        with requests.get(url, stream=True, timeout=5) as response:
            assert response.headers['Content-Length'] == str(size)
            for chunk in response.iter_content(1 << 16):
                if not received:
                    assert chunk.startswith(b'SIMPLE  =                    T')
                digest.update(chunk)
                received += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received == size
    assert digest.hexdigest() == frame.md5
    assert peak < 8 << 20


@pytest.mark.parametrize('size', [0, 1, 100, 2880, 5760, (1 << 20) + 1, 3 << 20])
def test_fillers_of_any_size(size):
    sky = Observatory()
    sky.add_request(1)
    frame = sky.add_frame(1, size=size)
    assert len(frame.content) == size
