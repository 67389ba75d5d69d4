"""Reads settings that differ from machine to machine: the environment, and `.env` beside manage.py.

A variable of the environment wins over the same line of `.env`. As a program in the project
(`python3 -m tom_auto.environment`) this makes `.env` if it is missing, with Python 3.11 or later and without
packages; with `check`, in a container, it reads the settings, and names the line of a mistake in the `.env`
that comes in.
"""

import contextlib
import hashlib
import io
import os
import re
import secrets
import sys
from codecs import BOM_UTF8
from collections.abc import Collection
from importlib import import_module
from pathlib import Path

from .scheduling.definition import environment_of
from .scheduling.job_log import owner_only
from .scheduling.zone import VARIABLE, machine_zone_name

YES = {'1', 'true', 'yes', 'on'}
NO = {'0', 'false', 'no', 'off', ''}

#: The variable that names those which come from `.env`, for the processes that this one starts.
#: Its own name has SECRET in it, so that no error page of Django shows it.
FROM_FILE = 'TOM_SECRETS_OF_ENV_FILE'

#: The lines of .env.example that get a new secret.
SECRETS = ('SECRET_KEY=', 'POSTGRES_PASSWORD=')
#: The line that gets something of its own: two directories of one name must not share containers.
OWN_NAME = 'COMPOSE_PROJECT_NAME='

#: The line of `.env` that each variable comes from, unless the environment has it.
_lines: dict[str, int] = {}


class BadSetting(Exception):
    """A variable of the environment or of `.env` has an invalid value."""


def load_environment(project: Path) -> None:
    """Read `project/.env` into the environment, and make the file first if it is missing.

    If SECRET_KEY is set already (in a container, say), no file is made.
    """
    file = project / '.env'
    example = project / '.env.example'
    if not file.exists() and example.exists() and not os.environ.get('SECRET_KEY'):
        make_env_file(file, example)
    if file.exists():
        _note_lines(file.read_bytes(), besides=os.environ.keys())
    from dotenv import load_dotenv  # here, so that making the file needs no packages

    if file.exists():
        _insist_on_whole_lines(file)
        _forget_former()
    before = set(os.environ)
    # No interpolation: a `$` in a token or a password stands for itself. Some editors begin a file with a mark.
    load_dotenv(file, interpolate=False, encoding='utf-8-sig')
    mine = os.environ.keys() - before - {FROM_FILE}
    os.environ[FROM_FILE] = ' '.join(f'{name}={_mark(os.environ[name])}' for name in sorted(mine))


def _forget_former() -> None:
    """Drop what a parent process has read from `.env`, which may have changed since.

    A run that a web page starts would otherwise keep the token that the web server began with.
    What was set to something else in the meantime stays.
    """
    for entry in os.environ.pop(FROM_FILE, '').split():
        name, _, mark = entry.partition('=')
        if name in os.environ and _mark(os.environ[name]) == mark:
            del os.environ[name]


def _mark(value: str) -> str:
    """What tells whether a value is still the same, and does not show it."""
    return hashlib.sha256(os.fsencode(value)).hexdigest()[:16]


def _note_lines(content: bytes, besides: Collection[str] = ()) -> None:
    """Remember where each variable is set, but for those. Raises BadSetting where a line is not UTF-8."""
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b'\n'), start=1):
        try:
            named = re.match(r'\s*(?:export\s+)?(\w+)\s*=', line.decode('utf-8'))
        except UnicodeDecodeError:
            raise BadSetting(f'.env, line {number}: this is not UTF-8. Save it as UTF-8.') from None
        if named and named[1] not in besides:
            _lines[named[1]] = number


def _insist_on_whole_lines(file: Path) -> None:
    """Raise BadSetting with the first line that cannot be read: its variable would be missing."""
    from dotenv.parser import parse_stream

    for found in parse_stream(io.StringIO(file.read_text(encoding='utf-8-sig'))):
        if found.error:
            text = found.original.string  # with the empty lines above it
            number = found.original.line + text[: -len(text.lstrip())].count('\n')
            raise BadSetting(
                f'.env, line {number}: this line cannot be read. Write NAME=value; and a quotation mark '
                'at the beginning of a value needs one at its end.'
            )


def place(name: str) -> str:
    """Where the variable `name` comes from, in words."""
    return f'.env, line {_lines[name]}' if name in _lines else 'the environment'


