"""What follows a save: the type, the rights, the hooks, the JPEG; and which frames are wanted."""

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.management import CommandError
from django.db import connections
from guardian.shortcuts import assign_perm, get_group_perms, remove_perm
from PIL import Image
from tom_dataproducts.models import DataProduct

import faults
from tom_auto.models import RecordSync, StoredFrame

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def never(*args):
    """Stands for what a killed run did not come to."""


def kill(*args, **options):
    """Ends the run there."""
    raise KeyboardInterrupt


def settle(record):
    """As if the data window of `record` were over."""
    RecordSync.objects.filter(record=record).update(state=RecordSync.State.SETTLED)


def row_of(sky, record):
    """A row without a file, as tomtoolkit leaves one where a download fails."""
    [frame] = sky.frames_of[int(record.observation_id)]
    return DataProduct.objects.create(
        product_id=str(frame.id), target=record.target, observation_record=record
    )


class TestRights:
    """Groups may do with the data what they may do with the record, where that is asked for."""

    @pytest.fixture(autouse=True)
    def rights_of_their_own(self, settings):
        settings.TARGET_PERMISSIONS_ONLY = False

    @pytest.fixture
    def groups(self, db):
        """Three groups, by name, none with any right yet."""
        return {name: Group.objects.create(name=name) for name in ('team', 'guests', 'others')}

    def give(self, group, record, *rights):
        for right in rights:
            assign_perm(f'tom_observations.{right}_observationrecord', group, record)

    def rights(self, group, product):
        given = get_group_perms(group, product)
        return {right.removesuffix('_dataproduct') for right in given}

    def test_are_copied_from_the_record_group_by_group(self, observed, groups):
        record = observed()
        self.give(groups['team'], record, 'view', 'change', 'delete')
        self.give(groups['guests'], record, 'view')

        updatedata()

        for product in DataProduct.objects.all():
            assert self.rights(groups['team'], product) == {'view', 'change', 'delete'}
            assert self.rights(groups['guests'], product) == {'view'}
            assert self.rights(groups['others'], product) == set()

    def test_are_left_alone_where_those_to_the_target_count(self, observed, groups, settings):
        settings.TARGET_PERMISSIONS_ONLY = True
        record = observed()
        self.give(groups['team'], record, 'view', 'change', 'delete')

        updatedata()

        assert all(not self.rights(groups['team'], each) for each in DataProduct.objects.all())

    def test_that_people_take_back_stay_taken_back(self, sky, observed, groups):
        """Neither the next look nor a new version gives them again."""
        record = observed(frames=1)
        self.give(groups['team'], record, 'view', 'delete')
        updatedata()
        product = DataProduct.objects.get()
        remove_perm('tom_dataproducts.delete_dataproduct', groups['team'], product)

        updatedata()
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])
        assert updatedata()[1]['saved'] == 1

        assert self.rights(groups['team'], product) == {'view'}

    def test_to_see_a_shared_frame_are_given_to_the_groups_of_each_record(
        self, observed, add_record, groups
    ):
        """Or the second group would miss its data. It may not delete what the first relies on."""
        first = observed('LCO', frames=1)
        self.give(groups['team'], first, 'view', 'change', 'delete')
        updatedata()
        second = add_record('SOAR', observation_id=first.observation_id)
        self.give(groups['guests'], second, 'view', 'change', 'delete')

        _, report = updatedata()

        assert (report['found'], report['saved']) == (2, 0)
        product = DataProduct.objects.get()
        assert self.rights(groups['team'], product) == {'view', 'change', 'delete'}
        assert self.rights(groups['guests'], product) == {'view'}

        remove_perm('tom_dataproducts.view_dataproduct', groups['guests'], product)
        for arguments in ((), ('--recheck',)):
            updatedata(*arguments)
            assert self.rights(groups['guests'], product) == set()

    def test_of_a_row_that_others_left_come_with_its_file(self, sky, observed, groups):
        """tomtoolkit gives its rows neither rights nor a type."""
        record = observed(frames=1)
        self.give(groups['team'], record, 'view', 'delete')
        row_of(sky, record)

        assert updatedata()[1]['repaired'] == 1

        product = DataProduct.objects.get()
        assert product.data_product_type == 'fits_file'
        assert self.rights(groups['team'], product) == {'view', 'delete'}

    def test_of_a_row_that_somebody_has_narrowed_stay_so(self, sky, observed, groups):
        """When its file was repaired, all groups of the record got theirs."""
        record = observed(frames=1)
        self.give(groups['team'], record, 'view', 'delete')
        self.give(groups['guests'], record, 'view')
        row_of(sky, record)
        product = DataProduct.objects.get()
        assign_perm('tom_dataproducts.view_dataproduct', groups['team'], product)

        assert updatedata()[1]['repaired'] == 1

        assert self.rights(groups['team'], product) == {'view'}
        assert self.rights(groups['guests'], product) == set()

    def test_of_a_repaired_row_are_those_of_its_own_record(self, sky, observed, add_record, groups):
        """Even where another record, which shares the frame, comes upon it first."""
        first = observed('LCO', frames=1)
        row_of(sky, first)
        second = add_record('SOAR', observation_id=first.observation_id)
        self.give(groups['team'], first, 'view', 'change')
        self.give(groups['guests'], second, 'view', 'change')

        assert updatedata('--facility', 'SOAR')[1]['repaired'] == 1

        product = DataProduct.objects.get()
        assert self.rights(groups['team'], product) == {'view', 'change'}
        assert self.rights(groups['guests'], product) == {'view'}

    def test_to_a_jpeg_are_those_to_its_frame(self, observed, add_record, groups, settings):
        settings.AUTO_THUMBNAILS = True
        first = observed('LCO', frames=1, pixels=64)
        self.give(groups['team'], first, 'view', 'delete')
        updatedata()
        second = add_record('SOAR', observation_id=first.observation_id)
        self.give(groups['guests'], second, 'view', 'delete')

        updatedata()

        jpeg = DataProduct.objects.get(data_product_type='image_file')
        assert self.rights(groups['team'], jpeg) == {'view', 'delete'}
        assert self.rights(groups['guests'], jpeg) == {'view'}


