"""Where the files of data products lie: on a disk of this host, or in a store such as S3.

On a disk a file is received into a folder of part files beside the data, so that moving it into
place is one step.
"""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.files.utils import validate_file_name
from django.db.models import Q
from tom_dataproducts.models import DataProduct

from ..errors import LocalTrouble, SyncError
from ..explain import OF_ONE_FILE, in_the_storage
from . import file_names, whole_file
from .whole_file import Received

PARTS = '.tom-parts'
RESTORING = '.tom-restore'  # what a restore makes ready, beside the data

_host, _numbers = socket.gethostname(), count(1)


def the_storage() -> Storage:
    """The storage that this TOM keeps its data products in."""
    return DataProduct._meta.get_field('data').storage


@in_the_storage()
def exists(name: str) -> bool:
    """Whether there is a file of that name."""
    return is_proper(name) and the_storage().exists(name)


@in_the_storage()
def listed(folder: str) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files in `folder`; none where there is no such folder."""
    try:
        return the_storage().listdir(folder)
    except FileNotFoundError:
        return [], []


def is_proper(name: str) -> bool:
    """Whether `name` lies inside the storage: others may have stored a row that does not."""
    try:
        validate_file_name(relative(name), allow_relative_path=True)
    except SuspiciousFileOperation:
        return False
    return True


def relative(name: str) -> str:
    """`name` as it is written here: others give the whole path of a file, which Django opens as well.

    Raises SuspiciousFileOperation for the path of a file elsewhere.
    """
    where = the_storage()
    if not (Path(name).is_absolute() and isinstance(where, FileSystemStorage)):
        return name
    return os.path.relpath(where.path(name), where.location)


@in_the_storage()
def sizes(names: list[str]) -> dict[str, int | None]:
    """The sizes of these files in bytes; None for those that are not there."""
    return {name: _size(name) if exists(name) else None for name in names}


def _size(name: str) -> int:
    try:
        return the_storage().size(name)
    except FileNotFoundError:  # a link of its owner's, which leads nowhere now
        return 0


#: What may be raised where a file is only looked at, and nothing depends on it.
UNREADABLE = (*OF_ONE_FILE, SyncError)


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """A file that is stored, for reading."""
    with in_the_storage(), the_storage().open(name) as file:
        yield file


def read(name: str) -> Received:
    """What is known of a file that is stored."""
    with opened(name) as file:
        return whole_file.read(file)


def is_beginning(name: str, file: IO[bytes]) -> bool:
    """Whether a file that is stored is the beginning of the part `file`."""
    file.seek(0)
    with opened(name) as stored:
        while chunk := stored.read(whole_file.CHUNK):
            if file.read(len(chunk)) != chunk:
                return False
    return True


def are_one(name: str, other: str) -> bool:
    """Whether these two names are of one file, by a link."""
    storage = the_storage()
    if not isinstance(storage, FileSystemStorage):
        return False
    return Path(storage.path(name)).samefile(storage.path(other))


def free_place(name: str, md5: str) -> str:
    """`name`, or one beside it, for a file with this checksum: where no other file is."""
    places = file_names.beside(name)
    return next(place for place in places if not exists(place) or read(place).md5 == md5)


def delete(name: str) -> None:
    """Remove a file that was stored here and that no row refers to."""
    if name and is_proper(name) and not _is_referred_to(name):
        with suppress(OSError), in_the_storage():
            the_storage().delete(name)


def _is_referred_to(name: str) -> bool:
    where, names = the_storage(), {name, relative(name)}
    if isinstance(where, FileSystemStorage):
        names.add(where.path(name))
    rows = DataProduct.objects.filter(Q(data__in=names) | Q(thumbnail__in=names))
    return rows.exists()


def is_being_restored() -> bool:
    """Whether a restore of the data is in progress, or was cut short."""
    storage = the_storage()
    return isinstance(storage, FileSystemStorage) and (Path(storage.location) / RESTORING).exists()


def empty_parts() -> None:
    """Remove what runs that were killed have left. To be called when no other run is at work."""
    storage = the_storage()
    if isinstance(storage, FileSystemStorage):
        shutil.rmtree(Path(storage.location) / PARTS, ignore_errors=True)


@contextmanager
def part_file() -> Iterator[IO[bytes]]:
    """A file to receive something in; it is gone afterwards, unless it was moved into place."""
    storage = the_storage()
    if not isinstance(storage, FileSystemStorage):
        with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
            yield file
        return
    part = Path(storage.location) / PARTS / f'{_host}-{os.getpid()}-{next(_numbers)}'
    _make_directory(part.parent, storage.directory_permissions_mode)
    try:
        with part.open('x+b') as file:
            yield file
    finally:
        part.unlink(missing_ok=True)


@in_the_storage()
def move_into_place(file: IO[bytes], name: str, size: int) -> None:
    """Make the part `file`, of `size` bytes, the file `name`, and see that it lasts."""
    storage = the_storage()
    file.flush()
    if not isinstance(storage, FileSystemStorage):
        _upload(storage, file, name, size)
        return
    os.fsync(file.fileno())
    place = Path(storage.path(name))
    _make_directory(place.parent, storage.directory_permissions_mode)
    _allow(Path(file.name), storage.file_permissions_mode)
    Path(file.name).replace(place)
    flush_directory(place.parent)


def _make_directory(directory: Path, mode: int | None) -> None:
    if directory.exists():
        return
    _make_directory(directory.parent, mode)
    directory.mkdir(exist_ok=True)
    _allow(directory, mode)


def _allow(path: Path, mode: int | None) -> None:
    """Give `path` its permissions as Django's own storage does: FILE_UPLOAD_PERMISSIONS and so on."""
    if mode is not None:
        with suppress(OSError):  # some shares know no permissions
            path.chmod(mode)


def flush_directory(directory: Path) -> None:
    """Or the new name may be lost with the machine's power. Shares cannot flush directories."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def _upload(storage: Storage, file: IO[bytes], name: str, size: int) -> None:
    # Not `save`, which would choose another name where there is a version before: an object
    # store replaces that in one step. If the storage cannot overwrite, delete the old file and
    # try once more.
    for _ in range(2):
        file.seek(0)
        kept = storage._save(name, File(file))
        with suppress(FileNotFoundError):  # there are stores that lose what they have taken
            if kept == name and storage.size(kept) == size:
                return
            storage.delete(kept)
    raise LocalTrouble(f'the storage did not keep {name} as it is')
