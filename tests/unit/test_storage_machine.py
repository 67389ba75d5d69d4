"""Machines as they are: shares, permissions, logs of others. G1 to G4 of faults-found."""

import errno
import logging
import logging.config
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from tom_dataproducts.models import DataProduct

from needs import need
from tom_auto.doctor import checks as doctor
from tom_auto.files.storage_id import accept_storage
from tom_auto.log_config import logging_for
from tom_auto.scheduling.obstacles import database_on_a_share

from .running import contents, files, updatedata

# --- G1: flushing a directory ---


@pytest.fixture
def cannot_flush_directories(monkeypatch) -> Callable[[int], None]:
    """Flushing a directory fails: no kernel of a test machine can be made to do so."""

    def fail(number: int) -> None:
        fsync = os.fsync

        def limited(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, 'fsync', limited)

    return fail


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize('number', [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_share_that_cannot_flush_directories_keeps_frames(
    sky, observed, cannot_flush_directories, number
):
    """G1: no frame was ever stored there."""
    observed(frames=2)
    cannot_flush_directories(number)
    status, report = updatedata()
    assert (status, report['failures'], report['saved']) == (0, [], 2)
    assert sorted(files().values()) == contents(sky)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize('number', [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_told(sky, observed, cannot_flush_directories, number):
    """G1: what is not about shares is a failure, and nothing is in the database."""
    observed(frames=1)
    accept_storage()
    cannot_flush_directories(number)
    status, report = updatedata()
    assert (status, report['saved'], DataProduct.objects.count()) == (1, 0, 0)
    assert any(os.strerror(number) in failure['error'] for failure in report['failures'])


# --- G2: permissions ---


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Sets the mask of this process."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


MODES = [
    {},
    {'FILE_UPLOAD_PERMISSIONS': None},
    {'FILE_UPLOAD_PERMISSIONS': 0o640},
    {'FILE_UPLOAD_PERMISSIONS': 0o600, 'FILE_UPLOAD_DIRECTORY_PERMISSIONS': 0o700},
    {'FILE_UPLOAD_DIRECTORY_PERMISSIONS': 0o2775},
]


def modes(media: Path) -> set[object]:
    """The permissions of the only file below `media`, and of its directories."""
    [file] = [path for path in media.rglob('*.fits*') if path.is_file()]
    places = [file, *(place for place in file.parents if media in place.parents)]
    assert len(places) > 2
    return {stat.S_IMODE(place.stat().st_mode) for place in places[1:]} | {
        'file', stat.S_IMODE(file.stat().st_mode)
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize('mask', [0o022, 0o077])
@pytest.mark.parametrize('wanted', MODES)
def test_permissions_are_as_django_gives_them(
    observed, settings, tmp_path, media, umask, mask, wanted
):
    """G2: None ended the run with a TypeError, and those of directories were not known."""
    umask(mask)
    for name, value in wanted.items():
        setattr(settings, name, value)
    django = tmp_path / 'django'
    FileSystemStorage(location=django).save('m-31/lco/1/a.fits', ContentFile(b'SIMPLE'))
    observed(frames=1)
    assert updatedata()[0] == 0
    assert modes(media) == modes(django)


@pytest.mark.django_db(transaction=True)
def test_permissions_of_the_storage_itself_count(observed, media, monkeypatch):
    """G2: STORAGES may give them as options, which go before the settings."""
    storage = DataProduct._meta.get_field('data').storage
    monkeypatch.setitem(vars(storage._wrapped if hasattr(storage, '_wrapped') else storage),
                        'file_permissions_mode', 0o604)  # fmt: skip
    observed(frames=1)
    assert updatedata()[0] == 0
    assert 0o604 in modes(media)


@pytest.mark.django_db(transaction=True)
def test_a_share_that_knows_no_permissions_keeps_frames(sky, observed, settings, monkeypatch):
    """G2: chmod is refused on many shares."""
    settings.FILE_UPLOAD_PERMISSIONS, settings.FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o640, 0o750

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, 'Operation not permitted')

    for name in ('chmod', 'fchmod'):
        monkeypatch.setattr(os, name, refuse)
    observed(frames=2)
    status, report = updatedata()
    assert (status, report['failures']) == (0, [])
    assert sorted(files().values()) == contents(sky)


# --- G3: the database on a share ---

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid shared:2 - proc proc rw
24 22 0:40 / /home rw,relatime shared:3 - nfs4 server:/home rw,vers=4.2
25 24 8:2 / /home/scratch rw,relatime - xfs /dev/sdb1 rw
26 22 0:41 / /my\\040data rw,relatime - cifs //server/data rw
27 22 0:42 / /sshfs rw - fuse.sshfs ada@server:/ rw
28 22 0:43 / /auto rw - autofs auto.master rw
29 28 0:44 / /auto/tom rw master:7 - lustre mgs@tcp:/tom rw
"""


@pytest.fixture
def machine(tmp_path) -> Callable[[str], Path]:
    """The root of a machine with these mounts."""

    def make(mounts: str = MOUNTS) -> Path:
        (tmp_path / 'machine/proc/self').mkdir(parents=True)
        (tmp_path / 'machine/proc/self/mountinfo').write_text(mounts)
        return tmp_path / 'machine'

    return make


@pytest.mark.parametrize(
    ('file', 'kind'),
    [
        ('/home/ada/tom/db.sqlite3', 'nfs4'),
        ('/my data/db.sqlite3', 'cifs'),
        ('/sshfs/db.sqlite3', 'fuse.sshfs'),
        ('/auto/tom/db.sqlite3', 'lustre'),
        ('/home/scratch/db.sqlite3', ''),
        ('/srv/db.sqlite3', ''),
        ('/homes/db.sqlite3', ''),
    ],
)
def test_a_database_on_a_share_is_told(machine, file, kind):
    """G3: nothing warned, and SQLite's locks do not work there."""
    told = database_on_a_share(Path(file), machine())
    assert bool(told) == bool(kind)
    if kind:
        assert file in told
        assert f'({kind})' in told
        assert 'PostgreSQL' in told


def test_a_machine_that_does_not_tell_its_mounts(tmp_path):
    """G3: macOS has no /proc."""
    assert database_on_a_share(Path('/home/ada/db.sqlite3'), tmp_path) == ''


@pytest.fixture
def on_a_share(machine, tmp_path, settings, monkeypatch) -> Path:
    """The TOM's database is on a share, to which a link leads."""
    share = tmp_path / 'share'
    share.mkdir()
    (tmp_path / 'db.sqlite3').symlink_to(share / 'db.sqlite3')
    database = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': tmp_path / 'db.sqlite3'}
    monkeypatch.setattr(
        settings, 'DATABASES', {'default': settings.DATABASES['default'] | database}
    )
    root = machine(f'22 1 8:1 / / rw - ext4 /dev/sda1 rw\n9 22 0:4 / {share} rw - nfs4 s:/ rw\n')
    monkeypatch.setattr(
        'tom_auto.conf.database_on_a_share', partial(database_on_a_share, root=root)
    )
    return share


def test_doctor_check_and_install_say_so(on_a_share, transactional_db, hourly, cron, capsys):
    """G3: in all three places where somebody sets a TOM up."""
    found = list(doctor.findings())
    assert any(one.state == doctor.WARNING and 'nfs4' in one.found for one in found)

    output = StringIO()
    call_command('check', stderr=output)
    assert 'tom_auto.W002' in output.getvalue()
    assert str(on_a_share) in output.getvalue()

    output = StringIO()
    with suppress(SystemExit):  # the Python of the tests is no TOM's
        call_command('schedule', 'install', stdout=StringIO(), stderr=output)
    assert 'Warning: the SQLite database' in output.getvalue()


def test_a_database_of_another_kind_is_no_concern(on_a_share, settings):
    settings.DATABASES['default']['ENGINE'] = 'django.db.backends.postgresql'
    output = StringIO()
    call_command('check', stderr=output)
    assert 'W002' not in output.getvalue()


# --- G4: a log that cannot be written ---


def log_three_failures(logs: Path, printed: int, user: int) -> None:
    """In a process of its own, as `user`: what a run logs for three records."""
    os.dup2(printed, 2)
    sys.stderr = os.fdopen(os.dup(2), 'w', buffering=1)
    if user:
        os.setuid(user)
    logging.raiseExceptions = True
    logging.config.dictConfig(logging_for(logs))
    for number in range(3):
        logging.getLogger('tom_auto').error('record %d failed', number)
        logging.getLogger('tom_auto').info('and %d went on', number)


def printed_for(logs: Path, user: int = 0) -> str:
    """What that process prints to standard error."""
    with tempfile.TemporaryFile('w+') as output:
        process = get_context('fork').Process(
            target=log_three_failures, args=(logs, output.fileno(), user)
        )
        process.start()
        process.join(20)
        assert process.exitcode == 0
        output.seek(0)
        return output.read()


def told_once(printed: str, file: Path, reason: str) -> None:
    """Everything is on the terminal, and the reason once; no traceback of logging."""
    assert printed.count(f'No log in {file}: {reason}. It goes to the terminal.') == 1
    for number in range(3):
        assert printed.count(f'record {number} failed') == 1
        assert printed.count(f'and {number} went on') == 1
    assert len(printed.splitlines()) == 7, printed
    assert 'Logging error' not in printed


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach."""
    directory = Path(tempfile.mkdtemp(dir='/tmp'))  # noqa: S108
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize('mode', [0o644, 0o600])
def test_a_log_of_another_user_goes_to_the_terminal(public, mode):
    """G4: 281 lines of traceback for three records."""
    need(os.getuid() == 0, 'only root can be another user')
    (public / 'tom.log').write_text('of root\n')
    (public / 'tom.log').chmod(mode)
    told_once(printed_for(public, 65534), public / 'tom.log', 'Permission denied')
    assert (public / 'tom.log').read_text() == 'of root\n'


def test_a_directory_of_another_user_is_the_same(public):
    """G4: a run by hand, as another user than cron's, in a project whose logs are not theirs."""
    need(os.getuid() == 0, 'only root can be another user')
    told_once(printed_for(public, 65534), public / 'tom.log', 'Permission denied')


def test_what_is_no_file_is_the_same(tmp_path):
    (tmp_path / 'tom.log').mkdir()
    told_once(printed_for(tmp_path), tmp_path / 'tom.log', 'Is a directory')


def test_a_log_that_can_be_written_is_written(tmp_path):
    printed = printed_for(tmp_path)
    assert len(printed.splitlines()) == 3, 'the errors alone'
    assert len((tmp_path / 'tom.log').read_text().splitlines()) == 6
