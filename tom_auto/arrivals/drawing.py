"""Draws small pictures of FITS images. Run as a program, which needs no Django, by `pictures`.

Reads from its input the path of a file, as JSON, a line each, and answers each with a line of JSON:
the picture and what the header says, or the reason why it has no picture. It runs as a separate process because a
broken file may crash the decompression, and so that its memory can be limited.
"""

import base64
import io
import json
import sys
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image

#: How much is read of an image: so many pixels, of Rice in whole tiles; more would not be seen.
#: Where that makes no picture, half as much again, and so on. Rows stand for what lies between them.
PLAIN, PACKED, AT_MOST = 16_800_000, 12_500_000, 400_000_000
SLOWNESS, OF_FLOATS = {'HCOMPRESS_1': 6, 'GZIP_1': 1.5, 'GZIP_2': 3.5}, 1.5  # beside Rice, integers
A_TILE, A_READING = 7_000, 40_000  # what these cost beside their pixels, in pixels
BANDS, FEWEST_BANDS, LARGEST_SHARE = 100, 9, 2 / 3  # where not all of it is read
AT_A_TIME, MOST_ROWS = 1_100_000, 4  # pixels, for the memory; rows whose mean is a line
CONTRAST, REJECTED, ROUNDS = 0.25, 2.5, 5  # of zscale; the second in deviations
SAMPLE, LAST, MOST_BEYOND = 2000, [10, -11], 0.05  # the last a share: stars have less
COLOURS = (3, 4)  # that a pixel may have: red, green and blue, and how transparent it is
MEMORY = 1_500_000_000  # bytes of address space

Pixels = NDArray[np.generic]


class NoImage(Exception):
    """There is nothing to draw."""


class Broken(Exception):
    """It is an image, and cannot be drawn."""


class Plane(NamedTuple):
    """The part of an array that is drawn: the first plane of a cube, the first of its colours."""

    height: int
    width: int
    before: int  # axes
    colours: int  # behind the rows and columns; 0: there is no such axis

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> 'Plane':
        if len(shape) == 3 and shape[2] in COLOURS and min(shape[:2]) > max(COLOURS):
            return cls(shape[0], shape[1], 0, shape[2])
        return cls(shape[-2], shape[-1], len(shape) - 2, 0)

    def part(self, section: fits.Section, rows: slice, columns: slice) -> Pixels:
        """Those rows and columns of an array."""
        found = section[(*[0] * self.before, rows, columns)]
        return found[..., 0] if self.colours else found


def answer(path: str, size: tuple[int, int]) -> dict[str, object]:
    """The picture of the file at `path` in base64 (`jpeg`) and its `facts`, or why it has none."""
    try:
        picture, facts = drawn(path, size)
    except NoImage as reason:
        return {'none': str(reason)}
    except Exception as error:
        # What the system says has a number (22: not even a file can be there), astropy's words have none.
        passes = type(error) is MemoryError or getattr(error, 'errno', None) not in (None, 22)
        plain = {Broken: str(error), OSError: 'it is not a FITS file, or breaks off'}
        # Not its text: that has the place of the file, which may name a target that is hidden.
        said = getattr(error, 'strerror', None) if passes else error
        text = (not passes and plain.get(type(error))) or f'{type(error).__name__}: {said}'
        return {'unreadable' if passes else 'broken': ' '.join(text.split())[:200]}
    return {'jpeg': base64.b64encode(picture).decode(), 'facts': facts}


def drawn(path: str, size: tuple[int, int]) -> tuple[bytes, dict[str, str]]:
    """The JPEG of the image at `path`, exactly `size` in pixels, and what its header says."""
    with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
        unit = image_of(units)
        facts = facts_of(unit.header, units[0].header)
        plane = Plane.of(unit.shape)
        small = sampled(unit, plane, size)
    picture = Image.fromarray(scaled(small)[::-1])  # the first row of FITS is the lowest
    file = io.BytesIO()
    fitted(picture, size, (plane.height, plane.width)).save(file, 'JPEG', quality=70)
    return file.getvalue(), facts


