"""Nothing that people have made of their data is deleted or overwritten: rule 7."""

import gzip
import shutil
from pathlib import Path
from threading import Thread

import pytest
from astropy.io import fits
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.urls import reverse
from guardian.shortcuts import assign_perm, get_group_perms
from tom_dataproducts.models import DataProduct, ReducedDatum
from tom_observations.models import ObservationRecord

import forked
from tom_auto.files import storage
from tom_auto.files.storage import PARTS
from tom_auto.files.storage_id import MARK, accept_storage
from tom_auto.models import (
    RecordSync,
    RunFailure,
    SharedFrame,
    StorageMark,
    StoredFrame,
    UpdateRun,
)

from . import facility_classes as shapes
from .own_classes import Lists, Registers, SavesByItself, install, product_of
from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

UNPADDED = fits.PrimaryHDU([[1, 2], [3, 4]]).header.tostring().encode() + bytes(range(32))


@pytest.fixture(params=['LCO', Lists, SavesByItself])
def kept(request, sky, settings, add_record):
    """A record with two frames, of each kind of facility."""
    return record_with_frames(request.param, sky, settings, add_record)


def record_with_frames(facility, sky, settings, add_record, frames=2, content=None):
    """A record as a page of tomtoolkit makes it, whose request has been observed."""
    name = facility if isinstance(facility, str) else facility.name
    record = add_record(name, status='')
    number = int(record.observation_id)
    sky.add_request(number)
    made = sky.complete(number, frames=frames, pixels=32, extension='.fits', content=content)
    if not isinstance(facility, str):
        products = install(settings, facility)
        products[record.observation_id] = [product_of(sky, frame) for frame in made]
    return record


def well(*arguments):
    """The report of a run in which nothing failed."""
    status, report = updatedata(*arguments)
    assert (status, report['failures'], report['unsupported']) == (0, [], 0), report
    return report


def all_is_as_before(*arguments):
    """Assert that another two runs change nothing and fail nothing."""
    before, rows = files(), list(DataProduct.objects.order_by('pk').values_list('pk', 'data'))
    for _ in range(2):
        report = well(*arguments)
        assert (report['saved'], report['repaired']) == (0, 0)
    assert files() == before
    assert list(DataProduct.objects.order_by('pk').values_list('pk', 'data')) == rows


def path_of(product):
    return Path(product.data.path)


class TestAStorageThatIsAway:
    """A disk that is not mounted, a bucket that answers 404."""

    @pytest.fixture
    def unmount(self, media):
        """Puts the data away, and an empty directory in its place."""
        elsewhere = media.with_name('disk')

        def away():
            media.rename(elsewhere)
            media.mkdir()

        def back():
            media.rmdir()  # nothing was written there
            elsewhere.rename(media)

        away.back = back
        return away

    def test_nothing_is_touched(self, kept, sky, unmount):
        """A2: the rows of a class that saves by itself were deleted, and their photometry."""
        well()
        product = DataProduct.objects.first()
        ReducedDatum.objects.create(
            target=kept.target, data_product=product, data_type='photometry', value={'g': 17.5}
        )
        before, rows = files(), set(DataProduct.objects.values_list('pk', 'data'))
        unmount()

        status, report = updatedata()

        assert status == 1
        assert files() == {}
        [failure] = [each for each in report['failures'] if each['kind'] == 'storage away']
        assert 'not mounted' in failure['error']
        assert set(DataProduct.objects.values_list('pk', 'data')) == rows
        assert ReducedDatum.objects.count() == 1

        unmount.back()
        assert files() == before
        all_is_as_before()
        assert ReducedDatum.objects.get().data_product == product

    @pytest.mark.parametrize('facility', ['LCO', Lists, SavesByItself])
    def test_what_is_new_does_not_go_onto_the_wrong_disk(
        self, sky, settings, add_record, unmount, facility
    ):
        """A2: everything was fetched again onto the disk below, and statuses went on."""
        record = record_with_frames(facility, sky, settings, add_record)
        StorageMark.objects.create(mark='the disk')  # which is not mounted now
        sky.forget()

        status, report = updatedata()

        assert (status, report['saved']) == (1, 0)
        assert files() == {}
        assert not DataProduct.objects.exists()
        assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]
        record.refresh_from_db()
        assert record.status in ('COMPLETED', 'DONE')  # statuses need no disk
        assert not RecordSync.objects.get().is_settled

        accept_storage()
        well()
        assert sorted(files().values()) == contents(sky)

    def test_another_disk_is_not_the_right_one(self, sky, observed, unmount, media):
        """A2: a storage with an id of its own is still another."""
        observed('LCO', '')
        well()
        unmount()
        (media / MARK).write_text('of another TOM')
        part = media / PARTS / 'of its own run'
        part.parent.mkdir()
        part.touch()

        status, report = updatedata()

        assert (status, set(files())) == (1, {f'{PARTS}/of its own run'})
        shutil.rmtree(part.parent)
        (media / MARK).unlink()
        unmount.back()
        all_is_as_before()

    def test_a_database_that_never_saw_the_storage_wants_to_see_its_files(
        self, sky, observed, add_record, target
    ):
        """A2: the first run of a TOM whose rows are there, and none of whose files is."""
        observed('LCO', '')
        for number in range(3):
            DataProduct.objects.create(
                product_id=str(number), target=target, data=f'm-31/none/{number}.fits'
            )
        status, report = updatedata()
        assert (status, report['failures'][0]['kind']) == (1, 'storage away')
        assert files() == {}
        assert DataProduct.objects.count() == 3


