"""A row means a whole, verified file; bad ones of others are found and repaired."""

from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

import faults
from tom_auto.models import StoredFrame
from tom_auto.sync.storage import part_path

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'
FITS = b'SIMPLE  =                    T'.ljust(2880) * 2


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
        (faults.empty(), 'empty'),
        (faults.lying_gzip(), 'did not arrive'),
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
        ('a.fits.gz', FITS, 'it is not a compressed FITS file'),
        ('a.fits', FITS[:-7], 'it is a FITS file that breaks off'),
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
        ('preview.png', b'\x89PNG', 'image_file'),
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


def without_checksums(answer):
    for frame in answer['results']:
        frame['version_set'] = []


@pytest.mark.parametrize('damage', ['no file', 'file gone', 'a web page', 'cut', 'outside'])
def test_rows_that_others_left_are_repaired(sky, observed, media, damage):
    """tomtoolkit writes the row before it downloads, and stores whatever comes."""
    record = observed(frames=1, status='COMPLETED')
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    if damage != 'no file':
        broken = PAGE if damage == 'a web page' else frame.content[:-100]
        product.data.save(frame.filename, ContentFile(broken))
    product.save()
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


@pytest.mark.parametrize('content', [None, PAGE], ids=['the frame', 'a web page'])
def test_someone_saves_the_same_frame_on_the_web_at_the_same_moment(sky, observed, content):
    """Its row was there before the run, its file comes after it, under another name."""
    record = observed(frames=1)
    [frame] = sky.frames.values()
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.save()
    updatedata()
    product.data.save(frame.filename, ContentFile(content or frame.content))
    product.save()
    assert len(files()) == 2

    assert updatedata()[0] == 0

    assert list(files().items()) == [(DataProduct.objects.get().data.name, frame.content)]


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

    sky.break_('/store/', save_on_the_web)
    assert updatedata()[0] == 0

    assert list(files().items()) == [(DataProduct.objects.get().data.name, frame.content)]
    if content is None:
        product.save()  # once more, as tomtoolkit does: a name that it has in hand must stay good
        assert list(files()) == [DataProduct.objects.get().data.name]
        assert updatedata('--recheck')[1]['repaired'] == 0


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
        ('../../etc/passwd.fits', 'm-31/lco/passwd.fits'),
        ('/etc/cron.d/evil.fits', 'm-31/lco/evil.fits'),
        ('..\\..\\evil.fits', 'm-31/lco/evil.fits'),
        ('.hidden.fits', 'm-31/lco/hidden.fits'),
        ('my frame #1?.fits.fz', 'm-31/lco/my_frame_1.fits.fz'),
        ('été.fits', 'm-31/lco/été.fits'),
        ('x' * 300 + '.fits.fz', 'm-31/lco/' + 'x' * 72 + '.fits.fz'),
        ('𠮷' * 90 + '.fits', 'm-31/lco/' + '𠮷' * 48 + '.fits'),  # of four bytes each
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
    assert name.startswith('m-31/lco/frame-')


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
    sky.add_frame(int(record.observation_id), filename='image.fits', content=FITS)
    (media / 'm-31' / 'lco').mkdir(parents=True)
    (media / 'm-31' / 'lco' / 'image.fits').write_bytes(b'my own')

    updatedata()

    assert files()['m-31/lco/image.fits'] == b'my own'
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
    assert 'cannot be read or written' in report['failures'][0]['error']
    assert DataProduct.objects.count() == 0


class TestLeftovers:
    """What a killed run leaves, by the step at which it was killed."""

    def claim(self, sky, record):
        [frame] = sky.frames_of[int(record.observation_id)]
        return StoredFrame.objects.create(frame_id=str(frame.id), name=f'm-31/lco/{frame.filename}')

    def check(self, sky, report):
        assert report['failed'] == 0
        assert sorted(files().values()) == contents(sky)
        assert DataProduct.objects.count() == len(sky.frames)
        assert StoredFrame.objects.filter(stored_at=None).count() == 0

    def test_a_claim_alone(self, sky, observed):
        self.claim(sky, observed(frames=1))
        self.check(sky, updatedata()[1])

    def test_half_a_file_beside_its_place(self, sky, observed, media):
        claim = self.claim(sky, observed(frames=1))
        part = part_path(DataProduct().data.storage, claim)
        part.parent.mkdir(parents=True)
        part.write_bytes(b'half')
        self.check(sky, updatedata()[1])

    def test_a_file_in_its_place_without_a_row(self, sky, observed, media):
        claim = self.claim(sky, observed(frames=1))
        (media / claim.name).parent.mkdir(parents=True)
        (media / claim.name).write_bytes(b'whole, perhaps')
        self.check(sky, updatedata()[1])

    def test_of_a_frame_that_the_archive_no_longer_has(self, sky, observed, media):
        record = observed(frames=1)
        claim = self.claim(sky, record)
        (media / claim.name).parent.mkdir(parents=True)
        (media / claim.name).write_bytes(b'whole, perhaps')
        sky.frames_of[int(record.observation_id)].clear()
        sky.frames.clear()

        updatedata()

        assert (files(), StoredFrame.objects.count()) == ({}, 0)

    def test_half_a_new_version(self, sky, observed, media):
        record = observed(frames=1)
        updatedata()
        [frame] = sky.frames_of[int(record.observation_id)]
        StoredFrame.objects.update(stored_at=None)
        part_path(DataProduct().data.storage, StoredFrame.objects.get()).write_bytes(b'half')
        sky.reprocess(frame)
        self.check(sky, updatedata()[1])
