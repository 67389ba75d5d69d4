"""`manage.py restore`: puts the database and the data of a backup in the place of what is there.

First everything is made ready beside the data; then the database changes, in one transaction; then the
files are renamed. What was there is kept beside them. Links to directories stay, and so do disks that are
mounted in the data: what is in them is replaced. Where one of these steps fails, all of them are undone.
No signal stops them halfway, nor the undoing. While they last the storage does not carry its id, so that
whoever is killed there leaves a TOM that touches nothing: rule 7.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from guardian.conf import settings as guardian
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from ..explain import told
from ..files.storage import RESTORING
from ..files.storage_id import MARK
from ..interrupt import uninterrupted
from ..models import UpdateRun
from . import database_copies
from .backup import key_mark
from .backup_file import DATA, DATABASE, insist_on_whole, members
from .data_folders import PRIVATE, data_root, files_below, fixed_below
from .database_copies import BackupError


class ConsentMissing(BackupError):
    """There is something in the TOM, and nobody has said that it may be replaced."""


class NotPutBack(BackupError):
    """A restore failed, and the database could not be made again what it was."""


@dataclass(frozen=True)
class Restored:
    """What was restored, and where the files are that were there before."""

    made: str
    files: int | None  # None: the backup has no data
    aside: list[Path]
    same_key: bool
    refused: list[str]  # rights of other users of the database that could not be given again


def restore(backup: Path, work: Path, consent: bool, tell: Callable[[Restored], object]) -> None:
    """Restore `backups.backup`. Raises BackupError; then everything is as it was.

    `work` is a directory for copies of the database. What is in the TOM is replaced only with `consent`.
    The files that were there stay, in a directory beside the data. `tell` learns what was restored before
    any signal is raised that came meanwhile: if it was not told, everything is as it was.
    """
    about = insist_on_whole(backup)
    free, size = shutil.disk_usage(work).free, backup.stat().st_size
    if free < size:
        raise BackupError(
            f'A restore needs {size / 1e6:.0f} MB in {work}: {free / 1e6:.0f} are free.'
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
    database, before = work / DATABASE, work / 'before'
    with _stages(root) as stages:
        files = _unpack(backup, database, stages)
        database_copies.prove(database)
        if stages:
            database_copies.dump(before)
        with uninterrupted() as came:
            aside, refused = _replace(database, before, stages, came)
            _end_runs()
            tell(Restored(about['made'], files, aside, about['key'] == key_mark(), refused))


def _what_is_there(root: Path | None) -> str:
    """What a restore would replace, in words; empty if nothing."""
    found, tables = [], connection.introspection.table_names()
    people = get_user_model().objects.exclude(username=guardian.ANONYMOUS_USER_NAME)
    for objects, name in (
        (Target.objects, 'target'),
        (ObservationRecord.objects, 'observation'),
        (DataProduct.objects, 'data product'),
        (people, 'user'),
    ):
        if objects.model._meta.db_table in tables and (count := objects.count()):
            found.append(_counted(count, name))
    if root and root.is_dir():
        try:
            count = sum(not file.name.startswith('.') for file in files_below(root))
            found += [_counted(count, 'data file')] if count else []
        except OSError:  # a link that leads nowhere, for one
            found.append('data files')
    return ', '.join(found)


def _counted(count: int, name: str) -> str:
    return f'{count} {name}' if count == 1 else f'{count} {name}s'


class Stages(dict[Path, Path]):
    """For each directory that stays where it is, the one in it where its new content is made ready."""

    @property
    def root(self) -> Path:
        """The directory of the data."""
        return next(iter(self))

    def place(self, member: tarfile.TarInfo) -> Path:
        """Where a data file or directory goes. Raises BackupError for what no backup of ours has."""
        parts = member.name.split('/')[1:]
        if not (member.isreg() or member.isdir()) or '' in parts or '..' in parts:
            raise BackupError(f'{member.name} is not a data file: this is not a backup of a TOM.')
        final = self.root.joinpath(*parts)
        if final in self:
            if not member.isdir():
                raise BackupError(f'{final} is a directory, and a file in this backup: rename it.')
            return self[final]
        fixed = next(folder for folder in final.parents if folder in self)
        place = self[fixed] / final.relative_to(fixed)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@contextmanager
def _stages(root: Path | None) -> Iterator[Stages]:
    """Directories beside the data, from where files need only be renamed. Empty without a `root`."""
    with ExitStack() as undo:
        stages = Stages()
        if root:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in fixed_below(root) if root else ():
            stages[folder] = stage = folder / RESTORING
            shutil.rmtree(stage, ignore_errors=True)  # of a restore that was killed
            stage.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, stage, ignore_errors=True)
        yield stages


def _unpack(backup: Path, database: Path, stages: Stages) -> int | None:
    """Unpack the copy of the database, and the data files where they are made ready; their number."""
    files = 0 if stages else None
    with tarfile.open(backup, 'r:') as tar:
        for member in members(tar):
            if member.name == DATABASE:
                _write(tar, member, database)
            elif stages and member.name.startswith(f'{DATA}/'):
                place = stages.place(member)
                if not member.isdir():
                    _write(tar, member, place)
                    files += 1
                elif place not in stages.values():
                    place.mkdir(exist_ok=True)
                    place.chmod(member.mode & 0o777 | 0o700)  # a web server may have to read it
    return files


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    # Not by `extract`: before Python 3.11.4 that follows whatever a tar file says.
    with tar.extractfile(member) as packed, place.open('xb') as file:
        shutil.copyfileobj(packed, file)
    place.chmod(member.mode & 0o777)
    os.utime(place, (member.mtime, member.mtime))


def _replace(
    database: Path, before: Path, stages: Stages, came: list[int]
) -> tuple[list[Path], list[str]]:
    """Change the database, then the files; the directories with the files that were there, and the rights
    that are lost. `before` is a copy of the database as it is, and `came` the signals that have come.
    """
    if not stages:
        return [], database_copies.load(database)
    root, now = stages.root, f'{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}'
    asides = {folder: folder / f'{PRIVATE}before-restore-{now}' for folder in stages}
    with ExitStack() as undo:
        for aside in asides.values():
            aside.mkdir(mode=0o700)
            undo.callback(_remove_if_empty, aside)
        mark = undo.enter_context(ExitStack())
        _rename([root / MARK], asides[root], mark)
        refused = database_copies.load(database)
        undo.callback(_put_back, before, mark, came)
        if came:  # one of them is raised when all is undone
            raise BackupError('The restore was stopped.')
        for folder, stage in stages.items():
            _rename(_to_replace(folder, stages), asides[folder], undo)
            _rename([entry for entry in stage.iterdir() if entry.name != MARK], folder, undo)
        _rename([stages[root] / MARK], root, undo)  # now it is the storage that the database knows
        undo.pop_all()
    for aside in asides.values():
        _remove_if_empty(aside)
    return [aside for aside in asides.values() if aside.exists()], refused


def _put_back(before: Path, mark: ExitStack, came: list[int]) -> None:
    """Make the database what it was. Where that fails, the storage does not get its id back: rule 7."""
    try:
        database_copies.load(before)
    except Exception as error:
        mark.pop_all()
        came.clear()  # what is raised for a signal would hide this
        name = f'database-before-{datetime.now(UTC):%Y-%m-%d-%H%M%S}'
        kept = before.rename(before.parent.parent / name)
        reason = error if isinstance(error, BackupError) else f'{told(error)}.'
        raise NotPutBack(
            f'The restore failed, and so did putting the database back: {reason} Restore once more; until '
            f'then the jobs of this TOM touch nothing. The database as it was is in {kept}.'
        ) from error


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _to_replace(folder: Path, stages: Stages) -> list[Path]:
    """What is in a directory, but for what stays; so do links that lead back into the data."""
    here = [entry for entry in folder.iterdir() if not entry.name.startswith(PRIVATE)]
    return [
        entry
        for entry in here
        if entry not in stages and not (entry.is_symlink() and entry.is_dir())
    ]


def _rename(entries: list[Path], directory: Path, undo: ExitStack) -> None:
    for entry in entries:
        if entry.exists() or entry.is_symlink():
            there = directory / entry.name
            if there.exists() or there.is_symlink():
                raise BackupError(f'{there} is in the way.')
            entry.rename(there)
            undo.callback(there.rename, entry)


def _end_runs() -> None:
    """The run that made the backup, and any other at that time, is not at work in this TOM."""
    connection.close()
    # The tables may be those of an older version: `migrate` comes next.
    with suppress(DatabaseError), transaction.atomic():
        UpdateRun.objects.filter(status=UpdateRun.Status.RUNNING).delete()
