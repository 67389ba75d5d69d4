"""Distinguishes a project that was moved from another one that is gone.

A project keeps a note of where its jobs were installed, and the note moves with the project. Without it,
a new project of the same name, or an unmounted disk, would look the same.
"""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

NOTE = Path('.cache') / 'installed-at'
REMOVED = Path('.cache') / 'removed-at'


def remember(project: Path, changed: bool) -> None:
    """Note that the jobs are installed for `project`; the note's time is when they `changed`."""
    note, path = project / NOTE, os.fsencode(project)
    with contextlib.suppress(OSError):  # without it, a move looks like a new project: no harm
        if changed or _noted(project) != path or removed_at(project):
            note.parent.mkdir(exist_ok=True)
            note.write_bytes(path)
        (project / REMOVED).unlink(missing_ok=True)


def note_removal(project: Path) -> None:
    """Note that the jobs of `project` were removed just now."""
    note = project / REMOVED
    with contextlib.suppress(OSError):  # without it, they seem to be installed: status knows better
        note.parent.mkdir(exist_ok=True)
        note.write_bytes(os.fsencode(project))


def installed_at(project: Path) -> datetime | None:
    """When the installed jobs last changed; None if that is unknown, or they were removed since."""
    installed, removed = _time_of(project / NOTE), removed_at(project)
    return None if installed and removed and removed > installed else installed


def removed_at(project: Path) -> datetime | None:
    """When the jobs were last removed; None if they never were."""
    return _time_of(project / REMOVED)


def _time_of(note: Path) -> datetime | None:
    with contextlib.suppress(OSError):
        return datetime.fromtimestamp(note.stat().st_mtime, UTC)
    return None


def is_of(project: Path, path: bytes) -> bool:
    """Whether jobs installed for `path` belong to this project, which is or was there."""
    return (
        path == os.fsencode(project)
        or _leads_to(project, path)
        or (path == _noted(project) and is_gone(path))
    )


def _leads_to(project: Path, path: bytes) -> bool:
    """Whether `path` is a symbolic link to the project, for example left behind in a move."""
    with contextlib.suppress(OSError, ValueError):
        return Path(os.fsdecode(path)).samefile(project)
    return False


def _noted(project: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (project / NOTE).read_bytes()
    return b''


def is_gone(path: bytes) -> bool:
    """Whether there is certainly nothing at `path`."""
    try:
        Path(os.fsdecode(path)).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False  # a directory that is not readable is not gone
    return False
