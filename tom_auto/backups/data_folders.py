"""The directories of the data: through links, over several disks, and where a disk is away."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.core.files.storage import FileSystemStorage
from tom_dataproducts.models import DataProduct

from ..files.storage import the_storage
from .database_copies import BackupError

PRIVATE = '.tom-'  # directories of the storage that begin so hold no data products


@dataclass
class Look:
    """What a look at all directories of the data has found. Directories by their names below the root."""

    root: Path
    size: int = 0  # of all files, in bytes
    disks: list[str] = field(default_factory=list)  # directories on another disk than the root
    empty: set[str] = field(default_factory=set)  # and on the root's disk
    missing: list[str] = field(default_factory=list)  # data products that have no file

    def insist_on_disks(self, disks_before: list[str]) -> None:
        """Raise BackupError where a disk seems to be away. `disks_before`: those of the last backup.

        A disk that is not mounted leaves an empty directory. Then the backup would lack its files,
        and push out those that have them.
        """
        away, lost = self.empty & set(disks_before), Counter()
        for name in (
            DataProduct.objects.filter(data__gt='').values_list('data', flat=True).iterator()
        ):
            if not (self.root / name).exists():
                self.missing.append(name)
                lost.update(self.empty.intersection(map(str, Path(name).parents)))
        # A frame has a directory of its own, which is empty when somebody has deleted its file.
        away |= {folder for folder, count in lost.items() if count > 1}
        if away:
            raise BackupError(
                f'{self.root / min(away)} is empty, and should not be. Is its disk mounted? Mount it; or '
                'delete this directory, if nothing belongs there any more. No backup was made.'
            )


def data_root() -> Path | None:
    """Where the data files are; None where an object store has them."""
    storage = the_storage()
    return Path(storage.location) if isinstance(storage, FileSystemStorage) else None


def look_at(root: Path) -> Look:
    """Look at all directories of the data."""
    look, disk = Look(root), root.stat().st_dev
    for folder, folders, files in folders_below(root):
        name = str(folder.relative_to(root))
        if folder.stat().st_dev != disk:
            look.disks.append(name)
        elif folder != root and not folders and not files:
            look.empty.add(name)
        for file in files:
            with suppress(FileNotFoundError):  # somebody has just deleted it
                look.size += file.stat().st_size
    return look


def files_below(root: Path) -> Iterator[Path]:
    """Every file of the data."""
    for _, _, files in folders_below(root):
        yield from files


def folders_below(root: Path) -> Iterator[tuple[Path, list[str], list[Path]]]:
    """Every directory of the data, with the names of those in it, and its files.

    Through links as well, as to a disk that is linked from there; each once, where a link leads back.
    """
    seen = set()
    for path, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        folder = Path(path)
        about = folder.stat()
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(PRIVATE))
        yield folder, folders, [file for name in sorted(names) if _is_file(file := folder / name)]


def _is_file(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        lost = 'This link leads nowhere: is its disk mounted?'
        raise FileNotFoundError(errno.ENOENT, lost, str(path))
    return path.is_file()


def _raise(error: OSError) -> None:
    raise error  # a directory that cannot be read must not be left out without a word


def fixed_below(root: Path) -> list[Path]:
    """The directories that a restore fills and does not replace, the outermost first.

    Those are the root, links to directories, disks that are mounted in it, and what leads there.
    """
    fixed = {root}
    for folder, _, _ in folders_below(root):
        if folder.is_symlink() or folder.is_mount():
            fixed |= {folder, *(each for each in folder.parents if each.is_relative_to(root))}
    return sorted(fixed, key=lambda path: len(path.parts))