class Hooks:
    """Stands for a user's hooks: what they were told, and which of them raise."""

    def __init__(self):
        self.one: list[list[str]] = []
        self.all: list[list[str]] = []
        self.raises_for: set[str] = set()
        self.all_raises = False

    def told(self):
        """The products that the first hook was told of, in order of their ids."""
        return sorted(product for products in self.one for product in products)

    def saved(self, products):
        for product in products:
            row = DataProduct.objects.get(pk=product.pk)
            assert StoredFrame.objects.get(product=row).size == len(row.data.read())
            if product.product_id in self.raises_for:
                raise RuntimeError('a mistake in the hook')
        self.one.append([product.product_id for product in products])

    def saved_together(self, products):
        if self.all_raises:
            raise RuntimeError('a mistake in the hook')
        self.all.append(sorted(product.product_id for product in products))


heard = Hooks()


def saved(products):
    """A data_product_post_save: called by its dotted name, as HOOKS has it."""
    heard.saved(products)


def saved_together(products):
    """A multiple_data_products_post_save."""
    heard.saved_together(products)


def renames(products):
    """A data_product_post_save that unpacks."""
    for product in products:
        path = Path(product.data.path)
        if path.exists():
            path.rename(f'{path}.unpacked')
            product.data.name += '.unpacked'
            product.save()


