"""Requests, observations, frames and their files, as the observatory stores them. Times are UTC."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

REQUEST_STATES = ('PENDING', 'COMPLETED', 'WINDOW_EXPIRED', 'CANCELED', 'FAILURE_LIMIT_REACHED')
OBSERVATION_STATES = (
    'PENDING',
    'IN_PROGRESS',
    'NOT_ATTEMPTED',
    'COMPLETED',
    'CANCELED',
    'ABORTED',
    'FAILED',
    'BAD_DATA',
)
CHUNK = 1 << 20  # bytes
FITS_BLOCK = 2880  # bytes, the unit in which FITS files grow


class Telescope(NamedTuple):
    """One telescope and its camera: codes of the portal, then of the FITS headers."""

    site: str
    enclosure: str
    code: str
    telid: str
    camera: str


#: One of LCO's one-metre telescopes at each of five sites.
TELESCOPES = {
    telescope.site: telescope
    for telescope in (
        Telescope('coj', 'doma', '1m0a', '1m0-11', 'fa12'),
        Telescope('cpt', 'domb', '1m0a', '1m0-13', 'fa01'),
        Telescope('elp', 'doma', '1m0a', '1m0-08', 'fa05'),
        Telescope('lsc', 'doma', '1m0a', '1m0-05', 'fa15'),
        Telescope('tfn', 'doma', '1m0a', '1m0-01', 'fa20'),
    )
}


@dataclass
class Account:
    """The person behind a token, and their proposals."""

    username: str
    proposals: set[str]
    revoked: bool = False


@dataclass
class Observation:
    """A place in the telescope's schedule for one request."""

    id: int
    request: 'Request'
    start: datetime
    end: datetime
    state: str
    created: datetime
    modified: datetime

    @property
    def proposal(self) -> str:
        return self.request.proposal


@dataclass
class Request:
    """What someone asked for: `ra` and `dec` in degrees, `exposure` in seconds."""

    id: int
    group: 'RequestGroup'
    state: str
    target: str
    ra: float
    dec: float
    telescope: Telescope
    filter: str
    exposure: float
    created: datetime
    modified: datetime
    observations: list[Observation] = field(default_factory=list)

    @property
    def proposal(self) -> str:
        return self.group.proposal


@dataclass
class RequestGroup:
    """Requests that were submitted together, under one proposal."""

    id: int
    name: str
    proposal: str
    submitter: str
    created: datetime
    requests: list[Request] = field(default_factory=list)

    @property
    def state(self) -> str:
        """PENDING while any request is, then COMPLETED if any is, and so on down the list."""
        states = {request.state for request in self.requests}
        return next(state for state in REQUEST_STATES if state in states)

    @property
    def modified(self) -> datetime:
        return max(request.modified for request in self.requests)


class Body:
    """A file: the bytes that `draw()` returns, the same every time. Only recent ones are kept."""

    def __init__(self, draw: Callable[[], bytes]) -> None:
        self.draw = draw

    @cached_property
    def size(self) -> int:
        return len(_drawn(self))

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, a chunk of at most CHUNK at a time."""
        stop = self.size if stop is None else min(stop, self.size)
        for offset in range(start, stop, CHUNK):
            yield self._read(offset, min(CHUNK, stop - offset))

    def _read(self, offset: int, length: int) -> bytes:
        return _drawn(self)[offset : offset + length]

    @cached_property
    def md5(self) -> str:
        """The checksum that the archive lists, in hexadecimal."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


@lru_cache(maxsize=64)
def _drawn(body: Body) -> bytes:
    return body.draw()


class Filler(Body):
    """A file of `size` bytes, never all in memory: a FITS header that says so, then a pattern.

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


@dataclass
class Version:
    """The bytes of a frame as one run of the pipeline left them; `number` counts from 0."""

    id: int
    number: int
    key: str
    extension: str
    created: datetime
    body: Body


@dataclass
class Frame:
    """An exposure in the archive. Reprocessing keeps its id and adds a version, newest first.

    `reduction_level` is 0 for a raw frame and 91 for a fully reduced one.
    """

    id: int
    basename: str
    request: Request
    observation_id: int | None
    reduction_level: int
    observed_at: datetime
    available_from: datetime
    pixels: int
    related: list[int] = field(default_factory=list)  # the ids of its exposure's other frames
    versions: list[Version] = field(default_factory=list)

    @property
    def filename(self) -> str:
        return self.basename + self.versions[0].extension

    @property
    def proposal(self) -> str:
        return self.request.proposal

    @property
    def md5(self) -> str:
        """The checksum of the newest version."""
        return self.versions[0].body.md5

    @property
    def content(self) -> bytes:
        """The bytes of the newest version, all of them."""
        return b''.join(self.versions[0].body.chunks())


def plain(text: str) -> str:
    """`text` in ASCII, which is all that a FITS header takes."""
    decomposed = unicodedata.normalize('NFKD', text)
    ascii_text = decomposed.encode('ascii', 'ignore').decode()
    return ''.join(letter for letter in ascii_text if letter.isprintable())
