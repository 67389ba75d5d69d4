"""A row means a whole, verified file; bad ones of others are found and repaired."""

import gzip
import re
from hashlib import md5
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError
from django.db import connections
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

import faults
from tom_auto.files import storage
from tom_auto.files.storage_id import accept_storage
from tom_auto.models import StorageMark, StoredFrame

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'
CARDS = ('SIMPLE  =                    T', 'BITPIX  =                    8',
         'NAXIS   =                    1', 'NAXIS1  =                 2880', 'END')  # fmt: skip
FITS = ''.join(card.ljust(80) for card in CARDS).ljust(2880).encode() + bytes(2880)


@pytest.mark.parametrize(
    ('fault', 'reason'),
    [
        (faults.status(500), 'answered 500'),
        (faults.status(404), 'answered 404'),
        (faults.status(429), 'answered 429'),
        (faults.html(), 'checksum'),
        (faults.reset(), 'did not arrive'),
        (faults.truncated(), 'did not arrive'),
        (faults.corrupt(), 'checksum'),
        (faults.empty(), 'checksum'),
        (faults.redirect_loop(), 'circles'),
    ],
)
def test_what_is_not_the_frame_is_not_stored(sky, observed, media, fault, reason):
    record = observed(frames=1)
    sky.break_('/store/', fault)

    status, report = updatedata()

    assert status == 1
    assert reason in report['failures'][0]['error']
    assert (DataProduct.objects.count(), files()) == (0, {})

    sky.mend()
    assert updatedata()[0] == 0
    assert sorted(files().values()) == contents(sky)
    assert DataProduct.objects.get().observation_record == record


@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('a.fits', PAGE, 'it is a web page'),
        ('a.fits', b'not found'.ljust(2880), 'it is not a FITS file'),
        ('a.fits.fz', b'\x1f\x8b'.ljust(2880), 'it is not a FITS file'),
        ('a.fits.gz', FITS, 'it breaks off, or is damaged'),
        (
            'a.fits.gz',
            gzip.compress(b'wavelength,flux', mtime=0),
            'it is not a compressed FITS file',
        ),
        ('a.fits.gz', gzip.compress(FITS, mtime=0)[:-9], 'it breaks off, or is damaged'),
        ('a.fits', FITS[:-7], 'it is a FITS file that breaks off'),
        ('a.fits', FITS[:2880], 'it is a FITS file that breaks off'),
        ('spectrum.csv', PAGE, 'it is a web page'),
        ('a.tar.gz', b'\n <HTML>', 'it is a web page'),
        ('a.jpg', b'<?xml version="1.0"?><Error/>', 'it is an XML message'),
    ],
)
def test_without_a_checksum_the_content_has_to_fit_the_name(sky, observed, name, content, reason):
    record = observed(frames=0)
    sky.add_frame(int(record.observation_id), filename=name, content=content)
    sky.break_('/frames/', faults.edit(without_checksums))

    status, report = updatedata()

    assert status == 1
    assert reason in report['failures'][0]['error']
    assert files() == {}


@pytest.mark.parametrize(
    ('name', 'content', 'kind'),
    [
        ('a.fits', FITS, 'fits_file'),
        ('A.FITS', FITS, 'fits_file'),
        ('notes.html', PAGE, ''),
        ('table.xml', b'<?xml version="1.0"?><VOTABLE/>', ''),
        ('preview.png', b'\x89PNG\r\n\x1a\n', 'image_file'),
        ('spectrum.csv', b'wavelength,flux\n', ''),
        ('README', b'as is', ''),
    ],
)
def test_what_fits_its_name_is_stored_with_its_type(sky, observed, name, content, kind):
    record = observed(frames=0)
    sky.add_frame(int(record.observation_id), filename=name, content=content)
    sky.break_('/frames/', faults.edit(without_checksums))

    assert updatedata()[0] == 0

    product = DataProduct.objects.get()
    assert (product.get_file_name(), product.data_product_type) == (name, kind)
    assert product.data.read() == content