def image_of(units: fits.HDUList) -> fits.ImageHDU:
    """The image to draw: the unit SCI if it is one, else the largest."""
    kinds = fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU
    images = [each for each in units if isinstance(each, kinds) and len(each.shape) > 1]
    images = [each for each in images if all(each.shape) and min(Plane.of(each.shape)[:2]) > 1]
    if not images:
        raise NoImage('it has no image in it')
    named = [unit for unit in images if unit.name == 'SCI']
    return (named or [max(images, key=lambda unit: prod(Plane.of(unit.shape)[:2]))])[0]


def facts_of(*headers: fits.Header) -> dict[str, str]:
    """What people want to know of it, from the first header that says so."""
    keys = {'taken': 'DATE-OBS', 'filter': 'FILTER', 'exposure': 'EXPTIME', 'level': 'RLEVEL'}
    found = {}
    for name, key in keys.items():
        for header in headers:
            with suppress(Exception):  # a card may be broken
                text = ''.join(filter(str.isprintable, str(header.get(key, '')))).strip()
                if text and name not in found:
                    found[name] = f'{float(text):g}' if name == 'exposure' else text
    return found


def bands_of(unit: fits.ImageHDU, plane: Plane) -> list[slice]:
    """Which rows to read: of tiles as few as make a picture. Raises Broken where that takes too much."""
    height, width = plane.height, plane.width * max(1, plane.colours)
    if not isinstance(unit, fits.CompImageHDU):
        return evenly(BANDS, max(1, min(-(-height // BANDS), PLAIN // (width * BANDS))), height)
    tile, across = map(min, unit.tile_shape[plane.before : plane.before + 2], plane[:2])
    of_kind = OF_FLOATS if unit.header['BITPIX'] < 0 else 1
    slowness = SLOWNESS.get(unit.compression_type, 1) * of_kind
    row = tile * width * slowness + A_TILE * -(-plane.width // across)  # of tiles
    budget = PACKED
    while budget <= AT_MOST:
        if row * height / tile <= budget:
            rows = max(1, AT_A_TIME // (width * tile)) * tile
            return evenly(-(-height // rows), rows, height, tile)
        most = BANDS if budget == PACKED else FEWEST_BANDS  # enough where each takes long
        count = int(min(most, budget // (row + A_READING), height * LARGEST_SHARE / tile))
        if count >= FEWEST_BANDS:
            rows = min(-(-MOST_ROWS // tile), (budget / count - A_READING) // row)
            return evenly(count, int(rows) * tile, height, tile)
        budget *= 1.5
    raise Broken(f'{width} x {height} pixels, in tiles of {tile} rows, are too many')


def evenly(count: int, rows: int, height: int, tile: int = 1) -> list[slice]:
    """`count` bands of `rows` rows, from the first rows to the last; with each a tile begins."""
    tops = range(0, height, rows)
    if count < len(tops):
        tops = [round(n * -(-(height - rows) // tile) / (count - 1)) * tile for n in range(count)]
    return [slice(top, min(height, top + rows)) for top in tops]


def sampled(unit: fits.ImageHDU, plane: Plane, size: tuple[int, int]) -> NDArray[np.float64]:
    """The image, with about as many rows and columns as the picture has, read part by part.

    What was not read is between the lines before and after it.
    """
    down, across = max(1, plane.height // (2 * size[1])), max(1, plane.width // (2 * size[0]))
    small = np.full((-(-plane.height // down), -(-plane.width // across)), np.nan)
    bands, read = bands_of(unit, plane), set()
    for rows in bands:
        y = rows.start // down
        for columns in chunks(unit, plane, bands[0].stop):
            part = pooled(plane.part(unit.section, rows, columns), down, across)
            x = columns.start // across
            small[y : y + part.shape[0], x : x + part.shape[1]] = part
        read.update(range(y, y + part.shape[0]))
    lines = sorted(read)
    place = np.interp(np.arange(len(small)), lines, np.arange(len(lines)))
    before, after = (small[lines][each(place).astype(int)] for each in (np.floor, np.ceil))
    share = (place % 1)[:, np.newaxis]
    return np.where(share > 0, before * (1 - share) + after * share, before)


def chunks(unit: fits.ImageHDU, plane: Plane, rows: int) -> list[slice]:
    """The columns to read at a time: all, or those of some tiles where they are big."""
    width = plane.width
    if isinstance(unit, fits.CompImageHDU):
        tile = unit.tile_shape[plane.before + 1]
        width = max(1, AT_A_TIME // (rows * tile * max(1, plane.colours))) * tile
    return [slice(x, min(plane.width, x + width)) for x in range(0, plane.width, width)]


def pooled(part: Pixels, down: int, across: int) -> NDArray[np.floating]:
    """The means over `down` rows, or the first few of them, and `across` columns; NaN if unknown."""
    full = len(part) // down * down
    blocks = part[:full].reshape(-1, down, part.shape[1]), part[None, full:]
    return np.concatenate([means(block[:, :MOST_ROWS], across) for block in blocks if block.size])


def means(lines: Pixels, across: int) -> NDArray[np.floating]:
    """The means over all rows of each of `lines` and `across` columns; the last may be of fewer."""
    starts = np.arange(0, lines.shape[2], across)
    if lines.dtype.kind != 'f':
        counts = np.diff(starts, append=lines.shape[2]) * lines.shape[1]
        return np.add.reduceat(lines.sum(axis=1, dtype=np.float32), starts, axis=1) / counts
    known = np.isfinite(lines)
    counts = np.add.reduceat(known.sum(axis=1), starts, axis=1)
    sums = np.add.reduceat(np.where(known, lines, 0).sum(axis=1, dtype=np.float64), starts, axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def scaled(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image from black to white, so that what is faint shows."""
    known = np.isfinite(image)
    if not known.any():
        raise Broken('none of its pixels has a value')
    image = image / (np.abs(image[known]).max() or 1)  # squares of big ones would not be numbers
    low, high = zscale(np.sort(image[known])).tolist()
    return (np.where(known, (image - low) / (high - low or 1), 0).clip(0, 1) * 255).astype(np.uint8)


def zscale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Black and white as IRAF's zscale has them, from a line through most of the sorted `values`.

    For that of astropy this program would take twice as long to start. Where there is no such line,
    or more than stars would be beyond, only the last in two hundred are.
    """
    values = values[np.linspace(0, len(values) - 1, SAMPLE + 2)[1:-1].astype(int)]
    place, good = np.linspace(-1, 1, SAMPLE), np.full(SAMPLE, True)
    for _ in range(ROUNDS):
        slope, middle = np.polyfit(place[good], values[good], 1)
        off = values - middle - slope * place
        good = np.abs(off) <= REJECTED * off[good].std()
        if is_flat := 2 * good.sum() < SAMPLE or slope <= 0:
            break
    found = np.median(values) + np.array([-1, 1]) * slope / CONTRAST
    beyond = np.array([(values < found[0]).mean(), (values > found[1]).mean()]) > MOST_BEYOND
    return np.where(beyond | is_flat, values[LAST], found.clip(values[0], values[-1]))


def fitted(picture: Image.Image, size: tuple[int, int], shape: tuple[int, int]) -> Image.Image:
    """`picture` of an image of this `shape`, in its proportions, in the middle of a black one."""
    share = min(size[0] / shape[1], size[1] / shape[0])
    inner = tuple(max(1, round(length * share)) for length in reversed(shape))
    x, y = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    return picture.resize(inner, Image.Resampling.BOX).crop((x, y, x + size[0], y + size[1]))


def main() -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(KeyError, AttributeError):  # or astropy inflates each tile of GZIP_2 twice
        codecs = sys.modules['astropy.io.fits.hdu.compressed._codecs']
        codecs.gzip_decompress = lru_cache(maxsize=1)(codecs.gzip_decompress)
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(answer(asked['path'], tuple(asked['size']))) + '\n')
        sys.stdout.flush()


if __name__ == '__main__':
    main()