class TestHooks:
    """The hooks run once for each save, after it, and no failure makes them forgotten."""

    @pytest.fixture(autouse=True)
    def hooks(self, settings, monkeypatch):
        settings.HOOKS = settings.HOOKS | {
            'data_product_post_save': f'{__name__}.saved',
            'multiple_data_products_post_save': f'{__name__}.saved_together',
        }
        hooks = Hooks()
        monkeypatch.setattr(f'{__name__}.heard', hooks)
        return hooks

    def ids(self, sky):
        return sorted(str(number) for number in sky.frames)

    def test_are_told_of_each_product_and_of_all_together(self, sky, observed, hooks):
        observed(frames=3)
        updatedata()
        assert hooks.told() == self.ids(sky)
        assert all(len(products) == 1 for products in hooks.one)
        assert hooks.all == [self.ids(sky)]

    def test_are_told_once_of_each_save(self, observed, hooks):
        observed()
        for _ in range(3):
            updatedata('--recheck')
        assert (len(hooks.one), len(hooks.all)) == (2, 1)

    @pytest.mark.parametrize('workers', ['1', '4'])
    def test_are_told_once_of_a_frame_that_records_share(
        self, sky, observed, add_record, hooks, workers
    ):
        record = observed('LCO', frames=3)
        for facility in ('LCORedirect', 'SOAR'):
            add_record(facility, observation_id=record.observation_id)
        updatedata('--workers', workers)
        updatedata('--recheck')
        assert hooks.told() == self.ids(sky)

    def test_are_told_of_a_late_frame_alone(self, sky, observed, hooks):
        record = observed(frames=2)
        updatedata()
        late = sky.add_frame(int(record.observation_id), pixels=32)
        updatedata()
        assert hooks.one[2:] == [[str(late.id)]]
        assert hooks.all[1:] == [[str(late.id)]]

    def test_are_told_of_a_new_version(self, sky, observed, hooks):
        record = observed(frames=2)
        updatedata()
        frame = sky.frames_of[int(record.observation_id)][0]
        sky.reprocess(frame)
        updatedata()
        assert hooks.one[2:] == hooks.all[1:] == [[str(frame.id)]]

    def test_are_told_again_where_one_has_renamed_the_file_and_raised(
        self, sky, observed, settings, hooks
    ):
        """As one that unpacks does: the file is another by then, and the hook is owed all the same."""
        settings.HOOKS = settings.HOOKS | {'data_product_post_save': f'{__name__}.renames'}
        observed(frames=1)
        hooks.all_raises = True
        assert updatedata()[0] == 1
        hooks.all_raises = False

        assert updatedata()[0] == 0

        assert len(hooks.all) == 1
        assert not StoredFrame.objects.get().hooks_owed

    def test_are_told_again_by_whichever_record_shares_the_frame(
        self, sky, observed, add_record, hooks
    ):
        """The one for which it was stored is settled, and asked no more."""
        first = observed('LCO', frames=1)
        updatedata()
        RecordSync.objects.filter(record=first).update(state='settled')
        add_record('SOAR', observation_id=first.observation_id)
        sky.reprocess(sky.frames_of[int(first.observation_id)][0])
        hooks.all_raises = True
        assert updatedata()[0] == 1
        hooks.all_raises = False
        told = len(hooks.all)

        updatedata()

        assert len(hooks.all) == told + 1
        assert not StoredFrame.objects.get().hooks_owed

    def test_are_not_told_of_what_others_stored(self, sky, observed, hooks):
        record = observed(frames=1)
        product = row_of(sky, record)
        product.data.save('by-hand.fits.fz', ContentFile(contents(sky)[0]))
        updatedata()
        assert (hooks.one, hooks.all) == ([], [])

    def test_are_told_of_a_repair(self, sky, observed, hooks):
        row_of(sky, observed(frames=1))
        updatedata()
        assert hooks.told() == self.ids(sky)

    def test_are_not_told_of_jpegs(self, sky, observed, hooks, settings):
        settings.AUTO_THUMBNAILS = True
        observed(frames=2, pixels=64)
        updatedata()
        assert DataProduct.objects.count() == 4
        assert hooks.told() == self.ids(sky)

    def test_that_raise_are_owed_and_the_record_fails(self, sky, observed, hooks):
        """The data is kept, other products are announced, and so are other records' ones."""
        record, other = observed(frames=3), observed(frames=1)
        bad = str(sky.frames_of[int(record.observation_id)][1].id)
        hooks.raises_for = {bad}

        status, report = updatedata()

        good = sorted(set(self.ids(sky)) - {bad})
        assert (status, report['saved'], report['checked']) == (1, 4, 1)
        [failure] = report['failures']
        assert failure['record'] == record.pk
        assert failure['error'] == (
            'the hook data_product_post_save raised RuntimeError: a mistake in the hook'
        )
        assert hooks.told() == sorted(sum(hooks.all, [])) == good
        assert RecordSync.objects.get(record=record).failures == 1
        assert RecordSync.objects.get(record=other).failures == 0

        assert updatedata()[0] == 1  # and it is not forgotten
        hooks.raises_for = set()
        status, report = updatedata('--recheck')
        assert (status, report['failed']) == (0, 0)
        assert hooks.told() == self.ids(sky)
        assert hooks.all[-1] == [bad]

    def test_of_which_the_second_raises_are_both_owed(self, sky, observed, hooks):
        observed(frames=2)
        hooks.all_raises = True
        status, report = updatedata()
        assert status == 1
        assert 'multiple_data_products_post_save raised' in report['failures'][0]['error']

        hooks.all_raises = False
        assert updatedata()[0] == 0
        assert hooks.all == [self.ids(sky)]
        assert set(hooks.told()) == set(self.ids(sky))

    def test_that_a_killed_run_owes_are_called_by_the_next(self, sky, observed, hooks, monkeypatch):
        record = observed(frames=2)
        with monkeypatch.context() as killed:
            killed.setattr('tom_auto.hooks.product_hooks.Claim.pay', never)
            updatedata()
        RecordSync.objects.filter(record=record).delete()  # it did not come to that either
        assert hooks.one == []

        updatedata()

        assert hooks.told() == self.ids(sky)
        assert hooks.all == [self.ids(sky)]

    def test_are_called_although_the_list_of_frames_breaks_off(
        self, sky, observed, hooks, monkeypatch
    ):
        monkeypatch.setattr('tom_auto.observatories.frames.PAGE', 2)
        observed(frames=3)
        sky.break_('/frames/.*offset', faults.status(500))

        status, report = updatedata()

        assert (status, report['saved']) == (1, 2)
        assert len(hooks.told()) == 2

    def test_are_called_although_the_facility_has_gone(
        self, sky, observed, hooks, monkeypatch, settings
    ):
        observed(frames=1)
        with monkeypatch.context() as killed:
            killed.setattr('tom_auto.hooks.product_hooks.Claim.pay', never)
            updatedata()
        settings.TOM_FACILITY_CLASSES = []

        _, report = updatedata()

        assert (report['due'], report['unsupported']) == (1, 1)
        assert hooks.told() == self.ids(sky)

    def test_are_called_where_another_record_finds_the_new_version(
        self, sky, observed, add_record, hooks
    ):
        """The product belongs to a record that is settled: it becomes due once more."""
        first = observed('LCO', frames=1)
        updatedata()
        settle(first)
        [frame] = sky.frames_of[int(first.observation_id)]
        sky.reprocess(frame)
        add_record('SOAR', observation_id=first.observation_id)

        assert updatedata()[1]['saved'] == 1
        updatedata()

        assert hooks.told() == [str(frame.id)] * 2


