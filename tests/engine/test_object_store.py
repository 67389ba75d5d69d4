"""The product store on storages other than the media folder: an S3-compatible one above all.

Rules 6 to 10 hold on any storage that Django has: what is in it is told through Django's own
interface, and for S3 over real HTTP.
"""

import gzip
import io
import signal
from collections.abc import Callable, Iterable, Iterator
from threading import Event

import numpy as np
import pytest
import requests
from astropy.io import fits
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from PIL import Image
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

import faults
from forked import ended
from forked import updatedata as forked_updatedata
from home import md5, stored
from object_store import ObjectStore, cut, forget, hold, keep_half, status
from tom_auto.files.storage_id import MARK
from tom_auto.models import RecordSync, StoredFrame
from tom_auto.running.threads import ENOUGH
from unit.running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

FITS = b'SIMPLE  =                    T'.ljust(2880) * 2
PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'
LARGE = 4000 * 2880  # bytes: S3 takes it in parts


@pytest.fixture(scope='session')
def server() -> Iterator[ObjectStore]:
    """One server for all tests: starting it takes longer than most of them."""
    store = ObjectStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def s3(server: ObjectStore, use: Callable) -> Iterator[ObjectStore]:
    """An empty store, in which the TOM keeps its data."""
    server.empty()
    use(server.storage())
    yield server
    server.mend()


@pytest.fixture
def use(settings: object) -> Callable[[dict], None]:
    """Makes a storage the one for data products.

    Django looks it up when it is first used, and again after a change of STORAGES: the field
    `DataProduct.data`, made long before, follows.
    """

    def change(storage: dict) -> None:
        settings.STORAGES = settings.STORAGES | {'default': storage}

    return change


STORAGES = {
    'S3, overwriting': lambda server, path: server.storage(file_overwrite=True),
    'S3, not overwriting': lambda server, path: server.storage(file_overwrite=False),
    'S3, in a folder': lambda server, path: server.storage(location='tom/media'),
    'memory': lambda server, path: {'BACKEND': 'django.core.files.storage.InMemoryStorage'},
    'a folder elsewhere': lambda server, path: {
        'BACKEND': 'django.core.files.storage.FileSystemStorage',
        'OPTIONS': {'location': str(path / 'elsewhere')},
    },
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, server: ObjectStore, use: Callable, tmp_path) -> None:
    """The TOM keeps its data in each of these storages in turn."""
    server.empty()
    use(STORAGES[request.param](server, tmp_path))


@pytest.fixture(autouse=True)
def few_clients(automation: dict) -> None:
    """Each thread has a client of S3 of its own, which takes a third of a second to make."""
    automation['WORKERS'] = 1


@pytest.fixture(autouse=True)
def nothing_in_the_media_folder() -> Iterator[None]:
    """Whatever happens, the folder that is not used stays empty."""
    yield
    assert files() == {}


def everything_is_home(sky) -> None:
    """Every frame is stored once, bit by bit, has one row, and nothing else is stored."""
    assert sorted(stored().values()) == contents(sky)
    rows = {product.product_id: product for product in DataProduct.objects.all()}
    assert set(rows) == {str(number) for number in sky.frames}
    assert {row.data.name for row in rows.values()} == set(stored())
    kept = {row.frame_id: row for row in StoredFrame.objects.all()}
    assert set(kept) == set(rows)
    for number, frame in sky.frames.items():
        row, known = rows[str(number)], kept[str(number)]
        assert row.data.read() == frame.content
        assert (known.product_id, known.name, known.state) == (row.pk, row.data.name, 'stored')
        assert (known.md5, known.size) == (md5(frame.content), len(frame.content))
        assert not known.hooks_owed


def downloads(sky) -> list:
    """What was asked of the file server."""
    return [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]


def without_checksums(answer: dict) -> None:
    """A list of frames as an archive gives it that keeps no checksums."""
    for frame in answer['results']:
        for version in frame['version_set']:
            version['md5'] = ''


def row_of(sky, record, content: bytes | None = None) -> DataProduct:
    """A row as tomtoolkit leaves one for the frame of `record`, with `content` for its file."""
    [frame] = sky.frames_of[int(record.observation_id)]
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    if content is not None:
        product.data.save(frame.filename, ContentFile(content))
    product.save()
    return product


# --- any storage ---


