"""`updatecadences`: one trigger, one submission, whatever happens in between."""

import json
import os
import signal
import time
from datetime import timedelta

import pytest
from dateutil.parser import parse
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from guardian.shortcuts import assign_perm
from tom_observations.facilities import ocs
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord

import faults
import forked
import kills
from tom_auto.conf import advice
from tom_auto.models import Submission, UpdateRun
from tom_auto.simulator.messages import json_reply
from tom_auto.targets import ceiling
from tom_auto.targets.strategies import in_utc

from .cadences import (
    LIST,
    RESUME,
    RETRY,
    SUBMISSION,
    accepted_then,
    around_a_submission,
    fail,
    later,
    never_was,
    newest,
    not_accepted,
    start_of,
    states,
    twin,
    updatecadences,
)

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_an_observation_made_while_the_clock_was_ahead_does_not_end_its_cadence(begun, portal):
    record = begun(RESUME)
    later = timezone.now() + timedelta(days=30)
    ObservationRecord.objects.filter(pk=record.pk).update(created=later)
    for number in range(1, 4):
        portal.complete(int(newest().observation_id))
        status, report = updatecadences()
        assert (status, report['submitted']) == (0, 1), report
        assert ObservationGroup.objects.get().observation_records.count() == 1 + number


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


@pytest.mark.parametrize('zone', ['America/Santiago', 'Pacific/Auckland'])
@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_windows_are_right_in_a_tom_of_another_time_zone(failed, portal, settings, strategy, zone):
    settings.TIME_ZONE = zone
    first = failed(strategy)
    status, report = updatecadences()
    assert (status, report['submitted']) == (0, 1), report
    begins, _ = portal.requests[int(newest().observation_id)].window
    if strategy == RETRY:
        assert begins == start_of(first) + timedelta(hours=24)
    else:
        assert abs(begins - timezone.now()) < timedelta(minutes=5)


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
    broken = not_accepted(portal, faults.status(code))
    status, report = updatecadences()
    assert (status, states()) == (1, ['refused'])
    assert report['failures'][0]['observation_id'].startswith('cadence ')
    portal.breaks.remove(broken)
    assert updatecadences()[1]['submitted'] == 1
    assert states() == ['refused', 'recorded']


@pytest.mark.parametrize(
    'fault',
    [
        faults.reset(),
        faults.status(500),
        faults.status(504),
        faults.status(408),
        faults.status(409),
        faults.hang(3),
        faults.hang(3, after=5),
        faults.truncated(),
        faults.empty(),
        faults.html(),
        faults.broken_json(),
        faults.answer({'requests': []}),
        faults.huge(),
    ],
)
def test_what_was_accepted_without_an_answer_is_found_at_the_portal(
    failed, portal, automation, fault
):
    automation['READ_TIMEOUT'] = 0.5
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
    broken = not_accepted(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)

    assert updatecadences()[0] == 1  # too early to be sure
    assert (states(), len(portal.requests)) == (['uncertain'], 1)
    later()
    status, report = updatecadences()
    assert (status, report['submitted'], states()) == (0, 1, ['refused', 'recorded'])


def test_it_is_found_although_somebody_made_its_record_meanwhile(client, failed, portal, target):
    first = failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    [accepted] = set(portal.requests) - {int(first.observation_id)}
    fields = {'target_id': target.pk, 'facility': 'LCO', 'observation_id': accepted}
    client.post('/observations/add/', fields | {'confirm': 'on'})
    assert newest().parameters == {}
    Submission.objects.update(created=timezone.now() - timedelta(minutes=50))

    status, report = updatecadences()
    assert (status, states(), len(portal.requests)) == (0, ['recorded'], 2)
    assert newest().parameters['c_1_ic_1_filter'] == 'rp', 'what a retry needs'
    fail(portal, newest())
    assert updatecadences()[1]['submitted'] == 1


@pytest.mark.parametrize(
    ('proposals', 'profile'),
    [(['ELSE'], {}), (['DEMO2026'], {'view_authored_requests_only': True})],
)
def test_an_empty_list_of_an_account_that_does_not_see_the_proposal_settles_nothing(
    failed, portal, settings, proposals, profile
):
    failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    Submission.objects.update(created=timezone.now() - timedelta(minutes=50))
    portal.add_token('other', proposals=proposals, username='other')
    ours, settings.FACILITIES = settings.FACILITIES, {'LCO': portal.settings('other')}

    def with_profile(call, reply):
        return json_reply(json.loads(reply.body) | {'profile': profile})

    hidden = [
        portal.break_('/api/profile/', with_profile),
        portal.break_(LIST, lambda call, reply: json_reply({'results': [], 'next': None})),
    ]
    assert (updatecadences()[0], states()) == (1, ['uncertain'])

    settings.FACILITIES, _ = ours, [portal.breaks.remove(one) for one in hidden]
    assert (updatecadences()[0], states(), len(portal.requests)) == (0, ['recorded'], 2)


