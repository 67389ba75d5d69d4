"""People, requests, the schedule of observations, and the frames that were taken."""

import itertools
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from . import model
from .model import Account, Frame, Observation, Request, RequestGroup, Transient, Version

PROPOSAL = 'DEMO2026'
TOKEN = 'demo-token'
REDUCED = 91  # the reduction level of a finished frame; 0 is raw
NAME = r'(.+?)((?:\.fits\.fz|\.[^.]*)?)'  # of a file: .fits.fz is one extension


class Night:
    """People, requests, observations and frames; one lock guards them all.

    Time is `clock()` plus whatever `advance` added. Nothing happens by itself, so no request
    expires; frames appear when their time comes. `token` belongs to a member of `proposal`.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        proposal: str = PROPOSAL,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.token = token
        self.proposal = proposal
        self.accounts: dict[str, Account | None] = {}  # None: a token that was revoked
        self.public: set[str] = set()  # proposals that everyone sees
        self.transients: dict[str, Transient] = {}  # by name
        self.groups: dict[int, RequestGroup] = {}
        self.requests: dict[int, Request] = {}
        self.observations: dict[int, Observation] = {}
        self.frames: dict[int, Frame] = {}
        self.frames_of: defaultdict[int, list[Frame]] = defaultdict(list)  # by request id
        self.versions: dict[str, Version] = {}  # by key
        #: What the archive takes for a number of frames that it does not count; None: the truth.
        self.estimate: int | None = None
        self._clock = clock or (lambda: datetime.now(UTC))
        self._ahead = timedelta(0)
        self._ids = itertools.count(1)
        self.add_token(token, proposals=[proposal], username='demo')

    # --- time ---

    def now(self) -> datetime:
        return self._clock() + self._ahead

    def advance(self, **time: float) -> None:
        """Let time pass: `advance(hours=49)`, with the words of timedelta."""
        self._ahead += timedelta(**time)

    # --- people ---

    def add_token(self, token: str, *, proposals: Collection[str], username: str) -> None:
        self.accounts[token] = Account(username, set(proposals))

    def may_see(self, account: Account | None, proposal: str) -> bool:
        """Whether `account` (None: nobody) may see what belongs to `proposal`."""
        return proposal in self.public or (account is not None and proposal in account.proposals)

    # --- what is new on the sky ---

    def announce(self, name: str, *, ra: float, dec: float) -> None:
        """Let the broker know of a transient, such as 2026ab."""
        self.transients[name] = Transient(ra, dec, self.now())

    # --- requests and their observations ---

    def add_request(
        self,
        request_id: int | None = None,
        *,
        state: str = 'PENDING',
        proposal: str | None = None,
        group: int | None = None,
        name: str | None = None,
        submitter: str = 'demo',
        site: str = 'coj',
        **details: Any,
    ) -> Request:
        """A request in a new request group, or in `group`. `details` are those of `Request`."""
        with self.lock:
            now = self.now()
            request_id = self._unused(self.requests) if request_id is None else request_id
            if request_id in self.requests:
                raise ValueError(f'There is already a request {request_id}.')
            group_id = self._unused(self.groups) if group is None else group
            name = name or f'{details.get("target", Request.target)} {request_id}'
            its_group = self.groups.get(group_id) or RequestGroup(
                group_id, name, proposal or self.proposal, submitter, now
            )
            request = Request(
                request_id, its_group, _known(state), model.TELESCOPES[site], now, now, **details
            )
            its_group.requests.append(request)
            self.groups[group_id] = its_group
            self.requests[request_id] = request
            return request

    def set_state(self, request_id: int, state: str) -> None:
        """Move a request to `state`, from any other: none of them is final."""
        with self.lock:
            request = self.requests[request_id]
            request.state, request.modified = _known(state), self.now()

    def schedule(self, request_id: int, start: datetime | None = None) -> Observation:
        """Give a request a place of five minutes in the schedule.

        Measured: this leaves the `modified` of the request as it was.
        """
        with self.lock:
            request, now = self.requests[request_id], self.now()
            start = start or now + timedelta(hours=1)
            end = start + timedelta(minutes=5)
            number = self._unused(self.observations)
            observation = Observation(number, request, start, end, 'PENDING', now, now)
            request.observations.append(observation)
            self.observations[number] = observation
            return observation

    def observe(self, request_id: int, at: datetime) -> Observation:
        """The pending observation of a request, or a new one, ran at `at` and was COMPLETED."""
        with self.lock:
            observations = self.requests[request_id].observations
            pending = [one for one in observations if one.state == 'PENDING']
            observation = pending[-1] if pending else self.schedule(request_id)
            length = observation.end - observation.start
            observation.start, observation.end = at, at + length
            observation.state, observation.modified = 'COMPLETED', self.now()
            self.set_state(request_id, 'COMPLETED')
            return observation

    def _unused(self, taken: Collection[int]) -> int:
        return next(number for number in self._ids if number not in taken)

    # --- frames ---

    def complete(
        self,
        request_id: int,
        *,
        frames: int = 1,
        reduction_levels: Sequence[int] = (REDUCED,),
        **details: Any,
    ) -> list[Frame]:
        """Observe a request now: COMPLETED, with so many exposures in the archive.

        Each exposure is a frame at each of `reduction_levels`, which share its number and know of
        each other. `details` are for `add_frame`.
        """
        with self.lock:
            at = self.now()
            self.observe(request_id, at)
            made: list[Frame] = []
            for _ in range(frames):
                shared = {'number': next(self._ids), 'observed_at': at, **details}
                exposure = [
                    self.add_frame(request_id, reduction_level=level, **shared)
                    for level in reduction_levels
                ]
                for frame in exposure:
                    frame.related = [other.id for other in exposure if other is not frame]
                made += exposure
                at += timedelta(seconds=self.requests[request_id].exposure + 30)
            return made

    def add_frame(
        self,
        request_id: int,
        *,
        frame_id: int | None = None,
        filename: str | None = None,
        extension: str = '.fits.fz',
        reduction_level: int = REDUCED,
        number: int | None = None,
        content: bytes | None = None,
        size: int | None = None,
        **details: Any,
    ) -> Frame:
        """An exposure of a request, in the archive from `available_from` (now) on.

        It is a star field of `pixels` x `pixels`, or `content`, or a filler of `size` bytes. Its
        name is LCO's, with `extension` (.fits or .fits.fz), or any `filename`. Ids are given out
        in no order, as the archive's are not those of arrival. `details` are those of `Frame`.
        """
        with self.lock:
            request = self.requests[request_id]
            details = {'observed_at': self.now(), 'available_from': self.now()} | details
            number = next(self._ids) if number is None else number
            basename = _lco_basename(request, details['observed_at'], number, reduction_level)
            if filename is not None:
                basename, extension = re.fullmatch(NAME, filename).groups()
            frame = Frame(
                id=self._scattered_id() if frame_id is None else frame_id,
                basename=basename,
                request=request,
                observation_id=request.observations[-1].id if request.observations else None,
                reduction_level=reduction_level,
                **details,
            )
            if frame.id in self.frames:
                raise ValueError(f'There is already a frame {frame.id}.')
            self.frames[frame.id] = frame
            self.frames_of[request_id].append(frame)
            self.add_version(frame, extension, content, size)
            return frame

    def add_version(
        self, frame: Frame, extension: str, content: bytes | None, size: int | None = None
    ) -> Version:
        """Add what one more run of the pipeline made of `frame`."""
        number = len(frame.versions)
        key = f'{frame.id}.{number}'
        drawn = model.Body(lambda: _draw(frame, version) if content is None else content)
        body = drawn if size is None else model.Filler(size)
        version = Version(next(self._ids), number, key, extension, self.now(), body)
        frame.versions.insert(0, version)
        self.versions[key] = version
        return version

    def _scattered_id(self) -> int:
        """An unused id, neither rising nor falling: multiples of a prime, modulo another."""
        candidates = (70_000_000 + number * 7919 % 1_000_003 for number in self._ids)
        return next(number for number in candidates if number not in self.frames)


def _lco_basename(request: Request, observed_at: datetime, number: int, level: int) -> str:
    """The name of a frame, as LCO gives it: coj1m011-fa12-20260912-0123-e91."""
    site, _, _, telid, camera = request.telescope
    place = f'{site}{telid.replace("-", "")}-{camera}'
    return f'{place}-{observed_at:%Y%m%d}-{number:04d}-e{level:02d}'


def _draw(frame: Frame, version: Version) -> bytes:
    from . import sky  # numpy and astropy take half a second to import

    return sky.fits_file(frame, version)


def _known(state: str) -> str:
    if state not in model.REQUEST_STATES:
        raise ValueError(f'{state!r} is no state of a request: {", ".join(model.REQUEST_STATES)}.')
    return state
