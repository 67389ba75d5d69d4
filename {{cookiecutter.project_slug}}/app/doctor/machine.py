"""Checks of this machine: Python and its packages, the database, the folder of the data."""

import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from ..conf import automation
from .finding import FAILED, OK, WARNING, Found

OLDEST, NEWEST = (3, 11), (3, 13)  # Python, as pyproject.toml has it


def interpreter() -> Found:
    """The Python that runs this is one for which tomtoolkit is made."""
    told = f'Python {sys.version.split()[0]}, {sys.executable}'
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        yield OK, told
        return
    wanted = ' to '.join('.'.join(map(str, version)) for version in (OLDEST, NEWEST))
    yield FAILED, told, f'Make the environment anew with a Python from {wanted}: see the README'


def packages() -> Found:
    """The packages are those that requirements.txt names."""
    lock = (Path(settings.BASE_DIR) / 'requirements.txt').read_text(encoding='utf-8')
    wrong = []
    for name, version in re.findall(r'^([\w.-]+)==([^\s;\\]+)(?=[^;\n]*$)', lock, re.MULTILINE):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = 'missing'
        if found != version:
            wrong.append(f'{name} is {found}, not {version}')
    if wrong:
        fix = f'{sys.executable} -m pip install -r requirements.txt'
        yield WARNING, f'{"; ".join(wrong[:5])} ({len(wrong)} in all)', fix
    else:
        yield OK, 'The packages are those of requirements.txt'


def database() -> Found:
    """The database answers, and its tables are those of this code."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield FAILED, f'{len(missing)} migrations are not applied', 'manage.py migrate'
    else:
        yield OK, f'{connection.vendor}: every migration is applied'


def media() -> Found:
    """The data can be written by this user, and fits."""
    if not isinstance(default_storage, FileSystemStorage) and not hasattr(default_storage, 'path'):
        yield OK, 'The data is in a storage that is no folder: not looked at'
        return
    folder = Path(settings.MEDIA_ROOT)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield OK, f'{folder} can be written'
    except OSError as error:
        fix = f'mkdir -p {folder}; chown {os.getuid()} {folder} (as the user who runs the jobs)'
        yield FAILED, f'{folder} cannot be written: {error.strerror}', fix
        return
    free, least = shutil.disk_usage(folder).free, automation().MIN_FREE_BYTES
    if free < least:
        fix = "Make room, or set AUTOMATION['MIN_FREE_BYTES'] lower"
        yield FAILED, f'{free / 1e9:.1f} GB are free, fewer than {least / 1e9:.1f} GB', fix
    else:
        yield OK, f'{free / 1e9:.1f} GB are free'
