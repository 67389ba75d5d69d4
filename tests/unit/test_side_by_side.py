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
from tom_auto.observatories import portal_lists
from tom_auto.running import threads
from tom_auto.running.outcomes import Ending, Outcome
from tom_auto.sync.due import enrol
from tom_auto.sync.record_outcomes import record_outcomes

from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize('most', [1, 3])
def test_more_threads_than_workers_ask_no_more_at_a_time(sky, observed, monkeypatch, most):
    """They write to the disk and the database meanwhile."""
    for _ in range(12):
        observed()
    sky.latency = 0.02
    names, start = [], threads.Thread

    def noted(*args, **options):
        names.append(options['name'])
        return start(*args, **options)

    monkeypatch.setattr(threads, 'Thread', noted)
    status, report = updatedata('--workers', str(most))

    assert (status, report['saved']) == (0, 24)
    assert sorted(files().values()) == contents(sky)
    assert sky.most_at_once <= most
    assert sky.connections <= most + 2
    assert len(set(names)) == 2 * most


def test_a_class_with_a_client_of_its_own_is_asked_by_as_many_at_a_time(observed, monkeypatch):
    """SOAP and vendors' clients pass by `requests`, and the limit holds all the same."""
    monkeypatch.setattr(portal_lists, 'FEWEST', 100)  # each is asked singly
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


class TestOutcomes:
    """What came of some records is written in one transaction."""

    @pytest.fixture
    def run(self):
        now = timezone.now()
        return UpdateRun.objects.create(job='updatedata', pid=1, started=now, heartbeat=now)

    def write(self, run, *outcomes):
        record_outcomes(run, list(outcomes), Automation())

    def test_new_and_known_well_and_not_of_records_and_of_facilities(self, run, add_record):
        new, known, failed = (add_record() for _ in range(3))
        enrol()
        RecordSync.objects.filter(record=known).update(
            state='backing off', status='PENDING', failures=3, owes_hook=True, status_before='NEW'
        )
        self.write(
            run,
            Outcome('LCO', new.pk, status='PENDING', ending=Ending.CHECKED),
            Outcome('LCO', known.pk, status='COMPLETED', terminal=True, ending=Ending.CHECKED),
            Outcome('LCO', failed.pk, 'request 3', Ending.FAILED, 'PENDING', error='no answer'),
            Outcome('SOAR', error='refused'),
        )

        syncs = RecordSync.objects.in_bulk()
        assert [syncs[record.pk].failures for record in (new, known, failed)] == [0, 0, 1]
        assert syncs[known.pk].terminal_since == run.started
        owed = syncs[known.pk].owes_hook, syncs[known.pk].status_before
        assert owed == (True, 'NEW')  # which hooks are owed is not for this to say
        failures = RunFailure.objects.order_by('pk').values_list('record', 'facility', 'error')
        assert list(failures) == [(failed.pk, 'LCO', 'no answer'), (None, 'SOAR', 'refused')]

    def test_a_record_that_was_deleted_meanwhile_takes_no_other_with_it(self, run, add_record):
        gone, kept = add_record(), add_record()
        enrol()
        ObservationRecord.objects.filter(pk=gone.pk).delete()
        self.write(
            run,
            Outcome('LCO', gone.pk, ending=Ending.FAILED, status='PENDING', error='it is gone'),
            Outcome('LCO', kept.pk, status='PENDING', ending=Ending.CHECKED),
        )

        assert list(RecordSync.objects.values_list('pk', flat=True)) == [kept.pk]
        assert not RunFailure.objects.exists()
