"""What an observatory has comes home, whatever stands in the way for a while."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.urls import reverse
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import faults
import forked
from simulated import Observatory
from tom_auto.models import RecordSync, RunFailure, SharedFrame, StoredFrame, UpdateRun

from .own_classes import (
    Lists,
    ListsAsWell,
    SavesByItself,
    UpdatesSlowly,
    install,
    product_of,
)
from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

YEAR = timedelta(days=365)


def well(*arguments):
    """The report of a run in which nothing failed."""
    status, report = updatedata(*arguments)
    assert (status, report['failures']) == (0, []), report
    return report


class TestARunThatIsStopped:
    """It has left every record as due as it was."""

    @pytest.fixture
    def stopped(self, tmp_path):
        """Starts a run, and stops it by a signal when something has happened."""

        def stop(happened, number, *arguments):
            run = forked.updatedata(tmp_path / 'printed', '--json', *arguments)
            forked.wait_until(happened)
            os.kill(run.pid, number)
            forked.ended(run)

        yield stop
        forked.kill_all()

    @pytest.fixture
    def by_the_page(self, client, staff, target):
        """Adds a record as tomtoolkit's page does: without a status."""

        def add(facility, observation_id):
            fields = {
                'target_id': target.pk, 'facility': facility, 'confirm': True,
                'observation_id': observation_id,
            }  # fmt: skip
            assert client.post(reverse('tom_observations:add-existing'), fields).status_code == 302
            record = ObservationRecord.objects.get(observation_id=observation_id)
            assert record.status == ''
            return record

        return add

    def all_are_still_due(self, count):
        """The state that stood for "settled" was the one in which a record began."""
        UpdateRun.objects.update(heartbeat=timezone.now() - timedelta(days=1))
        assert not RecordSync.objects.filter(state='settled').exists()
        report = well()
        assert report['due'] == report['checked'] == count
        return report

    @pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
    @pytest.mark.parametrize(
        'at', [r'/api/requests/\d+/$', '/api/requestgroups', '/frames', '/store']
    )
    def test_while_it_asks(self, sky, by_the_page, stopped, number, at):
        """A1: a record with the status '' that a stopped run had begun was never asked again."""
        count = 6 if 'groups' in at else 3
        for observation_id in range(1001, 1001 + count):
            by_the_page('LCO', str(observation_id))
            sky.add_request(observation_id)
            sky.complete(observation_id, frames=1, pixels=32)
        broken = sky.break_(at, faults.hang(20))
        stopped(lambda: broken.happened, number)
        sky.mend()

        report = self.all_are_still_due(count)

        assert report['saved'] <= count
        assert sorted(files().values()) == contents(sky)
        assert not ObservationRecord.objects.exclude(status='COMPLETED').exists()

    @pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
    def test_while_a_class_writes_the_status_itself(
        self, settings, add_record, stopped, tmp_path, number
    ):
        """A1: the class had its own `update_observation_status`, and SIGTERM was enough."""
        busy, wait = tmp_path / 'busy', tmp_path / 'wait'
        install(settings, UpdatesSlowly, busy=str(busy), wait=str(wait))
        records = [add_record('UpdatesSlowly', status='') for _ in range(3)]
        wait.touch()
        stopped(busy.exists, number)
        wait.unlink()

        self.all_are_still_due(3)

        for record in records:
            record.refresh_from_db()
            assert record.status == 'DONE'

    def test_while_a_hook_is_at_work(self, sky, observed, settings, stopped, tmp_path):
        """A1: and the hook is called again."""
        settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.slow_hook'}
        settings.HEARD, settings.WAIT = tmp_path / 'heard', tmp_path / 'wait'
        for _ in range(3):
            observed('LCO', '')
        settings.HEARD.write_text('')
        settings.WAIT.touch()
        stopped(settings.HEARD.read_text, signal.SIGKILL)
        settings.WAIT.unlink()

        self.all_are_still_due(3)

        heard = settings.HEARD.read_text().split()
        assert set(heard) == set(ObservationRecord.objects.values_list('observation_id', flat=True))
        assert len(heard) == 4  # one of them twice


def slow_hook(record, previous):
    if previous is None:
        return
    with django_settings.HEARD.open('a') as file:
        file.write(f'{record.observation_id} ')
    forked.wait_until(lambda: not django_settings.WAIT.exists())


@pytest.mark.parametrize('megabytes', [1, 65])
def test_a_class_may_read_a_file_of_any_size_at_once(sky, settings, add_record, megabytes):
    """A9: 65 MiB were "does not answer", at every run, and a row without a file stayed."""
    products = install(settings, SavesByItself)
    record = add_record('SavesByItself', status='')
    sky.add_request(int(record.observation_id))
    [frame] = sky.complete(
        int(record.observation_id), filename='cube.dat', size=megabytes * 1024 * 1024
    )
    products[record.observation_id] = [product_of(sky, frame)]

    assert well()['saved'] == 1

    [product] = DataProduct.objects.all()
    assert product.data.size == megabytes * 1024 * 1024
    assert product.data.read() == frame.content


