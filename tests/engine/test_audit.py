"""`auditdata` over 2,000 stored files, on a disk and in an S3-compatible store, 20 of them damaged.

Each is named rightly, what may be is repaired, nothing else is touched, and all of it costs no more
than reading the files does.
"""

import ctypes
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from moto.backends import get_backend
from tom_dataproducts.models import DataProduct

from home import md5
from object_store import BUCKET, ObjectStore, status
from tom_auto.files.storage_id import MARK
from tom_auto.models import AuditRound, RecordSync, StoredFrame
from unit.running import ran, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

#: Files. With 2,000 in the store as well the test takes three times as long, and the same holds.
MANY = {'disk': 2000, 's3': int(os.environ.get('AUDIT_FILES', '500'))}
#: What most files hold: as much as a small frame does, so that reading is what costs.
SIZES = {'disk': 800_000, 's3': 50_000}
SMALL = 100_000  # bytes: files that are compared by their content, and not by their time
AN_HOUR_AGO = timezone.now() - timedelta(hours=1)
PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # what lets root read everything


@dataclass
class Kept:
    """A storage, and the ways of the world to it."""

    write: Callable[[str, bytes], None]  # as somebody does
    rot: Callable[[str, bytes], None]  # as a disk does: the time of the file stays
    forbid: Callable[[str], None]
    allow: Callable[[], None]
    fill: Callable[[str, bytes], None]
    contents: Callable[[], dict[str, bytes]]


def backdate(path: str) -> None:
    os.utime(path, (AN_HOUR_AGO.timestamp(),) * 2)


def what_is_in(file: Path) -> object:
    """Its content; of a big one whether it is the same, untouched."""
    status = file.stat()
    big = status.st_ino, status.st_size, status.st_mtime_ns
    return file.read_bytes() if status.st_size < SMALL else big


@pytest.fixture
def disk(media) -> Iterator[Kept]:
    """The media folder, for a root who may not read what others may not."""
    forbidden = []

    def write(name: str, content: bytes) -> None:
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        (media / name).write_bytes(content)

    def rot(name: str, content: bytes) -> None:
        write(name, content)
        backdate(media / name)

    def forbid(name: str) -> None:
        (media / name).chmod(0)
        forbidden.append(media / name)

    def allow() -> None:
        for path in forbidden:
            path.chmod(0o600)

    with without_root_rights():

        def fill(name: str, content: bytes) -> None:
            """Many names for a few files: two gigabytes to read, and little to keep."""
            if content not in filled:
                rot(name, content)
                filled[content] = media / name
            else:
                (media / name).parent.mkdir(parents=True, exist_ok=True)
                (media / name).hardlink_to(filled[content])

        def contents() -> dict[str, object]:
            return {
                str(file.relative_to(media)): what_is_in(file)
                for file in media.rglob('*')
                if file.is_file() and file.name != MARK
            }

        filled: dict[bytes, Path] = {}
        yield Kept(write, rot, forbid, allow, fill, contents)
    allow()


