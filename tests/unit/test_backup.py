"""J7: a backup that is not whole does not count; a restore brings back all of it or changes nothing."""

import fcntl
import io
import json
import os
import shlex
import shutil
import signal
import sqlite3
import tarfile
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

import forked
from databases import only_on
from tom_auto.backups import backup_file, database_copies
from tom_auto.backups import restore as restoring
from tom_auto.backups.backup import key_mark
from tom_auto.errors import StorageAway
from tom_auto.files.storage_id import MARK, accept_storage
from tom_auto.models import UpdateRun

from .page import ran
from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def backup(*options):
    output = io.StringIO()
    call_command('backup', *options, stdout=output)
    return output.getvalue()


def restore(*options):
    output = io.StringIO()
    call_command('restore', *options, stdout=output)
    return output.getvalue()


@pytest.fixture
def tom(observed, media):
    """A TOM with two frames and a file of its owner's in a directory that is linked."""
    observed()
    updatedata()
    elsewhere = media.parent / 'another disk'
    elsewhere.mkdir()
    (elsewhere / 'mine.txt').write_text('mine')
    (media / 'linked').symlink_to(elsewhere)
    (media / 'loop').symlink_to(media)
    return media


@pytest.fixture
def place(tmp_path):
    return tmp_path / 'backups'


def whole(media):
    return {
        str(path.relative_to(media)): path.read_bytes()
        for path in media.rglob('*')
        if path.is_file() and '.tom-before' not in str(path)
    }


def only(place):
    [file] = place.glob('*.tar')
    return file


def test_all_of_it_comes_back_also_what_was_lost_and_changed(tom, place):
    before, mine = whole(tom), tom.parent / 'another disk' / 'mine.txt'
    rows = list(DataProduct.objects.order_by('pk').values())
    said = backup()
    assert str(only(place)) in said
    assert '.env' in said
    name = next(iter(files()))
    (tom / name).write_bytes(b'changed')
    mine.write_text('changed')
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    DataProduct.objects.all().delete()
    with connection.cursor() as cursor:  # as a newer release might
        cursor.execute('CREATE TABLE later (id integer)')

    said = restore(only(place).name, '--yes')
    assert list(DataProduct.objects.order_by('pk').values()) == rows
    assert not Target.objects.filter(name='after').exists()
    assert 'later' not in connection.introspection.table_names()
    assert whole(tom) == before
    [aside] = tom.glob('.tom-before-restore-*')
    assert (aside / name).read_bytes() == b'changed'
    assert str(aside) in said
    assert (tom / 'linked').readlink() == mine.parent
    assert (tom / 'loop').readlink() == tom
    assert mine.read_text() == 'mine'
    [aside] = mine.parent.glob('.tom-before-restore-*')
    assert (aside / 'mine.txt').read_text() == 'changed'
    assert str(tom / 'linked' / aside.name) in said
    assert 'migrate' in said
    assert updatedata()[1]['saved'] == 0


def test_what_it_says_to_type_restores_it(tom, tmp_path):
    """Its name is enough in the usual place alone."""
    for options in ((), ('--to', tmp_path / 'another place')):
        words = backup(*options).split('manage.py restore ')[1].strip()
        [name] = shlex.split(words)
        assert 'Restored: ' in restore(name, '--yes')
    assert name.startswith(str(tmp_path / 'another place'))


def test_a_place_beside_where_it_is_typed_is_named_in_full(tom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f'manage.py restore {tmp_path}/there/' in backup('--to', Path('there'))


def test_for_its_owner_alone(tom, place):
    old = os.umask(0o022)
    try:
        backup()
    finally:
        os.umask(old)
    assert place.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in place.rglob('*') if file.is_file()] == [
        0o600
    ] * 2


def test_a_tom_with_something_in_it_is_not_replaced_without_a_yes(tom, place):
    backup()
    before = whole(tom)
    with pytest.raises(CommandError, match=r'1 target, .*2 data products.*data files.*add --yes'):
        restore(only(place).name)
    assert whole(tom) == before


