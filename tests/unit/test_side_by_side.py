"""Many records at a time: who asks when, what is said once, what is written together."""

from collections import Counter
from threading import Lock
from time import sleep

import pytest
from django.utils import timezone
from tom_observations.facilities.soar import SOARFacility
from tom_observations.models import ObservationRecord

from tom_auto.conf import Automation
from tom_auto.models import RecordSync, RunFailure, UpdateRun
from tom_auto.sync import prefetch, runs, workers
from tom_auto.sync.frames import Frame, in_batches
from tom_auto.sync.outcomes import Outcome

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize('most', [1, 3])
def test_more_threads_than_workers_ask_no_more_at_a_time(sky, observed, monkeypatch, most):
    """They write to the disk and the database meanwhile."""
    for _ in range(12):
        observed()
    sky.latency = 0.02
    names, start = [], workers.Thread

    def noted(*args, **options):
        names.append(options['name'])
        return start(*args, **options)

    monkeypatch.setattr(workers, 'Thread', noted)
    status, report = updatedata('--workers', str(most))

    assert (status, report['saved']) == (0, 24)
    assert sorted(files().values()) == contents(sky)
    assert sky.most_at_once <= most
    assert sky.connections <= most + 2
    assert len(set(names)) == 2 * most - 1


def test_a_class_with_a_client_of_its_own_is_asked_by_as_many_at_a_time(observed, monkeypatch):
    """SOAP and vendors' clients pass by `requests`, and the limit holds all the same."""
    for _ in range(12):
        observed('SOAR')
    busy, lock = Counter(), Lock()

    def ask(self, observation_id):
        with lock:
            busy['now'] += 1
            busy['most'] = max(busy['most'], busy['now'])
        sleep(0.05)
        with lock:
            busy['now'] -= 1
        return {'state': 'PENDING', 'scheduled_start': None, 'scheduled_end': None}

    monkeypatch.setattr(SOARFacility, 'get_observation_status', ask)
    status, report = updatedata('--workers', '3')

    assert (status, report['checked']) == (0, 12)
    assert busy['most'] == 3


def test_refused_credentials_are_told_once_whoever_meets_them(sky, observed, settings):
    for _ in range(20):
        observed('SOAR')
    settings.FACILITIES['SOAR'] = sky.settings(token='expired')

    status, report = updatedata('--workers', '8')

    assert (status, report['failed'], report['checked']) == (1, 1, 0)
    [failure] = report['failures']
    assert (failure['facility'], failure['record']) == ('SOAR', None)
    # The lists, and for each of the eight the request with its repetitions: not twenty records.
    assert len([seen for seen in sky.requests_seen if seen.path.startswith('/api/requests/')]) <= 16


class TestAhead:
    """Records are read some at a time, and are as fresh as if each were read by itself."""

    def test_one_question_for_many(self, add_record, django_assert_num_queries):
        keys = [add_record().pk for _ in range(5)]
        ours = prefetch.Ahead(keys)
        with django_assert_num_queries(1):
            assert [ours.take(pk).pk for pk in keys] == keys

    def test_no_more_than_some_are_held(self, add_record, monkeypatch, django_assert_num_queries):
        monkeypatch.setattr(prefetch, 'MANY', 2)
        keys = [add_record().pk for _ in range(5)]
        ours = prefetch.Ahead(keys)
        with django_assert_num_queries(3):  # two, two and the last
            assert [ours.take(pk).pk for pk in keys] == keys

    def test_what_has_waited_is_read_once_more(self, add_record, monkeypatch):
        monkeypatch.setattr(prefetch, 'FRESH', -1)
        keys = [add_record().pk for _ in range(2)]
        ours = prefetch.Ahead(keys)
        assert ours.take(keys[0]).status == 'PENDING'
        ObservationRecord.objects.update(status='CANCELED')
        assert ours.take(keys[1]).status == 'CANCELED'

    def test_what_is_deleted_meanwhile_is_gone(self, add_record):
        first, second, third = records = [add_record() for _ in range(3)]
        ours = prefetch.Ahead([record.pk for record in records])
        ObservationRecord.objects.filter(pk=second.pk).delete()
        assert ours.take(first.pk) == first
        with pytest.raises(ObservationRecord.DoesNotExist):
            ours.take(second.pk)
        assert ours.take(third.pk) == third


class TestOutcomes:
    """What came of some records is written in one transaction."""

    @pytest.fixture
    def run(self):
        now = timezone.now()
        return UpdateRun.objects.create(job='updatedata', pid=1, started=now, heartbeat=now)

    def write(self, run, *outcomes):
        runs.record_outcomes(run, list(outcomes), Automation())

    def test_new_and_known_well_and_not_of_records_and_of_facilities(self, run, add_record):
        new, known, failed = (add_record() for _ in range(3))
        RecordSync.objects.create(record=known, status='PENDING', failures=3, hook_owed='PENDING')
        self.write(
            run,
            Outcome('LCO', new.pk, status='PENDING', checked=True),
            Outcome('LCO', known.pk, status='COMPLETED', terminal=True, checked=True),
            Outcome('LCO', failed.pk, 'request 3', status='PENDING', error='no answer'),
            Outcome('SOAR', error='refused'),
        )

        syncs = RecordSync.objects.in_bulk()
        assert [syncs[record.pk].failures for record in (new, known, failed)] == [0, 0, 1]
        assert syncs[known.pk].terminal_since == run.started
        assert syncs[known.pk].hook_owed == 'PENDING'  # what hooks are owed is not for this to say
        failures = RunFailure.objects.order_by('pk').values_list('record', 'facility', 'error')
        assert list(failures) == [(failed.pk, 'LCO', 'no answer'), (None, 'SOAR', 'refused')]

    def test_a_record_that_was_deleted_meanwhile_takes_no_other_with_it(self, run, add_record):
        gone, kept = add_record(), add_record()
        ObservationRecord.objects.filter(pk=gone.pk).delete()
        self.write(
            run,
            Outcome('LCO', gone.pk, status='PENDING', error='it is gone'),
            Outcome('LCO', kept.pk, status='PENDING', checked=True),
        )

        assert list(RecordSync.objects.values_list('pk', flat=True)) == [kept.pk]
        assert not RunFailure.objects.exists()


def test_what_was_listed_before_a_list_broke_off_is_not_lost():
    def listed():
        for number in range(150):
            yield Frame(str(number), f'{number}.fits', 'http://archive/')
        raise ZeroDivisionError

    some = []
    with pytest.raises(ZeroDivisionError):
        some.extend(in_batches(listed()))
    assert [len(batch) for batch in some] == [100, 50]
