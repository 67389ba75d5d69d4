"""Draws star fields as FITS files; the same name always gives the same bytes."""

import hashlib
import io
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
from astropy.coordinates import Angle
from astropy.io import fits
from numpy.typing import NDArray

from .model import Frame, Version, plain

PIXEL_SCALE = 0.389  # arcseconds a pixel: LCO's Sinistro cameras
MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
ZERO_POINT = 23.0  # magnitude of a star that gives one count a second
FAINTEST = 21.0  # magnitude
STARS_PER_PIXEL = 0.0022
COUNT_SLOPE = 0.30  # log10 of how many more stars there are a magnitude fainter
MOFFAT_BETA = 3.0
SKY = 2.2  # counts a second in every pixel
BIAS = 320.0  # counts, in a raw frame
READ_NOISE = 7.0  # counts

Image = NDArray[np.float64]
_one_at_a_time = threading.Lock()  # cfitsio, inside astropy, makes no promise about threads


def generator(text: str) -> np.random.Generator:
    """Random numbers that are always the same for this `text`."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def stars(field: str, pixels: int) -> tuple[Image, Image, Image]:
    """Columns, rows (pixels from the lower left) and magnitudes of the stars of `field`."""
    random = generator(field)
    number = max(8, int(STARS_PER_PIXEL * pixels * pixels))
    columns, rows = random.uniform(0, pixels, (2, number))
    magnitudes = FAINTEST + np.log10(random.uniform(1e-4, 1, number)) / COUNT_SLOPE
    columns[0] = rows[0] = (pixels - 1) / 2  # the target, in the middle
    magnitudes[0] = 14.0
    return columns, rows, magnitudes


def expose(field: str, pixels: int, exposure: float, fwhm: float) -> Image:
    """The light of the stars alone, in counts, through seeing of `fwhm` pixels."""
    image = np.zeros((pixels, pixels))
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = (MOFFAT_BETA - 1) / (np.pi * alpha**2)
    for column, row, magnitude in zip(*stars(field, pixels), strict=True):
        flux = exposure * 10 ** (0.4 * (ZERO_POINT - magnitude))
        # As far out as the star still adds half a count.
        reach = alpha * ((flux * peak / 0.5) ** (1 / MOFFAT_BETA)) ** 0.5 + 2
        left, low = (max(0, int(centre - reach)) for centre in (column, row))
        right, high = (min(pixels, int(centre + reach) + 1) for centre in (column, row))
        y, x = np.ogrid[low:high, left:right]
        radius = ((x - column) ** 2 + (y - row) ** 2) / alpha**2
        image[low:high, left:right] += flux * peak * (1 + radius) ** -MOFFAT_BETA
    return image


def picture(frame: Frame, version: Version) -> NDArray[np.int16]:
    """The image: its request fixes the stars, its name and version the seeing and the noise."""
    request = frame.request
    random = generator(f'{frame.basename} {version.number}')
    field = f'{request.target} {request.ra:.4f} {request.dec:.4f}'
    stars_alone = expose(field, frame.pixels, request.exposure, fwhm=random.uniform(3.6, 5.2))
    light = stars_alone + SKY * request.exposure
    counts = random.poisson(light) + random.normal(0, READ_NOISE, light.shape)
    if frame.reduction_level == 0:
        counts += BIAS
    whole: NDArray[np.int16] = np.clip(np.rint(counts), -32768, 32767).astype(np.int16)
    return whole


def fits_file(frame: Frame, version: Version) -> bytes:
    """The image in the primary HDU, or tile-compressed in an extension SCI, as LCO's .fits.fz."""
    image, header = picture(frame, version), fits.Header(list(cards(frame, version).items()))
    if version.extension.endswith('.fz'):
        # In tiles of 64 rows: one row each, the default, takes three times as long.
        tile = (min(len(image), 64), len(image))
        science = fits.CompImageHDU(
            image, header, name='SCI', compression_type='RICE_1', tile_shape=tile
        )
        hdus = fits.HDUList([fits.PrimaryHDU(), science])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(image, header)])
    file = io.BytesIO()
    with _one_at_a_time:
        hdus.writeto(file)
    return file.getvalue()


def cards(frame: Frame, version: Version) -> dict[str, str | int | float]:
    """The FITS header of this version of `frame`, keyword by keyword, as LCO writes it."""
    request = frame.request
    return {
        'ORIGIN': 'LCOGT',
        'SITEID': request.telescope.site,
        'TELID': request.telescope.telid,
        'INSTRUME': request.telescope.camera,
        'OBSTYPE': 'EXPOSE',
        'DATE-OBS': frame.observed_at.replace(tzinfo=None).isoformat(timespec='milliseconds'),
        'MJD-OBS': round((frame.observed_at - MJD_ZERO) / timedelta(days=1), 8),
        'DAY-OBS': f'{frame.observed_at:%Y%m%d}',
        'EXPTIME': request.exposure,
        'FILTER': request.filter,
        'OBJECT': plain(request.target),
        'RA': Angle(request.ra, 'deg').to_string('hour', sep=':', precision=3, pad=True),
        'DEC': Angle(request.dec, 'deg').to_string(sep=':', precision=3, pad=True, alwayssign=True),
        'RADESYS': 'ICRS',
        'PROPID': request.proposal,
        'GROUPID': plain(request.group.name),
        'REQNUM': str(request.id),
        'BLKUID': str(frame.observation_id),
        'RLEVEL': frame.reduction_level,
        'PIPEVER': f'1.{version.number}',
        **world_coordinates(request.ra, request.dec, frame.pixels),
    }


def world_coordinates(ra: float, dec: float, pixels: int) -> dict[str, str | int | float]:
    """The target in the middle of the image, north up, east to the left (degrees)."""
    middle = (pixels + 1) / 2
    step = PIXEL_SCALE / 3600
    axes = {'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'CUNIT1': 'deg', 'CUNIT2': 'deg'}
    centre = {'CRPIX1': middle, 'CRPIX2': middle, 'CRVAL1': ra, 'CRVAL2': dec}
    return {**axes, **centre, 'CD1_1': -step, 'CD1_2': 0.0, 'CD2_1': 0.0, 'CD2_2': step}
