"""`manage.py backup`: the database and the data files in one file, which is proved before it counts."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils.crypto import salted_hmac

from ..conf import automation, slug
from ..files.storage import flush_directory
from ..files.storage_id import insist_on_storage
from ..scheduling.job_log import owner_only
from . import database_copies
from .backup_file import DATABASE, about_of, insist_on_whole, write
from .data_folders import Look, data_root, look_at
from .database_copies import BackupError

ALONE = '-database'  # in the name of a backup without the data


@dataclass(frozen=True)
class Made:
    """A backup, what is in it, and what was deleted for it."""

    path: Path
    size: int
    files: int | None  # None: without the data
    deleted: list[str]
    missing: list[str]  # data products that have no file


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
    try:
        with alone(place) as work:
            return _made(place, work, root, keep)
    except OSError as error:
        raise BackupError(f'The backup failed: {error}. No backup was made.') from error


def _made(place: Path, work: Path, root: Path | None, keep: int | None) -> Made:
    look = look_at(root) if root else None
    if look:
        look.insist_on_disks(_disks_before(place))
    _insist_on_room(place, look.size if look else 0)
    copy, part = work / DATABASE, work / 'part'
    database_copies.dump(copy)
    database_copies.prove(copy)
    files = write(part, _about(look), copy, look.root if look else None)
    insist_on_whole(part)
    kind = '' if look else ALONE
    path = place / f'{slug()}-{datetime.now(UTC):%Y-%m-%d-%H%M%S}{kind}.tar'
    part.replace(path)
    flush_directory(place)
    deleted = _too_many(place, path, keep, kind)
    for old in deleted:
        old.unlink()
    missing = look.missing if look else []
    return Made(path, path.stat().st_size, files, [old.name for old in deleted], missing)


def _disks_before(place: Path) -> list[str]:
    """The directories of the data that were disks of their own in the last backup of it in `place`."""
    of_data = (about for about in map(about_of, _mine(backups(place))) if about.get('data'))
    return next(of_data, {}).get('disks', [])


def _too_many(place: Path, new: Path, keep: int | None, kind: str) -> list[Path]:
    """The backups that are one too many: of the kind of `new`, and of this very TOM.

    Another one may have the same name, and what cannot be read is nobody's to delete.
    """
    if keep is None:
        return []
    alike = [old for old in backups(place) if old != new and (ALONE in old.name) == bool(kind)]
    return list(_mine(alike))[keep - 1 :]


def _mine(those: list[Path]) -> Iterator[Path]:
    """Those backups that are of this very TOM."""
    return (path for path in those if about_of(path).get('key') == key_mark())


def backups(place: Path) -> list[Path]:
    """The backups of this TOM in `place`, the newest first."""
    name = re.compile(rf'{re.escape(slug())}-\d{{4}}(-\d\d){{2}}-\d{{6}}({ALONE})?\.tar')
    return sorted((file for file in place.glob('*.tar') if name.fullmatch(file.name)), reverse=True)


def key_mark() -> str:
    """What tells whether SECRET_KEY is still the same, and does not show it."""
    return salted_hmac('tom_auto.backups.backup', 'SECRET_KEY').hexdigest()[:16]


@contextmanager
def alone(place: Path) -> Iterator[Path]:
    """A directory to work in, in `place`: gone afterwards, and emptied of what a kill has left there.

    Raises BackupError where another backup or restore works there.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(place / '.lock', 'ab', opener=owner_only) as lock:  # noqa: PTH123
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f'Another backup or restore in {place} is in progress.') from None
        work = place / '.part'
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _insist_on_room(place: Path, data: int) -> None:
    """Raise BackupError unless MIN_FREE_BYTES stay free: downloads would stop otherwise."""
    needed = data + 2 * database_copies.size()  # a copy by itself, then one in the backup
    free, spare = shutil.disk_usage(place).free, automation().MIN_FREE_BYTES
    if free - needed < spare:
        raise BackupError(
            f'The backup needs up to {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in {place}, of '
            f'which {spare / 1e6:.0f} MB must stay free (TOM_AUTO: MIN_FREE_BYTES). Choose another '
            'directory by --to, keep fewer by --keep, or back up the data by other means and use '
            '--no-data.'
        )


def _about(look: Look | None) -> dict:
    """What a backup says of itself."""
    return {
        'made': datetime.now(UTC).isoformat(timespec='seconds'),
        'tom': slug(),
        'database': connection.vendor,
        'data': look is not None,
        'disks': look.disks if look else [],
        'key': key_mark(),
    }
