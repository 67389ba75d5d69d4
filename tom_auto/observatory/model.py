"""Requests, observations and frames, as the observatory keeps them. Times are aware, in UTC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from .bodies import Body

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


class Telescope(NamedTuple):
    """One telescope and its camera: codes of the portal, then of the FITS headers."""

    site: str
    enclosure: str
    code: str
    telid: str
    camera: str

    @property
    def prefix(self) -> str:
        """How the names of its frames begin: coj1m011-fa12."""
        return f'{self.site}{self.telid.replace("-", "")}-{self.camera}'


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
    request_id: int
    telescope: Telescope
    start: datetime
    end: datetime
    state: str
    created: datetime
    modified: datetime


@dataclass
class Request:
    """What someone asked for: `ra` and `dec` in degrees, `exposure` in seconds."""

    id: int
    group: 'RequestGroup'
    state: str
    target: str
    ra: float
    dec: float
    instrument_type: str
    telescope: Telescope
    filter: str
    exposure: float
    windows: list[tuple[datetime, datetime]]
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
    related: list[int]
    pixels: int
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
