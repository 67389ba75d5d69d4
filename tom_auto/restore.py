"""`manage.py restore`: puts the database and the data of a backup in the place of what is there.

First everything is made ready beside the data; then the database changes, in one transaction; then the
files are renamed. What was there is kept beside them. Where one of these steps fails, all of them are
undone. While they last the storage does not carry its id, so that whoever is killed there leaves a
TOM that touches nothing: rule 7.
"""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from guardian.conf import settings as guardian
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from . import database_copies
from .backup import (
    DATA,
    DATABASE,
    PRIVATE,
    data_root,
    files_below,
    insist_on_whole,
    key_mark,
    members,
)
from .database_copies import BackupError
from .interrupt import uninterrupted
from .models import UpdateRun
from .sync.storage import RESTORING
from .sync.storage_id import MARK


class ConsentMissing(BackupError):
    """There is something in the TOM, and nobody has said that it may be replaced."""


@dataclass(frozen=True)
class Restored:
    """What was restored, and where the files are that were there before."""

    made: str
    files: int | None  # None: the backup has no data
    aside: Path | None
    same_key: bool


def restore(backup: Path, consent: bool) -> Restored:
    """Restore `backup`. Raises BackupError; then everything is as it was.

    What is in the TOM is replaced only with `consent`. The files that were there stay, in a directory
    beside the data.
    """
    about = insist_on_whole(backup)
    free, size = shutil.disk_usage(backup.parent).free, backup.stat().st_size
    if free < size:
        raise BackupError(
            f'A restore needs {size / 1e6:.0f} MB in {backup.parent}: {free / 1e6:.0f} are free.'
        )
    if about['database'] != connection.vendor:
        raise BackupError(
            f'This backup has a database of {about["database"]}, and this TOM uses '
            f'{connection.vendor}: change DATABASE_URL in .env.'
        )
    root = data_root() if about['data'] else None
    if about['data'] and root is None:
        raise BackupError('This backup has data files, and this TOM keeps them in an object store.')
    if not consent and (held := _what_is_there(root)):
        raise ConsentMissing(f'This TOM has {held}.')
    with TemporaryDirectory(prefix='.restore-', dir=backup.parent) as place:
        database = Path(place) / DATABASE
        with _stage(root) as stage:
            files = _unpack(backup, database, stage)
            database_copies.prove(database)
            aside = _replace(database, root, stage)
    _end_runs()
    return Restored(about['made'], files, aside, about['key'] == key_mark())


def _what_is_there(root: Path | None) -> str:
    """What a restore would replace, in words; empty if nothing."""
    found, tables = [], connection.introspection.table_names()
    people = get_user_model().objects.exclude(username=guardian.ANONYMOUS_USER_NAME)
    for objects, name in (
        (Target.objects, 'targets'),
        (ObservationRecord.objects, 'observations'),
        (DataProduct.objects, 'data products'),
        (people, 'users'),
    ):
        if objects.model._meta.db_table in tables and (count := objects.count()):
            found.append(f'{count} {name}')
    if root and root.is_dir():
        try:
            count = sum(not file.name.startswith('.') for file in files_below(root))
            found += [f'{count} data files'] if count else []
        except OSError:  # a link that leads nowhere, for one
            found.append('data files')
    return ', '.join(found)


@contextmanager
def _stage(root: Path | None) -> Iterator[Path | None]:
    """A directory beside the data, from where files need only be renamed."""
    if root is None:
        yield None
        return
    if mounted := [entry.name for entry in root.glob('*') if _is_mount(entry)]:
        raise BackupError(
            f'{root / mounted[0]} is a file system of its own: it cannot be replaced.'
        )
    stage = root / RESTORING
    shutil.rmtree(stage, ignore_errors=True)  # of a restore that was killed
    stage.mkdir(mode=0o700, parents=True)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _is_mount(entry: Path) -> bool:
    return not entry.is_symlink() and entry.is_mount()


def _unpack(backup: Path, database: Path, stage: Path | None) -> int | None:
    """Unpack the copy of the database, and the data files into `stage`; the number of these."""
    files = None if stage is None else 0
    with tarfile.open(backup, 'r:') as tar:
        for member in members(tar):
            if member.name == DATABASE:
                _write(tar, member, database)
            elif stage is not None and member.name.startswith(f'{DATA}/'):
                place = _place(stage, member)
                if member.isdir():
                    place.mkdir(exist_ok=True)
                    place.chmod(member.mode & 0o777 | 0o700)  # a web server may have to read it
                else:
                    _write(tar, member, place)
                    files += 1
    return files


def _place(stage: Path, member: tarfile.TarInfo) -> Path:
    """Where a data file goes. Raises BackupError for what no backup of ours has."""
    parts = member.name.split('/')[1:]
    if not (member.isreg() or member.isdir()) or '' in parts or '..' in parts:
        raise BackupError(f'{member.name} is not a data file: this is not a backup of a TOM.')
    place = stage.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    # Not by `extract`: before Python 3.11.4 that follows whatever a tar file says.
    with tar.extractfile(member) as packed, place.open('xb') as file:
        shutil.copyfileobj(packed, file)
    place.chmod(member.mode & 0o777)
    os.utime(place, (member.mtime, member.mtime))


def _replace(database: Path, root: Path | None, stage: Path | None) -> Path | None:
    """Change the database, then the files; the directory with the files that were there."""
    if root is None:
        database_copies.load(database)
        return None
    before = database.with_name('before')
    database_copies.dump(before)
    aside = root / f'{PRIVATE}before-restore-{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}'
    aside.mkdir(mode=0o700)
    with ExitStack() as undo:
        undo.callback(aside.rmdir)
        _rename([root / MARK], aside, undo)
        database_copies.load(database)
        undo.callback(database_copies.load, before)
        with uninterrupted():
            here = [entry for entry in root.iterdir() if not entry.name.startswith(PRIVATE)]
            _rename(here, aside, undo)
            _rename([entry for entry in stage.iterdir() if entry.name != MARK], root, undo)
            _rename([stage / MARK], root, undo)  # now it is the storage that the database knows
            undo.pop_all()
    if any(aside.iterdir()):
        return aside
    aside.rmdir()
    return None


def _rename(entries: list[Path], directory: Path, undo: ExitStack) -> None:
    for entry in entries:
        if entry.exists() or entry.is_symlink():
            there = directory / entry.name
            entry.rename(there)
            undo.callback(there.rename, entry)


def _end_runs() -> None:
    """The run that made the backup, and any other at that time, is not at work in this TOM."""
    connection.close()
    # The tables may be those of an older version: `migrate` comes next.
    with suppress(DatabaseError), transaction.atomic():
        UpdateRun.objects.filter(status=UpdateRun.Status.RUNNING).delete()