def test_into_an_empty_tom_nothing_has_to_be_agreed_to(tom, place, settings, tmp_path):
    backup()
    before = whole(tom)
    Target.objects.all().delete()
    User.objects.exclude(username='AnonymousUser').delete()
    settings.MEDIA_ROOT = tmp_path / 'new'
    settings.MEDIA_ROOT.mkdir()
    restore(str(only(place)))
    assert whole(settings.MEDIA_ROOT) == before | {'linked/mine.txt': b'mine'}
    assert DataProduct.objects.count() == 2


@pytest.mark.parametrize('harm', ['cut', 'changed', 'empty', 'not a tar', 'two in one'])
def test_what_is_not_whole_is_refused(tom, place, harm):
    backup()
    file = only(place)
    content = bytearray(file.read_bytes())
    if harm == 'changed':
        content[len(content) // 2] ^= 1
    if harm == 'two in one':  # as `cat` makes it of a directory with an older one in it
        content *= 2
    kept = {'cut': len(content) // 2, 'empty': 0, 'not a tar': 100}.get(harm, len(content))
    file.write_bytes(content[:kept])
    before, rows = whole(tom), DataProduct.objects.count()
    with pytest.raises(
        CommandError, match=r'(not a whole backup|damaged|one alone).*Nothing was restored'
    ):
        restore(file.name, '--yes')
    assert (whole(tom), DataProduct.objects.count()) == (before, rows)


def test_a_database_that_cannot_be_restored_leaves_all_as_it_was(tom, place, monkeypatch):
    """It fails at the last possible moment, after the tables were emptied."""
    backup()
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    before = whole(tom)
    if connection.vendor == 'postgresql':
        monkeypatch.setattr(database_copies, 'EMPTY', database_copies.EMPTY + 'SELECT 1/0;')
    else:
        monkeypatch.setattr(database_copies, 'WAIT', 0)
        name = str(connection.settings_dict['NAME'])
        locker = sqlite3.connect(name, isolation_level=None)
        locker.execute('BEGIN IMMEDIATE')
    with pytest.raises(CommandError, match=r'(division by zero|locked)'):
        restore(only(place).name, '--yes')
    if connection.vendor == 'sqlite':
        locker.close()
    assert Target.objects.filter(name='after').exists()
    assert whole(tom) == before
    assert (tom / MARK).exists()
    assert not list(tom.glob('.tom-before*'))


def test_killed_between_database_and_files_the_tom_touches_nothing(tom, place, tmp_path):
    backup()
    backed_up, plain = whole(tom), database_copies.load
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)

    def killed():
        def load_and_die(file):
            plain(file)
            os.kill(os.getpid(), signal.SIGKILL)

        database_copies.load = load_and_die
        restore(only(place).name, '--yes')

    child = forked.start(tmp_path / 'printed', killed)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    connection.close()
    before = whole(tom)
    status, report = updatedata()
    assert status == 1
    assert 'a restore of the data is in progress, or was cut short' in str(report)
    with pytest.raises(StorageAway):
        accept_storage()
    assert whole(tom) == before
    restore(only(place).name, '--yes')
    assert backed_up.items() <= whole(tom).items()
    assert not Target.objects.filter(name='after').exists()
    assert updatedata()[0] == 0
    assert {file.name for file in place.iterdir()} == {'.lock', only(place).name}


@pytest.mark.parametrize('failing', [1, 2, 3, 4, 5, 6])
def test_a_file_that_cannot_be_moved_leaves_all_as_it_was(tom, place, monkeypatch, failing):
    backup()
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    (tom / 'mine.txt').write_text('changed')
    (tom / 'linked' / 'mine.txt').write_text('changed')
    before, calls, plain = whole(tom), count(1), Path.rename

    def rename(path, to):
        if next(calls) == failing:
            raise PermissionError(13, 'Permission denied', str(path))
        return plain(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'rename', rename)
        with pytest.raises(CommandError, match='Permission denied.*Nothing was restored'):
            restore(only(place).name, '--yes')
    assert next(calls) > failing
    assert Target.objects.filter(name='after').exists()
    assert whole(tom) == before
    assert [file.name for file in (tom / 'linked').iterdir()] == ['mine.txt']
    assert (tom / 'linked' / 'mine.txt').read_text() == 'changed'
    assert not list(tom.glob('.tom-before*'))
    assert updatedata()[0] == 0


@pytest.mark.parametrize('stopped', [False, True])
@pytest.mark.parametrize(
    'trouble', [database_copies.BackupError('It is locked.'), OperationalError('It is locked')]
)
def test_a_database_that_cannot_be_put_back_keeps_the_jobs_away(
    tom, place, monkeypatch, trouble, stopped
):
    """Not even a signal that comes meanwhile keeps that from being said."""
    backup()
    calls, plain = count(1), database_copies.load

    def load(file):
        if next(calls) == 2:
            raise trouble
        if stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(file)

    def rename(path, to):
        if path.name == 'mine.txt':
            raise PermissionError(13, 'Permission denied', str(path))
        return renamed(path, to)

    renamed = Path.rename
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    with monkeypatch.context() as patch:
        patch.setattr(database_copies, 'load', load)
        patch.setattr(Path, 'rename', rename)
        with pytest.raises(
            CommandError, match='putting the database back: .*It is locked'
        ) as failed:
            restore(only(place).name, '--yes')
    kept = Path(str(failed.value).rpartition(' is in ')[2].rstrip('.'))
    database_copies.prove(kept)
    assert not (tom / MARK).exists()
    assert updatedata()[1]['failures'][0]['kind'] == 'storage away'
    kept.unlink()
    restore(only(place).name, '--yes')
    assert updatedata()[0] == 0


def stopped(place, match):
    """A restore that ends by SIGTERM, and says so."""
    with pytest.raises(CommandError, match=match) as stopped:
        restore(only(place).name, '--yes')
    assert stopped.value.returncode == 143


def sigterm_after(monkeypatch, where, name, number=1):
    """From its call of that number on, SIGTERM comes while this is at work, and it does that to its end."""
    plain, calls = getattr(where, name), count(1)

    def called(*words, **options):
        result = plain(*words, **options)
        if next(calls) >= number:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(where, name, called)


@pytest.mark.parametrize('after', ['dump', 'load'])
def test_stopped_before_the_files_change_it_undoes_the_database(tom, place, monkeypatch, after):
    """SIGTERM comes once more while that is undone."""
    backup()
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    (tom / 'linked' / 'mine.txt').write_text('changed')
    before = whole(tom)
    with monkeypatch.context() as patch:
        sigterm_after(patch, database_copies, after)
        stopped(place, 'Stopped by SIGTERM. Nothing was restored')
    assert Target.objects.filter(name='after').exists()
    assert whole(tom) == before
    assert not list(tom.glob('.tom-before*'))
    assert updatedata()[0] == 0


@pytest.mark.parametrize(
    ('where', 'name', 'number'),
    [(Path, 'rename', 2), (restoring, '_end_runs', 1), (shutil, 'rmtree', 4)],
)
def test_stopped_later_it_is_restored_and_says_so(tom, place, monkeypatch, where, name, number):
    ran(job='backup', status='running', finished=None, host='x')
    backup()
    backed_up = whole(tom)
    Target.objects.create(name='after', type='SIDEREAL', ra=1, dec=1)
    (tom / 'linked' / 'mine.txt').write_text('changed')
    output = io.StringIO()
    with monkeypatch.context() as patch:
        sigterm_after(patch, where, name, number)
        with pytest.raises(CommandError, match='Stopped by SIGTERM. All of it was restored'):
            call_command('restore', only(place).name, '--yes', stdout=output)
    assert 'The files that were there are in' in output.getvalue()
    assert not Target.objects.filter(name='after').exists()
    assert not UpdateRun.objects.filter(status='running').exists()
    assert backed_up.items() <= whole(tom).items()
    assert updatedata()[0] == 0


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize('after', ['dump', 'prove'])
def test_a_backup_that_is_stopped_says_so_and_leaves_nothing(
    tom, place, monkeypatch, number, status, after
):
    backup()
    first = only(place)
    plain = getattr(database_copies, after)

    def stopped(file):
        plain(file)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(database_copies, after, stopped)
    with pytest.raises(CommandError, match=f'Stopped by {number.name}') as stop:
        backup('--keep', '1')
    assert stop.value.returncode == status
    assert [file for file in place.rglob('*') if file.name != '.lock'] == [first]


def named(place, name, **about):
    """A backup of that name, which says that of itself."""
    about = {'made': '', 'database': connection.vendor, 'data': True, 'key': key_mark()} | about
    with tarfile.open(place / name, 'w') as tar:
        backup_file._add_text(tar, 'about.json', json.dumps(about))


def test_only_the_newest_are_kept_and_only_backups_are_deleted(tom, place):
    place.mkdir()
    old = [f'project-2026-01-0{day}-000000.tar' for day in range(1, 5)]
    others = ['project-2026.tar', 'other-2026-01-01-000000.tar', 'project-2026-01-01-000000.tar.gz']
    others += ['project-2026-01-05-000000-database.tar', 'project-2099-01-01-000000.tar']
    for name in old + others:
        named(place, name)
    (place / others[-1]).write_bytes(b'')  # the clock was wrong, and the disk full
    named(place, 'project-2026-01-06-000000.tar', key='of another TOM')
    others.append('project-2026-01-06-000000.tar')
    said = backup('--keep', '3')
    left = {file.name for file in place.iterdir()} - {'.lock'}
    new = left - set(old) - set(others)
    assert len(new) == 1
    assert left == new | set(others) | set(old[2:])
    assert old[0] in said
    backup('--keep', '1', '--no-data')
    assert {file.name for file in place.glob('*-database.tar')}.isdisjoint(others)
    assert left - set(others) < {file.name for file in place.iterdir()}


def test_a_folder_whose_disk_is_away_is_not_left_out(tom, place, tmp_path):
    backup('--keep', '1')
    (tom / 'more').symlink_to(tmp_path / 'not mounted')
    with pytest.raises(CommandError, match='more.*No backup was made'):
        backup('--keep', '1')
    assert only(place)


def test_an_empty_mount_point_pushes_no_backup_out(tom, place, tmp_path):
    """Nothing in the database tells of these files: what the last backup had does."""
    with TemporaryDirectory(dir='/dev/shm') as disk:  # noqa: S108
        if Path(disk).stat().st_dev == tom.stat().st_dev:
            pytest.skip('this machine has one disk only')
        (Path(disk) / 'calibration.txt').touch()
        (tom / 'disk').symlink_to(disk)
        backup()
        (tom / 'disk').unlink()
        (tom / 'disk').mkdir()
        with pytest.raises(CommandError, match=r'data/disk is empty.*Is its disk mounted'):
            backup('--keep', '1')
        assert only(place)
        (tom / 'disk').rmdir()
        assert 'no file' not in backup('--keep', '1')
        assert only(place)


def test_so_does_an_empty_directory_in_which_files_should_be(tom, place):
    frames = sorted(tom.rglob('*.fits*'))
    frames[0].unlink()
    assert 'Not in it: 1 data products that have no file' in backup()
    frames[1].unlink()
    for frame in frames:
        frame.parent.rmdir()
    empty = frames[0].parents[1]
    with pytest.raises(CommandError, match=f'{empty} is empty.*delete this directory'):
        backup('--keep', '1')
    empty.rmdir()
    empty.parent.rmdir()
    assert 'Not in it: 2 data products that have no file' in backup('--keep', '1')


def test_a_file_of_the_backup_where_a_directory_is_linked_now(tom, place):
    """Nothing of the user's is replaced by it: rule 7."""
    (tom / 'notes').write_text('a file')
    backup()
    (tom / 'notes').unlink()
    (tom / 'notes').symlink_to(tom.parent / 'another disk')
    before = whole(tom)
    for link in ('another disk', 'data'):  # one that leads back has no content of its own
        (tom / 'notes').unlink()
        (tom / 'notes').symlink_to(tom.parent / link)
        with pytest.raises(CommandError, match=r'notes is .*Nothing was restored'):
            restore(only(place).name, '--yes')
        assert whole(tom) == before


def test_not_within_the_data(tom):
    with pytest.raises(CommandError, match='within the data'):
        backup('--to', str(tom / 'backups'))
    assert not (tom / 'backups').exists()


def test_directories_keep_their_permissions(tom, place):
    frame = next(file for file in tom.rglob('*.fits*'))
    for folder in frame.relative_to(tom).parents[:-1]:
        (tom / folder).chmod(0o755)
    backup()
    restore(only(place).name, '--yes')
    modes = {
        (tom / folder).stat().st_mode & 0o777 for folder in frame.relative_to(tom).parents[:-1]
    }
    assert modes == {0o755}


def test_a_run_that_was_at_work_then_is_not_now(tom, place):
    ran(job='backup', status='running', finished=None, host='x')
    backup()
    restore(only(place).name, '--yes')
    assert not UpdateRun.objects.filter(status='running').exists()


def test_a_tar_file_of_somebody_else(tom, place):
    place.mkdir()
    hashed = backup_file._Hashed((place / 'a.tar').open('wb'))
    with tarfile.open(fileobj=hashed, mode='w') as tar:
        backup_file._add_text(tar, 'END', hashed.sha256.hexdigest())
    hashed._file.close()
    with pytest.raises(CommandError, match='not a backup of a TOM'):
        restore('a.tar', '--yes')


def test_data_that_is_not_mounted_pushes_no_backup_out(tom, place, settings, tmp_path):
    backup('--keep', '1')
    settings.MEDIA_ROOT = tmp_path / 'not mounted'
    settings.MEDIA_ROOT.mkdir()
    before = only(place)
    with pytest.raises(CommandError, match='not the one that was there'):
        backup('--keep', '1')
    assert only(place) == before


@pytest.mark.parametrize('fault', ['unreadable', 'no room', 'another', 'damaged copy'])
def test_what_fails_leaves_no_file_and_deletes_none(tom, place, monkeypatch, settings, fault):
    backup()
    first = only(place)
    if fault == 'unreadable':
        monkeypatch.setattr(backup_file, '_add_file', lambda *words: open('/nowhere/at all'))  # noqa: PTH123, SIM115
    elif fault == 'no room':
        settings.TOM_AUTO['MIN_FREE_BYTES'] = 10**18
    elif fault == 'damaged copy':
        monkeypatch.setattr(database_copies, 'dump', lambda file: file.write_bytes(b'x' * 5000))
    with closing((place / '.lock').open('ab')) as lock:
        if fault == 'another':
            fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError):
            backup('--keep', '1')
    assert [file for file in place.rglob('*') if file.name != '.lock'] == [first]


