"""What the lists of an archive tell of each request. Memory has no room for 200,000 entries."""

import json
import os
from array import array
from dataclasses import dataclass, field
from functools import partial
from tempfile import SpooledTemporaryFile

SMALL = 1_000_000  # bytes of entries that are kept in memory


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
