"""Reads what differs from machine to machine: the environment, and `.env` beside manage.py.

A variable that is already set in the environment wins over the same line of `.env`.
Run as a program (`python3 -m ...environment`), it makes `.env` where there is none, with any
Python and without packages.
"""

import contextlib
import os
import secrets
from pathlib import Path

YES = {'1', 'true', 'yes', 'on'}
NO = {'0', 'false', 'no', 'off', ''}

#: The lines of .env.example that get a secret of their own.
SECRETS = ('SECRET_KEY=', 'POSTGRES_PASSWORD=')


class BadSetting(Exception):
    """A variable of the environment or of `.env` has a value that cannot be used."""


def load_environment(project: Path) -> None:
    """Read `project/.env` into the environment, making the file first where it is needed.

    A machine that sets SECRET_KEY itself (a container, say) needs no file and gets none.
    """
    file = project / '.env'
    if not file.exists() and not os.environ.get('SECRET_KEY'):
        make_env_file(file, project / '.env.example')
    from dotenv import load_dotenv  # here: making the file needs no packages

    # Nothing is interpolated: a `$` in a token or a password stands for itself.
    load_dotenv(file, interpolate=False)


def make_env_file(file: Path, example: Path) -> None:
    """Make `file` from `example` with new secrets, readable by its owner alone.

    The file appears whole or not at all, and one that another process has just made is kept.
    """
    lines = [
        line + secrets.token_urlsafe(50) if line in SECRETS else line
        for line in example.read_text(encoding='utf-8').splitlines()
    ]
    text = '\n'.join(lines) + '\n'
    draft = file.with_name(f'.env.{os.getpid()}.part')
    try:
        with open(draft, 'x', encoding='utf-8', opener=_owner_only) as new:
            new.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)  # unlike a rename, never replaces a file that is there
    finally:
        draft.unlink(missing_ok=True)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def text(name: str, default: str = '') -> str:
    """The variable `name`, or `default` where it is missing or empty."""
    return os.environ.get(name, '').strip() or default


def flag(name: str, default: bool) -> bool:
    """The variable `name` as yes or no; raises BadSetting for anything else."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in YES:
        return True
    if value.strip().lower() in NO:
        return False
    raise BadSetting(f'{name}={value!r} in the environment or .env: write true or false.')


def words(name: str) -> list[str]:
    """The variable `name`, cut at its commas."""
    return [word.strip() for word in os.environ.get(name, '').split(',') if word.strip()]


if __name__ == '__main__':
    _project = Path(__file__).resolve().parent.parent
    if not (_project / '.env').exists():
        make_env_file(_project / '.env', _project / '.env.example')