def test_a_label_that_says_that_a_plain_body_is_packed_does_no_harm(sky, observed):
    observed(frames=1)
    sky.break_('/store/', faults.lying_gzip())
    assert updatedata()[0] == 0
    assert sorted(files().values()) == contents(sky)


def without_checksums(answer):
    for frame in answer['results']:
        frame['version_set'] = []


@pytest.mark.parametrize(
    'damage', ['no file', 'no name', 'file gone', 'a web page', 'cut', 'outside']
)
def test_rows_that_others_left_are_repaired(sky, observed, media, damage):
    """tomtoolkit writes the row before it downloads, and stores whatever comes."""
    accept_storage()
    record = observed(frames=1, status='COMPLETED')
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    if damage not in ('no file', 'no name'):
        broken = PAGE if damage == 'a web page' else frame.content[:-2000]
        product.data.save(frame.filename, ContentFile(broken))
    product.save()
    if damage == 'no name':  # as imports leave it
        DataProduct.objects.update(data=None)
    if damage == 'file gone':
        Path(product.data.path).unlink()
    if damage == 'outside':
        Path(product.data.path).unlink()
        DataProduct.objects.update(data='../../outside.fits')

    status, report = updatedata()

    assert (status, report['repaired'], report['saved']) == (0, 1, 0)
    product = DataProduct.objects.get()
    assert product.data.read() == frame.content
    assert list(files().values()) == [frame.content]
    assert list(files()) == [product.data.name]


@pytest.mark.parametrize('are_taken_over', [False, True])
def test_rows_without_a_name_are_no_sign_that_the_storage_is_away(sky, observed, are_taken_over):
    """NULL, where tomtoolkit has an empty name. The run ended."""
    record = observed(frames=1)
    [frame] = sky.frames.values()
    if are_taken_over:
        updatedata()
        StorageMark.objects.all().delete()
    else:
        DataProduct.objects.create(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
    DataProduct.objects.update(data=None)

    status, report = updatedata()

    assert (status, report['repaired'], report['saved']) == (0, 1, 0)
    assert files() == {DataProduct.objects.get().data.name: frame.content}


def test_what_others_stored_well_is_taken_over(sky, observed):
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.data.save('by-hand.fits.fz', ContentFile(frame.content))
    product.save()

    _, report = updatedata()

    assert (report['found'], report['saved'], report['repaired']) == (1, 0, 0)
    assert StoredFrame.objects.get().name == DataProduct.objects.get().data.name
    assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]


@pytest.mark.parametrize('was_taken_over', [False, True])
def test_an_older_version_that_others_stored_is_replaced(sky, observed, was_taken_over):
    """It was noted as the version of now, and stayed. In some TOMs it has been."""
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.data.save(frame.filename, ContentFile(frame.content))
    name = product.data.name
    if was_taken_over:
        updatedata()
    sky.reprocess(frame)
    if was_taken_over:
        newest = md5(frame.content, usedforsecurity=False).hexdigest()
        assert StoredFrame.objects.update(archive_md5=newest) == 1

    for saved in (1, 0):
        status, report = updatedata()
        assert (status, report['saved'], report['repaired']) == (0, saved, 0)
        assert files() == {name: frame.content}


def test_a_former_version_that_is_put_back_while_it_is_fetched_is_renewed(sky, observed):
    """It was noted as the version of now, and stayed."""
    observed(frames=1)
    [frame] = sky.frames.values()
    updatedata()
    path, former = Path(DataProduct.objects.get().data.path), frame.content
    path.unlink()
    sky.break_('/store/', faults.status(404))
    assert updatedata('--recheck')[0] == 1
    sky.mend()
    path.write_bytes(former)
    sky.reprocess(frame)

    for _ in range(2):
        assert updatedata('--recheck')[0] == 0

    assert path.read_bytes() == frame.content