@pytest.mark.usefixtures('storage')
class TestAnyStorage:
    def test_frames_are_stored_bit_by_bit_and_once(self, sky, observed):
        record = observed(frames=2)
        sky.add_frame(int(record.observation_id), size=LARGE)

        code, report = updatedata()

        assert (code, report['saved']) == (0, 3)
        everything_is_home(sky)
        assert {product.data_product_type for product in DataProduct.objects.all()} == {'fits_file'}
        assert updatedata()[1]['saved'] == 0
        everything_is_home(sky)

    def test_rows_that_others_left_are_repaired(self, sky, observed):
        for damage in ('no file', 'file gone', 'a web page', 'cut', 'outside'):
            record = observed(frames=1, status='COMPLETED')
            [frame] = sky.frames_of[int(record.observation_id)]
            half = frame.content[: len(frame.content) // 2]
            content = {'no file': None, 'a web page': PAGE}.get(damage, half)
            product = row_of(sky, record, content)
            if damage in ('file gone', 'outside'):
                default_storage.delete(product.data.name)
            if damage == 'outside':
                DataProduct.objects.filter(pk=product.pk).update(data='../../outside.fits')

        code, report = updatedata()

        assert (code, report['repaired'], report['saved']) == (0, 5, 0)
        everything_is_home(sky)

    def test_what_others_stored_well_is_taken_over(self, sky, observed):
        record = observed(frames=1)
        row_of(sky, record, contents(sky)[0])
        _, report = updatedata()
        assert (report['found'], report['saved'], report['repaired']) == (1, 0, 0)
        everything_is_home(sky)
        assert not downloads(sky)

    def test_a_new_version_replaces_the_file(self, sky, observed):
        record = observed(frames=2)
        updatedata()
        names = set(stored())
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])

        _, report = updatedata()

        assert (report['saved'], report['repaired']) == (1, 0)
        assert set(stored()) == names
        everything_is_home(sky)

    def test_a_frame_that_records_share_is_stored_once(self, sky, observed, add_record):
        record = observed('LCO', frames=2)
        other = Target.objects.create(name='Beside it', type='SIDEREAL', ra=10, dec=41)
        add_record('SOAR', observation_id=record.observation_id, target=other)
        code, report = updatedata('--workers', '2')
        assert (code, report['found'], report['saved']) == (0, 4, 2)
        everything_is_home(sky)

    def test_one_name_for_many_frames(self, sky, observed):
        for number in range(6):
            record = observed(frames=0)
            content = FITS + str(number).encode().ljust(2880)
            sky.add_frame(int(record.observation_id), filename='image.fits', content=content)
        code, report = updatedata('--workers', '4')
        assert (code, report['saved']) == (0, 6)
        everything_is_home(sky)

    def test_a_file_that_was_there_before_is_not_overwritten(self, sky, observed):
        record = observed(frames=0)
        sky.add_frame(int(record.observation_id), filename='image.fits', content=FITS)
        [frame] = sky.frames.values()
        place = f'm-31/lco/{frame.id}/image.fits'
        default_storage.save(place, ContentFile(b'my own'))
        for _ in range(2):
            assert updatedata()[0] == 0
            assert stored() == {place: b'my own', place.replace('image', 'image-2'): FITS}

    def test_names_from_outside_are_made_safe(self, sky, observed):
        names = [
            '../../etc/passwd.fits', '/etc/evil.fits', '..\\evil.fits', '.hidden.fits', 'été.fits',
            'a b#c?d&e%2F+=.fits.fz', 'x' * 300 + '.fits.fz', '..', '', '???', 'x.fits.gz',
        ]  # fmt: skip
        record, called = observed(frames=0), {}
        for name in names:
            content = gzip.compress(FITS) if name.endswith('.gz') else FITS
            called[sky.add_frame(int(record.observation_id), content=content).id] = name

        def rename(answer):
            for frame in answer['results']:
                frame['filename'] = called[frame['id']]

        sky.break_('/frames/', faults.edit(rename))

        code, report = updatedata()

        assert (code, report['saved']) == (0, len(names))
        everything_is_home(sky)
        assert updatedata()[1]['repaired'] == 0

    def test_every_target_has_a_place(self, sky, observed):
        for name in ('望遠鏡', 'x' * 100, 'SN 2026ab/c', '"quoted"'):
            target = Target.objects.create(name=name, type='SIDEREAL', ra=1, dec=1)
            observed(frames=1, target=target)
        assert updatedata()[0] == 0
        everything_is_home(sky)

    @pytest.mark.parametrize('checksum', [True, False], ids=['checksum', 'no checksum'])
    def test_a_file_that_a_killed_run_left_without_a_row_is_kept(self, sky, observed, checksum):
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        place = f'm-31/lco/{frame.id}/{frame.filename}'
        default_storage.save(place, ContentFile(frame.content))
        if not checksum:
            sky.break_('/frames/', faults.edit(without_checksums))

        assert updatedata()[0] == 0

        everything_is_home(sky)
        assert set(stored()) == {place}
        assert len(downloads(sky)) == (0 if checksum else 1)

    def test_previews_are_stored_beside_the_frames(self, sky, observed, settings):
        settings.AUTO_THUMBNAILS = True
        record = observed(frames=0)
        frame = sky.add_frame(int(record.observation_id), content=image(90, 50))
        for _ in range(3):
            updatedata('--recheck')

        jpeg = DataProduct.objects.get(product_id=f'{frame.id}_jpeg')
        assert Image.open(jpeg.data).size == (90, 50)
        assert len(stored()) == DataProduct.objects.count() == 2

        sky.reprocess(frame, content=image(60, 80))
        updatedata()
        jpeg = DataProduct.objects.get(pk=jpeg.pk)
        assert Image.open(jpeg.data).size == (60, 80)
        assert len(stored()) == DataProduct.objects.count() == 2


