"""The frames are real FITS files that look like a sky, and the same to the byte every time."""

import io
import subprocess
import sys
import warnings

import pytest

from simulated import Observatory


@pytest.fixture(scope='module')
def night():
    night = Observatory()  # nobody needs to ask it over HTTP
    night.add_request(1234, target='M 31', ra=10.6847, dec=41.269, filter='gp', exposure=60)
    night.schedule(1234)
    return night


def opened(frame):
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return fits.open(io.BytesIO(frame.content))


@pytest.mark.parametrize(('extension', 'hdu'), [('.fits', 0), ('.fits.fz', 'SCI')])
def test_where_the_image_is(night, extension, hdu):
    frame = night.add_frame(1234, extension=extension)
    with opened(frame) as file:
        file.verify('exception')
        assert file[hdu].data.shape == (256, 256)
        assert file[hdu].data.dtype.kind + str(file[hdu].data.dtype.itemsize) == 'i2'
    assert 30_000 < len(frame.content) < 150_000


def test_the_header_says_what_it_is(night):
    frame = night.add_frame(1234, extension='.fits')
    header = opened(frame)[0].header
    expected = {
        'ORIGIN': 'LCOGT',
        'SITEID': 'coj',
        'TELID': '1m0-11',
        'INSTRUME': 'fa12',
        'OBJECT': 'M 31',
        'RA': '00:42:44.328',
        'DEC': '+41:16:08.400',
        'FILTER': 'gp',
        'EXPTIME': 60.0,
        'PROPID': 'DEMO2026',
        'REQNUM': '1234',
        'RLEVEL': 91,
    }
    assert {name: header[name] for name in expected} == expected
    assert header['DATE-OBS'] == frame.observed_at.isoformat()[:23]


def test_the_target_is_where_the_coordinates_say(night):
    import numpy as np
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    header, data = (lambda hdu: (hdu.header, hdu.data))(opened(night.add_frame(1234))['SCI'])
    place = SkyCoord(header['RA'], header['DEC'], unit=(units.hourangle, units.deg))
    column, row = WCS(header).world_to_pixel(place)
    assert (float(column), float(row)) == pytest.approx((127.5, 127.5), abs=0.01)
    middle = data[120:136, 120:136]
    low, left = np.unravel_index(middle.argmax(), middle.shape)
    assert abs(low - 7.5) <= 1.5
    assert abs(left - 7.5) <= 1.5


def test_there_are_stars_and_a_background(night):
    import numpy as np

    data = opened(night.add_frame(1234))['SCI'].data.astype(float)
    sky = np.median(data)
    noise = 1.48 * np.median(np.abs(data - sky))
    assert 100 < sky < 200
    assert 8 < noise < 25
    bright = np.mean(data > sky + 10 * noise)
    assert 0.005 < bright < 0.15


def test_a_raw_frame_has_a_bias_level(night):
    import numpy as np

    raw, reduced = night.complete(1234, reduction_levels=(0, 91))
    levels = [np.median(opened(frame)['SCI'].data) for frame in (raw, reduced)]
    assert levels[0] - levels[1] > 250


def test_the_same_frame_is_the_same_to_the_byte():
    def content():
        night = Observatory()
        night.add_request(1)
        frame = night.add_frame(1, filename='fixed.fits.fz', observed_at=moment)
        return frame.content, frame.md5, night.reprocess(frame).body.md5

    moment = Observatory().now()
    assert content() == content()
    assert content()[1] != content()[2]


def test_two_frames_of_a_field_show_the_same_stars(night):
    import numpy as np

    first, second = night.complete(1234, frames=2)
    assert first.md5 != second.md5
    images = [opened(frame)['SCI'].data.ravel().clip(0, 400) for frame in (first, second)]
    assert np.corrcoef(images)[0, 1] > 0.8


@pytest.mark.parametrize('pixels', [32, 64, 300])
@pytest.mark.parametrize('target', ['α Centauri', 'Ⅳ Zw 29\n', 'x' * 100])
def test_any_size_and_any_name(night, pixels, target):
    request = night.add_request(target=target, dec=-60.8)
    frame = night.add_frame(request.id, pixels=pixels)
    assert opened(frame)['SCI'].data.shape == (pixels, pixels)


def test_nothing_is_drawn_before_someone_looks():
    code = (
        'import sys\n'
        'from tom_auto.simulator import Observatory\n'
        'with Observatory() as sky:\n'
        '    sky.add_request(1)\n'
        '    sky.complete(1, frames=50)\n'
        'heavy = {"numpy", "astropy", "django", "requests"} & sys.modules.keys()\n'
        'sys.exit(f"imported: {heavy}" if heavy else 0)\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=30)