def test_the_database_alone(tom, place):
    backup('--no-data')
    with tarfile.open(only(place)) as tar:
        assert tar.getnames() == ['about.json', 'database', 'END']
    (tom / 'new').touch()
    restore(only(place).name, '--yes')
    assert (tom / 'new').exists()


def test_another_key_and_another_database_are_told(tom, place, settings, monkeypatch):
    backup()
    settings.SECRET_KEY = 'another'  # noqa: S105
    assert 'SECRET_KEY is not the one of this backup' in restore(only(place).name, '--yes')
    monkeypatch.setattr(connections['default'], 'vendor', 'oracle')
    with pytest.raises(CommandError, match='DATABASE_URL'):
        restore(only(place).name, '--yes')


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tom, place):
    backup()
    for words in ([], ['nothing.tar']):
        with pytest.raises(CommandError, match=only(place).name):
            restore(*words)


@pytest.fixture
def of_an_owner():
    """Another database, which belongs to somebody who is not the server's administrator; what it runs."""
    settings = connection.settings_dict
    ours = {name: settings[name] for name in ('NAME', 'USER')}

    def run(*statements, **somewhere):
        connection.close()
        settings.update(ours | somewhere)
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    run(
        'CREATE ROLE owner LOGIN',
        'CREATE ROLE reader',
        'CREATE ROLE gone',
        'CREATE DATABASE its OWNER owner',
    )
    try:
        yield run
    finally:
        run('DROP DATABASE its', 'DROP ROLE owner', 'DROP ROLE reader', 'DROP ROLE IF EXISTS gone')