class TestAFitsFileWithoutPadding:
    """astropy reads it, though its last block is short."""

    def test_that_a_class_has_saved_stays(self, sky, settings, add_record):
        """A3: file and row were deleted, before the archive was asked."""
        record_with_frames(SavesByItself, sky, settings, add_record, 1, UNPADDED)
        assert well()['saved'] == 1
        assert list(files().values()) == [UNPADDED]
        all_is_as_before()

    @pytest.mark.parametrize('facility', ['LCO', Lists])
    def test_that_an_archive_sends_is_stored(self, sky, settings, add_record, facility):
        """A3: the same without a checksum of the archive."""
        record_with_frames(facility, sky, settings, add_record, 1, UNPADDED)
        if facility == 'LCO':
            import faults

            sky.break_('/frames/', faults.edit(without_checksums))
        assert well()['saved'] == 1
        assert list(files().values()) == [UNPADDED]
        all_is_as_before()

    @pytest.mark.parametrize('content', [UNPADDED, b'not FITS at all', b'', b'<html>notes</html>'])
    def test_of_a_pipeline_stays_on_the_record(self, kept, content):
        """A3: a verdict on a file that this run has not saved is no reason to touch it."""
        product = DataProduct.objects.create(target=kept.target, observation_record=kept)
        product.data.save('stacked.fits', ContentFile(content))

        well()

        product.refresh_from_db()
        assert product.data.read() == content
        all_is_as_before()


TAR = gzip.compress(b'not looked into')


def without_checksums(page):
    for frame in page['results']:
        for version in frame['version_set']:
            del version['md5']


def add_cards(path):
    """What a hook does that notes its own numbers in the header: the file grows."""
    with fits.open(path, mode='update') as units:
        for number in range(60):
            units[-1].header[f'NOTE{number}'] = number


def unpack(path):
    path.write_bytes(b'unpacked: ' + path.read_bytes())


def change_in_place(path):
    content = path.read_bytes()
    path.write_bytes(bytes(255 - byte for byte in content))


CHANGES = [add_cards, unpack, change_in_place]