def test_an_older_version_that_others_stored_owes_its_hooks_where_a_run_was_killed(
    sky, observed, monkeypatch
):
    """Killed when the new version was in its place, and before its row was written."""
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.data.save(frame.filename, ContentFile(frame.content))
    sky.reprocess(frame)

    def killed(kept):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, CommandError)):
        patch.setattr('tom_auto.sync.products.write', killed)
        updatedata()
    assert files() == {product.data.name: frame.content}

    status, report = updatedata()

    assert (status, report['saved']) == (0, 1)
    assert not StoredFrame.objects.filter(hooks_owed=True).exists()


@pytest.mark.parametrize('is_there', [True, False])
def test_two_frames_that_others_stored_under_one_name_get_a_file_each(sky, observed, is_there):
    """The second had overwritten the first, which was missed for good."""
    accept_storage()
    record = observed(frames=2)
    frames = sky.frames_of[int(record.observation_id)]
    for frame in frames:
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        if frame is frames[-1] and is_there:
            product.data.save('image.fits.fz', ContentFile(frame.content))
        product.save()
    DataProduct.objects.update(data=product.data.name or 'image.fits.fz')

    status, report = updatedata()

    assert (status, report['repaired']) == (0, 1 if is_there else 2)
    for frame in frames:
        product = DataProduct.objects.get(product_id=str(frame.id))
        assert product.data.read() == frame.content
        if frame is frames[-1] and is_there:
            assert product.get_file_name() == 'image.fits.fz'
    before = files()
    assert len(before) == 2
    for row in StoredFrame.objects.all():
        storage.the_storage().delete(row.name)
    assert updatedata('--recheck')[1]['repaired'] == 2
    assert files() == before


@pytest.mark.parametrize('content', [None, PAGE], ids=['the frame', 'a web page'])
def test_someone_saves_the_same_frame_on_the_web_at_the_same_moment(sky, observed, content):
    """Its row was there before the run, its file comes after it, under another name."""
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.save()
    updatedata()
    [ours] = files()
    product.data.save(frame.filename, ContentFile(content or frame.content))
    product.save()
    assert len(files()) == 2

    for repaired in (1 if content else 0, 0):
        status, report = updatedata()
        assert (status, report['repaired'], report['saved']) == (0, repaired, 0)

    assert DataProduct.objects.get().data.read() == frame.content
    assert files().keys() - {ours} == {DataProduct.objects.get().data.name}


