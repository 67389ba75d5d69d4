"""What was observed: the frames, on top of the timetable."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from .bodies import Body, Filler, Given, Picture
from .cards import cards
from .model import Frame, Request, Version
from .timetable import PROPOSAL, TOKEN, Timetable

RAW, REDUCED = 0, 91  # reduction levels


class Night(Timetable):
    """A timetable and its frames. Frames appear when their time comes."""

    def __init__(
        self,
        *,
        token: str = TOKEN,
        proposal: str = PROPOSAL,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(token=token, proposal=proposal, clock=clock)
        self.frames: dict[int, Frame] = {}
        self.frames_of: defaultdict[int, list[Frame]] = defaultdict(list)  # by request id
        self.versions: dict[str, Version] = {}  # by key
        #: What `?REQNUM=` takes for the number of frames; None: the truth. See `archive`.
        self.reqnum_estimate: int | None = None

    def complete(
        self,
        request_id: int,
        *,
        frames: int = 1,
        at: datetime | None = None,
        reduction_levels: Sequence[int] = (REDUCED,),
        **details: Any,
    ) -> list[Frame]:
        """Observe a request at `at` (now): COMPLETED, with so many exposures in the archive.

        Each exposure is a frame at each of `reduction_levels`. `details` are for `add_frame`.
        """
        with self.lock:
            at = at or self.now()
            self.observe(request_id, at)
            step = timedelta(seconds=self.requests[request_id].exposure + 30)
            made: list[Frame] = []
            for exposure in range(frames):
                made += self._add_exposure(
                    request_id, reduction_levels, observed_at=at + exposure * step, **details
                )
            return made

    def _add_exposure(
        self, request_id: int, reduction_levels: Sequence[int], **details: Any
    ) -> list[Frame]:
        """The frames of one exposure, which share its number and know of each other."""
        number = next(self._ids)
        made: list[Frame] = []
        for level in reduction_levels:
            made.append(
                self.add_frame(
                    request_id, reduction_level=level, number=number, related=made, **details
                )
            )
        return made

    def add_frame(
        self,
        request_id: int,
        *,
        frame_id: int | None = None,
        filename: str | None = None,
        extension: str = '.fits.fz',
        reduction_level: int = REDUCED,
        observed_at: datetime | None = None,
        available_from: datetime | None = None,
        number: int | None = None,
        related: Sequence[Frame] = (),
        pixels: int = 256,
        content: bytes | None = None,
        size: int | None = None,
    ) -> Frame:
        """An exposure of a request, in the archive from `available_from` (now) on.

        It is a star field of `pixels` x `pixels`, or `content`, or a filler of `size` bytes. Its
        name is LCO's, with `extension` (.fits or .fits.fz), or any `filename`. Ids are given out
        in no order, as the archive's are not those of arrival.
        """
        with self.lock:
            request, now = self.requests[request_id], self.now()
            observed_at = observed_at or now
            number = next(self._ids) if number is None else number
            basename = lco_basename(request, observed_at, number, reduction_level)
            if filename is not None:
                basename, extension = split_name(filename)
            frame = Frame(
                id=self._scattered_id() if frame_id is None else frame_id,
                basename=basename,
                request=request,
                observation_id=request.observations[-1].id if request.observations else None,
                reduction_level=reduction_level,
                observed_at=observed_at,
                available_from=available_from or now,
                related=[other.id for other in related],
                pixels=pixels,
            )
            if frame.id in self.frames:
                raise ValueError(f'There is already a frame {frame.id}.')
            for other in related:
                other.related.append(frame.id)
            self.frames[frame.id] = frame
            self.frames_of[request_id].append(frame)
            self._add_version(frame, extension, content, size)
            return frame

    def reprocess(
        self, frame: Frame, *, content: bytes | None = None, size: int | None = None
    ) -> Version:
        """Run the pipeline on `frame` again: same id, a new version with other bytes."""
        with self.lock:
            return self._add_version(frame, frame.versions[0].extension, content, size)

    def _add_version(
        self, frame: Frame, extension: str, content: bytes | None, size: int | None
    ) -> Version:
        number = len(frame.versions)
        key = hashlib.md5(f'{frame.id}/{number}'.encode(), usedforsecurity=False).hexdigest()
        body: Body = Picture(lambda: draw(frame, version))
        if content is not None:
            body = Given(content)
        elif size is not None:
            body = Filler(size)
        version = Version(next(self._ids), number, key, extension, self.now(), body)
        frame.versions.insert(0, version)
        self.versions[key] = version
        return version

    def _scattered_id(self) -> int:
        """An unused id, neither rising nor falling: multiples of a prime, modulo another."""
        candidates = (70_000_000 + number * 7919 % 1_000_003 for number in self._ids)
        return next(number for number in candidates if number not in self.frames)


def lco_basename(request: Request, observed_at: datetime, number: int, level: int) -> str:
    """The name of a frame, as LCO gives it: coj1m011-fa12-20260912-0123-e91."""
    return f'{request.telescope.prefix}-{observed_at:%Y%m%d}-{number:04d}-e{level:02d}'


def split_name(filename: str) -> tuple[str, str]:
    """Basename and extension; .fits.fz is one extension."""
    if filename.endswith('.fits.fz'):
        return filename.removesuffix('.fits.fz'), '.fits.fz'
    stem, dot, ending = filename.rpartition('.')
    return (stem, dot + ending) if stem else (filename, '')


def draw(frame: Frame, version: Version) -> bytes:
    """The FITS file of this version of `frame`."""
    from . import sky

    request = frame.request
    image = sky.picture(
        field=f'{request.target} {request.ra:.4f} {request.dec:.4f}',
        name=f'{frame.basename} {version.number}',
        pixels=frame.pixels,
        exposure=request.exposure,
        raw=frame.reduction_level == RAW,
    )
    return sky.fits_file(image, cards(frame, version), version.extension.endswith('.fz'))