class without_root_rights:  # noqa: N801
    """Takes from this thread, and those that it starts, what root may do beyond the permissions."""

    def __enter__(self) -> None:
        self._libc, self._header = (
            ctypes.CDLL(None, use_errno=True),
            (ctypes.c_uint32 * 2)(0x20080522, 0),
        )
        self._before = (ctypes.c_uint32 * 6)()
        assert self._libc.capget(self._header, self._before) == 0
        less = (ctypes.c_uint32 * 6)(*self._before)
        less[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
        assert self._libc.capset(self._header, less) == 0

    def __exit__(self, *error: object) -> None:
        assert self._libc.capset(self._header, self._before) == 0


@pytest.fixture
def s3(settings: object, automation: dict) -> Iterator[Kept]:
    """An object store. What a disk does to it happens behind its back."""
    automation['WORKERS'] = 1  # each thread makes a client of its own
    store = ObjectStore()
    store.start()
    store.empty()
    settings.STORAGES = settings.STORAGES | {'default': store.storage()}

    def objects() -> dict:
        [backend] = get_backend('s3')['123456789012'].values()
        return backend.buckets[BUCKET].keys

    def write(name: str, content: bytes) -> None:
        default_storage.save(name, ContentFile(content))

    def rot(name: str, content: bytes) -> None:
        if name not in objects():
            get_backend('s3')['123456789012']['aws'].put_object(BUCKET, name, content)
        key = objects()[name]
        key.value = content
        key.checksum_algorithm = key.checksum_value = None  # or botocore would tell
        key.last_modified = AN_HOUR_AGO.replace(tzinfo=None)

    def forbid(name: str) -> None:
        store.break_(f'(GET|HEAD) /{BUCKET}/{name}', status(403, 'Forbidden'))

    def contents() -> dict[str, bytes]:
        return {name: key.value for name, key in objects().items() if name != MARK}

    yield Kept(write, rot, forbid, store.mend, rot, contents)
    store.stop()


@pytest.fixture(params=['disk', 's3'])
def kept(request: pytest.FixtureRequest) -> Kept:
    return request.getfixturevalue(request.param)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def renamed(name: str) -> str:
    return f'{name.rpartition("/")[0]}/mine.fits'


#: What happens to a file: how it is judged, and whether it is then repaired.
WAYS = {
    'a bit is flipped': ('rotted', True),
    'the disk cuts it': ('rotted', True),
    'it is cut while it is copied': ('damaged', True),
    'it is emptied': ('damaged', True),
    'an error page is stored': ('damaged', True),
    'it is replaced by something else': ('damaged', False),
    'its permissions are taken': ('unreadable', False),
    'it is renamed': ('renamed', True),
    'it is deleted': ('missing', True),
    'its owner changes it': ('changed', False),
}


def damage(kept: Kept, way: str, name: str, content: bytes) -> None:
    half = content[: len(content) // 2]
    if way == 'a bit is flipped':
        kept.rot(name, flip(content))
    elif way == 'the disk cuts it':
        kept.rot(name, half)
    elif way == 'its permissions are taken':
        kept.forbid(name)
    elif way in ('it is renamed', 'it is deleted'):
        default_storage.delete(name)
        if way == 'it is renamed':
            kept.write(renamed(name), content)
    else:
        kept.write(
            name,
            {
                'it is cut while it is copied': half,
                'it is emptied': b'',
                'an error page is stored': PAGE,
                'it is replaced by something else': os.urandom(len(content)),
                'its owner changes it': content[:32] + b'/ mine'.ljust(48) + content[80:],
            }[way],
        )


@pytest.fixture
def many(request: pytest.FixtureRequest) -> int:
    return MANY[request.node.callspec.params['kept']]


@pytest.fixture
def stored(request, sky, observed, target, kept: Kept, many: int) -> dict[str, bytes]:
    """Many files, by name, of which the first 20 are frames that an archive has."""
    unreadable = list(WAYS).index('its permissions are taken')
    for frames in (18, 2):  # a record of its own for what cannot be read
        observed(frames=frames)
    updatedata()
    frames = {
        row.name: sky.frames[int(row.frame_id)].content
        for row in StoredFrame.objects.order_by('record_id', 'pk')
    }
    RecordSync.objects.update(state='settled')
    record = StoredFrame.objects.first().record
    StoredFrame.objects.update(stored_at=AN_HOUR_AGO)
    size = SIZES[request.node.callspec.params['kept']]
    fillers = [bytes([number]) * size for number in range(20)]
    others = {
        f'm-31/lco/{number}/x{number}.fits': fillers[number % len(fillers)]
        for number in range(many - len(frames))
    }
    products = DataProduct.objects.bulk_create(
        DataProduct(product_id=f'x{number}', target=target, observation_record=record, data=name)
        for number, name in enumerate(others)
    )
    StoredFrame.objects.bulk_create(
        StoredFrame(
            archive='x', frame_id=product.product_id, record=record, product=product, filename='x',
            name=product.data.name, md5=md5(content), size=len(content), stored_at=AN_HOUR_AGO,
        )
        for product, content in zip(products, others.values(), strict=True)
    )  # fmt: skip
    for name, content in frames.items():
        kept.rot(name, content)  # the times of all are those of an hour ago
    for name, content in others.items():
        kept.fill(name, content)
    AuditRound.objects.create(state='closed', began=timezone.now(), ended=timezone.now())
    # Those of the record that cannot be read come where their way is.
    names = [*frames]
    for row in (0, 1):
        own, place = len(frames) - 2 + row, unreadable + row * len(WAYS)
        names[own], names[place] = names[place], names[own]
    return {name: frames[name] for name in names} | others


def seconds_to_read(names: list[str]) -> float:
    began = time.process_time()
    for name in names:
        with default_storage.open(name) as file:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(256 * 1024):
                digest.update(chunk)
    return time.process_time() - began


def test_twenty_of_two_thousand_are_named_and_repaired(kept, stored, many, automation):
    automation['AUDIT_RATE'] = 0
    names = list(stored)[: 2 * len(WAYS)]
    ways = dict(zip(names, [*WAYS, *WAYS], strict=True))
    for name, way in ways.items():
        damage(kept, way, name, stored[name])
    kept.allow()
    before = kept.contents()
    for name, way in ways.items():
        if way == 'its permissions are taken':
            kept.forbid(name)
    sample = [name for name in stored if name not in ways]
    readings, costs, reports = [], [], []
    for _ in range(2):  # what else runs on this machine only adds to the CPU that they take
        readings.append(seconds_to_read(sample[:300]) / 300 * many)
        began = time.process_time()
        reports.append(ran('auditdata', '--all'))
        costs.append(time.process_time() - began)

    code, report = reports[0]
    assert (code, report['due'], report['checked'], report['left']) == (1, many, many, 0)
    judged = {failure['observation_id']: failure['kind'] for failure in report['failures']}
    judged |= dict.fromkeys(report['changed_files'], 'file changed')
    assert judged == {name: f'file {WAYS[way][0]}' for name, way in ways.items()}
    assert all(
        renamed(failure['observation_id']) in failure['error']
        for failure in report['failures']
        if failure['kind'] == 'file renamed'
    )
    assert min(costs) < 1.2 * min(readings), (costs, readings)
    # Nothing has been touched.
    kept.allow()
    assert kept.contents() == before
    for name, way in ways.items():
        if way == 'its permissions are taken':
            kept.forbid(name)

    code, report = ran('auditdata', '--repair')

    repaired = {name for name, way in ways.items() if WAYS[way][1]}
    assert (code, report['repaired']) == (1, len(repaired))
    assert {failure['observation_id'] for failure in report['failures']} == {
        name for name, way in ways.items() if not WAYS[way][1] and WAYS[way][0] != 'changed'
    }
    kept.allow()
    assert kept.contents() == before | {name: stored[name] for name in repaired}
    assert not StoredFrame.objects.exclude(state='stored').exists()
