"""Draws star fields as FITS files; the same name always gives the same bytes.

It imports numpy and astropy, which takes half a second: `night` imports it only when a frame is
downloaded.
"""

import hashlib
import io
import threading
from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .cards import Card

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
    """Columns, rows (pixels from the lower left) and magnitudes of the stars of `field`.

    The first one is the target, in the middle.
    """
    random = generator(field)
    number = max(8, int(STARS_PER_PIXEL * pixels * pixels))
    columns, rows = random.uniform(0, pixels, (2, number))
    magnitudes = FAINTEST + np.log10(random.uniform(1e-4, 1, number)) / COUNT_SLOPE
    columns[0] = rows[0] = (pixels - 1) / 2
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


def picture(field: str, name: str, pixels: int, exposure: float, raw: bool) -> NDArray[np.int16]:
    """An image of `pixels` x `pixels`: the stars of `field` with the seeing and noise of `name`.

    A raw one has a bias level, vignetting, hot pixels and cosmic rays, as cameras do.
    """
    random = generator(name)
    light = expose(field, pixels, exposure, fwhm=random.uniform(3.6, 5.2)) + SKY * exposure
    if raw:
        light *= vignetting(pixels)
    counts = random.poisson(light) + random.normal(0, READ_NOISE, light.shape)
    if raw:
        counts += BIAS
        scar(counts, random)
    whole: NDArray[np.int16] = np.clip(np.rint(counts), -32768, 32767).astype(np.int16)
    return whole


def vignetting(pixels: int) -> Image:
    """How much of the light reaches each pixel: less towards the corners."""
    offset = (np.arange(pixels) - pixels / 2) / pixels
    return 1 - 0.35 * (offset[:, None] ** 2 + offset[None, :] ** 2)


def scar(counts: Image, random: np.random.Generator) -> None:
    """Add hot pixels and the tracks of a few cosmic rays to `counts`, in place."""
    pixels = len(counts)
    rows, columns = random.integers(0, pixels, (2, pixels // 8))
    counts[rows, columns] += random.exponential(2500, pixels // 8)
    for _ in range(max(1, pixels // 60)):
        length = np.arange(random.integers(4, 16))
        row, column = random.integers(0, pixels, 2)
        angle = random.uniform(0, 2 * np.pi)
        track = (row + length * np.sin(angle)), (column + length * np.cos(angle))
        counts[tuple(np.clip(axis.astype(int), 0, pixels - 1) for axis in track)] += 3000


def fits_file(image: NDArray[np.int16], cards: Mapping[str, Card], compressed: bool) -> bytes:
    """`image` in the primary HDU, or tile-compressed in an extension SCI, as LCO's .fits.fz."""
    header = fits.Header(list(cards.items()))
    if compressed:
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