MIGRATIONS = 'CREATE TABLE django_migrations (id integer)'  # as every TOM has it


@only_on('postgresql')
def test_what_the_administrator_of_the_database_has_set_up_is_no_obstacle(of_an_owner, tmp_path):
    """An extension that only they may remove, and rights of a user whom another server does not have."""
    its, copy = {'NAME': 'its', 'USER': 'owner'}, tmp_path / 'copy'
    of_an_owner('CREATE EXTENSION pg_trgm', 'CREATE EXTENSION "uuid-ossp"', NAME='its')
    of_an_owner(
        MIGRATIONS, 'CREATE TABLE stars (id integer)', 'INSERT INTO stars VALUES (1)', **its
    )
    of_an_owner('GRANT SELECT ON stars TO reader', 'GRANT INSERT ON stars TO gone', **its)
    database_copies.dump(copy)
    of_an_owner('DROP OWNED BY gone', 'DROP ROLE gone', NAME='its')
    of_an_owner('DELETE FROM stars', **its)
    [said] = database_copies.load(copy)
    assert 'role "gone" does not exist' in said
    assert of_an_owner('SELECT * FROM stars', **its) == [(1,)]
    rights = of_an_owner("SELECT has_table_privilege('reader', 'stars', 'SELECT')", **its)
    assert rights == [(True,)]
    [(count,)] = of_an_owner('SELECT count(*) FROM pg_extension', **its)
    assert count == 3  # with that of the language in which functions are written


