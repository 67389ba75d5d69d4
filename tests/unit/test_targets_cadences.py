"""`updatecadences`: one trigger, one submission, whatever happens in between."""

import os
import signal
import time
from datetime import UTC, timedelta
from itertools import count

import pytest
from dateutil.parser import parse
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord

import faults
import forked
import submitting
from tom_auto.conf import advice
from tom_auto.models import Submission, UpdateRun
from tom_auto.targets.cadences import in_utc
from tom_auto.targets.submissions import Seam

from .running import ran

pytestmark = pytest.mark.django_db(transaction=True)
RETRY, RESUME = 'RetryFailedObservationsStrategy', 'ResumeCadenceAfterFailureStrategy'


def updatecadences(*arguments):
    return ran('updatecadences', *arguments)


@pytest.fixture
def portal(sky):
    """The observatory; it takes submissions."""
    submitting.accept_submissions(sky)
    return sky


@pytest.fixture
def begun(client, staff, portal, target):
    """Begins a cadence as a person does, with the form; gives its first record."""
    return lambda strategy: submitting.by_form(client, portal, target, 'LCO', strategy)


@pytest.fixture
def failed(begun, portal):
    """The same, and its observation has failed."""

    def begin(strategy=RETRY):
        record = begun(strategy)
        fail(portal, record)
        return record

    return begin


def fail(portal, record):
    portal.set_state(int(record.observation_id), 'WINDOW_EXPIRED')
    ObservationRecord.objects.filter(pk=record.pk).update(status='WINDOW_EXPIRED')


def newest():
    return ObservationRecord.objects.latest('pk')


def start_of(record):
    """When the window of a record begins; without a zone it is UTC."""
    moment = parse(record.parameters['start'])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def states():
    return list(Submission.objects.order_by('pk').values_list('state', flat=True))


def accepted_then(portal, fault):
    """Let the portal accept what is submitted, and then answer with `fault`."""

    def answer(call, reply):
        if call.method == 'POST':
            portal.add_request(name=submitting.NAME)
            return fault(call, reply)
        return reply

    broken = portal.break_(r'/api/requestgroups/$', answer)
    portal.breaks.insert(0, portal.breaks.pop())
    return broken


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_a_failed_observation_is_submitted_again_once(failed, portal, strategy):
    first = failed(strategy)
    for _ in range(4):  # while its replacement is pending
        status, report = updatecadences()
        assert (status, len(portal.requests)) == (0, 2), report
    record = newest()
    assert (record.user, record.target) == (first.user, first.target)
    assert ObservationGroup.objects.get().observation_records.count() == 2
    assert states() == ['recorded']
    assert report['due'] == 1 and UpdateRun.objects.filter(job='updatecadences').count() == 4


def test_six_runs_in_which_all_fail_submit_once_for_each_failure(failed, portal):
    failed(RETRY)
    for number in range(6):
        updatecadences()
        assert len(portal.requests) == 2 + number
        fail(portal, newest())


def test_what_is_pending_submits_nothing(begun, portal):
    begun(RESUME)
    assert updatecadences()[1]['submitted'] == 0
    assert len(portal.requests) == 1


def test_a_completed_one_is_followed_by_the_next(begun, portal):
    record = begun(RESUME)
    portal.complete(int(record.observation_id))
    assert updatecadences()[1]['submissions'] == ['LCO M 31']
    assert start_of(newest()) - start_of(record) == timedelta(hours=24)


def test_times_with_and_without_a_zone_are_utc(failed, settings):
    record = failed(RESUME)
    record.parameters |= {'start': '2026-01-01T00:00:00Z', 'end': '2026-01-02T00:00:00+01:00'}
    record.save()
    status, report = updatecadences()
    assert status == 0, report
    assert abs(timezone.now() - start_of(newest())) < timedelta(minutes=5)


def test_the_machines_time_is_not_taken_for_utc(monkeypatch):
    monkeypatch.setenv('TZ', 'Pacific/Auckland')
    with in_utc():
        assert time.localtime().tm_gmtoff == 0
    assert os.environ['TZ'] == 'Pacific/Auckland'


def test_a_dry_run_says_what_it_would_do_and_does_nothing(failed, portal):
    failed(RETRY), failed(RESUME)
    before = list(ObservationRecord.objects.values())
    status, report = updatecadences('--dry-run')
    assert (status, report['submissions']) == (0, ['LCO M 31', 'LCO M 31'])
    assert len(portal.requests) == 2
    assert list(ObservationRecord.objects.values()) == before
    assert not Submission.objects.exists() and not UpdateRun.objects.exists()


@pytest.mark.parametrize('code', [400, 401, 403, 404, 429])
def test_what_is_refused_is_named_and_tried_again(failed, portal, code):
    failed(RETRY)
    broken = portal.break_(r'/api/requestgroups/$', faults.status(code))
    portal.breaks.insert(0, portal.breaks.pop())
    status, report = updatecadences()
    assert (status, states()) == (1, ['refused'])
    assert report['failures'][0]['observation_id'].startswith('cadence ')
    portal.breaks.remove(broken)
    assert updatecadences()[1]['submitted'] == 1
    assert states() == ['refused', 'recorded']


