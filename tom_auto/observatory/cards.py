"""The FITS header of a frame, as LCO writes it, as plain values without astropy."""

import unicodedata
from datetime import UTC, datetime, timedelta

from .model import Frame, Version

PIXEL_SCALE = 0.389  # arcseconds a pixel: LCO's Sinistro cameras
MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)

Card = str | int | float


def cards(frame: Frame, version: Version) -> dict[str, Card]:
    """What the header of this version of `frame` says, its world coordinates included."""
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
        'RA': sexagesimal(request.ra / 15),
        'DEC': sexagesimal(request.dec, sign=True),
        'RADESYS': 'ICRS',
        'PROPID': request.proposal,
        'GROUPID': plain(request.group.name),
        'TRACKNUM': str(request.group.id),
        'REQNUM': str(request.id),
        'BLKUID': str(frame.observation_id),
        'RLEVEL': frame.reduction_level,
        'PIPEVER': f'1.{version.number}',
        'ORIGNAME': plain(frame.basename),
        'GAIN': 1.0,
        'SATURATE': 32767,
        **world_coordinates(request.ra, request.dec, frame.pixels),
    }


def world_coordinates(ra: float, dec: float, pixels: int) -> dict[str, Card]:
    """The target in the middle of the image, north up, east to the left (degrees)."""
    middle = (pixels + 1) / 2
    step = PIXEL_SCALE / 3600
    axes = {'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'CUNIT1': 'deg', 'CUNIT2': 'deg'}
    centre = {'CRPIX1': middle, 'CRPIX2': middle, 'CRVAL1': ra, 'CRVAL2': dec}
    return {**axes, **centre, 'CD1_1': -step, 'CD1_2': 0.0, 'CD2_1': 0.0, 'CD2_2': step}


def sexagesimal(value: float, sign: bool = False) -> str:
    """`value` in hours or degrees as 00:42:44.330, with a sign before it if asked."""
    thousandths = round(abs(value) * 3_600_000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    mark = ('-' if value < 0 else '+') if sign else ''
    return f'{mark}{hours:02d}:{minutes:02d}:{thousandths / 1000:06.3f}'


def plain(text: str) -> str:
    """`text` in ASCII, which is all that a FITS header takes."""
    decomposed = unicodedata.normalize('NFKD', text)
    ascii_text = decomposed.encode('ascii', 'ignore').decode()
    return ''.join(letter for letter in ascii_text if letter.isprintable())