def fits_image(width, height, extname='SCI'):
    """A FITS file of that many pixels."""
    pixels = np.random.default_rng(1).normal(100, 5, (height, width)).astype('float32')
    unit, file = fits.ImageHDU(pixels, name=extname), io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(file)
    return file.getvalue()


def fits_table():
    """A FITS file with a table and no image."""
    fluxes, file = fits.Column('FLUX', 'E', array=np.arange(5.0)), io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fluxes])]).writeto(file)
    return file.getvalue()


class TestPreviews:
    """With AUTO_THUMBNAILS and the scaffold's sizes, each image has one JPEG, and no more."""

    @pytest.fixture(autouse=True)
    def wanted(self, settings):
        settings.AUTO_THUMBNAILS = True
        assert settings.THUMBNAIL_MAX_SIZE == (0, 0)  # with which tomtoolkit divides by zero

    def jpegs(self):
        return DataProduct.objects.filter(product_id__endswith='_jpeg')

    def sizes(self):
        return [Image.open(jpeg.data).size for jpeg in self.jpegs()]

    @pytest.fixture
    def stored(self, sky, observed):
        """Makes a record with one frame of this content, and brings it home."""

        def add(content, filename='image.fits'):
            record = observed(frames=0)
            frame = sky.add_frame(int(record.observation_id), filename=filename, content=content)
            status, report = updatedata()
            assert (status, report['failed']) == (0, 0)
            return record, frame

        return add

    @pytest.mark.parametrize(('width', 'height'), [(64, 64), (90, 50), (50, 90), (300, 210)])
    def test_have_the_size_of_the_image(self, stored, width, height):
        record, frame = stored(fits_image(width, height))
        jpeg = self.jpegs().get()
        assert self.sizes() == [(width, height)]
        assert jpeg.product_id == f'{frame.id}_jpeg'
        assert (jpeg.observation_record, jpeg.target) == (record, record.target)
        assert jpeg.data_product_type == 'image_file'
        assert jpeg.get_file_name() == 'image.jpg'

    def test_keep_to_the_size_that_the_settings_allow(self, stored, settings):
        settings.THUMBNAIL_MAX_SIZE = (30, 20)
        stored(fits_image(90, 50))
        [(width, height)] = self.sizes()
        assert (width, height) == (30, 17)

    def test_are_made_once_a_frame(self, observed):
        observed(frames=2, pixels=64)
        updatedata()
        before = files()
        for _ in range(2):
            updatedata('--recheck')
        assert files() == before
        assert len(before) == DataProduct.objects.count() == 4

    def test_are_made_again_for_a_new_version(self, sky, stored):
        _, frame = stored(fits_image(90, 50))
        sky.reprocess(frame, content=fits_image(60, 80))
        updatedata()
        assert self.sizes() == [(60, 80)]
        assert len(files()) == DataProduct.objects.count() == 2

    def test_that_were_deleted_here_stay_so_with_a_new_version(self, sky, stored):
        _, frame = stored(fits_image(90, 50))
        jpeg = self.jpegs().get()
        Path(jpeg.data.path).unlink()
        jpeg.delete()
        sky.reprocess(frame, content=fits_image(60, 80))
        _, report = updatedata()
        assert (report['saved'], self.jpegs().count(), len(files())) == (1, 0, 1)

    def test_that_somebody_has_changed_stay_so_with_a_new_version(self, sky, stored):
        _, frame = stored(fits_image(90, 50))
        jpeg = Path(self.jpegs().get().data.path)
        jpeg.write_bytes(b'with an arrow that points at the supernova')
        sky.reprocess(frame, content=fits_image(60, 80))
        _, report = updatedata()
        assert (report['saved'], len(files())) == (1, 2)
        assert jpeg.read_bytes() == b'with an arrow that points at the supernova'

    def test_whose_row_names_another_file_by_now_keep_that(self, sky, stored):
        _, frame = stored(fits_image(90, 50))
        jpeg = self.jpegs().get()
        jpeg.data.save('cut-out.jpg', ContentFile(b'a cut-out'))
        before = files()
        sky.reprocess(frame, content=fits_image(60, 80))
        updatedata()
        assert files().keys() == before.keys()
        assert Path(self.jpegs().get().data.path).read_bytes() == b'a cut-out'

    def test_take_nobodys_place(self, sky, observed):
        """What lies there without a row is perhaps somebody's."""
        record = observed(frames=0)
        content = fits_image(90, 50)
        frame = sky.add_frame(int(record.observation_id), filename='a.fits', content=content)
        updatedata()
        jpeg = Path(self.jpegs().get().data.path)
        DataProduct.objects.all().delete()
        StoredFrame.objects.all().delete()
        jpeg.write_bytes(b'a drawing')
        updatedata('--recheck')
        assert jpeg.read_bytes() == b'a drawing'
        assert self.sizes() == [(90, 50)]

        sky.reprocess(frame, content=fits_image(60, 80))
        updatedata('--recheck')
        assert jpeg.read_bytes() == b'a drawing'
        assert self.sizes() == [(60, 80)]
        assert len(files()) == 3

    def test_are_made_again_where_the_file_has_gone(self, stored):
        stored(fits_image(90, 50))
        Path(self.jpegs().get().data.path).unlink()
        updatedata('--recheck')
        assert self.sizes() == [(90, 50)]

    def test_are_made_after_a_killed_run(self, observed, monkeypatch):
        """Killed when the frame and its JPEG have files, and neither has a row."""
        observed(frames=1, pixels=64)
        with monkeypatch.context() as killed:
            killed.setattr('tom_auto.sync.products.write', kill)
            with pytest.raises(CommandError, match='Stopped'):
                updatedata()
        assert (len(files()), DataProduct.objects.count()) == (2, 0)
        updatedata()
        assert self.sizes() == [(64, 64)]
        assert len(files()) == DataProduct.objects.count() == 2

    @pytest.mark.parametrize(
        ('content', 'filename'),
        [
            (b'wavelength,flux', 'spectrum.csv'),
            (fits_table(), 'catalogue.fits'),
            (fits_image(64, 64, 'BPM'), 'mask.fits'),
            (b'\xff\xd8\xff', 'picture.jpg'),
        ],
    )
    def test_there_are_none_of_what_is_no_image(self, stored, content, filename):
        stored(content, filename)
        assert self.jpegs().count() == 0
        assert len(files()) == 1

    def test_that_cannot_be_made_are_no_failure_and_are_not_tried_for_ever(
        self, stored, monkeypatch
    ):
        """Of an image of a few pixels, tomtoolkit's library cannot tell the contrast."""
        stored(fits_image(5, 5))
        assert self.jpegs().count() == 0

        tried = []
        monkeypatch.setattr(
            'tom_auto.sync.previews.fits_to_jpg', lambda *args, **sizes: tried.append(1)
        )
        assert updatedata('--recheck')[0] == 0
        assert tried == []

    def test_leave_nothing_where_a_web_page_was_faster(self, sky, observed):
        record = observed(frames=1, pixels=64)
        [frame] = sky.frames.values()
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        product.save()

        def save_on_the_web(call, reply):
            product.data.save('by-hand.fits.fz', ContentFile(frame.content))
            connections.close_all()  # this is a thread of the observatory
            return reply

        sky.break_('/store/', save_on_the_web, times=1)
        assert updatedata()[0] == 0
        stored = {product.data.name for product in DataProduct.objects.all()}
        assert set(files()) == stored

    def test_of_two_frames_of_one_name_are_two(self, observed, sky):
        for width in (60, 70):
            record = observed(frames=0)
            content = fits_image(width, 50)
            sky.add_frame(int(record.observation_id), filename='image.fits', content=content)
        updatedata('--workers', '1')
        assert sorted(self.sizes()) == [(60, 50), (70, 50)]
        assert len(files()) == 4

    def test_are_not_made_where_nobody_asks(self, stored, settings):
        settings.AUTO_THUMBNAILS = False
        stored(fits_image(64, 64))
        assert len(files()) == DataProduct.objects.count() == 1

    def test_the_small_picture_of_an_old_version_goes(self, sky, stored):
        """tomtoolkit's pages draw it on demand, and never again by themselves."""
        _, frame = stored(fits_image(90, 50))
        product = DataProduct.objects.get(product_id=str(frame.id))
        assert product.get_preview()
        assert len(files()) == 3

        sky.reprocess(frame, content=fits_image(60, 80))
        updatedata()

        product.refresh_from_db()
        assert not product.thumbnail
        assert len(files()) == 2

    def test_the_small_picture_of_an_old_version_stays_where_another_row_has_it(self, sky, stored):
        """As a row has it that somebody has copied."""
        _, frame = stored(fits_image(90, 50))
        product = DataProduct.objects.get(product_id=str(frame.id))
        assert product.get_preview()
        copy = DataProduct.objects.create(target=product.target, thumbnail=product.thumbnail.name)

        sky.reprocess(frame, content=fits_image(60, 80))
        updatedata()

        product.refresh_from_db()
        assert not product.thumbnail
        assert copy.thumbnail.storage.exists(copy.thumbnail.name)