@only_on('postgresql')
def test_the_programs_connect_as_the_tom_does(of_an_owner, tmp_path, monkeypatch):
    """In the same schema, for example: psql empties the one in which it finds itself."""
    its, copy = {'NAME': 'its'}, tmp_path / 'copy'
    of_an_owner('CREATE SCHEMA ours', **its)
    anothers = 'CREATE SCHEMA anothers', 'CREATE TABLE anothers.stars (id integer)'
    of_an_owner(*anothers, 'INSERT INTO anothers.stars VALUES (1)', **its)
    with monkeypatch.context() as patch:
        options = connection.settings_dict['OPTIONS']
        patch.setitem(options, 'options', '-c search_path=ours')
        stars = 'CREATE TABLE stars (id integer)', 'INSERT INTO stars VALUES (1)'
        of_an_owner(MIGRATIONS, *stars, **its)
        database_copies.dump(copy)
        of_an_owner('DELETE FROM stars', 'CREATE TABLE newer (id integer)', **its)
        of_an_owner('UPDATE anothers.stars SET id = 2', **its)
        assert database_copies.load(copy) == []
        assert of_an_owner('SELECT * FROM stars', **its) == [(1,)]
        assert of_an_owner("SELECT to_regclass('newer')", **its) == [(None,)]
        assert of_an_owner('SELECT * FROM anothers.stars', **its) == [(2,)]
        with monkeypatch.context() as path:
            path.setitem(options, 'options', '-c search_path=anothers')
            connection.close()
            with pytest.raises(database_copies.BackupError, match='CREATE SCHEMA ours'):
                database_copies.load(copy)
            of_an_owner(MIGRATIONS, **its)
            with pytest.raises(database_copies.BackupError, match='of this TOM in anothers'):
                database_copies.load(copy)
        connection.close()
        assert of_an_owner('SELECT * FROM stars', **its) == [(1,)]
        patch.setitem(options, 'channel_binding', 'require')
        with pytest.raises(database_copies.BackupError, match='channel binding'):
            database_copies.dump(copy)