def test_someone_has_made_its_row_on_the_web_and_not_yet_its_file(sky, observed):
    """tomtoolkit commits the row first. To read the file of no name failed: "is a directory"."""
    record = observed(frames=1)
    [frame] = sky.frames.values()

    def make_the_row(call, reply):
        DataProduct.objects.create(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        connections.close_all()  # this is a thread of the observatory
        return reply

    sky.break_('/store/', make_the_row, times=1)
    status, report = updatedata()

    assert (status, report['failures']) == (0, [])
    assert list(files().items()) == [(DataProduct.objects.get().data.name, frame.content)]


@pytest.mark.parametrize('content', [FITS, b'my own notes'])
def test_what_others_stored_and_worked_on_is_not_replaced_by_a_new_version(sky, observed, content):
    """It is whole, and not what the archive ever had."""
    record = observed(frames=0)
    frame = sky.add_frame(int(record.observation_id), filename='a.txt', content=b'as it was')
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.data.save('a.txt', ContentFile(content))
    product.save()
    updatedata()
    sky.reprocess(frame, content=b'as it is now')

    status, report = updatedata()

    assert (status, report['saved'], report['repaired']) == (0, 0, 0)
    assert list(files().values()) == [content]


@pytest.mark.parametrize('content', [None, PAGE], ids=['the frame', 'a web page'])
def test_someone_saves_the_same_frame_on_the_web_in_the_middle_of_the_download(
    sky, observed, content
):
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.save()

    def save_on_the_web(call, reply):
        product.data.save('by-hand.fits.fz', ContentFile(content or frame.content))
        connections.close_all()  # this is a thread of the observatory
        return reply

    sky.break_('/store/', save_on_the_web, times=1)
    assert updatedata()[0] == 0

    assert list(files().items()) == [(DataProduct.objects.get().data.name, frame.content)]
    if content is None:
        product.save()  # once more, as tomtoolkit does: a name that it has in hand must stay good
        assert list(files()) == [DataProduct.objects.get().data.name]
        assert updatedata('--recheck')[1]['repaired'] == 0


def test_a_row_without_a_file_in_place_of_a_deleted_product_is_repaired(sky, observed):
    """Somebody deletes a frame here, and asks for it on the web, where the download breaks off."""
    record = observed(frames=1)
    updatedata()
    [frame] = sky.frames.values()
    DataProduct.objects.get().delete()
    DataProduct(product_id=str(frame.id), target=record.target, observation_record=record).save()

    assert updatedata('--recheck')[0] == 0

    assert list(files().items()) == [(DataProduct.objects.get().data.name, frame.content)]


def test_a_file_that_vanishes_is_fetched_again(sky, observed):
    observed(frames=1)
    updatedata()
    product = DataProduct.objects.get()
    Path(product.data.path).unlink()

    _, report = updatedata()

    assert (report['repaired'], report['saved']) == (1, 0)
    assert product.data.storage.exists(product.data.name)


def test_a_new_version_replaces_the_file(sky, observed):
    record = observed(frames=1)
    updatedata()
    [frame] = sky.frames_of[int(record.observation_id)]
    before = DataProduct.objects.get()
    sky.reprocess(frame)

    _, report = updatedata()

    after = DataProduct.objects.get()
    assert (report['saved'], report['repaired']) == (1, 0)
    assert (after.pk, after.data.name) == (before.pk, before.data.name)
    assert list(files().values()) == [frame.content]


@pytest.mark.parametrize(
    ('filename', 'stored'),
    [
        ('../../etc/passwd.fits', 'm-31/lco/5/passwd.fits'),
        ('/etc/cron.d/evil.fits', 'm-31/lco/5/evil.fits'),
        ('..\\..\\evil.fits', 'm-31/lco/5/evil.fits'),
        ('.hidden.fits', 'm-31/lco/5/hidden.fits'),
        ('my frame #1?.fits.fz', 'm-31/lco/5/my_frame_1.fits.fz'),
        ('été.fits', 'm-31/lco/5/été.fits'),
        ('x' * 300 + '.fits.fz', 'm-31/lco/5/' + 'x' * 72 + '.fits.fz'),
        ('𠮷' * 90 + '.fits', 'm-31/lco/5/' + '𠮷' * 48 + '.fits'),  # of four bytes each
    ],
)
def test_names_from_outside_are_made_safe(sky, observed, media, filename, stored):
    record = observed(frames=0)
    sky.add_frame(int(record.observation_id), frame_id=5, content=FITS)
    sky.break_('/frames/', faults.edit(lambda answer: rename(answer, filename)))

    assert updatedata()[0] == 0

    assert list(files()) == [stored]
    assert DataProduct.objects.get().data.name == stored


@pytest.mark.parametrize('filename', ['..', '', '.', '/', '???', '../'])
def test_names_of_nothing_get_a_name(sky, observed, filename):
    record = observed(frames=0)
    sky.add_frame(int(record.observation_id), content=FITS)
    sky.break_('/frames/', faults.edit(lambda answer: rename(answer, filename)))

    assert updatedata()[0] == 0

    [name] = files()
    assert re.fullmatch(r'm-31/lco/\d+/frame-[0-9a-f]{10}', name)


def rename(answer, filename):
    for frame in answer['results']:
        frame['filename'] = filename


@pytest.mark.parametrize('workers', ['1', '8'])
def test_one_name_for_many_frames(sky, observed, workers):
    """Names never collide, across observations, whoever comes first."""
    for _ in range(6):
        record = observed(frames=0)
        for _ in range(2):
            content = FITS + str(len(sky.frames)).encode().ljust(2880)
            sky.add_frame(int(record.observation_id), filename='image.fits', content=content)

    status, report = updatedata('--workers', workers)

    assert (status, report['saved']) == (0, 12)
    assert sorted(files().values()) == contents(sky)
    assert all(name.endswith('.fits') for name in files())


def test_a_file_that_was_there_before_is_not_overwritten(sky, observed, media):
    record = observed(frames=0)
    frame = sky.add_frame(int(record.observation_id), filename='image.fits', content=FITS)
    folder = media / 'm-31' / 'lco' / str(frame.id)
    folder.mkdir(parents=True)
    (folder / 'image.fits').write_bytes(b'my own')

    updatedata()

    assert files()[f'm-31/lco/{frame.id}/image.fits'] == b'my own'
    assert sorted(files().values()) == sorted([b'my own', FITS])


@pytest.mark.parametrize('name', ['望遠鏡', 'x' * 100, 'SN 2026ab/c', '"quoted"', '…'])
def test_every_target_has_a_place(sky, observed, name):
    """A slug without ASCII letters is empty, and a long one overflows the column."""
    target = Target.objects.create(name=name, type='SIDEREAL', ra=1, dec=1)
    observed(frames=2, target=target)

    status, report = updatedata()

    assert (status, report['saved']) == (0, 2)
    assert all(len(product.data.name) <= 100 for product in DataProduct.objects.all())
    assert all(product.data.read() in contents(sky) for product in DataProduct.objects.all())


def test_a_folder_that_cannot_be_written_is_a_clear_failure(sky, observed, media, settings):
    observed(frames=1)
    settings.MEDIA_ROOT = media / 'm-31'
    (media / 'm-31').write_text('a file where the folder should be')

    status, report = updatedata()

    assert status == 1
    assert 'the storage of the data cannot be written' in report['failures'][0]['error']
    assert DataProduct.objects.count() == 0


class TestLeftovers:
    """What a killed run leaves, by the step at which it was killed."""

    @pytest.fixture
    def place(self, sky, observed, media):
        """Where the one frame that there is will lie."""
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        place = media / 'm-31' / 'lco' / str(frame.id) / frame.filename
        place.parent.mkdir(parents=True)
        return place

    def check(self, sky, saved=1):
        status, report = updatedata()
        assert (status, report['saved'], report['failed']) == (0, saved, 0)
        assert sorted(files().values()) == contents(sky)
        assert DataProduct.objects.count() == StoredFrame.objects.count() == len(sky.frames)

    def fetched(self, sky):
        return [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]

    def test_half_a_file_among_the_parts(self, sky, place, media):
        (media / storage.PARTS).mkdir()
        (media / storage.PARTS / '4242-1').write_bytes(b'half')
        self.check(sky)
        assert place.is_file()

    def test_a_whole_file_in_its_place_without_a_row(self, sky, place):
        """Its checksum is the archive's: it need not come once more."""
        place.write_bytes(contents(sky)[0])
        self.check(sky)
        assert self.fetched(sky) == []

    def test_half_a_new_version(self, sky, observed, media):
        record = observed(frames=1)
        updatedata()
        [frame] = sky.frames_of[int(record.observation_id)]
        (media / storage.PARTS).mkdir(exist_ok=True)
        (media / storage.PARTS / '4242-1').write_bytes(b'half')
        sky.reprocess(frame)
        self.check(sky)

    def test_a_new_version_in_its_place_that_its_row_does_not_know(self, sky, observed):
        """Killed between the file and the row: it is neither the owner's nor fetched again."""
        record = observed(frames=1)
        updatedata()
        [frame] = sky.frames_of[int(record.observation_id)]
        sky.reprocess(frame)
        Path(DataProduct.objects.get().data.path).write_bytes(frame.content)
        before = len(self.fetched(sky))
        self.check(sky)
        assert len(self.fetched(sky)) == before
        assert StoredFrame.objects.get().size == len(frame.content)
