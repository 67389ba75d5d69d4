"""Where the files of data products lie: on a disk of this host, or in a store such as S3.

On a disk a file is received beside its place, so that moving it there is one step.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.files.utils import validate_file_name
from tom_dataproducts.models import DataProduct

from ..conf import Automation
from ..models import StoredFrame
from .errors import LocalTrouble, NoRoom


def the_storage() -> Storage:
    """The storage that this TOM keeps its data products in."""
    return DataProduct._meta.get_field('data').storage


def exists(name: str) -> bool:
    """Whether there is a file of that name."""
    return is_proper(name) and the_storage().exists(name)


def is_proper(name: str) -> bool:
    """Whether `name` lies inside the storage: others may have stored a row that does not."""
    try:
        validate_file_name(name, allow_relative_path=True)
    except SuspiciousFileOperation:
        return False
    return True


def room(limits: Automation) -> float:
    """How many bytes a download may have: rule 15. Only a disk of this host has such a limit.

    Raises SyncError where less is free than MIN_FREE_BYTES.
    """
    storage = the_storage()
    if not isinstance(storage, FileSystemStorage):
        return inf
    Path(storage.location).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(storage.location).free
    if free < limits.MIN_FREE_BYTES:
        raise NoRoom(
            f'downloads stop: only {free / 1e6:.0f} MB are free where the data goes '
            f'(TOM_AUTO: MIN_FREE_BYTES is {limits.MIN_FREE_BYTES / 1e6:.0f} MB)'
        )
    return free - limits.MIN_FREE_BYTES


def part_path(storage: FileSystemStorage, claim: StoredFrame) -> Path:
    """Where the file of `claim` is received."""
    return Path(storage.path(claim.name)).with_name(f'.{claim.pk}.part')


@contextmanager
def part_file(claim: StoredFrame) -> Iterator[IO[bytes]]:
    """A file to receive what `claim` is for. It is left where it is: see `remove_part`."""
    storage = the_storage()
    if not isinstance(storage, FileSystemStorage):
        with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
            yield file
        return
    part = part_path(storage, claim)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open('w+b') as file:
        yield file


def remove_part(claim: StoredFrame) -> None:
    """Remove what is left of an attempt, while there still is a claim that tells of it."""
    storage = the_storage()
    if isinstance(storage, FileSystemStorage):
        part_path(storage, claim).unlink(missing_ok=True)


def move_into_place(file: IO[bytes], claim: StoredFrame, size: int) -> None:
    """Make the part `file`, of `size` bytes, the file of `claim`, and see that it lasts."""
    storage = the_storage()
    file.flush()
    if not isinstance(storage, FileSystemStorage):
        _upload(storage, file, claim.name, size)
        return
    os.fsync(file.fileno())
    place, part = Path(storage.path(claim.name)), part_path(storage, claim)
    part.chmod(settings.FILE_UPLOAD_PERMISSIONS or 0o644)
    part.replace(place)
    directory = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # or the new name may be lost with the machine's power
    finally:
        os.close(directory)


def _upload(storage: Storage, file: IO[bytes], name: str, size: int) -> None:
    # Not `save`, which would choose another name where there is a version before: an object
    # store replaces that in one step, and until then it stays. A storage that cannot replace a
    # file gets a second chance, without one.
    for _ in range(2):
        file.seek(0)
        kept = storage._save(name, File(file))
        if kept == name and storage.size(kept) == size:
            return
        storage.delete(kept)
    raise LocalTrouble(f'the storage did not keep {name} as it is')