class TestWantedFrames:
    """TOM_AUTO['WANTED_FRAMES'] chooses by name, facility by facility."""

    @pytest.fixture
    def exposure(self, sky, add_record):
        """Makes a record with one exposure: a raw frame and a reduced one."""

        def add(facility):
            record = add_record(facility)
            sky.add_request(int(record.observation_id))
            sky.complete(int(record.observation_id), reduction_levels=(0, 91), pixels=32)
            return record

        return add

    def stored(self, record):
        products = DataProduct.objects.filter(observation_record=record)
        return sorted(each.get_file_name().partition('-e')[2][:2] for each in products)

    def test_of_one_facility_do_not_bind_another(self, exposure, automation):
        automation['WANTED_FRAMES'] = {
            'LCO': ['*-e91.fits.fz'], 'LCORedirect': ['*-e00.*', '*.cat'], 'BLANCO': [],
        }  # fmt: skip
        records = [exposure(name) for name in ('LCO', 'LCORedirect', 'BLANCO', 'SOAR')]

        _, report = updatedata()

        assert [self.stored(record) for record in records] == [['91'], ['00'], [], ['00', '91']]
        assert (report['found'], report['saved']) == (4, 4)

    @pytest.mark.parametrize('facility', ['LCO', 'LCORedirect'])
    def test_that_are_more_later_come_later(self, exposure, automation, facility):
        automation['WANTED_FRAMES'] = {facility: ['*-e91.*']}
        record = exposure(facility)
        updatedata()
        automation['WANTED_FRAMES'] = {facility: ['*-e91.*', '*-e00.*']}

        _, report = updatedata()

        assert (report['found'], report['saved']) == (2, 1)
        assert self.stored(record) == ['00', '91']

    def test_that_are_fewer_later_take_nothing_away(self, sky, exposure, automation):
        record = exposure('LCO')
        updatedata()
        before = files()
        automation['WANTED_FRAMES'] = {'LCO': ['*-e91.*']}
        raw = min(sky.frames_of[int(record.observation_id)], key=lambda each: each.reduction_level)
        sky.reprocess(raw)

        _, report = updatedata()

        assert (report['found'], report['saved']) == (1, 0)
        assert files() == before
        assert self.stored(record) == ['00', '91']
