"""E2: another user of the machine can read, list and lock nothing of a project. With a real second user."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from baking import Bake, bake
from needs import need
from running import manage
from test_bake_files import CHOICES

OTHER = 54321  # a user and a group that have no name
#: What its owner may not share by opening the directory of the project, as for a web server.
SECRET = ('.env', 'db.sqlite3', 'logs', 'data', 'backups')

pytestmark = pytest.mark.usefixtures('usual_umask')


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """That of Debian: whoever makes a file lets everybody read it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def shared_host() -> Iterator[Path]:
    """A directory that everybody can enter."""
    need(os.getuid() == 0, 'root, to become another user')
    with TemporaryDirectory(dir='/tmp') as place:  # noqa: S108
        Path(place).chmod(0o755)
        (Path(place) / 'everybodys').touch()
        yield Path(place)


def as_another_user(look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds in a process of another user."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            os.write(theirs, '\n'.join(look()).encode())
        except BaseException as error:
            os.write(theirs, repr(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as found:
        text = found.read()
    os.waitpid(child, 0)
    return text.split('\n') if text else []


def open_to_others(paths: list[Path]) -> list[str]:
    """Those that another user can read, list, write to or lock."""

    def look() -> list[str]:
        return [str(path) for path in paths if can_open(path)]

    return as_another_user(look)


def can_open(path: Path) -> bool:
    for how in (os.O_RDONLY, os.O_WRONLY):
        try:
            opened = os.open(path, how)
        except (PermissionError, IsADirectoryError):
            continue
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


@pytest.mark.parametrize('environment', CHOICES['environment'])
def test_nothing_of_a_fresh_project(
    environment: str, default_bake: Bake, shared_host: Path
) -> None:
    if environment == 'virtualenv':
        project = shutil.copytree(default_bake.project, shared_host / 'my_tom', symlinks=True)
    else:
        database = 'postgresql' if environment == 'kubernetes' else 'sqlite'
        project = bake(shared_host, environment=environment, database=database).project
    everything = [project, *project.rglob('*')]
    assert len(everything) > 100
    control = shared_host / 'everybodys'
    assert open_to_others([control, *everything]) == [str(control)]


def test_nothing_secret_where_its_owner_shares_the_project(
    project: Path, shared_host: Path
) -> None:
    """What the TOM itself has made by then: database, locks, logs, backups."""
    place = shutil.copytree(project, shared_host / 'my_tom', symlinks=True)
    for words in (['migrate', '-v0'], ['demo'], ['backup']):
        done = manage(place, *words)
        assert done.returncode == 0, done.stdout
    place.chmod(0o755)
    for name in SECRET:
        assert (place / name).exists(), name
    secret = [path for name in SECRET for path in (place / name, *(place / name).rglob('*'))]
    assert place / 'logs' / '.updatedata.lock' in secret
    assert any(path.suffix == '.fz' for path in secret)
    control = place / 'manage.py'
    assert open_to_others([control, *secret]) == [str(control)]
