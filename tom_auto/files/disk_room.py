"""Is there room on the disk for what is still to come? Downloads in progress count: rule 15."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from django.core.files.storage import FileSystemStorage

from ..conf import Automation
from ..errors import NoRoom
from .storage import the_storage

_room = Lock()
_promised = [0]  # bytes that downloads in progress may still write


@contextmanager
def room_for(size: int, limits: Automation) -> Iterator[Callable[[int], None]]:
    """Reserve `size` bytes of the disk while this lasts: rule 15. Other stores have no limit.

    Gives what is to be told how many bytes go onto the disk: what is written is no longer
    reserved, or it would count twice. Raises NoRoom where less than MIN_FREE_BYTES would be left.
    """
    storage = the_storage()
    if not isinstance(storage, FileSystemStorage):
        yield lambda written: None
        return
    left = size

    def take(written: int) -> None:
        nonlocal left
        with _room:
            taken = min(written, left)
            left -= taken
            _promised[0] -= taken

    with _room:
        free = shutil.disk_usage(storage.location).free - _promised[0]
        if free - size < limits.MIN_FREE_BYTES:
            needs = f', and the next file needs {size / 1e6:.0f} MB' if size else ''
            raise NoRoom(
                f'downloads stop: {free / 1e6:.0f} MB are free where the data goes{needs} '
                f'(TOM_AUTO: MIN_FREE_BYTES is {limits.MIN_FREE_BYTES / 1e6:.0f} MB)'
            )
        _promised[0] += size
    try:
        yield take
    finally:
        take(left)