def test_two_that_may_be_it_are_for_a_person_to_settle(failed, portal):
    failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    accepted = max(portal.requests)
    other = twin(portal, accepted)

    status, report = updatecadences()
    assert (status, states()) == (1, ['uncertain'])
    assert f'it may be {other.id}; it may be {accepted}' in report['failures'][0]['error']
    [intent] = Submission.objects.all()
    assert f'submission {intent.pk} (M 31' in report['failures'][0]['error']

    call_command('updatecadences', '--submitted', f'{intent.pk}={other.id}')
    assert (states(), newest().observation_id) == (['recorded'], str(other.id))
    assert updatecadences()[0] == 0


@pytest.mark.parametrize('number', ['abc', 'first', 'other'])
def test_what_cannot_be_the_request_is_refused(failed, portal, target, number, add_record):
    first = failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    other = add_record(observation_id=str(portal.add_request(name='another').id))
    numbers = {'first': first.observation_id, 'other': other.observation_id}
    [intent] = Submission.objects.all()
    with pytest.raises(CommandError, match='cannot be noted') as error:
        call_command('updatecadences', '--submitted', f'{intent.pk}={numbers.get(number, number)}')
    assert (error.value.returncode, states()) == (2, ['uncertain'])


def test_several_are_settled_at_once_or_none(failed, portal):
    for _ in range(3):
        failed(RETRY)
    before = set(portal.requests)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    pks = Submission.objects.order_by('pk').values_list('pk', flat=True)
    new = sorted(set(portal.requests) - before)
    accepted = [f'--submitted={pk}={one}' for pk, one in zip(pks, new, strict=True)]
    with pytest.raises(CommandError, match='no submission 777'):
        call_command('updatecadences', *accepted[:2], '--not-submitted', '777')
    assert states() == ['uncertain'] * 3
    last = '--not-submitted', str(pks[2])
    with pytest.raises(CommandError, match=f'LCO lists it as {new[2]}') as error:
        call_command('updatecadences', *accepted[:2], *last)
    assert (error.value.returncode, states()) == (2, ['uncertain'] * 3)
    never_was(portal, new[2])
    call_command('updatecadences', *accepted[:2], *last)
    assert states() == ['recorded', 'recorded', 'refused']