def image(width: int, height: int) -> bytes:
    """A FITS file with an image of that many pixels."""
    pixels = np.random.default_rng(1).normal(100, 5, (height, width)).astype('float32')
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, name='SCI')]).writeto(file)
    return file.getvalue()


# --- S3, and what can go wrong with it ---

DOWN = 'the store is stopped in the middle'
TROUBLE = {
    'an error': ('PUT', status(500, 'InternalError')),
    'slow down': ('PUT', status(503, 'SlowDown')),
    'no right to write': ('PUT', status(403, 'AccessDenied')),
    'no such bucket': ('PUT', status(404, 'NoSuchBucket')),
    'cut off in mid-upload': ('PUT', cut(after=4000)),
    'half of it kept': ('PUT', keep_half),
    'nothing kept': ('PUT', forget),
    'an error when looked for': ('HEAD', status(500, 'InternalError')),
    'no right to look': ('HEAD', status(403, 'AccessDenied')),
    DOWN: ('PUT', cut(after=1)),
}


@pytest.fixture(params=TROUBLE)
def trouble(request: pytest.FixtureRequest, s3: ObjectStore) -> Iterator[Callable]:
    """Makes the store fail for files of a kind, such as 'fits'; and then well again."""
    method, fault = TROUBLE[request.param]

    def stop(environ: dict, start_response: Callable, store: Callable) -> Iterable[bytes]:
        s3.stop()
        return fault(environ, start_response, store)

    yield lambda kind: s3.break_(f'{method} .*{kind}', stop if request.param == DOWN else fault)
    s3.recover()


def test_a_failed_upload_leaves_no_row_and_is_repeated(sky, observed, s3, trouble):
    record = observed(frames=2)
    trouble('fits')

    code, report = updatedata()

    assert (code, report['changed'], report['failed']) == (1, 1, 1)
    [failure] = report['failures']
    assert failure['record'] == record.pk
    assert failure['kind'] in ('storage away', 'local trouble'), 'the observatory is blamed'
    assert failure['error'].startswith('2 of 2 frames: the storage ')
    assert DataProduct.objects.count() == 0

    s3.recover()
    assert stored() == {}
    assert updatedata()[0] == 0
    everything_is_home(sky)


def test_a_store_that_cannot_be_given_an_id_is_not_used(sky, observed, s3, trouble):
    record = observed(frames=2)
    trouble(MARK)

    code, report = updatedata()

    assert (code, report['changed'], report['set_aside'], report['failed']) == (1, 1, 1, 1)
    [failure] = report['failures']
    assert (failure['record'], failure['kind']) == (None, 'storage away')
    assert not downloads(sky)

    s3.recover()
    assert stored() == {}
    assert updatedata()[0] == 0
    everything_is_home(sky)
    assert not RecordSync.objects.get(pk=record.pk).failures


def test_a_failed_upload_of_a_new_version_is_repeated(sky, observed, s3, trouble):
    """Until the new version is whole the one before stays, unless the store has spoilt it."""
    record = observed(frames=2)
    updatedata()
    before = stored()
    [frame, _] = sky.frames_of[int(record.observation_id)]
    sky.reprocess(frame, content=FITS)
    trouble('fits')

    assert updatedata()[0] == 1

    s3.recover()
    name = DataProduct.objects.get(product_id=str(frame.id)).data.name
    left = stored()
    assert {**left, name: before[name]} == before
    assert left.get(name, before[name]) == before[name], 'junk in the place of the frame'
    assert updatedata()[0] == 0
    everything_is_home(sky)


