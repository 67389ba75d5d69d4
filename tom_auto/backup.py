"""`manage.py backup`: the database and the data files in one file, which is proved before it counts.

The file is a tar file. Its last member, `END`, has the checksum of all that is before it: a file that
broke off, or was damaged on its way, is refused.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import connection
from django.utils.crypto import salted_hmac

from . import database_copies
from .conf import automation
from .database_copies import BackupError
from .scheduling.job_log import owner_only
from .sync.storage import flush_directory, the_storage
from .sync.storage_id import insist_on_storage

ABOUT, DATABASE, DATA, END = 'about.json', 'database', 'data', 'END'
ALONE = '-database'  # in the name of a backup without the data
PRIVATE = '.tom-'  # directories of the storage that begin so hold no data products
CHUNK = 2**20


@dataclass(frozen=True)
class Made:
    """A backup, what is in it, and what was deleted for it."""

    path: Path
    size: int
    files: int | None  # None: without the data
    deleted: list[str]


@contextmanager
def for_the_owner_alone() -> Iterator[None]:
    """Nobody else can read the files that are made meanwhile: they hold everybody's data."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def usual_place() -> Path:
    """The directory that backups go to unless another is named."""
    return Path(settings.BASE_DIR) / 'backups'


def back_up(place: Path, keep: int | None = None, with_data: bool = True) -> Made:
    """Back up into `place`; then delete all but the newest `keep` backups there.

    The database comes first: a file is stored before its row, so every row has its file. Raises
    BackupError where that cannot be done, and StorageAway where the data is not there: an empty
    backup must not push out the good ones.
    """
    root = data_root() if with_data else None
    if root:
        insist_on_storage()
        if place.resolve().is_relative_to(root.resolve()):
            raise BackupError(
                f'{place} is within the data, and would be backed up: choose another.'
            )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(place) as work:
        _insist_on_room(place, root)
        copy, part = work / DATABASE, work / 'part'
        database_copies.dump(copy)
        database_copies.prove(copy)
        files = _write(part, copy, root)
        insist_on_whole(part)
        kind = '' if with_data else ALONE
        path = place / f'{tom()}-{datetime.now(UTC):%Y-%m-%d-%H%M%S}{kind}.tar'
        part.replace(path)
        flush_directory(place)
        deleted = _too_many(place, path, keep, kind)
        for old in deleted:
            old.unlink()
    return Made(path, path.stat().st_size, files, [old.name for old in deleted])


def _too_many(place: Path, new: Path, keep: int | None, kind: str) -> list[Path]:
    """The backups that are one too many: of the kind of `new`, and of this very TOM.

    Another one may have the same name, and what cannot be read is nobody's to delete.
    """
    if keep is None:
        return []
    alike = [old for old in backups(place) if old != new and (ALONE in old.name) == bool(kind)]
    mine = [old for old in alike if _about(old).get('key') == key_mark()]
    return mine[keep - 1 :]


def _about(path: Path) -> dict:
    """What a backup says of itself, without a look at the rest; nothing where it is none of ours."""
    try:
        with tarfile.open(path, 'r:') as tar:
            first = tar.next()
            return json.load(tar.extractfile(first)) if first and first.name == ABOUT else {}
    except (OSError, tarfile.TarError, ValueError):
        return {}


def backups(place: Path) -> list[Path]:
    """The backups of this TOM in `place`, the newest first."""
    name = re.compile(rf'{re.escape(tom())}-\d{{4}}(-\d\d){{2}}-\d{{6}}({ALONE})?\.tar')
    return sorted((file for file in place.glob('*.tar') if name.fullmatch(file.name)), reverse=True)


def tom() -> str:
    """The name of this TOM in the names of its backups."""
    return settings.ROOT_URLCONF.split('.')[0]


def data_root() -> Path | None:
    """Where the data files are; None where an object store has them."""
    storage = the_storage()
    return Path(storage.location) if isinstance(storage, FileSystemStorage) else None


def key_mark() -> str:
    """What tells whether SECRET_KEY is still the same, and does not show it."""
    return salted_hmac('tom_auto.backup', 'SECRET_KEY').hexdigest()[:16]


@contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """A directory to work in, in `place`: gone afterwards, and emptied of what a killed backup left."""
    with open(place / '.lock', 'ab', opener=owner_only) as lock:  # noqa: PTH123
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f'Another backup into {place} is in progress.') from None
        work = place / '.part'
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            yield work
        except OSError as error:
            raise BackupError(f'The backup failed: {error}. No backup was made.') from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _insist_on_room(place: Path, root: Path | None) -> None:
    """Raise BackupError unless MIN_FREE_BYTES stay free: downloads would stop otherwise."""
    data = sum(file.stat().st_size for file in files_below(root)) if root else 0
    needed = data + 2 * database_copies.size()  # a copy by itself, then one in the backup
    free, spare = shutil.disk_usage(place).free, automation().MIN_FREE_BYTES
    if free - needed < spare:
        raise BackupError(
            f'The backup needs up to {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in {place}, of '
            f'which {spare / 1e6:.0f} MB must stay free (TOM_AUTO: MIN_FREE_BYTES). Choose another '
            'directory by --to, keep fewer by --keep, or back up the data by other means and use '
            '--no-data.'
        )


def files_below(root: Path) -> Iterator[Path]:
    """Every file of the storage, through links as well, as on a disk that is linked from there."""
    seen = set()
    for folder, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        about = Path(folder).stat()
        if (about.st_dev, about.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        if Path(folder) == root:
            folders[:] = [name for name in folders if not name.startswith(PRIVATE)]
        folders.sort()
        for file in (Path(folder, name) for name in sorted(names)):
            if file.is_file():
                yield file
            elif file.is_symlink() and not file.exists():
                raise FileNotFoundError(
                    errno.ENOENT, 'This link leads nowhere: is its disk mounted?', str(file)
                )


def _raise(error: OSError) -> None:
    raise error  # a directory that cannot be read must not be left out without a word


def _write(part: Path, copy: Path, root: Path | None) -> int | None:
    """Write the tar file; the number of data files in it."""
    about = {
        'made': datetime.now(UTC).isoformat(timespec='seconds'),
        'tom': tom(),
        'database': connection.vendor,
        'data': root is not None,
        'key': key_mark(),
    }
    with open(part, 'xb', opener=owner_only) as file:  # noqa: PTH123
        hashed = _Hashed(file)
        with tarfile.open(fileobj=hashed, mode='w', dereference=True) as tar:
            _add_text(tar, ABOUT, json.dumps(about))
            _add_file(tar, DATABASE, copy)
            copy.unlink()
            count = None if root is None else 0
            above = set()  # the directories of the file before
            for path in files_below(root) if root else ():
                folders = path.parents[: len(path.relative_to(root).parts) - 1]
                for folder in reversed(folders):
                    if folder not in above:
                        _add_folder(tar, f'{DATA}/{folder.relative_to(root)}', folder)
                above = set(folders)
                count += _add_file(tar, f'{DATA}/{path.relative_to(root)}', path)
                tar.members.clear()  # it would remember every file
            _add_text(tar, END, hashed.sha256.hexdigest())
        file.flush()
        os.fsync(file.fileno())
    return count


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o600
    tar.addfile(entry, io.BytesIO(text.encode('ascii')))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> bool:
    """Add a file; False where somebody has deleted it in the meantime."""
    try:
        file = path.open('rb')
    except FileNotFoundError:
        return False
    with file:
        tar.addfile(tar.gettarinfo(arcname=name, fileobj=file), file)
    return True


def _add_folder(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a directory, for its permissions, unless somebody has deleted it in the meantime."""
    with suppress(FileNotFoundError):
        tar.addfile(tar.gettarinfo(path, arcname=name))


class _Hashed:
    """A file to write to, with the checksum of all that was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file that is read, without remembering them all."""
    while (member := tar.next()) is not None:
        yield member
        tar.members.clear()


def insist_on_whole(path: Path) -> dict:
    """What the backup `path` says of itself. Raises BackupError unless it is whole."""
    about, end = {}, None
    try:
        with tarfile.open(path, 'r:') as tar:
            for end in members(tar):
                if end.name == ABOUT:
                    about = json.load(tar.extractfile(end))
            if end is None or end.name != END:
                raise BackupError(f'{path} is not a whole backup: its end is missing.')
            wanted = tar.extractfile(end).read().decode('ascii')
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise BackupError(f'{path} is not a whole backup: {error}.') from error
    if _sha256(path, end.offset) != wanted:
        raise BackupError(f'{path} is damaged: its checksum is wrong.')
    if not {'made', 'database', 'data', 'key'} <= about.keys():
        raise BackupError(f'{path} is not a backup of a TOM: it lacks {ABOUT}.')
    return about


def _sha256(path: Path, left: int) -> str:
    """The checksum of the first `left` bytes of a file."""
    found = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(min(CHUNK, left)):
            found.update(chunk)
            left -= len(chunk)
    return found.hexdigest()