def make_env_file(file: Path, example: Path) -> None:
    """Make `file` from `example` with new secrets and this machine's time zone, readable only by its owner.

    The file appears complete or not at all, and one that another process just made is kept.
    """
    example_lines = example.read_text(encoding='utf-8').splitlines()
    new = {line: secrets.token_urlsafe(50) for line in SECRETS}
    new[f'{VARIABLE}='] = machine_zone_name()  # only in the example of a TOM in containers
    own = f'-{secrets.token_hex(3)}'
    lines = [line + new.get(line, '') + own * line.startswith(OWN_NAME) for line in example_lines]
    text = '\n'.join(lines) + '\n'
    draft = file.with_name(f'.env.{os.getpid()}.part')
    try:
        with open(draft, 'x', encoding='utf-8', opener=owner_only) as new:
            new.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)  # unlike a rename, never replaces an existing file
    finally:
        draft.unlink(missing_ok=True)


def text(name: str, default: str = '') -> str:
    """The variable `name`, or `default` if it is missing or empty."""
    return os.environ.get(name, '').strip() or default


def required(name: str) -> str:
    """The variable `name`. Raises BadSetting if it is missing or empty."""
    if value := text(name):
        return value
    raise BadSetting(
        f'{name} is empty, in the environment and in .env. Write the old value there: what is encrypted '
        'with it cannot be read with another. If you have no other, move .env away and start again: a new '
        'one is made, with a new value.'
    )


def flag(name: str, default: bool) -> bool:
    """The variable `name` as a boolean. Raises BadSetting for anything else."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in YES:
        return True
    if value.strip().lower() in NO:
        return False
    raise BadSetting(f'{place(name)}: {name}={value!r}. Write true or false.')


def number(name: str, default: int) -> int:
    """The variable `name` as the number of a port. Raises BadSetting for anything else."""
    value = text(name, str(default))
    if value.isascii() and value.isdigit() and 0 < int(value[:9]) < 65536:
        return int(value)
    raise BadSetting(f'{place(name)}: {name}={value!r}. Write a number from 1 to 65535.')


def address(name: str, default: str) -> str:
    """The variable `name` as a URL. Raises BadSetting for anything else."""
    value = text(name, default)
    if re.fullmatch(r'https?://[^\s/]+\S*', value):
        return value
    raise BadSetting(f'{place(name)}: {name}={value!r}. It must begin with http:// or https://.')


def database(default: str) -> dict[str, object]:
    """The database of DATABASE_URL, as DATABASES has it. Raises BadSetting if it is not an address of one."""
    import dj_database_url  # here, so that making the file needs no packages

    try:
        return dj_database_url.parse(text('DATABASE_URL', default))
    except ValueError:  # without the address, which may hold a password
        raise BadSetting(
            f'{place("DATABASE_URL")}: DATABASE_URL is not the address of a database. Write '
            'postgresql://USER:PASSWORD@HOST:5432/NAME, or nothing for SQLite.'
        ) from None


def words(name: str) -> list[str]:
    """The variable `name`, split at commas."""
    return [word.strip() for word in os.environ.get(name, '').split(',') if word.strip()]


def no_database(error: Exception) -> str:
    """What to tell whoever types a command that the database did not let through."""
    text = ' '.join(str(error).split())[:500]
    advice = 'See DATABASE_URL in .env.'
    if 'password' in text:
        advice = 'It must be the one in DATABASE_URL in .env.'
        from django.conf import settings  # here: to make `.env` needs no packages

        if environment_of(Path(settings.BASE_DIR)) == 'docker':
            advice += ' The database keeps the one that it was made with: see "If it does not come up" in DOCKER.md.'
    if 'no such table' in text or 'no such column' in text:
        from .conf import manage  # here, because it needs the packages of a TOM

        advice = f'Run: {manage("migrate")}'
    return f'The database of this TOM cannot be used: {text}. {advice}'


def check_env_file(content: bytes) -> None:
    """Read the settings with the environment of a container that was made with this `.env`.

    Raises BadSetting with the line of the first mistake.
    """
    _note_lines(content)
    [settings] = Path.cwd().glob('*/settings.py')
    sys.path.insert(0, str(Path.cwd()))
    sys.modules['tom_auto.environment'] = sys.modules[__name__]  # which knows the lines
    import_module(f'{settings.parent.name}.settings')


if __name__ == '__main__':
    _project = Path.cwd()
    if sys.argv[1:] == ['check']:
        try:
            check_env_file(sys.stdin.buffer.read())
        except BadSetting as mistake:
            sys.exit(str(mistake))
        sys.stdout.write('.env: no mistake was found.\n')
        sys.exit()
    if not (_project / '.env').exists():
        make_env_file(_project / '.env', _project / '.env.example')
