"""Frames, as the archives of observatories and facility classes list them."""

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from pathlib import PurePath
from tempfile import SpooledTemporaryFile
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from tom_observations.facilities.ocs import OCSFacility

from ..errors import BadAnswer, Clash, SyncError, Unsupported
from ..explain import explained
from ..redact import redact
from .portal_pages import get_from

PAGE = 1000  # frames: more are cut off without a word
MOST_PAGES = 1000  # of one list: a list that says "next" without end must end
PRODUCT = {'id', 'filename', 'url'}  # what a facility class has to say of one
LONGEST_NAME = 100  # characters of a frame's name in a message
QUERY = re.compile(r'\?[\w.~%-]+=.*', re.DOTALL)  # of an address
SMALL = 1_000_000  # bytes of listed entries that are kept in memory: 200,000 have no room there


@dataclass(frozen=True)
class Frame:
    """A file that an archive offers; `md5` is empty where the archive publishes none."""

    id: str
    filename: str
    url: str
    md5: str = ''
    older: frozenset[str] = frozenset()  # checksums of the versions before


@dataclass
class Listing:
    """What an archive lists for one record: frames by id, and what is wrong with other entries."""

    frames: dict[str, Frame] = field(default_factory=dict)
    faults: list[SyncError] = field(default_factory=list)

    def add(self, entries: Iterable[object], lister: str) -> None:
        """Add the frame of each entry; one that cannot be used is a fault of its own.

        Where the list breaks off, that is a fault as well, and what came before it is good.
        """
        try:
            for entry in entries:
                try:
                    frame = _frame(entry)
                except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                    self.faults.append(BadAnswer(_name_of(entry)))
                    continue
                # Pages shift while they are read, so that a frame may be listed twice.
                first = self.frames.setdefault(frame.id, frame)
                if (first.filename, first.md5) != (frame.filename, frame.md5):
                    self.faults.append(Clash(f'frame {frame.id} is listed as two different files'))
        except Exception as error:
            if not self.frames:
                raise
            self.faults.append(explained(error, lister))


def listed_by_class(answer: object, facility: str) -> Listing:
    """What `data_products` of a facility class returned: dictionaries with id, filename, url."""
    listing, usable = Listing(), set()

    def entries() -> Iterator[object]:
        for entry in answer or ():
            usable.add(isinstance(entry, dict) and entry.keys() >= PRODUCT)
            yield entry

    listing.add(entries(), facility)
    if usable == {False}:
        raise Unsupported(f'{facility} lists products without id, filename and url')
    return listing


def listed_by_archive(facility: OCSFacility, request_id: str, archive: str) -> Listing:
    """The archive's whole list of the frames of one request.

    tomtoolkit asks by REQNUM, whose count, and so its `next`, is an estimate that can lose
    frames in silence; `request_id` counts exactly. Measured: science archive 2.7.2. An archive
    that ignores a filter is found out by the frames of other requests.
    """
    listing = Listing()
    listing.add(_entries(facility, request_id), archive)
    return listing


def _entries(facility: OCSFacility, request_id: str) -> Iterator[object]:
    query = urlencode({'request_id': request_id, 'limit': PAGE, 'include_related_frames': 'false'})
    asked = set()
    while query and query not in asked and len(asked) < MOST_PAGES:
        asked.add(query)
        page = get_from(facility, 'archive_url', '/frames/', query).json()
        if not isinstance(page, dict) or not isinstance(page.get('results'), list):
            raise BadAnswer('the archive answered something other than a list of frames')
        for entry in page['results']:
            if isinstance(entry, dict) and str(entry.get('request_id', request_id)) != request_id:
                raise BadAnswer('the archive lists frames of another request')
        yield from page['results']
        # Only the query of `next` is used: the token must not follow it to another host.
        query = urlsplit(str(page.get('next') or '')).query
    if query:
        raise BadAnswer('the list of frames has no end')


def _frame(entry: dict) -> Frame:
    """The frame of an entry: archives list its versions, the newest first, and classes one."""
    newest, *older = checksums(entry)
    return Frame(
        id=_named(entry['id']),
        filename=_filename(entry['filename']),
        url=_address(entry['url']),
        md5=newest,
        older=frozenset(filter(None, older)),
    )


def checksums(entry: dict) -> list[str]:
    """Those of the versions of an entry, the newest first; empty where the archive gives none."""
    versions = entry.get('version_set') or [entry]
    return [str(version.get('md5') or '').lower() for version in versions]


def _name_of(entry: object) -> str:
    """What an entry that cannot be used calls itself: with an address, signature and all, maybe."""
    named = entry.get('filename') or entry.get('id') if isinstance(entry, dict) else ''
    named = redact(QUERY.sub('', str(named or '')))
    named = ''.join(filter(str.isprintable, named))[:LONGEST_NAME]
    return f'{named or "a frame"} is listed without an id, a file name or an address that is valid'


def _text(value: object) -> str:
    """Raises TypeError where `value` stands for no text, as null and objects do."""
    if isinstance(value, bool) or not isinstance(value, str | Integral | UUID | PurePath):
        raise TypeError(type(value))
    return str(value)


def _named(value: object) -> str:
    """`value` as text that any database can hold; raises TypeError where it is no such thing."""
    text = _text(value)
    if not text.strip() or not text.isprintable():
        raise TypeError('empty, or not printable')
    return text


def _address(value: object) -> str:
    """`value` as an address whose host can be told; raises ValueError where it cannot."""
    address = _named(value)
    urlsplit(address)
    return address


def _filename(value: object) -> str:
    """`value` as a file's name: some classes take it from an address, signature and all."""
    return ''.join(filter(str.isprintable, QUERY.sub('', _text(value))))


class Shelf:
    """Entries of lists, on the disk where they are many."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=SMALL)  # noqa: SIM115 (lives as long as this)

    def put(self, entry: dict) -> int:
        """Keep an entry; where it is."""
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(entry).encode() + b'\n')
        return place

    def get(self, place: int) -> dict:
        """The entry that is there."""
        self._file.seek(place)
        return json.loads(self._file.readline())


@dataclass
class Listed:
    """What the archive lists for one request: ids of frames, perhaps of two lists and so twice."""

    shelf: Shelf
    is_all: bool = False  # there is nothing more of it
    are_new: bool = False  # nobody has heard of any frame of `new`
    known: array = field(default_factory=partial(array, 'q'))  # stored, or deleted, as listed
    new: array = field(default_factory=partial(array, 'q'))  # all others
    places: array = field(default_factory=partial(array, 'q'))  # of these, on the shelf

    def __bool__(self) -> bool:
        return bool(self.known or self.new)

    def entries(self) -> dict[int, dict]:
        """What the archive says of the frames that are new, or changed."""
        return {key: self.shelf.get(at) for key, at in zip(self.new, self.places, strict=True)}