@pytest.mark.parametrize('fault', [status(403, 'AccessDenied'), cut()], ids=['refuses', 'cuts off'])
def test_a_store_that_fails_again_and_again_is_set_aside(sky, observed, s3, fault):
    """Or each run would download every frame in vain."""
    records = [observed(frames=1) for _ in range(12)]
    s3.break_('PUT .*fits', fault)

    code, report = updatedata()

    assert (code, report['changed'], report['checked']) == (1, len(records), 0)
    shared = [failure for failure in report['failures'] if failure['record'] is None]
    assert [failure['kind'] for failure in shared] == ['storage away']
    assert report['failed'] + report['set_aside'] == len(records) + 1
    assert ENOUGH <= len(downloads(sky)) <= ENOUGH + 2, 'with one request at a time'

    s3.recover()
    assert stored() == {}
    assert (updatedata()[0], updatedata()[0]) == (0, 0)
    everything_is_home(sky)


def test_an_upload_in_parts_that_fails_is_called_off(sky, observed, s3):
    """What is left of one is invisible, and has to be paid for."""
    record = observed(frames=0)
    sky.add_frame(int(record.observation_id), size=LARGE)
    s3.break_('PUT .*partNumber=2', status(500, 'InternalError'))
    assert updatedata()[0] == 1
    s3.mend()
    assert (s3.unfinished(), stored()) == ([], {})

    assert updatedata()[0] == 0
    everything_is_home(sky)


@pytest.mark.parametrize('known', [False, True], ids=['at first', 'later'])
def test_other_records_and_facilities_go_on_without_the_store(sky, observed, add_record, s3, known):
    """Their statuses come home, and what was stored stays known."""
    before = observed('LCO', frames=1) if known else None
    if known:
        updatedata()
    records = [observed('LCO', frames=1), observed('SOAR', frames=1)]
    waiting = add_record('BLANCO')
    sky.add_request(int(waiting.observation_id))
    s3.stop()
    try:
        code, report = updatedata()
    finally:
        s3.start()

    assert (code, report['changed'], report['checked']) == (1, 2, 1)
    assert (report['failed'], report['set_aside']) == (1, 3 if known else 2)
    [failure] = report['failures']
    assert (failure['record'], failure['kind']) == (None, 'storage away')
    for record in records:
        record.refresh_from_db()
        assert record.status == 'COMPLETED'
    assert list(DataProduct.objects.values_list('observation_record')) == (
        [(before.pk,)] if known else []
    )
    assert updatedata()[0] == 0
    everything_is_home(sky)


@pytest.mark.parametrize('kept', [False, True], ids=['before it is kept', 'after it is kept'])
@pytest.mark.parametrize('version', ['first', 'second'])
def test_a_run_killed_in_mid_upload(sky, observed, s3, tmp_path, version, kept):
    """With SIGKILL, while the store has the object and there is no row of it yet, or neither."""
    record = observed(frames=2)
    if version == 'second':
        updatedata()
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])
    reached, release = Event(), Event()
    s3.break_('PUT .*fits', hold(reached, release, kept))

    child = forked_updatedata(tmp_path / 'printed', '--workers', '1')
    assert reached.wait(30)
    child.kill()
    assert ended(child) == -signal.SIGKILL
    release.set()
    s3.mend()

    for product in DataProduct.objects.all():
        assert product.data.read()
    assert updatedata()[0] == 0
    everything_is_home(sky)


def test_the_store_is_not_asked_for_what_it_has_already(sky, observed, s3):
    observed(frames=3)
    updatedata()
    s3.seen.clear()
    updatedata()
    read = [question for question in s3.seen if not question.startswith('HEAD ')]
    assert read == [f'GET /tom-data/{MARK}']


def test_a_signed_address_is_given_and_never_kept(sky, observed, s3, caplog):
    """Who has the address can read the file: it is made for each page anew."""
    record = observed(frames=2)
    with caplog.at_level('INFO'):
        printed = [updatedata()]
        [frame, _] = sky.frames_of[int(record.observation_id)]
        sky.reprocess(frame)
        s3.break_('PUT', status(503, 'SlowDown'))
        printed.append(updatedata())
        s3.mend()
        printed.append(updatedata('--recheck'))
    product = DataProduct.objects.get(product_id=str(frame.id))
    assert 'Signature=' in product.data.url
    assert requests.get(product.data.url, timeout=10).content == frame.content

    rows = io.StringIO()
    call_command('dumpdata', '--all', stdout=rows)
    for kept in (rows.getvalue(), str(printed), caplog.text):
        for secret in ('Signature=', 'X-Amz-', 'dummy-access-key', 'dummy-secret-key', sky.token):
            assert secret not in kept
