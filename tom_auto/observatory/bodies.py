"""The content of a file: given bytes, an image drawn on demand, or filler of any size."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache

CHUNK = 1 << 20  # bytes
FITS_BLOCK = 2880  # bytes, the unit in which FITS files grow


class Body:
    """A file's bytes, never all in memory at once unless they already are."""

    size: int

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, a chunk of at most CHUNK at a time."""
        stop = self.size if stop is None else min(stop, self.size)
        for offset in range(start, stop, CHUNK):
            yield self._read(offset, min(CHUNK, stop - offset))

    def _read(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    @cached_property
    def md5(self) -> str:
        """The checksum that the archive lists, in hexadecimal."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


class Given(Body):
    """These bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def _read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class Picture(Body):
    """What `draw()` returns, the same bytes every time. Only recent pictures stay in memory."""

    def __init__(self, draw: Callable[[], bytes]) -> None:
        self.draw = draw

    @cached_property
    def size(self) -> int:  # type: ignore[override]
        return len(_drawn(self))

    def _read(self, offset: int, length: int) -> bytes:
        return _drawn(self)[offset : offset + length]


@lru_cache(maxsize=64)
def _drawn(picture: Picture) -> bytes:
    return picture.draw()


class Filler(Body):
    """A file of `size` bytes: a FITS header that says so, then a pattern. For benchmarks.

    It is a valid FITS file when `size` is a multiple of 2880.
    """

    pattern = bytes(range(256)) * (CHUNK // 256 + 1)

    def __init__(self, size: int) -> None:
        self.size = size
        length = max(size - FITS_BLOCK, 0)
        cards = ('SIMPLE', 'T'), ('BITPIX', '8'), ('NAXIS', '1'), ('NAXIS1', str(length))
        header = ''.join(f'{name:<8}= {value:>20}'.ljust(80) for name, value in cards)
        self.header = (header + 'END').ljust(FITS_BLOCK).encode()

    def _read(self, offset: int, length: int) -> bytes:
        head = self.header[offset : offset + length]
        start = (offset + len(head)) % 256
        return head + self.pattern[start : start + length - len(head)]
