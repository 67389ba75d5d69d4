"""Trouble with the disk that the data goes to, each in a run of its own: full, or read-only.

What is promised: whatever the disk does, no stump and no temporary file stays on it, what was
there before stays whole, statuses come home all the same, the run exits 1 and says why; and the
first run after there is room again brings the frames.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.db import connection
from tom_observations.models import ObservationRecord

from databases import elsewhere, only_on
from fault_table import APART, then
from faults import Fault
from home import only_frames_are_stored, two_clean_runs
from needs import need
from simulated import Observatory
from tom_auto import db_retry
from tom_auto.files.storage import PARTS
from tom_auto.models import StoredFrame
from tom_auto.simulator.messages import Call, Reply
from unit.running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

FRAME = 40 * 2880  # bytes


@pytest.fixture
def add(sky: Observatory, add_record: Callable) -> Callable[[], ObservationRecord]:
    """Makes a record with two frames of FRAME bytes."""

    def add() -> ObservationRecord:
        record = add_record(status='')
        request = int(record.observation_id)
        sky.add_request(request)
        for _ in range(2):
            sky.complete(request, content=content(f'{request} {len(sky.frames)}'))
        return record

    return add


def content(text: str) -> bytes:
    return f'SIMPLE  = {text}'.encode().ljust(FRAME, b'.')


@pytest.fixture
def disk(media: Path) -> Iterator[Path]:
    """A file system of one megabyte of its own, where the data goes."""
    mount('-t', 'tmpfs', '-o', f'size=1m,uid={os.getuid()},gid={os.getgid()}', 'tmpfs', media)
    yield media
    unmount(media)


def mount(*arguments: object) -> None:
    """Mount; the test is skipped where this machine does not let its user do so."""
    done = subprocess.run(
        as_root('mount', *arguments), capture_output=True, text=True, timeout=30, check=False
    )
    need(done.returncode == 0, f'mounting needs root: {done.stderr.strip()}')


def unmount(folder: Path) -> None:
    subprocess.run(as_root('umount', '-l', folder), check=True, timeout=30)


def as_root(*command: object) -> list[str]:
    sudo = [] if os.geteuid() == 0 else ['sudo', '-n']
    need(not sudo or shutil.which('sudo'), 'mounting needs root')
    return sudo + [str(word) for word in command]


def filling(ballast: Path) -> Fault:
    """Another program fills the disk while a file is on its way."""

    def fault(call: Call, reply: Reply) -> Reply:
        def body() -> Iterator[bytes]:
            whole = b''.join(reply.chunks())
            yield whole[: FRAME // 2]
            fill(ballast)
            yield whole[FRAME // 2 :]

        return Reply(reply.status, reply.headers, body(), reply.length)

    return fault


def fill(ballast: Path) -> None:
    """Write into `ballast` until no byte more goes onto its disk."""
    with ballast.open('ab', buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def test_the_disk_fills_up_in_the_middle(sky, disk, add):
    records = [add() for _ in range(3)]
    ballast = disk / 'ballast'
    third = sky.frames_of[int(records[1].observation_id)][-1]
    sky.break_(f'/store/.*/{third.filename}', filling(ballast), times=1)

    status, report = updatedata('--workers', '1')

    assert status == 1
    downloads_stopped_once(report, 'disk: full')
    assert report['changed'] == len(records), 'statuses need no room'
    ballast.unlink()
    assert report['saved'] == len(only_frames_are_stored(sky)) == len(files())

    two_clean_runs(sky)


def downloads_stopped_once(report: dict, trouble: str) -> None:
    """That is told once for all; the records that met it first are named, the others set aside."""
    told = [failure['record'] for failure in report['failures']]
    assert told.count(None) == 1
    assert report['failed'] == len(told)
    assert report['set_aside'] + len(told) - 1 == report['due'] - report['checked']
    messages = {APART[trouble], APART['disk: less than MIN_FREE_BYTES free']}
    for failure in report['failures']:
        assert any(message in failure['error'] for message in messages), failure['error']


def test_a_new_version_that_does_not_fit_leaves_the_old_one_whole(sky, disk, add):
    record = add()
    updatedata()
    before, ballast = files(), disk / 'ballast'
    for frame in sky.frames_of[int(record.observation_id)]:
        sky.reprocess(frame, content=content(f'anew {frame.id}'))
    sky.break_('/store/', filling(ballast), times=1)  # then no other is asked for

    status, report = updatedata('--workers', '1')

    assert status == 1
    downloads_stopped_once(report, 'disk: full')
    ballast.unlink()
    assert files() == before
    two_clean_runs(sky)


def test_more_downloads_at_a_time_than_there_is_room_for(sky, disk, add):
    """Each has looked whether there is room, and there is, but not for all."""
    for _ in range(8):
        add()

    status, report = updatedata('--workers', '8')

    assert status == 1
    assert 0 < report['saved'] < report['found'] == 16
    assert report['saved'] == len(only_frames_are_stored(sky)) == len(files())

    mount('-o', 'remount,size=8m', disk)
    two_clean_runs(sky)


@pytest.fixture
def database_on_the_disk(transactional_db: None, disk: Path, settings) -> Iterator[None]:
    """The TOM's database is on the same disk as the data, as it is on most machines."""
    settings.MEDIA_ROOT = disk / 'data'
    settings.MEDIA_ROOT.mkdir()
    mount('-o', 'remount,size=8m', disk)
    place = disk / 'database'
    with connection.cursor() as cursor:  # not the file alone: the last changes may be beside it
        cursor.execute('VACUUM INTO %s', [str(place)])
    with elsewhere(NAME=str(place)):
        yield


