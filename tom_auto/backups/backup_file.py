"""The file of a backup: written, read, and proved to be whole.

It is a tar file. Its last member, `END`, has the checksum of all that is before it: a file that broke off,
or was damaged on its way, is refused.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..scheduling.job_log import owner_only
from .data_folders import files_below
from .database_copies import BackupError

ABOUT, DATABASE, DATA, END = 'about.json', 'database', 'data', 'END'
CHUNK = 2**20


def write(part: Path, about: dict, copy: Path, root: Path | None) -> int | None:
    """Write the tar file with this `copy` of the database, which is deleted then, and the data below `root`.

    Returns the number of data files in it; None without `root`.
    """
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
    if _is_more_behind(path, end):
        raise BackupError(f'{path} has more behind its end: another backup? It must be one alone.')
    if not {'made', 'database', 'data', 'key'} <= about.keys():
        raise BackupError(f'{path} is not a backup of a TOM: it lacks {ABOUT}.')
    return about


def _is_more_behind(path: Path, end: tarfile.TarInfo) -> bool:
    """Whether anything but zeros, which tar files end in, lies behind the member `end`."""
    with path.open('rb') as file:
        file.seek(end.offset_data + tarfile.BLOCKSIZE)
        return any(any(chunk) for chunk in iter(lambda: file.read(CHUNK), b''))


def _sha256(path: Path, left: int) -> str:
    """The checksum of the first `left` bytes of a file."""
    found = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(min(CHUNK, left)):
            found.update(chunk)
            left -= len(chunk)
    return found.hexdigest()


def about_of(path: Path) -> dict:
    """The description inside a backup, without reading the rest; empty if it is not one of our backups."""
    try:
        with tarfile.open(path, 'r:') as tar:
            first = tar.next()
            return json.load(tar.extractfile(first)) if first and first.name == ABOUT else {}
    except (OSError, tarfile.TarError, ValueError):
        return {}
