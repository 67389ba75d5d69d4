"""What others write while a run is at work stays: statuses (rule 2), and what hooks see (rule 5)."""

from datetime import timedelta
from threading import Thread

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.models import F
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from tom_auto.models import RecordSync

from .own_classes import Lists, UpdatesSlowly, install
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 6  # records: for so many the portal's lists are read


def in_a_thread(act):
    """Do `act` as another process would, with a connection of its own."""

    def acted():
        act()
        connection.close()

    thread = Thread(target=acted)
    thread.start()
    thread.join(30)


@pytest.fixture
def heard(settings, tmp_path):
    """The file in which the hook notes what it was called for."""
    settings.HEARD = tmp_path / 'heard'
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.hear'}
    return settings.HEARD


def hear(record, previous):
    if previous is not None:
        with django_settings.HEARD.open('a') as file:
            file.write(f'{record.observation_id} {previous or "-"} {record.status}\n')


class TestAStatusThatOthersWriteMeanwhile:
    """A page or tomtoolkit's `updatestatus`, after the run has read the portal's lists."""

    @pytest.mark.parametrize('count', [1, MANY])
    @pytest.mark.parametrize('before', ['', 'PENDING'])
    def test_is_not_written_back(self, sky, add_record, heard, before, count):
        """A16: the old one was written back, and the hook called three times."""
        records = [add_record('LCO', status=before) for _ in range(count)]
        for record in records:
            sky.add_request(int(record.observation_id))

        def complete(call, reply):
            """All is observed, and somebody looks at a page, while the answer is on its way."""
            for record in records:
                sky.complete(int(record.observation_id))
            in_a_thread(self.see_all_completed)
            return reply

        # Of many the last list is answered with the old states; of one the single call is.
        sky.break_(r'/api/(observations|requests/\d+/$)', complete, times=1)
        updatedata()

        for record in records:
            record.refresh_from_db()
            assert record.status == 'COMPLETED'
        status, report = updatedata()
        assert (status, report['failures']) == (0, [])
        was = before or '-'
        assert sorted(heard.read_text().splitlines()) == sorted(
            f'{record.observation_id} {was} COMPLETED' for record in records
        )
        assert set(RecordSync.objects.values_list('status', flat=True)) == {'COMPLETED'}

    @pytest.mark.parametrize('count', [1, MANY])
    def test_nor_are_its_times(self, sky, add_record, count):
        """A16: the status is as before, and the schedule is not."""
        records = [add_record('LCO') for _ in range(count)]
        for record in records:
            sky.add_request(int(record.observation_id))
            sky.schedule(int(record.observation_id))
        updatedata()
        newer = timezone.now() + timedelta(days=3)
        for record in records:  # so that the run has something to write
            sky.unschedule(int(record.observation_id))
            sky.schedule(int(record.observation_id), timezone.now() + timedelta(hours=9))

        def reschedule(call, reply):
            for record in records:
                sky.unschedule(int(record.observation_id))
                sky.schedule(int(record.observation_id), newer)
            in_a_thread(lambda: ObservationRecord.objects.update(scheduled_start=newer))
            return reply

        sky.break_(r'/api/(observations|requests/\d+/observations)', reschedule, times=1)
        updatedata()

        starts = ObservationRecord.objects.values_list('scheduled_start', flat=True)
        assert set(starts) == {newer}

    def see_all_completed(self):
        for record in ObservationRecord.objects.all():
            record.status = 'COMPLETED'
            record.save()

    def test_stays_where_a_class_answers_late(self, sky, settings, add_record):
        """A16: the same for a class that is not of LCO's kind."""
        install(settings, Lists, says={'state': 'QUEUED'})
        record = add_record('Lists', status='')
        other = add_record('LCO', status='')
        sky.add_request(int(other.observation_id))

        def done(call, reply):
            in_a_thread(lambda: ObservationRecord.objects.update(status='CANCELED'))
            return reply

        sky.break_('/api/', done, times=1)
        updatedata()

        other.refresh_from_db()
        assert other.status == 'CANCELED'  # until the portal is asked again, after that

        updatedata()
        for one, status in ((other, 'PENDING'), (record, 'QUEUED')):
            one.refresh_from_db()
            assert one.status == status

    def test_what_else_is_edited_meanwhile_stays(self, sky, observed):
        """A16: only status and times are written."""
        record = observed('LCO', '')

        def edit(call, reply):
            in_a_thread(lambda: ObservationRecord.objects.update(parameters={'note': 'mine'}))
            return reply

        sky.break_('/api/requests/', edit, times=1)
        updatedata()

        record.refresh_from_db()
        assert (record.status, record.parameters) == ('COMPLETED', {'note': 'mine'})

    def test_a_hook_is_called_once_for_a_class_that_writes_itself(
        self, settings, add_record, heard, tmp_path
    ):
        """A16: its save in its process calls none, and the run does."""
        wait = str(tmp_path / 'none')
        install(settings, UpdatesSlowly, busy=wait, wait=wait)
        record = add_record('UpdatesSlowly', status='')
        updatedata()
        updatedata()
        assert heard.read_text() == f'{record.observation_id} - DONE\n'


class TestAHookThatCounts:
    """It does `target.epoch += 1`, as people write it."""

    @pytest.fixture(autouse=True)
    def counting(self, settings, target):
        settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.count'}
        Target.objects.update(epoch=0)

    @pytest.mark.parametrize('facility', ['LCO', 'Lists'])
    def test_counts_every_record(self, sky, settings, add_record, target, facility):
        """A17: 2 instead of 40."""
        install(settings, Lists)
        for _ in range(40):
            record = add_record(facility, status='')
            sky.add_request(int(record.observation_id))
            sky.complete(int(record.observation_id), frames=0)
        assert ObservationRecord.objects.filter(status='').count() == 40
        Target.objects.update(epoch=0)

        status, report = updatedata('--workers', '8')

        assert (status, report['changed']) == (0, 40)
        target.refresh_from_db()
        assert target.epoch == 40

    def test_does_not_undo_what_others_edit_meanwhile(self, sky, observed, target):
        """A17: a rename and a change of permission were undone."""
        for _ in range(10):
            observed('LCO', '', frames=1)
        Target.objects.update(epoch=0)

        def rename(call, reply):
            in_a_thread(
                lambda: Target.objects.update(
                    name='Andromeda', permissions='PRIVATE', epoch=F('epoch') + 1000
                )
            )
            return reply

        sky.break_('/frames', rename, times=1)
        updatedata('--workers', '8')

        target.refresh_from_db()
        assert (target.name, target.permissions) == ('Andromeda', 'PRIVATE')
        assert target.epoch == 1010


def count(record, previous):
    if previous is not None:
        target = record.target
        target.epoch += 1
        target.save()