@only_on('sqlite')
def test_the_disk_of_the_database_fills_up(database_on_the_disk, sky, disk, add, monkeypatch):
    """Perhaps not even that can be written down. The run ends all the same, and says so."""
    monkeypatch.setattr(db_retry, 'PATIENCE', 1)
    for _ in range(3):
        add()
    ballast = disk / 'ballast'

    def fill_all() -> None:
        """With no room in the database's own log either, which keeps what it once had."""
        with connection.cursor() as cursor:
            cursor.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        connection.close()
        fill(ballast)

    sky.break_('/api/', then(fill_all), times=1)

    try:
        status, report = updatedata('--workers', '1')
        assert report['failed'] == 3
    except CommandError as error:  # where it could not even note how it ended
        assert 'disk is full' in str(error)
        status = error.returncode

    assert status == 1
    ballast.unlink()
    two_clean_runs(sky)


def test_downloads_stop_before_the_disk_is_full(sky, add, automation):
    """MIN_FREE_BYTES is for the database and everything else that lives on the same disk."""
    home = add()
    updatedata()
    for _ in range(8):
        add()
    sky.forget()
    automation['MIN_FREE_BYTES'] = 10**18

    status, report = updatedata('--workers', '2')

    assert status == 1
    downloads_stopped_once(report, 'disk: less than MIN_FREE_BYTES free')
    assert (report['checked'], report['changed']) == (1, 8)
    assert report['set_aside'] >= 4
    assert {frame.record for frame in StoredFrame.objects.all()} == {home}
    assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]

    automation['MIN_FREE_BYTES'] = 0
    two_clean_runs(sky)


class ReadOnly:
    """A folder into which nobody can write from `start` to `end`, not even root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = False

    def start(self) -> None:
        # Over itself: a file that is open for writing would keep the mount below as it is.
        mount('--bind', self.folder, self.folder)
        self.mounted = True
        mount('-o', 'remount,bind,ro', self.folder)

    def end(self) -> None:
        if self.mounted:
            unmount(self.folder)
        self.mounted = False


@pytest.fixture
def read_only(media: Path) -> Iterator[ReadOnly]:
    """The media folder, read-only once it is started."""
    folder = ReadOnly(media)
    folder.start()  # where that is not allowed the test is skipped
    folder.end()
    yield folder
    folder.end()


def test_a_folder_that_is_read_only(sky, add, read_only):
    updatedata()  # gives the storage its id
    records = [add() for _ in range(2)]
    read_only.start()

    status, report = updatedata()

    assert status == 1
    assert {failure['record'] for failure in report['failures']} == {one.pk for one in records}
    for failure in report['failures']:
        assert APART['disk: read-only'] in failure['error']
    assert (report['changed'], report['saved'], files()) == (2, 0, {})

    read_only.end()
    two_clean_runs(sky)


def test_a_folder_that_was_read_only_from_the_first_run_on(sky, add, read_only):
    for _ in range(2):
        add()
    read_only.start()

    status, report = updatedata()

    assert status == 1
    [failure] = report['failures']
    assert failure['error'].startswith('the storage of the data cannot be written')
    assert (report['changed'], report['set_aside'], files()) == (2, 2, {})

    read_only.end()
    two_clean_runs(sky)


def test_a_folder_that_becomes_read_only_in_the_middle(sky, add, read_only):
    """As Linux does to a file system with errors: what was begun cannot even be removed."""
    records = [add() for _ in range(2)]
    last = sky.frames_of[int(records[0].observation_id)][0].filename
    sky.break_(f'/store/.*/{last}', then(read_only.start), times=1)

    status, report = updatedata('--workers', '1')

    assert status == 1
    assert {failure['record'] for failure in report['failures']} == {one.pk for one in records}
    read_only.end()
    two_clean_runs(sky)


def test_what_a_killed_run_left_in_a_folder_that_is_read_only(sky, add, media, read_only):
    """It cannot be removed yet. That stops nothing, and nothing is forgotten."""
    add()
    part = media / PARTS / '4711-1'
    part.parent.mkdir()
    part.write_bytes(b'half')
    before = files()
    read_only.start()

    status, report = updatedata()

    assert (status, report['changed'], report['saved'], files()) == (1, 1, 0, before)
    read_only.end()
    two_clean_runs(sky)