@pytest.mark.parametrize('trouble', [faults.reset(), faults.status(500), faults.empty()])
def test_a_class_leaves_no_row_without_a_file(sky, settings, add_record, trouble):
    """A9: cleaned up in any case, and fetched when the trouble is over."""
    products = install(settings, SavesByItself)
    record = add_record('SavesByItself', status='')
    sky.add_request(int(record.observation_id))
    frames = sky.complete(int(record.observation_id), frames=2, pixels=32, extension='.fits')
    products[record.observation_id] = [product_of(sky, frame) for frame in frames]
    sky.break_('/store/', trouble)

    status, _ = updatedata()

    assert (status, DataProduct.objects.count(), files()) == (1, 0, {})

    sky.mend()
    assert well()['saved'] == 2
    assert sorted(files().values()) == contents(sky)


class TestIds:
    """A frame is identified by its archive and its id: rule 8."""

    def test_of_two_archives_may_be_the_same(self, sky, observed, settings):
        """A11: the data of the second facility was "present", and never came."""
        first = observed('LCO', '', frames=0)
        with Observatory() as other:
            settings.FACILITIES = settings.FACILITIES | {'SOAR': other.settings()}
            second = observed('SOAR', '', frames=0)
            other.add_request(int(second.observation_id))
            other.complete(int(second.observation_id), frames=0)
            one = sky.add_frame(int(first.observation_id), frame_id=1000, pixels=32)
            two = other.add_frame(int(second.observation_id), frame_id=1000, pixels=32)
            for _ in range(2):
                well()
                stored = {
                    product.observation_record_id: product.data.read()
                    for product in DataProduct.objects.all()
                }
                assert stored == {first.pk: one.content, second.pk: two.content}
            other.reprocess(two)
            assert well()['saved'] == 1
            assert sorted(files().values()) == sorted([one.content, two.content])

    def test_of_two_classes_may_be_the_same(self, sky, settings, add_record):
        """A11: both begin at 1."""
        for facility in (Lists, ListsAsWell):
            record = add_record(facility.name, status='')
            sky.add_request(int(record.observation_id))
            [frame] = sky.complete(int(record.observation_id), pixels=32)
            install(settings, facility)[record.observation_id] = [product_of(sky, frame, id=1)]

        assert well()['saved'] == 2
        assert well()['saved'] == 0

        assert sorted(files().values()) == contents(sky)
        assert StoredFrame.objects.filter(frame_id='1').count() == 2

    @pytest.mark.parametrize('together', [True, False])
    def test_that_begin_anew_for_each_record_are_a_named_failure(
        self, sky, settings, add_record, together
    ):
        """A11: it was "present", exit 0."""
        products = install(settings, Lists)
        for number in range(2):
            record = add_record('Lists', status='')
            sky.add_request(int(record.observation_id))
            [frame] = sky.complete(int(record.observation_id), pixels=32)
            products[record.observation_id] = [product_of(sky, frame, id=1)]
            if not together and not number:
                well()

        for _ in range(2):
            status, report = updatedata()
            [failure] = report['failures']
            assert (status, failure['kind']) == (1, 'clash')
            assert 'frame 1 ' in failure['error']
        assert DataProduct.objects.count() == len(files()) == 1
        assert not SharedFrame.objects.exists(), 'it is not the frame of both'


@pytest.mark.parametrize('settled', [True, False])
def test_a_shared_frame_comes_back_to_the_record_that_still_has_it(
    sky, observed, add_record, settled
):
    """A12: the target that held the rows was deleted; the other record has no data, and is not due."""
    first = observed('LCO', '')
    other = Target.objects.create(name='Beside it', type='SIDEREAL', ra=10, dec=41)
    second = add_record('SOAR', status='', observation_id=first.observation_id, target=other)
    well()
    assert DataProduct.objects.count() == 2
    owner = DataProduct.objects.first().observation_record
    left = second if owner == first else first
    if settled:
        RecordSync.objects.update(state='settled')
    owner.target.delete()
    assert not DataProduct.objects.exists()

    report = well()

    assert (report['due'], report['saved']) == (1, 2)
    assert {product.observation_record for product in DataProduct.objects.all()} == {left}
    assert sorted(product.data.read() for product in DataProduct.objects.all()) == contents(sky)


@pytest.mark.parametrize('settled', [False, True])
def test_a_shared_frame_that_was_deleted_does_not_come_back(sky, observed, add_record, settled):
    """The record for which it was stored is a duplicate, and goes as well."""
    first = observed('LCO', '')
    second = add_record('SOAR', status='', observation_id=first.observation_id)
    well()
    gone, kept = DataProduct.objects.all()
    owner = gone.observation_record
    left = second if owner == first else first
    gone.delete()
    if settled:
        RecordSync.objects.update(state='settled')
    owner.delete()

    well('--recheck')

    [product] = DataProduct.objects.all()
    assert product.observation_record == left
    assert product.product_id == kept.product_id