@only_on('postgresql')
def test_the_tables_count_and_not_where_new_ones_would_be(of_an_owner, tmp_path, monkeypatch):
    """Somebody has made a schema of the user's name since: by default it comes before `public`."""
    its, copy = {'NAME': 'its'}, tmp_path / 'copy'
    options = connection.settings_dict['OPTIONS']
    monkeypatch.setitem(options, 'options', '-c search_path=newer,public')
    of_an_owner(
        MIGRATIONS, 'CREATE TABLE stars (id integer)', 'INSERT INTO stars VALUES (1)', **its
    )
    of_an_owner('CREATE SCHEMA newer', 'CREATE TABLE newer.mine (id integer)', **its)
    database_copies.dump(copy)
    of_an_owner('DELETE FROM stars', **its)
    assert database_copies.load(copy) == []
    assert of_an_owner('SELECT * FROM stars', **its) == [(1,)]
    assert of_an_owner('SELECT count(*) FROM newer.mine', **its) == [(0,)]


ODD_NAMES = (
    b'two\nlines.fits', b'back\\slash.txt', b'\xff\xfe not utf-8.fits', b'-n', b' spaces ', b'x' * 255,
    'e\u0301 and \u00e9.txt'.encode(), b'.hidden', b'END', b'about.json', b'database', b'data', b'..fits',
    b'c:colon*?.fits', b'100%.fits',
)  # fmt: skip


