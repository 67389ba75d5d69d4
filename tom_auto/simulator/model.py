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

    @property
    def size(self) -> str:
        return self.code[:3]


#: One of LCO's one-metre telescopes at each of five sites.
TELESCOPES = {
    'coj': Telescope('coj', 'doma', '1m0a', '1m0-11', 'fa12'),
    'cpt': Telescope('cpt', 'domb', '1m0a', '1m0-13', 'fa01'),
    'elp': Telescope('elp', 'doma', '1m0a', '1m0-08', 'fa05'),
    'lsc': Telescope('lsc', 'doma', '1m0a', '1m0-05', 'fa15'),
    'tfn': Telescope('tfn', 'doma', '1m0a', '1m0-01', 'fa20'),
}


@dataclass
class Account:
    """The person behind a token, and their proposals."""

    username: str
    proposals: set[str]


@dataclass(frozen=True)
class Transient:
    """A new source on the sky, as a broker announces it: `ra` and `dec` in degrees."""

    ra: float
    dec: float
    announced: datetime


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
    telescope: Telescope
    created: datetime
    modified: datetime
    target: str = 'M 31'
    ra: float = 10.6847
    dec: float = 41.269
    filter: str = 'rp'
    exposure: float = 60.0
    instrument: str = '1M0-SCICAM-SINISTRO'
    window: tuple[datetime, datetime] | None = None  # None: a week from now
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

    def chunks(self) -> Iterator[bytes]:
        content = _drawn(self)
        for start in range(0, len(content), CHUNK):
            yield content[start : start + CHUNK]

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

    def __init__(self, size: int) -> None:
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        length = max(self.size - FITS_BLOCK, 0)
        cards = ('SIMPLE', 'T'), ('BITPIX', '8'), ('NAXIS', '1'), ('NAXIS1', str(length))
        header = ''.join(f'{name:<8}= {value:>20}'.ljust(80) for name, value in cards)
        yield (header + 'END').ljust(FITS_BLOCK).encode()[: self.size]
        pattern = bytes(range(256)) * (CHUNK // 256)
        for left in range(length, 0, -CHUNK):
            yield pattern[:left]


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
    pixels: int = 256
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
        return b''.join(self.versions[0].body.chunks())


def plain(text: str) -> str:
    """`text` in ASCII, which is all that a FITS header takes."""
    decomposed = unicodedata.normalize('NFKD', text)
    ascii_text = decomposed.encode('ascii', 'ignore').decode()
    return ''.join(letter for letter in ascii_text if letter.isprintable())