def test_one_that_somebody_has_saved_again_does(sky, observed, add_record):
    """It was deleted, and is wanted after all: then it is the other record's as well."""
    first = observed('LCO', '', frames=1)
    second = add_record('SOAR', status='', observation_id=first.observation_id)
    well()
    gone = DataProduct.objects.get()
    owner, number = gone.observation_record, gone.product_id
    left = second if owner == first else first
    gone.delete()
    RecordSync.objects.filter(record=left).update(state='settled')
    again = DataProduct(product_id=number, target=owner.target, observation_record=owner)
    again.data.save('again.fits.fz', ContentFile(contents(sky)[0]))
    well('--facility', owner.facility)
    owner.delete()

    well('--recheck')

    assert DataProduct.objects.get().observation_record == left


class TestAnObservationWithoutData:
    """Somebody is told, once, when its window ends."""

    @pytest.fixture
    def old(self, sky, add_record):
        """Makes a record whose request was observed ten days ago."""

        def add(frames):
            record = add_record('LCO', status='')
            sky.add_request(int(record.observation_id))
            at = datetime.now(UTC) - timedelta(days=10)
            sky.observe(int(record.observation_id), at)
            for _ in range(frames):
                sky.add_frame(int(record.observation_id), pixels=32, observed_at=at)
            return record

        return add

    def test_is_told_once(self, old, sky):
        """A13: "Success!", settled, nothing told."""
        record = old(frames=0)

        status, report = updatedata()

        [failure] = report['failures']
        assert (status, failure['record'], failure['kind']) == (1, record.pk, 'no frames')
        assert RunFailure.objects.get().error == failure['error']
        assert RecordSync.objects.get().is_settled
        assert well()['due'] == 0

        sky.add_frame(int(record.observation_id), pixels=32)
        assert well('--recheck')['saved'] == 1

    def test_is_told_where_patterns_leave_all_out(self, old, settings):
        """A13: a pattern that fits none of the names."""
        settings.TOM_AUTO['WANTED_FRAMES'] = {'LCO': ['*-e92.fits.fz']}
        old(frames=3)

        status, report = updatedata()

        assert (status, report['filtered'], report['found']) == (1, 3, 0)
        assert report['failures'][0]['kind'] == 'no frames'
        assert files() == {}

    def test_is_not_told_where_there_is_data(self, old):
        """A13: a record whose frames are home is well."""
        old(frames=1)
        assert well()['saved'] == 1
        assert well()['due'] == 0

    def test_what_patterns_leave_out_is_counted(self, observed, settings, sky):
        """A13: the page and the summary say how many."""
        settings.TOM_AUTO['WANTED_FRAMES'] = {'LCO': ['*-e91.fits.fz']}
        record = observed('LCO', '', frames=1)
        sky.add_frame(int(record.observation_id), reduction_level=0, pixels=32)

        report = well()

        assert (report['found'], report['saved'], report['filtered']) == (1, 1, 1)
        assert UpdateRun.objects.get().filtered == 1


class TestAClock:
    """No decision comes from one that has jumped."""

    @pytest.fixture
    def clock(self, monkeypatch):
        """Sets the TOM's clock wrong by so much; the observatory's is right."""
        now = timezone.now

        def wrong_by(difference):
            monkeypatch.setattr(timezone, 'now', lambda: now() + difference)

        return wrong_by

    @pytest.mark.parametrize('wrong', [-YEAR, -YEAR / 40, YEAR])
    def test_that_was_wrong_settles_nothing(self, sky, observed, clock, wrong):
        """A19: a year slow at the first check, then right: settled at once."""
        record = observed('LCO', '', frames=0)
        clock(wrong)
        updatedata()
        clock(timedelta(0))
        for _ in range(2):
            assert well()['due'] == 1
            assert not RecordSync.objects.get().is_settled
        sky.add_frame(int(record.observation_id), pixels=32)

        assert well()['saved'] == 1

    @pytest.mark.parametrize('wrong', [-YEAR, -YEAR / 40, YEAR])
    def test_that_was_wrong_where_nobody_says_when_it_ended(
        self, sky, settings, add_record, clock, wrong
    ):
        """A19: the same for a class that gives no times."""
        products = install(settings, Lists, says={'state': 'DONE'})
        record = add_record('Lists', status='')
        sky.add_request(int(record.observation_id))
        clock(wrong)
        updatedata()
        clock(timedelta(0))
        for _ in range(2):
            assert well()['due'] == 1
            assert not RecordSync.objects.get().is_settled
        [frame] = sky.complete(int(record.observation_id), pixels=32)
        products[record.observation_id] = [product_of(sky, frame)]

        assert well()['saved'] == 1

    def test_that_is_wrong_while_frames_come(self, sky, observed, clock):
        """A19: a run with a wrong clock in the middle of the window."""
        record = observed('LCO', '', frames=1)
        well()
        clock(YEAR)
        updatedata()
        clock(timedelta(0))
        sky.add_frame(int(record.observation_id), pixels=32)

        assert well()['saved'] == 1
