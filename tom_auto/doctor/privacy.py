"""What other users of this machine can look into, and should not."""

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from ..jobs import jobs
from .finding import OK, WARNING, Found

#: What is secret in a project, for which not even a group is needed.
SECRETS = ('.env', 'local_settings.py', 'db.sqlite3*', 'logs', '.cache', 'backups')


def privacy() -> Found:
    """Whether other users of this machine can look into the project."""
    if jobs().contained:
        yield OK, 'Not checked: a container has no other users'
    elif names := [str(path) for path in open_to_others()]:
        found = f'Others on this machine can look into {", ".join(names)}'
        yield WARNING, found, f'chmod go-rwx {shlex.join(names)}'
    else:
        yield OK, 'No other user of this machine can look into the project'


def open_to_others() -> Iterator[Path]:
    """What other users of this machine can read or enter of the project and its data, and should not."""
    project, data = Path(settings.BASE_DIR), Path(settings.MEDIA_ROOT)
    is_closed = not project.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH)
    for pattern in () if is_closed else SECRETS:
        yield from (path for path in sorted(project.glob(pattern)) if path.stat().st_mode & 0o077)
    if is_closed and data.resolve().is_relative_to(project.resolve()):
        return
    if data.is_dir() and data.stat().st_mode & stat.S_IRWXO:
        yield data