@pytest.mark.parametrize('fault', [faults.reset(), faults.status(500), faults.status(504)])
def test_what_was_accepted_without_an_answer_is_found_at_the_portal(failed, portal, fault):
    first = failed(RETRY)
    broken = accepted_then(portal, fault)
    status, report = updatecadences()
    assert (status, states(), len(portal.requests)) == (1, ['uncertain'], 2)
    portal.breaks.remove(broken)

    status, report = updatecadences()
    assert (status, report['settled'], len(portal.requests)) == (0, 1, 2)
    assert states() == ['recorded']
    [accepted] = set(portal.requests) - {int(first.observation_id)}
    assert newest().observation_id == str(accepted)
    assert updatecadences()[0] == 0 and len(portal.requests) == 2


def test_the_portal_settles_that_it_was_not_accepted_after_a_while(failed, portal):
    failed(RETRY)
    broken = portal.break_(r'/api/requestgroups/$', faults.reset())
    portal.breaks.insert(0, portal.breaks.pop())
    updatecadences()
    portal.breaks.remove(broken)

    assert updatecadences()[0] == 1  # too early to be sure
    assert (states(), len(portal.requests)) == (['uncertain'], 1)
    Submission.objects.update(created=timezone.now() - timedelta(minutes=6))
    status, report = updatecadences()
    assert (status, report['submitted'], states()) == (0, 1, ['refused', 'recorded'])


def test_two_that_may_be_it_are_for_a_person_to_settle(failed, portal):
    failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    other = portal.add_request(name=submitting.NAME)

    status, report = updatecadences()
    assert (status, states()) == (1, ['uncertain'])
    [intent] = Submission.objects.all()
    assert f'submission {intent.pk} (M 31' in report['failures'][0]['error']

    call_command('updatecadences', '--submitted', f'{intent.pk}={other.id}')
    assert (states(), newest().observation_id) == (['recorded'], str(other.id))
    assert updatecadences()[0] == 0


def test_a_person_says_that_it_was_not_accepted(failed, portal):
    failed(RETRY)
    broken = portal.break_(r'/api/requestgroups/$', faults.reset())
    portal.breaks.insert(0, portal.breaks.pop())
    updatecadences()
    portal.breaks.remove(broken)
    call_command('updatecadences', '--not-submitted', str(Submission.objects.get().pk))
    assert updatecadences()[1]['submitted'] == 1


@pytest.mark.parametrize(
    'arguments', [('--submitted', '7'), ('--submitted', '7=1'), ('--not-submitted', '7')]
)
def test_bad_usage(arguments, db):
    with pytest.raises(CommandError) as error:
        call_command('updatecadences', *arguments)
    assert error.value.returncode == 2


def test_no_more_than_the_ceiling(failed, portal, automation):
    automation['MOST_SUBMISSIONS'] = {'run': 2, 'day': 3}
    for _ in range(5):
        failed(RETRY)
    assert [updatecadences()[1]['submitted'] for _ in range(3)] == [2, 1, 0]
    assert len(portal.requests) == 8


def test_one_cadence_in_trouble_does_not_stop_the_others(failed, portal, target):
    empty = ObservationGroup.objects.create(name='empty')
    for strategy in (RESUME, 'Unknown'):
        DynamicCadence.objects.create(
            observation_group=empty, cadence_strategy=strategy, active=True,
            cadence_parameters={'cadence_frequency': 24},
        )  # fmt: skip
    failed(RETRY)
    status, report = updatecadences()
    assert (status, report['submitted'], report['failed']) == (1, 1, 2)
    assert 'its group has no observations' in report['failures'][0]['error']


def test_a_cadence_that_is_not_active_is_left_alone(failed, portal):
    failed(RETRY)
    DynamicCadence.objects.update(active=False)
    assert updatecadences()[1]['due'] == 0
    assert len(portal.requests) == 1


def killed_run(printed, number):
    """A run of updatecadences in a process that is killed at its n-th step."""

    steps = count()

    def step():
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def work():
        def counted(execute, *call):
            step()
            result = execute(*call)
            step()
            return result

        submit = Seam.submit

        def stepped(seam, original, facility, payload):
            def between(*arguments):
                step()
                numbers = original(*arguments)
                step()
                return numbers

            return submit(seam, between, facility, payload)

        Seam.submit = stepped
        connection.execute_wrappers.append(counted)
        call_command('updatecadences', '--json')

    return forked.ended(forked.start(printed, work))


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_killed_at_any_step_nothing_is_submitted_twice(failed, portal, tmp_path, strategy):
    failed(strategy)
    first = set(portal.requests)
    for number in count(step=3):
        status = killed_run(tmp_path / 'printed', number)
        updatecadences()
        assert len(set(portal.requests) - first) <= 1, f'killed at step {number}'
        Submission.objects.update(created=timezone.now() - timedelta(minutes=6))
        updatecadences()
        assert len(set(portal.requests) - first) == 1, f'killed at step {number}'
        assert states()[-1:] == ['recorded']
        assert ObservationRecord.objects.count() == 2
        if status == 0:
            break
        begin_anew(portal, first)
    assert number > 30


def begin_anew(portal, first):
    """Forget what came of the failed observation, here and there."""
    Submission.objects.all().delete()
    ObservationRecord.objects.exclude(observation_id__in=map(str, first)).delete()
    for number in set(portal.requests) - first:
        group = portal.requests.pop(number).group
        portal.groups.pop(group.id, None)


def test_two_runs_at_once_submit_once(failed, portal, tmp_path):
    failed(RETRY)
    both = [
        forked.start(tmp_path / 'printed', call_command, 'updatecadences', '--json')
        for _ in range(2)
    ]
    for child in both:
        child.join(60)
    assert len(portal.requests) == 2


def test_advice_names_the_command():
    assert 'updatecadences --submitted SUBMISSION=NUMBER' in advice('uncertain')