def test_a_person_says_that_it_was_not_accepted(failed, portal):
    failed(RETRY)
    broken = not_accepted(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    call_command('updatecadences', '--not-submitted', str(Submission.objects.get().pk))
    assert updatecadences()[1]['submitted'] == 1


@pytest.mark.parametrize(
    'arguments',
    [
        ('--submitted', '7'),
        ('--submitted', '7=1'),
        ('--not-submitted', '7'),
        ('--cadence', '7'),
        ('--not-submitted', '7', '--dry-run'),
    ],
)
def test_bad_usage(arguments, db):
    with pytest.raises(CommandError) as error:
        call_command('updatecadences', *arguments)
    assert error.value.returncode == 2


def test_only_the_cadence_that_is_chosen_goes_on(failed, portal):
    failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    failed(RETRY)
    other = DynamicCadence.objects.latest('pk')
    status, report = updatecadences('--cadence', str(other.pk))
    assert (status, report['due'], report['settled'], report['submitted']) == (0, 1, 0, 1)
    assert states() == ['uncertain', 'recorded']
    assert UpdateRun.objects.latest('pk').only == f'cadence {other.pk}'


def test_no_more_than_the_ceiling(failed, portal, automation):
    automation['MOST_SUBMISSIONS'] = {'run': 2, 'day': 3}
    for _ in range(5):
        failed(RETRY)
    assert len(updatecadences('--dry-run')[1]['submissions']) == 2
    assert [updatecadences()[1]['submitted'] for _ in range(2)] == [2, 1]
    status, report = updatecadences('--dry-run')
    assert (status, report['submissions'], report['failures'][0]['kind']) == (1, [], 'ceiling')
    assert updatecadences()[1]['submitted'] == 0
    assert len(portal.requests) == 8


@pytest.fixture
def in_threes(failed, monkeypatch):
    """Two cadences, each of which submits three requests at once."""
    plain = ocs.OCSFullObservationForm.observation_payload
    failed(RETRY), failed(RETRY)

    def three_at_once(form):
        payload = plain(form)
        return payload | {'requests': payload['requests'] * 3}

    monkeypatch.setattr(ocs.OCSFullObservationForm, 'observation_payload', three_at_once)


@pytest.mark.parametrize(
    ('most', 'submitted'),
    [
        ({'run': 3, 'day': 9}, [1, 1]),
        ({'run': 5, 'day': 9}, [1, 1]),
        ({'run': 9, 'day': 5}, [1, 0]),
        ({'run': 9, 'day': 9}, [2, 0]),
    ],
)
def test_the_ceiling_is_of_observations(in_threes, automation, most, submitted):
    automation['MOST_SUBMISSIONS'] = most
    assert len(updatecadences('--dry-run')[1]['submissions']) == submitted[0]
    assert [updatecadences()[1]['submitted'] for _ in range(2)] == submitted


def test_more_at_once_than_the_ceiling_is_named(in_threes, automation, portal):
    automation['MOST_SUBMISSIONS'] = {'run': 2, 'day': 9}
    failures = updatecadences()[1]['failures']
    assert len(portal.requests) == 2
    for cadence, failure in zip(DynamicCadence.objects.order_by('pk'), failures, strict=True):
        assert failure['kind'] == 'ceiling'
        assert '3 observations at once' in failure['error']
        assert failure['observation_id'].startswith(f'cadence {cadence.pk} ')


def test_where_the_ceiling_is_reached_the_others_come_first_in_the_next_run(
    failed, portal, automation
):
    automation['MOST_SUBMISSIONS'] = {'run': 1, 'day': 9}
    for _ in range(3):
        failed(RETRY)
    for _ in range(3):
        assert updatecadences()[1]['submitted'] == 1
        fail(portal, newest())  # so that its cadence has something to submit again
    its = Submission.objects.values_list('cadence', flat=True)
    assert set(its) == {one.pk for one in DynamicCadence.objects.all()}


def test_what_is_refused_uses_up_nothing_of_the_ceiling(failed, portal, automation):
    automation['MOST_SUBMISSIONS'] = {'run': 1, 'day': 3}
    for _ in range(3):
        failed(RETRY)
    portal.break_(SUBMISSION, faults.status(400), times=2, arrives=False)
    assert updatecadences()[1]['submitted'] == 1
    assert states() == ['refused', 'refused', 'recorded']


def test_what_is_uncertain_does(failed, portal, automation):
    automation['MOST_SUBMISSIONS'] = {'run': 1, 'day': 3}
    failed(RETRY), failed(RETRY)
    accepted_then(portal, faults.reset())
    updatecadences()
    assert states() == ['uncertain']


@pytest.mark.parametrize('groups', ['several', 'one'])
def test_where_all_is_refused_the_others_come_first_in_the_next_run(
    failed, portal, monkeypatch, groups
):
    monkeypatch.setattr(ceiling, 'MOST_REFUSED', 2)
    for _ in range(3):
        failed(RETRY)
    if groups == 'one':
        first, *others = DynamicCadence.objects.order_by('pk')
        for other in others:
            first.observation_group.observation_records.add(
                *other.observation_group.observation_records.all()
            )
            other.delete()
    refusing = not_accepted(portal, faults.status(400))
    _, report = updatecadences()
    assert (states(), report['submitted']) == (['refused'] * 2, 0)
    [last] = [one for one in report['failures'] if one['kind'] == 'set aside']
    assert last['error'] == 'LCO has refused 2 submissions: the next run goes on with the others'
    portal.breaks.remove(refusing)
    portal.break_(SUBMISSION, faults.status(400), times=1, arrives=False)
    assert updatecadences()[1]['submitted'] == 2
    tried = Submission.objects.order_by('pk').values_list('trigger', flat=True)
    assert tried[2] not in tried[:2]


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
    assert report['due'] == report['checked'] + report['failed'] == 3
    named = {f'{one["facility"]} {one["observation_id"]}' for one in report['failures']}
    pks = DynamicCadence.objects.filter(observation_group=empty).values_list('pk', flat=True)
    assert named == {f'cadence {pk} (empty)' for pk in pks}


def test_a_submission_that_cannot_be_completed_stops_no_other_cadence(failed, portal):
    failed(RETRY), failed(RETRY)
    first = DynamicCadence.objects.earliest('pk')
    Submission.objects.create(
        cadence=first, trigger=first.observation_group.observation_records.get(), facility='Gone',
        name='x', payload={}, created=timezone.now(), state='submitted', observation_ids=['9'],
    )  # fmt: skip
    status, report = updatecadences()
    assert (status, report['submitted'], report['failed'], report['due']) == (1, 1, 1, 2)
    assert 'was accepted as 9, and its records are missing' in report['failures'][0]['error']


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_what_tomtoolkits_own_command_has_replaced_is_not_replaced_again(failed, portal, strategy):
    failed(strategy)
    call_command('runcadencestrategies')
    assert updatecadences()[1]['submitted'] == 0
    fail(portal, newest())
    assert updatecadences()[1]['submitted'] == 1
    assert len(portal.requests) == 3


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_what_follows_a_record_of_tomtoolkits_own_command_has_a_window_of_its_own(
    failed, portal, strategy
):
    """That command stores the halves of its times as well, and the form prefers them."""
    failed(strategy)
    call_command('runcadencestrategies')
    record = newest()
    assert record.parameters['start_0'], record.parameters
    portal.complete(int(record.observation_id)) if strategy == RESUME else fail(portal, record)
    assert updatecadences()[1]['submitted'] == 1
    [window] = Submission.objects.get().payload['requests'][0]['windows']
    assert parse(window['start']) == start_of(record) + timedelta(days=1)
    record.refresh_from_db()
    assert record.parameters['start_0'], 'nothing of that is touched'


def replaced(record, portal, hours, **fields):
    """The replacement that tomtoolkit's own command makes, in a window that begins later."""
    start = start_of(record) + timedelta(hours=hours)
    parameters = record.parameters | {'start': start.isoformat()} | fields
    number = twin(portal, int(record.observation_id)).id
    other = ObservationRecord.objects.create(
        target=record.target, facility='LCO', parameters=parameters, observation_id=str(number)
    )
    ObservationGroup.objects.get().observation_records.add(other)
    return other


def test_one_replacement_is_of_one_observation(failed, portal):
    first = failed(RETRY)
    replaced(first, portal, 24)
    second = replaced(first, portal, 0)
    fail(portal, second)
    assert updatecadences()[1]['submitted'] == 1
    assert Submission.objects.get().trigger == second
    assert updatecadences()[1]['submitted'] == 0


@pytest.mark.parametrize(('hours', 'fields'), [(36, {}), (24, {'c_1_ic_1_exposure_time': '90'})])
def test_what_may_have_been_replaced_is_named(failed, portal, hours, fields):
    first = failed(RETRY)
    other = replaced(first, portal, hours, **fields)
    status, report = updatecadences()
    assert (status, report['submitted'], states()) == (1, 0, [])
    [failure] = report['failures']
    assert (
        f'{first.observation_id} has failed, and {other.observation_id} may be' in failure['error']
    )
    assert failure['kind'] == 'cannot repeat'
    ObservationGroup.objects.get().observation_records.remove(first)
    assert updatecadences()[0] == 0


def test_what_a_person_has_submitted_later_replaces_nothing(client, failed, portal, target):
    failed(RETRY)
    later = newest()
    later.pk, later.observation_id = None, str(portal.add_request().id)
    later.parameters = later.parameters | {'start': '2030-01-01T00:00', 'end': '2030-01-03T00:00'}
    later.save()
    ObservationGroup.objects.get().observation_records.add(later)
    assert updatecadences()[1]['submitted'] == 2, 'both have failed'


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_a_cadence_that_is_made_anew_submits_nothing_again(failed, portal, strategy):
    failed(strategy)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    portal.breaks.remove(broken)
    cadence = DynamicCadence.objects.get()
    cadence.delete()
    cadence.pk = None
    cadence.save()
    trigger = ObservationRecord.objects.get()
    assert [updatecadences('--dry-run')[0], len(portal.requests)] == [1, 2]

    trigger.delete()
    trigger.pk = None
    trigger.save()
    cadence.observation_group.observation_records.add(trigger)
    for _ in range(2):
        updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def test_what_is_open_of_one_that_is_switched_off_is_named_and_settled(failed, portal):
    failed(RETRY)
    broken = accepted_then(portal, faults.reset())
    updatecadences()
    DynamicCadence.objects.update(active=False)
    gone = portal.break_(LIST, faults.status(503))
    portal.breaks.remove(broken)
    status, report = updatecadences()
    assert (status, report['due'], report['failed']) == (1, 1, 1)
    assert report['failures'][0]['kind'] == 'uncertain'
    portal.breaks.remove(gone)
    status, report = updatecadences()
    assert (status, report['due'], report['settled'], states()) == (0, 0, 1, ['recorded'])


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_one_that_was_made_elsewhere_cannot_be_repeated_and_is_named(failed, portal, strategy):
    """Its record says neither instrument nor exposure: see `findrequests`."""
    failed(strategy)
    record = newest()
    record.pk, record.observation_id, record.parameters = None, '77', {'name': 'x'}
    portal.add_request(77, state='WINDOW_EXPIRED')
    record.save()
    ObservationGroup.objects.get().observation_records.add(record)
    status, report = updatecadences()
    assert (status, report['failures'][0]['kind']) == (1, 'cannot repeat')
    assert 'observation 77' in report['failures'][0]['error']
    assert 'end, ' in report['failures'][0]['error']
    assert len(portal.requests) == 2 + report['submitted'], 'nothing for that one'
    assert report['submitted'] == (strategy == RETRY)


def test_nor_is_a_part_of_it_submitted(failed, portal):
    """tomtoolkit's strategy that retries submits what it has, whether the form is valid or not."""
    record = failed(RETRY)
    record.parameters['c_1_max_airmass'] = 'abc'
    record.status = 'WINDOW_EXPIRED'
    record.save()
    status, report = updatecadences()
    assert (status, len(portal.requests), states()) == (1, 1, [])
    assert report['failures'][0]['kind'] == 'cannot repeat', report


def test_users_that_see_the_failed_one_see_its_replacement(failed, settings):
    settings.TARGET_PERMISSIONS_ONLY = False
    first, ann = failed(RETRY), User.objects.create_user('ann')
    assign_perm('tom_observations.view_observationrecord', ann, first)
    updatecadences()
    assert newest() != first
    assert ann.has_perm('tom_observations.view_observationrecord', newest())


def test_a_cadence_that_is_not_active_is_left_alone(failed, portal):
    failed(RETRY)
    DynamicCadence.objects.update(active=False)
    assert updatecadences()[1]['due'] == 0
    assert len(portal.requests) == 1


def killed_run(directory, at):
    """A run of updatecadences in a process that is killed at a step; its exit status."""

    def work():
        step = kills.killing(at, directory / 'steps')

        def counted(execute, *call):
            step()
            result = execute(*call)
            step()
            return result

        ocs.make_request = around_a_submission(step, step)
        connection.execute_wrappers.append(counted)
        call_command('updatecadences', '--json')

    return forked.ended(forked.start(directory / 'printed', work))


@pytest.mark.parametrize('strategy', [RETRY, RESUME])
def test_killed_between_any_two_steps_nothing_is_submitted_twice(
    failed, portal, tmp_path, strategy
):
    failed(strategy)
    first = set(portal.requests)
    updatecadences()  # what is looked up once in a process is known from here on: all have the same steps
    begin_anew(portal, first)
    assert killed_run(tmp_path, kills.NEVER) == 0
    steps = (tmp_path / 'steps').stat().st_size
    for step in kills.spread(steps):
        begin_anew(portal, first)
        assert killed_run(tmp_path, step) == -signal.SIGKILL
        updatecadences()
        assert len(set(portal.requests) - first) <= 1, f'killed at step {step} of {steps}'
        later()
        updatecadences()
        assert len(set(portal.requests) - first) == 1, f'killed at step {step} of {steps}'
        assert states()[-1:] == ['recorded']
        assert ObservationRecord.objects.count() == 2


@pytest.mark.parametrize('trouble', [accepted_then, not_accepted])
def test_nor_is_it_if_the_run_that_settles_it_is_killed(failed, portal, tmp_path, trouble):
    failed(RETRY)
    first = set(portal.requests)

    def made_uncertain():
        begin_anew(portal, first)
        broken = trouble(portal, faults.reset())
        updatecadences()
        portal.breaks.remove(broken)
        assert states() == ['uncertain']
        if trouble is not_accepted:
            updatecadences()  # looks for it, and later once more
            later()

    made_uncertain()
    assert killed_run(tmp_path, kills.NEVER) == 0
    steps = (tmp_path / 'steps').stat().st_size
    for step in kills.spread(steps):
        made_uncertain()
        assert killed_run(tmp_path, step) == -signal.SIGKILL
        for _ in range(3):
            updatecadences()
            assert len(set(portal.requests) - first) <= 1, f'killed at step {step} of {steps}'
            later()
        assert len(set(portal.requests) - first) == 1, f'killed at step {step} of {steps}'
        assert states()[-1:] == ['recorded']
        assert ObservationRecord.objects.count() == 2


def begin_anew(portal, first):
    """Forget what came of the failed observation, here and there."""
    Submission.objects.all().delete()
    ObservationRecord.objects.exclude(observation_id__in=map(str, first)).delete()
    for number in set(portal.requests) - first:
        never_was(portal, number)


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
