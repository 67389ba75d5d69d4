"""A file is stored only where it is whole and what its name promises: B1 and B2 of faults-found.

Where neither a length nor a checksum vouches for it, the format decides.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import tarfile
import warnings
import zipfile
from threading import Thread
from unittest.mock import Mock

import numpy
import pytest
from astropy.io import fits
from PIL import Image

from tom_auto.files import whole_file
from tom_auto.files.whole_file import HEAD, Received

BLOCK = 2880
MESSAGE = json.dumps({'detail': 'Not found.'}).encode()
PAGE = b'<html><body>Down for maintenance</body></html>'


@pytest.mark.parametrize('threads', ['one more thread', 'no more threads'])
@pytest.mark.parametrize('size', [0, 1, whole_file.BIG - 1, whole_file.BIG, 3 * whole_file.BIG + 7])
def test_what_is_received_has_its_checksum_at_any_size(monkeypatch, size, threads):
    """Of a big file it is made in a thread, where there may be one (`ulimit -u`)."""
    if threads == 'no more threads':
        monkeypatch.setattr(
            Thread, 'start', Mock(side_effect=RuntimeError("can't start new thread"))
        )
    content = random.Random(size).randbytes(size)
    cuts = range(0, size, 3 * whole_file.CHUNK - 1)
    received = whole_file.received_from(content[at : at + cuts.step] for at in cuts)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert received == Received(size, md5, content[:HEAD])


def fault(filename: str, content: bytes, content_type: str = '', md5: str = '') -> str:
    """What is wrong with a file that arrived with this content."""
    file = io.BytesIO(content)
    read = whole_file.read(file)
    received = Received(read.size, read.md5, content[:HEAD], content_type)
    return whole_file.fault(filename, file, received, md5)


# --- B1: FITS ---


def written(*units: object) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fits.HDUList(list(units)).writeto(file)
    return file.getvalue()


def image(*shape: int) -> numpy.ndarray:
    return numpy.arange(1, numpy.prod(shape) + 1, dtype='int16').reshape(shape)


def table() -> fits.BinTableHDU:
    columns = [
        fits.Column(name='time', format='D', array=numpy.arange(1.0, 41.0)),
        # of varying length: such values lie in a heap behind the table
        fits.Column(name='counts', format='PJ()', array=[numpy.arange(1, 9)] * 40),
    ]
    return fits.BinTableHDU.from_columns(columns)


def random_groups() -> bytes:
    """By hand: as radio interferometers write them, the size is in NAXIS2 and GCOUNT."""
    cards = {
        'SIMPLE': 'T', 'BITPIX': '16', 'NAXIS': '3', 'NAXIS1': '0', 'NAXIS2': '10', 'NAXIS3': '12',
        'GROUPS': 'T', 'PCOUNT': '2', 'GCOUNT': '20',
    }  # fmt: skip
    header = ''.join(f'{name:<8}= {value:>20}'.ljust(80) for name, value in cards.items())
    data = image(20 * (2 + 10 * 12)).astype('>i2').tobytes()
    return (header + 'END').ljust(BLOCK).encode() + data.ljust(2 * BLOCK, b'\0')


FITS = {
    'an image': written(fits.PrimaryHDU(image(50, 70))),
    'an image that fills its blocks': written(fits.PrimaryHDU(image(36, 40))),
    'a header alone': written(fits.PrimaryHDU()),
    'a long header': written(fits.PrimaryHDU(header=fits.Header([('COMMENT', 'x' * 9000)]))),
    'extensions': written(fits.PrimaryHDU(), fits.ImageHDU(image(30, 61)), table()),
    'a compressed image': written(fits.PrimaryHDU(), fits.CompImageHDU(image(64, 64))),
    'a text table': written(
        fits.PrimaryHDU(),
        fits.TableHDU.from_columns([fits.Column('a', 'A10', array=['0123456789'] * 9)]),
    ),
    'random groups': random_groups(),
}


def boundaries(content: bytes) -> list[tuple[int, int]]:
    """For each part of a FITS file, where its last byte that means something is, and its end."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as units:
        places = [(unit.fileinfo()['datLoc'], unit.size) for unit in units]
    return [(begin + size, begin + -(-size // BLOCK) * BLOCK) for begin, size in places]


@pytest.mark.parametrize('kind', FITS)
def test_a_whole_fits_file_is_stored_padded_or_not(kind):
    """B1: whole without the padding of the last block was refused at every run."""
    content = FITS[kind]
    last, end = boundaries(content)[-1]
    assert end == len(content)
    for size in {last, (last + end) // 2, end}:
        assert fault('a.fits', content[:size]) == ''
    assert fault('a.fits.fz', content + bytes(BLOCK)) == ''  # as some tapes and writers leave it


@pytest.mark.parametrize('kind', FITS)
def test_a_fits_file_that_breaks_off_anywhere_is_refused(kind):
    """B1: cut at a block's end it was stored. Only the end of a part looks like the file's end."""
    content = FITS[kind]
    ends = [range(last, end + 1) for last, end in boundaries(content)]
    cuts = {*range(0, len(content), BLOCK), *range(1, len(content), 997), len(content) - BLOCK - 1}
    cuts |= {last - 1 for last, _ in boundaries(content)}
    for cut in cuts:
        if not any(cut in allowed for allowed in ends):
            assert fault('a.fits', content[:cut]), f'cut at {cut} of {len(content)}'


def test_what_follows_a_fits_file_is_no_reason_to_refuse_it_unless_it_is_another_part():
    content = FITS['an image']
    assert 'breaks off' in fault('a.fits', content + FITS['extensions'][BLOCK : BLOCK + 100])


@pytest.mark.parametrize('name', ['a.fits', 'a.FITS', 'a.fit', 'a.fts', 'a.fits.fz'])
def test_what_is_no_fits_file_is_refused(name):
    for content in (b'SIMPLE', b'XTENSION= IMAGE', b'a table, with words', bytes(BLOCK)):
        assert fault(name, content)


def test_a_checksum_settles_the_matter():
    """The archive knows best: what it lists is stored as it is, and nothing else is."""
    for content in (FITS['an image'][:100], b'odd', MESSAGE, PAGE):
        md5 = whole_file.read(io.BytesIO(content)).md5
        assert fault('a.fits', content, md5=md5) == ''
    assert 'checksum' in fault('a.fits', FITS['an image'], md5='0' * 32)


def test_a_file_is_judged_in_constant_memory_and_left_open(tmp_path):
    """astropy closes the files that it is given; the part file is still to be moved."""
    with (tmp_path / 'a.fits').open('w+b') as file:
        file.write(FITS['extensions'])
        file.seek(0)
        assert whole_file.fault('a.fits', file, whole_file.read(file)) == ''
        assert not file.closed


# --- B2: all else ---


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        member = tarfile.TarInfo('spectrum.csv')
        member.size = len(noise())
        archive.addfile(member, io.BytesIO(noise()))
    return file.getvalue()


def noise() -> bytes:
    return numpy.random.default_rng(1).bytes(50_000)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('a.csv', noise())
    return file.getvalue()


def drawn(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((80, 80), 60).save(file, kind)
    return file.getvalue()


PACKED = {
    'a.fits.gz': gzip.compress(FITS['extensions']),
    'a.fits.bz2': bz2.compress(FITS['extensions']),
    'a.csv.gz': gzip.compress(noise()),
    'a.tar.gz': gzip.compress(tar()),
    'a.tgz': gzip.compress(tar()),
    'a.tar.bz2': bz2.compress(tar()),
    'a.tar.xz': lzma.compress(tar()),
    'a.csv.gz of two': gzip.compress(noise()) + gzip.compress(noise()),
    'a.zip': zipped(),
}
IMAGES = {
    'a.jpg': drawn('JPEG'), 'a.jpeg': drawn('JPEG'), 'a.png': drawn('PNG'), 'a.gif': drawn('GIF'),
}  # fmt: skip
OTHERS = {
    'a.csv': b'time,flux\n1,2\n', 'a.txt': b'# as [observed]', 'a.json': MESSAGE,
    'a.html': PAGE, 'a.xml': b'<?xml version="1.0"?><VOTABLE/>', 'a': b'?', 'a.dat': b'{1} 2\n',
    'a.csv with brackets': b'[Angstrom],[Jy]\n1,2\n', 'a.pdf': b'%PDF-1.7 ...',
}  # fmt: skip


@pytest.mark.parametrize('named', PACKED | IMAGES | OTHERS)
def test_what_is_as_its_name_says_is_stored(named):
    content = (PACKED | IMAGES | OTHERS)[named]
    assert fault(named.split()[0], content) == ''
    assert fault(named.split()[0].upper(), content, 'application/octet-stream') == ''


@pytest.mark.parametrize('named', PACKED)
def test_half_of_a_packed_file_is_refused(named):
    """B2: half a `.fits.gz` or `.tar.gz` was stored. It is read to its end."""
    content = PACKED[named]
    for size in (10, len(content) // 4, len(content) - len(content) // 3, len(content) - 1):
        assert 'breaks off' in fault(named.split()[0], content[:size]), size


@pytest.mark.parametrize('named', PACKED)
def test_a_packed_file_with_a_wrong_byte_is_refused(named):
    content = bytearray(PACKED[named])
    content[len(content) // 2] ^= 0xFF
    assert fault(named.split()[0], bytes(content))


@pytest.mark.parametrize('named', ['a.fits.gz', 'a.fits.bz2'])
def test_a_packed_fits_file_holds_a_fits_file(named):
    pack = gzip.compress if named.endswith('gz') else bz2.compress
    assert 'not a compressed FITS file' in fault(named, pack(b'SIMPLY no FITS file'))


@pytest.mark.parametrize('kind', ['jpg', 'jpeg', 'png', 'gif', 'fits', 'fits.gz', 'fits.fz', 'zip',
                                  'fits.bz2', 'csv', 'txt', 'tar.gz', 'dat', 'pdf'])  # fmt: skip
@pytest.mark.parametrize(
    ('content', 'content_type'),
    [
        (MESSAGE, 'application/json'),
        (MESSAGE, ''),
        (b' \r\n' + MESSAGE, ''),
        (b'[]', ''),
        (PAGE, ''),
        (b'<!DOCTYPE html>\n<title>Login</title>', ''),
        (b'\xef\xbb\xbf<!doctype HTML>', ''),
        (b'<head><title>Log in</title></head>', ''),
        (b'<!-- nginx --><html>502</html>', ''),
        (b'<!-- a long comment' + b' ' * 600 + b'--><HTML>502</HTML>', ''),
        (b'Please log in.', 'text/html'),
        (b'<p>Please log in.', 'text/html'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ''),
        (b'<Error><Code>NoSuchKey</Code></Error>', ''),
        (b'', ''),
    ],
)
def test_an_error_page_is_no_data_whatever_it_is_called(kind, content, content_type):
    """B2: JSON as `.jpg`, `.csv` or `.fits.bz2`, and HTML that begins otherwise, were stored."""
    assert fault(f'a.{kind}', content, content_type)


@pytest.mark.parametrize('named', IMAGES)
def test_an_image_has_its_signature(named):
    assert 'not an image' in fault(named, b'Not an image at all.')
