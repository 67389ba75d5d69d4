"""Tells a project that was moved from another project whose place is gone.

A project keeps a note of where its jobs were installed, and a move takes the note along. Without
it, one that is made new, or a disk that is not mounted, would look the same.
"""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

NOTE = Path('.cache') / 'installed-at'


def remember(project: Path, changed: bool) -> None:
    """Keep a note that the jobs are installed for `project`; its time is when they were `changed`."""
    note, path = project / NOTE, os.fsencode(project)
    with contextlib.suppress(OSError):  # without it, a move is taken for a new project: no harm
        if changed or _noted(project) != path:
            note.parent.mkdir(exist_ok=True)
            note.write_bytes(path)


def installed_at(project: Path) -> datetime | None:
    """When the installed jobs became what they are; None where nobody knows."""
    with contextlib.suppress(OSError):
        return datetime.fromtimestamp((project / NOTE).stat().st_mtime, UTC)
    return None


def is_of(project: Path, path: bytes) -> bool:
    """Whether what is installed for `path` is for this project: it is there, or it was."""
    return (
        path == os.fsencode(project)
        or _leads_to(project, path)
        or (path == _noted(project) and is_gone(path))
    )


def _leads_to(project: Path, path: bytes) -> bool:
    """As a symbolic link does, which was left behind in a move."""
    with contextlib.suppress(OSError, ValueError):
        return Path(os.fsdecode(path)).samefile(project)
    return False


def _noted(project: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (project / NOTE).read_bytes()
    return b''


def is_gone(path: bytes) -> bool:
    """Whether there is surely nothing at `path`."""
    try:
        Path(os.fsdecode(path)).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False  # a directory that may not be looked into is not gone
    return False