def test_whatever_a_file_is_called_and_may_be(tom, place, settings, tmp_path):
    """Names that the archive of the backup has itself, or that are no text; links, holes, a pipe."""
    deep = tom / 'deep' / ('y' * 200) / ('z' * 200)
    deep.mkdir(parents=True)
    for number, name in enumerate(map(os.fsdecode, ODD_NAMES)):
        (tom / name).write_bytes(b'%d' % number)
        (deep / name).write_bytes(b'%d' % -number)
    (tom / 'first').write_bytes(b'linked')
    (tom / 'the same file').hardlink_to(tom / 'first')
    (tom / 'link').symlink_to('first')
    (tom / 'nobody may write').write_bytes(b'x')
    (tom / 'nobody may write').chmod(0o444)
    os.mkfifo(tom / 'pipe')
    with (tom / 'holes').open('wb') as file:
        file.truncate(50_000_000)
    os.utime(tom / 'holes', (1e9 + 0.25, 1e9 + 0.25))
    before = whole(tom)
    backup()
    new = settings.MEDIA_ROOT = tmp_path / 'new'
    new.mkdir()
    restore(only(place).name, '--yes')
    assert whole(new) == before | {'linked/mine.txt': b'mine'}
    assert (new / 'nobody may write').stat().st_mode & 0o777 == 0o444
    assert (new / 'holes').stat().st_mtime == 1e9 + 0.25


def test_from_the_standard_input(tom, place, monkeypatch):
    backup()
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(only(place).read_bytes())))
    DataProduct.objects.all().delete()
    restore('-', '--yes')
    assert DataProduct.objects.count() == 2
    assert [file.name for file in place.iterdir() if file.suffix != '.tar'] == ['.lock']


@only_on('postgresql')
def test_a_program_that_is_missing_is_named(tom, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(CommandError, match='pg_dump is not installed.*postgresql-client'):
        backup()


def test_what_users_write_while_it_works_is_in_it_or_not(tom, place, monkeypatch):
    """A file that is deleted after the list was made is no reason to fail."""
    plain = backup_file._add_file

    def add(tar, name, path):
        if name.endswith('mine.txt'):
            path.unlink()
        return plain(tar, name, path)

    monkeypatch.setattr(backup_file, '_add_file', add)
    accept_storage()
    assert backup()
    backup_file.insist_on_whole(only(place))


@pytest.mark.parametrize('name', ['../out', 'a/../../../out', '/out', 'link'])
def test_nothing_is_written_outside(tom, place, name):
    """A tar file may name any place, and be whole by its checksum."""
    backup('--no-data')
    with tarfile.open(only(place)) as tar:
        about = json.load(tar.extractfile('about.json')) | {'data': True}
        database = tar.extractfile('database').read()
    forged = place / 'forged.tar'
    with forged.open('wb') as file:
        hashed = backup_file._Hashed(file)
        with tarfile.open(fileobj=hashed, mode='w') as tar:
            backup_file._add_text(tar, 'about.json', json.dumps(about))
            for entry, content in (('database', database), (f'data/{name}', b'x')):
                info = tarfile.TarInfo(entry)
                info.size = len(content)
                if name == 'link' and entry != 'database':
                    info.type, info.linkname, info.size = tarfile.SYMTYPE, '/etc/passwd', 0
                tar.addfile(info, io.BytesIO(content))
            backup_file._add_text(tar, 'END', hashed.sha256.hexdigest())
    before = whole(tom)
    with pytest.raises(CommandError, match='is not a data file'):
        restore('forged.tar', '--yes')
    assert whole(tom) == before
    assert not list(tom.parent.rglob('out'))