class TestAFileThatWasChanged:
    """It is its owner's."""

    @pytest.mark.parametrize('change', CHANGES)
    def test_is_left_alone(self, kept, sky, change):
        """A4: it was fetched again, over the change, at every run."""
        well()
        product = DataProduct.objects.first()
        change(path_of(product))
        sky.forget()

        all_is_as_before()

        assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]

    @pytest.mark.parametrize('change', CHANGES)
    def test_is_left_alone_by_new_versions_too(self, sky, settings, add_record, change):
        """A4: and the frames beside it get theirs."""
        record = record_with_frames('LCO', sky, settings, add_record)
        well()
        first, second = sky.frames_of[int(record.observation_id)]
        changed = path_of(DataProduct.objects.get(product_id=first.id))
        change(changed)
        content = changed.read_bytes()
        for frame in (first, second, first):
            sky.reprocess(frame)

        assert well()['saved'] == 1

        assert changed.read_bytes() == content
        assert path_of(DataProduct.objects.get(product_id=second.id)).read_bytes() == second.content
        all_is_as_before()

    def test_is_left_alone_by_new_versions_under_another_name_too(self, sky, observed):
        record = observed(frames=1)
        well()
        product = DataProduct.objects.get()
        packed, name = path_of(product), f'{product.data.name}.unpacked'
        packed.unlink()
        Path(f'{packed}.unpacked').write_bytes(b'unpacked')
        DataProduct.objects.update(data=name)
        well()
        before = files()
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])

        all_is_as_before()

        assert files() == before
        assert DataProduct.objects.get().data.name == name

    @pytest.mark.parametrize('ending', ['txt', 'json'])
    @pytest.mark.parametrize('content', [b'flux', b'{"flux": 1}', None, b''])
    def test_is_left_alone_under_another_name(self, kept, content, ending):
        """A4: funpack takes the packed file away, and the row is told of the other."""
        if (content, ending) == (b'{"flux": 1}', 'txt'):
            return  # as an archive answers that has no file
        well()
        product = DataProduct.objects.first()
        old, name = path_of(product), f'{product.data.name}.{ending}'
        product.data.name = name
        product.save()
        path_of(product).write_bytes(old.read_bytes()[:2000] if content is None else content)
        old.unlink()
        before = files()

        all_is_as_before()

        assert files() == before
        product.refresh_from_db()
        assert product.data.name == name

    def test_is_left_alone_when_its_row_is_seen_for_the_first_time(self, sky, observed):
        """In a TOM of years: a pipeline has unpacked what was fetched, and the row is told of that."""
        record = observed(frames=0)
        frame = sky.add_frame(int(record.observation_id), filename='spectrum.tar.gz', content=TAR)
        product = DataProduct.objects.create(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        product.data.save('spectrum.csv', ContentFile(b'wavelength,flux'))
        before = files()

        assert well()['found'] == 1

        assert files() == before
        all_is_as_before()

    @pytest.mark.parametrize('content', [b'\x93NUMPY' + b'\1' * 5000, b'SIMPLE  =' + b'?' * 5000])
    def test_is_kept_where_it_is_no_frame(self, sky, observed, content):
        """In a TOM of years, the row of a frame has something else. It was drawn over."""
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        product.data.save(frame.filename, ContentFile(content))
        mine = product.data.name

        assert well()['repaired'] == 1

        assert files()[mine] == content
        product.refresh_from_db()
        assert product.data.name != mine
        assert files()[product.data.name] == frame.content
        all_is_as_before()

    def test_that_is_packed_under_the_name_of_a_frame_is_left_alone(self, sky, observed):
        """astropy reads it. It was taken for a broken frame."""
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        product.data.save(frame.filename, ContentFile(gzip.compress(frame.content[:-1] + b'1')))
        before = files()

        assert well()['repaired'] == 0

        assert files() == before
        all_is_as_before()

    @pytest.mark.parametrize('link', ['folder', 'file'])
    def test_is_left_where_a_link_leads(self, kept, link, media):
        """Two names of one file are no two files: one of them was taken for a copy, and deleted."""
        well()
        product = DataProduct.objects.first()
        path, content = path_of(product), product.data.read()
        if link == 'folder':
            folder = path.parent.rename(path.parent.with_name('renamed'))
            path.parent.symlink_to(folder.name)
            new = folder / path.name
        else:
            new = path.with_name('another name.fits')
            new.symlink_to(path.name)
        name = str(new.relative_to(media))
        DataProduct.objects.filter(pk=product.pk).update(data=name)

        all_is_as_before()

        assert path.read_bytes() == new.read_bytes() == content

    def test_is_left_where_a_link_leads_nowhere(self, observed):
        """To a disk that is not mounted now, say. The other frames are looked after."""
        observed(frames=2)
        well()
        linked, other = map(path_of, DataProduct.objects.all())
        linked.unlink()
        linked.symlink_to('a disk that is not mounted')
        other.unlink()

        assert well('--recheck')['repaired'] == 1

        assert other.exists()
        assert linked.is_symlink()

    def test_is_left_alone_where_two_rows_are_told_of_it(self, sky, observed, media):
        """Somebody has stacked two frames, and both rows name the result. They were pointed back."""
        observed(frames=2)
        well()
        stack = media / 'stack.fits.fz'
        stack.write_bytes(path_of(DataProduct.objects.first()).read_bytes() + b' ' * 2880)
        DataProduct.objects.update(data=stack.name)
        before = files()

        well('--recheck')

        assert files() == before
        assert set(DataProduct.objects.values_list('data', flat=True)) == {stack.name}

    def test_is_left_alone_where_it_is_a_former_version(self, sky, observed, media):
        """Which its owner prefers. It was taken for one that nobody had renewed."""
        observed(frames=1)
        [frame] = sky.frames.values()
        former = frame.content
        sky.reprocess(frame)
        well()
        mine = media / f'mine-{frame.filename}'
        mine.write_bytes(former)
        DataProduct.objects.update(data=mine.name)

        for _ in range(2):
            well('--recheck')

        assert mine.read_bytes() == former
        assert DataProduct.objects.get().data.name == mine.name

    @pytest.mark.parametrize('change', CHANGES)
    def test_is_left_alone_when_it_is_back(self, kept, automation, change):
        """It was away for a while, and could not be fetched meanwhile."""
        if kept.facility == 'SavesByItself':
            return  # its class alone knows what is missing
        well()
        product = DataProduct.objects.first()
        change(path_of(product))
        elsewhere = path_of(product).rename(path_of(product).parents[3] / 'away')
        automation['MIN_FREE_BYTES'] = 10**18
        assert updatedata('--recheck')[0] == 1
        automation['MIN_FREE_BYTES'] = 0
        content = elsewhere.read_bytes()
        elsewhere.rename(path_of(product))

        well('--recheck')

        assert path_of(product).read_bytes() == content
        all_is_as_before()

    def test_by_a_hook(self, sky, add_record, settings):
        """A4: the hook adds its cards while the run is still at work."""
        settings.HOOKS = settings.HOOKS | {'data_product_post_save': f'{__name__}.note_in_header'}
        record_with_frames('LCO', sky, settings, add_record)
        well()
        assert all(b'NOTE59' in content for content in files().values())
        all_is_as_before()


def note_in_header(products):
    for product in products:
        add_cards(path_of(product))


def delete_product(products):
    for product in products:
        product.delete()


def delete_product_and_file(products):
    for product in products:
        product.data.delete()
        product.delete()


class TestAProductThatWasDeleted:
    """It stays deleted."""

    def test_on_its_page(self, kept, client, staff):
        """A5: it came back at the next run."""
        well()
        product = DataProduct.objects.first()
        page = reverse('tom_dataproducts:delete', kwargs={'pk': product.pk})
        assert client.post(page).status_code == 302
        assert DataProduct.objects.count() == len(files()) == 1

        for arguments in ((), ('--recheck',)):
            status, report = updatedata(*arguments)
            assert (status, report['saved'], report['repaired']) == (0, 0, 0)
            assert DataProduct.objects.count() == len(files()) == 1

    def test_on_its_page_and_then_there_is_a_new_version(self, sky, observed, client, staff):
        """A5: not even that brings it back."""
        record = observed('LCO', '')
        well()
        [frame, _] = sky.frames_of[int(record.observation_id)]
        product = DataProduct.objects.get(product_id=frame.id)
        client.post(reverse('tom_dataproducts:delete', kwargs={'pk': product.pk}))
        sky.reprocess(frame)

        all_is_as_before()

    @pytest.mark.parametrize('hook', ['data_product_post_save', 'multiple_data_products_post_save'])
    @pytest.mark.parametrize('deed', [delete_product, delete_product_and_file])
    @pytest.mark.parametrize('facility', ['LCO', Lists])
    def test_by_a_hook(self, sky, settings, add_record, hook, deed, facility):
        """A5: ValueError, orphaned files, then no free place."""
        record_with_frames(facility, sky, settings, add_record)
        settings.HOOKS = settings.HOOKS | {hook: f'{__name__}.{deed.__name__}'}

        assert well()['saved'] == 2

        assert not DataProduct.objects.exists()
        all_is_as_before()
        if deed is delete_product_and_file:
            assert files() == {}

    def test_a_file_alone_comes_back(self, kept):
        """A5: without its file a row is of no use to anybody; it is filled, not deleted."""
        well()
        product = DataProduct.objects.first()
        name, content = product.data.name, product.data.read()
        path_of(product).unlink()
        if kept.facility == 'SavesByItself':
            updatedata()  # its class thinks that it has it
            assert DataProduct.objects.filter(pk=product.pk).exists()
            return

        assert well()['repaired'] == 1

        assert files()[name] == content
        all_is_as_before()


class TestADatabaseMadeAnew:
    """With the data of the one before, which is what `rm db.sqlite3; migrate` leaves."""

    def forget_all(self):
        for model in (
            DataProduct, SharedFrame, StoredFrame, RunFailure, UpdateRun, ObservationRecord,
            StorageMark,
        ):  # fmt: skip
            model.objects.all().delete()

    def test_adopts_the_files_that_are_right(self, sky, observed, add_record):
        """A6: they got second names, and the third time there was no free place."""
        record = observed('LCO', '')
        well()
        before = files()
        for _ in range(3):
            self.forget_all()
            add_record('LCO', status='', observation_id=record.observation_id)
            sky.forget()

            assert well()['saved'] == 2

            assert files() == before
            assert DataProduct.objects.count() == StoredFrame.objects.count() == 2
            assert not [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]

    def test_replaces_older_versions(self, sky, observed, add_record):
        """A6: what lies there is a leftover, and of no use beside the new version."""
        record = observed('LCO', '')
        well()
        for frame in sky.frames.values():
            sky.reprocess(frame)
        self.forget_all()
        add_record('LCO', status='', observation_id=record.observation_id)

        assert well()['saved'] == 2

        assert sorted(files().values()) == contents(sky)

    @pytest.mark.parametrize('change', CHANGES)
    @pytest.mark.parametrize('facility', ['LCO', Lists])
    def test_keeps_the_files_that_were_changed(self, sky, settings, add_record, change, facility):
        """A6: the frame comes home beside the file that somebody has worked on."""
        record = record_with_frames(facility, sky, settings, add_record, frames=1)
        well()
        [(name, _)] = files().items()
        change(path_of(DataProduct.objects.get()))
        content = files()[name]
        for _ in range(3):
            self.forget_all()
            add_record(record.facility, status='', observation_id=record.observation_id)

            assert well()['saved'] == 1

            assert files()[name] == content
            assert len(files()) == 2
            assert DataProduct.objects.get().data.read() == contents(sky)[0]

    def test_a_record_that_is_deleted_and_added_again(self, target, observed, client, staff):
        """A6: twice, added by the page, and the frames had no free place."""
        record = observed('LCO', '')
        well()
        before = files()
        for _ in range(3):
            record.delete()
            assert not StoredFrame.objects.exists()
            fields = {
                'target_id': target.pk, 'facility': 'LCO', 'confirm': True,
                'observation_id': record.observation_id,
            }  # fmt: skip
            assert client.post(reverse('tom_observations:add-existing'), fields).status_code == 302
            record = ObservationRecord.objects.get()
            assert record.status == ''

            assert well()['saved'] == 2

            assert files() == before
        all_is_as_before()


class TestAFileThatAClassRegisters:
    """A pipeline has written it; the class only makes a row for it."""

    @pytest.fixture
    def register(self, settings, add_record):
        """Has the class make rows for files of these names."""

        def named(*names):
            install(settings, Registers, names=names)
            return add_record('Registers', status='DONE')

        return named

    def test_under_its_path_stays(self, register, media):
        """Django opens it. Its row was deleted in every run, and its photometry with it."""
        (media / 'reduced.csv').write_bytes(b'wavelength,flux')
        register(str(media / 'reduced.csv'))
        for saved in (1, 0):
            assert well()['saved'] == saved

            assert DataProduct.objects.get().data.name == str(media / 'reduced.csv')
            assert ReducedDatum.objects.count() == 1
            assert files() == {'reduced.csv': b'wavelength,flux'}

    def test_stays_where_its_row_was_deleted(self, register, media):
        """The admin leaves the file. It was deleted when the class made a row for it again."""
        (media / 'reduced.csv').write_bytes(b'wavelength,flux')
        register('reduced.csv')
        assert well()['saved'] == 1
        DataProduct.objects.all().delete()

        assert well('--recheck')['saved'] == 0

        assert not DataProduct.objects.exists()
        assert files() == {'reduced.csv': b'wavelength,flux'}

    @pytest.mark.parametrize('content', [b'', b'{"flux": 1}'])
    def test_stays_where_it_is_no_frame_yet(self, register, media, content):
        """The pipeline is at work. What it had written was deleted."""
        (media / 'reduced.txt').write_bytes(content)
        register('reduced.txt')

        assert updatedata()[0] == 1

        assert not DataProduct.objects.exists()
        assert files() == {'reduced.txt': content}
        (media / 'reduced.txt').write_bytes(b'wavelength flux')
        assert well('--recheck')['saved'] == 1

    def test_under_its_path_is_known_to_be_there(self, sky, observed, media):
        """The row of a frame was pointed at another file, in a TOM of years, or no storage was found."""
        record = observed(frames=1)
        [frame] = sky.frames.values()
        (media / 'by-hand.fits.fz').write_bytes(frame.content)
        path = str(media / 'by-hand.fits.fz')
        DataProduct.objects.create(
            product_id=str(frame.id), target=record.target, observation_record=record, data=path
        )

        assert well()['found'] == 1

        all_is_as_before()
        assert DataProduct.objects.get().data.name == path
        assert files() == {'by-hand.fits.fz': frame.content}

    def test_under_its_path_is_not_deleted_under_its_name(self, target, media):
        (media / 'reduced.csv').write_bytes(b'wavelength,flux')
        DataProduct.objects.create(target=target, data=str(media / 'reduced.csv'))
        storage.delete('reduced.csv')
        assert files() == {'reduced.csv': b'wavelength,flux'}


class TestAnUpload:
    """It is never replaced."""

    def test_with_the_name_of_a_frame_that_is_on_its_way(
        self, sky, settings, add_record, client, staff, target
    ):
        """A7: it was overwritten by the frame."""
        record = record_with_frames('LCO', sky, settings, add_record, frames=1)
        [frame] = sky.frames.values()
        upload = SimpleUploadedFile(frame.filename, b'my own reduction')
        fields = {
            'observation_record': record.pk, 'files': upload, 'data_product_type': 'fits_file',
            'referrer': '/',
        }  # fmt: skip
        client.post(reverse('tom_dataproducts:upload'), fields)
        assert list(files().values()) == [b'my own reduction']

        assert well()['saved'] == 1

        assert sorted(files().values()) == sorted([b'my own reduction', frame.content])
        assert DataProduct.objects.count() == 2
        all_is_as_before()

    @pytest.mark.parametrize('moment', ['during the call', 'after a call that was killed'])
    def test_is_not_taken_for_what_a_class_has_saved(
        self, settings, add_record, target, monkeypatch, tmp_path, moment
    ):
        """Its rights are its owner's affair, and no hook is told of it."""
        settings.TARGET_PERMISSIONS_ONLY = False
        settings.TOM_FACILITY_CLASSES = [f'{shapes.__name__}.SavesWithoutIds']
        settings.FACILITIES = settings.FACILITIES | {'SavesWithoutIds': {'steps': str(tmp_path)}}
        record = add_record('SavesWithoutIds')
        team = Group.objects.create(name='team')
        assign_perm('tom_observations.view_observationrecord', team, record)

        def upload():
            product = DataProduct(target=target, observation_record=record)
            product.data.save('mine.csv', ContentFile(b'wavelength,flux'))
            connections.close_all()

        def upload_meanwhile():
            forked.wait_until((tmp_path / 'saved 1').exists)
            upload()
            (tmp_path / 'go on').touch()

        if moment == 'during the call':
            thread = Thread(target=upload_meanwhile)
            thread.start()
        else:
            RecordSync.objects.create(record=record, saving=True, newest_product=0)
            upload()
            (tmp_path / 'go on').touch()
        report = well()
        if moment == 'during the call':
            thread.join()

        mine = DataProduct.objects.get(data__endswith='mine.csv')
        assert (report['saved'], StoredFrame.objects.count()) == (2, 2)
        assert not StoredFrame.objects.filter(product=mine).exists()
        assert not get_group_perms(team, mine)

        (tmp_path / 'raise').touch()
        status, report = updatedata()
        assert (status, report['saved'], StoredFrame.objects.count()) == (1, 1, 3)
        assert 'no more today' in report['failures'][0]['error']

    @pytest.mark.parametrize('facility', ['LCO', Lists])
    def test_that_arrives_while_the_frame_does(self, sky, settings, add_record, facility):
        """A7: whoever comes first."""
        record = record_with_frames(facility, sky, settings, add_record, frames=1)
        [frame] = sky.frames.values()

        def upload(call, reply):
            product = DataProduct(target=record.target, observation_record=record)
            product.data.save(frame.filename, ContentFile(b'my own reduction'))
            return reply

        sky.break_('/store/', upload, times=1)
        assert well()['saved'] == 1

        assert sorted(files().values()) == sorted([b'my own reduction', frame.content])
        all_is_as_before()

    def test_into_the_folder_of_a_frame(self, sky, observed, media):
        """A7: somebody knows the place, and was there first."""
        record = observed('LCO', '', frames=1)
        well()
        place = DataProduct.objects.get().data.name
        TestADatabaseMadeAnew().forget_all()
        (media / place).write_bytes(b'my own reduction')
        ObservationRecord.objects.create(
            target=record.target, facility='LCO', parameters={},
            observation_id=record.observation_id,
        )  # fmt: skip

        well()

        assert files()[place] == b'my own reduction'
        assert DataProduct.objects.get().data.read() == contents(sky)[0]
        all_is_as_before()


class TestADatabaseOfYesterday:
    """Put back beside the data of today."""

    def test_knows_versions_that_it_has_not_seen(self, sky, observed):
        """A4, A6: what it stored after that was taken for somebody's work, and stayed old."""
        record = observed('LCO', '', frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        well()
        yesterday = StoredFrame.objects.values('archive_md5', 'md5', 'size').get()
        sky.reprocess(frame)
        assert well()['saved'] == 1
        StoredFrame.objects.update(**yesterday)
        sky.reprocess(frame)

        assert well()['saved'] == 1

        assert list(files().values()) == [frame.content]
        all_is_as_before()

    def test_keeps_what_was_changed_today(self, sky, settings, add_record):
        """A4, A6: and the file is its owner's still."""
        record = record_with_frames('LCO', sky, settings, add_record, frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        well()
        yesterday = StoredFrame.objects.values('archive_md5', 'md5', 'size').get()
        sky.reprocess(frame)
        well()
        add_cards(path_of(DataProduct.objects.get()))
        before = files()
        StoredFrame.objects.update(**yesterday)
        sky.reprocess(frame)

        all_is_as_before()

        assert files() == before
