"""`findrequests`: what was made elsewhere is listed, and becomes a record on demand."""

import json
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_observations.facilities import ocs
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationRecord
from tom_targets.models import Target, TargetName

import faults
import forked
import submitting
from tom_auto.management.commands.findrequests import Command
from tom_auto.models import UpdateRun
from tom_auto.simulator.messages import json_reply
from tom_auto.targets import accepted_records, find_requests, portal_requests
from tom_auto.targets.positions import separation
from tom_auto.targets.submissions import Seam

from .cadences import accepted_then, around_a_submission, fail
from .running import ran, updatedata

pytestmark = pytest.mark.django_db(transaction=True)
ADD = ('--add', '--proposal', 'DEMO2026')


def findrequests(*arguments):
    return ran('findrequests', *arguments)


def numbers():
    """The requests that have records."""
    return sorted(ObservationRecord.objects.values_list('observation_id', flat=True))


def errors(report):
    return {one['facility']: one['error'] for one in report['failures']}


def asked(sky):
    """How often each path was asked for."""
    return Counter(one.path for one in sky.requests_seen)


def test_what_no_record_has_is_listed_with_its_target_and_nothing_is_written(
    sky, target, add_record, capsys
):
    add_record(observation_id=str(sky.add_request(11).id))
    sky.add_request(12, state='COMPLETED')
    sky.add_request(13, target='unheard of', ra=1.0, dec=2.0)
    status, report = findrequests()
    assert (status, report['found'], report['known'], report['matched'], report['unmatched']) == (
        0, 3, 1, 1, 1,
    )  # fmt: skip
    assert [one['request'] for one in report['requests']] == ['13', '12']
    assert [one['target'] for one in report['requests']] == [None, target.pk]
    assert numbers() == ['11'] and not UpdateRun.objects.exists()

    call_command('findrequests')
    printed = capsys.readouterr().out
    assert f"COMPLETED 'M 31': M 31 (target {target.pk}, by name)" in printed
    assert "'unheard of': no target has its name or position" in printed


def test_added_ones_are_observations_like_others(sky, target):
    sky.add_request(12)
    sky.complete(12, frames=2, pixels=32)
    status, report = findrequests(*ADD)
    assert (status, report['saved'], numbers()) == (0, 1, ['12'])
    record = ObservationRecord.objects.get()
    assert (record.facility, record.target_id, record.status) == ('LCO', target.pk, '')
    assert record.parameters['proposal'] == 'DEMO2026' and record.parameters['start']
    run = UpdateRun.objects.get()
    assert (run.job, run.saved, run.only) == ('findrequests', 1, '')
    assert updatedata()[1]['saved'] == 2

    status, report = findrequests(*ADD)
    assert (status, report['saved'], report['known'], numbers()) == (0, 0, 1, ['12'])


@pytest.mark.parametrize(
    ('points_at', 'by'),
    [
        ({'target': 'm31'}, 'name'),
        ({'target': 'Andromeda'}, 'name'),  # an alias
        ({'target': 'mine', 'ra': 10.6847, 'dec': 41.2691}, 'position'),
        ({'target': 'mine', 'ra': 10.6847, 'dec': 41.28}, None),
        ({'target': 'M 31', 'ra': 200.0, 'dec': -41.0}, None),  # another one of that name
    ],
)
def test_a_target_is_known_by_name_alias_or_position(sky, target, points_at, by):
    TargetName.objects.create(target=target, name='Andromeda')
    sky.add_request(12, **points_at)
    [found] = findrequests()[1]['requests']
    assert (found['target'], found['by']) == (
        (target.pk, by) if by else (None, 'no target has its name or position')
    )


def test_positions_are_near_across_the_meridian_and_at_the_pole():
    assert separation(359.9999, 0, 0.0001, 0) == pytest.approx(0.0002)
    assert separation(0, 89.9999, 180, 89.9999) == pytest.approx(0.0002)


@pytest.mark.parametrize(
    ('place', 'expected', 'by'),
    [
        ({'target': 'M67 112', 'ra': 132.8, 'dec': 11.8}, 'M67 112', 'name'),  # as it is
        ({'target': 'm67-112', 'ra': 132.8, 'dec': 11.8}, 'M67 1-12', 'name'),  # at its place
        ({'target': 'm67-112', 'ra': 132.7, 'dec': 11.9}, 'M67 a', 'position'),
        ({'target': 'm67-112', 'ra': 132.85, 'dec': 11.9}, '', 'several targets have a name like its own'),
        ({'target': 'm67A', 'ra': 132.85, 'dec': 11.9}, 'M67 a', 'name'),
    ],
)  # fmt: skip
def test_its_own_name_counts_more_than_a_place_and_that_more_than_a_name_like_it(
    sky, place, expected, by
):
    for name, ra, dec in (
        ('M67 1-12', 132.8, 11.8), ('M67 112', 132.9, 11.85), ('M67 a', 132.7, 11.9),
    ):  # fmt: skip
        Target.objects.create(name=name, type='SIDEREAL', ra=ra, dec=dec)
    sky.add_request(12, **place)
    [found] = findrequests()[1]['requests']
    assert (found['target_name'], found['by']) == (expected, by)


def test_what_points_at_two_targets_is_for_a_person(sky, target, monkeypatch):
    Target.objects.create(name='M 32', type='SIDEREAL', ra=10.67, dec=40.86)
    sky.add_request(12)
    plain = portal_requests.rows_of

    def two_configurations(group):
        [first] = group['requests'][0]['configurations']
        other = first | {'target': first['target'] | {'name': 'M 32', 'dec': 40.86}}
        group['requests'][0]['configurations'].append(other)
        return plain(group)

    monkeypatch.setattr(portal_requests, 'rows_of', two_configurations)
    status, report = findrequests(*ADD)
    assert (status, report['unmatched'], numbers()) == (0, 1, [])


def test_nothing_of_another_proposal_is_added(sky, target):
    sky.accounts[sky.token].proposals.add('MINE')
    sky.public.add('PUBLIC')
    for number, proposal in enumerate(['DEMO2026', 'MINE', 'PUBLIC', 'THEIRS'], 21):
        sky.add_request(number, proposal=proposal)
    assert [one['request'] for one in findrequests()[1]['requests']] == ['21', '22']
    findrequests(*ADD)
    assert numbers() == ['21']


def test_a_portal_that_does_not_know_the_filter_adds_nothing(sky, target, monkeypatch):
    """It would ignore it in silence, and list everything."""
    sky.public.add('PUBLIC')
    sky.add_request(21), sky.add_request(22, proposal='PUBLIC')
    monkeypatch.delitem(portal_requests_filters(), 'proposal')
    status, report = findrequests(*ADD)
    assert (status, numbers()) == (1, [])
    assert 'lists requests of other proposals than DEMO2026' in errors(report)['LCO']


def portal_requests_filters():
    from tom_auto.simulator.portal import GROUP_FILTERS

    return GROUP_FILTERS


def test_a_proposal_that_nobody_has_is_named_with_what_there_is(sky, target):
    sky.add_request(12)
    status, report = findrequests('--add', '--proposal', 'DEMO2026', '--proposal', 'DEMO2062')
    assert (status, numbers()) == (1, ['12'])
    [failure] = report['failures']
    assert failure['observation_id'] == 'DEMO2062'
    assert failure['error'].endswith('The proposals are: DEMO2026')
    assert report['due'] == report['checked'] + report['not_read'] == 2


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (('--add',), '--add needs a --proposal'),
        (('--facility', 'Gemini'), 'Those that have one are: LCO, '),
    ],
)
def test_bad_usage(sky, arguments, says):
    with pytest.raises(CommandError, match=says) as error:
        findrequests(*arguments)
    assert error.value.returncode == 2
    assert not sky.requests_seen


@pytest.mark.parametrize(
    ('option', 'number', 'says'),
    [
        ('--days', '99999', "'99999' is more than 36525, a hundred years"),
        ('--limit', '9' * 20, 'has more than 9 digits'),
    ],
)
def test_numbers_that_are_too_large_are_wrong_usage(tmp_path, option, number, says):
    printed, words = tmp_path / 'printed', ['manage.py', 'findrequests', option, number]
    assert forked.ended(forked.start(printed, Command().run_from_argv, words)) == 2
    assert says in printed.read_text()


def test_no_more_than_the_limit_and_no_older_than_asked(sky, target):
    for number in range(21, 26):
        sky.add_request(number)
    sky.groups[sky.requests[21].group.id].created -= timedelta(days=9)
    assert findrequests('--days', '3')[1]['found'] == 4
    _, report = findrequests(*ADD, '--limit', '2')
    assert (report['is_cut'], numbers()) == (True, ['24', '25'])
    assert UpdateRun.objects.get().only == '2 requests'


def test_a_big_account_costs_its_pages_and_little_more(sky, target, monkeypatch):
    monkeypatch.setattr(portal_requests, 'PAGE', 100)
    for number in range(1, 2001):
        sky.add_request(number, target='elsewhere', ra=100.0)
    sky.add_request(3000)
    status, report = findrequests(*ADD)
    assert (status, report['found'], report['saved']) == (0, 2001, 1)
    assert asked(sky)['/api/requestgroups/'] <= 21 + 1
    assert len(sky.requests_seen) <= 21 + 12


def test_what_is_submitted_meanwhile_shifts_the_pages_and_loses_nothing(sky, target, monkeypatch):
    monkeypatch.setattr(portal_requests, 'PAGE', 5)
    for number in range(1, 21):
        sky.add_request(number)

    def submitted(call, reply):
        sky.add_request()
        return reply

    sky.break_('/api/requestgroups/', submitted)
    status, report = findrequests(*ADD)
    assert (status, report['saved']) == (0, 20)


def test_what_goes_off_the_list_meanwhile_is_named(sky, target, monkeypatch):
    monkeypatch.setattr(portal_requests, 'PAGE', 5)
    for number in range(1, 21):
        sky.add_request(number)

    def removed(call, reply):
        for number in range(14, 18):
            sky.groups.pop(sky.requests[number].group.id, None)
        return reply

    sky.break_('/api/requestgroups/', removed, times=1)
    status, report = findrequests(*ADD)
    assert status == 1 and 'while it was read' in errors(report)['LCO']


@pytest.mark.parametrize(
    ('fault', 'says'),
    [
        (faults.status(500), 'LCO answered 500'),
        (faults.status(403), 'LCO refuses'),
        (faults.reset(), 'LCO does not answer'),
    ],
)
def test_a_portal_in_trouble_is_named(sky, target, fault, says):
    sky.add_request(12)
    sky.break_('/api/requestgroups/', fault)
    status, report = findrequests(*ADD)
    assert (status, numbers()) == (1, [])
    assert says in errors(report)['LCO']
    assert UpdateRun.objects.get().status == 'failed'


def test_without_a_key_it_says_what_to_do(sky, settings):
    for name in ('LCO', 'SOAR', 'BLANCO', 'LCORedirect'):
        settings.FACILITIES = settings.FACILITIES | {name: sky.settings('')}
    status, report = findrequests()
    assert status == 1
    assert 'set LCO_API_KEY in .env' in report['failures'][0]['error']


def test_a_record_that_the_tom_refuses_does_not_stop_the_others(sky, target, settings):
    sky.add_request(12), sky.add_request(13)
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.refuses_13'}
    status, report = findrequests(*ADD)
    assert (status, numbers()) == (1, ['12'])
    assert (report['matched'], report['saved'], report['refused']) == (2, 1, 1)
    assert report['failures'][0]['observation_id'] == '13'


def refuses_13(record, before):
    """A hook of the TOM."""
    if record.observation_id == '13':
        raise ValueError('not this one')


def test_who_may_see_the_target_may_see_its_new_records(sky, target, settings):
    settings.TARGET_PERMISSIONS_ONLY = False
    group, ann = Group.objects.create(name='SN'), User.objects.create_user('ann')
    for holder in (group, ann):
        assign_perm('tom_targets.view_target', holder, target)
    sky.add_request(12)
    findrequests(*ADD)
    [record] = ObservationRecord.objects.all()
    assert ann.has_perm('tom_observations.view_observationrecord', record)
    assert get_groups_with_perms(record, attach_perms=True) == {group: ['view_observationrecord']}


@pytest.mark.parametrize(('permissions', 'sees'), [('PUBLIC', True), ('PRIVATE', False)])
def test_everybody_sees_the_new_records_of_a_target_that_everybody_sees(
    sky, target, settings, permissions, sees
):
    settings.TARGET_PERMISSIONS_ONLY = False
    ann = User.objects.create_user('ann')
    ann.groups.add(Group.objects.get_or_create(name='Public')[0])  # as tomtoolkit does
    target.permissions = permissions
    target.save()
    sky.add_request(12)
    findrequests(*ADD)
    [record] = ObservationRecord.objects.all()
    assert ann.has_perm('tom_observations.view_observationrecord', record) == sees


class OwnKeys(LCOFacility):
    """Has a key for each user."""

    name = 'OwnKeys'

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.user = None

    def set_user(self, user):
        self.user = user

    def _portal_headers(self):
        return {'Authorization': f'Token {self.user}'}


def test_each_user_with_a_key_of_their_own_is_asked_for(sky, target, add_record, settings):
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.OwnKeys']
    for name in ('ann', 'bob'):
        user = User.objects.create_user(name)
        sky.add_token(name, proposals=[f'of {name}'], username=name)
        request = sky.add_request(proposal=f'of {name}')
        add_record('OwnKeys', user=user, observation_id=str(request.id))
    sky.add_token('cat', proposals=['of cat'], username='cat')
    for number, name in enumerate(('ann', 'bob', 'cat'), 31):
        sky.add_request(number, proposal=f'of {name}')
    status, report = findrequests('--add', '--proposal', 'of ann', '--proposal', 'of bob')
    assert (status, report['saved'], report['known']) == (0, 2, 2), report
    owners = ObservationRecord.objects.filter(observation_id__in=['31', '32', '33'])
    assert list(owners.order_by('pk').values_list('observation_id', 'user__username')) == [
        ('31', 'ann'), ('32', 'bob'),
    ]  # fmt: skip


def test_what_two_accounts_of_one_portal_see_is_one_request(sky, target, add_record, settings):
    settings.TOM_FACILITY_CLASSES = [*settings.TOM_FACILITY_CLASSES, f'{__name__}.OwnKeys']
    for name in ('ann', 'bob'):
        user = User.objects.create_user(name)
        sky.add_token(name, proposals=['DEMO2026'], username=name)
        add_record('OwnKeys', user=user, observation_id=str(sky.add_request().id))
    sky.add_token('second', proposals=['DEMO2026'], username='second')
    settings.FACILITIES = settings.FACILITIES | {'SOAR': sky.settings('second')}
    sky.add_request(77)
    assert [one['request'] for one in findrequests()[1]['requests']] == ['77']
    for saved in (1, 0):
        status, report = findrequests(*ADD)
        assert (status, report['saved'], report['found']) == (0, saved, 3), report
    assert ObservationRecord.objects.get(observation_id='77').facility == 'LCO'


def test_what_a_cadence_submits_meanwhile_is_left_to_it(
    client, staff, portal, target, tmp_path, monkeypatch
):
    """It is added between the acceptance and the record that the cadence makes."""
    first = submitting.by_form(client, portal, target, 'LCO', 'RetryFailedObservationsStrategy')
    portal.set_state(int(first.observation_id), 'WINDOW_EXPIRED')
    ObservationRecord.objects.update(status='WINDOW_EXPIRED')
    submit, now, printed = Seam.submit, tmp_path / 'now', tmp_path / 'printed'

    def add():
        while not now.exists():
            time.sleep(0.01)
        call_command('findrequests', *ADD, '--json')

    child = forked.start(printed, add)

    def between(seam, original, facility, payload):
        def accepted(*arguments):
            answer = original(*arguments)
            now.touch()
            assert forked.ended(child) == 0
            return answer

        return submit(seam, accepted, facility, payload)

    monkeypatch.setattr(Seam, 'submit', between)
    assert ran('updatecadences')[0] == 0
    report = json.loads(printed.read_text())
    assert (report['known'], report['saved']) == (2, 0)
    assert len(numbers()) == len(set(numbers())) == 2


only_on_postgresql = pytest.mark.skipif(
    connection.vendor != 'postgresql', reason='SQLite has one writer at a time'
)


def add_elsewhere(target, number):
    """What tomtoolkit's page for existing observations does, in another connection."""

    def add():
        ObservationRecord.objects.create(
            target_id=target.pk, facility='LCO', parameters={}, observation_id=number
        )
        connection.close()

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()


@only_on_postgresql
def test_what_the_page_adds_at_the_same_moment_is_not_added_again(sky, target, monkeypatch):
    sky.add_request(12), sky.add_request(13)
    plain = find_requests.known_among

    def looked(requests, facilities):
        found = plain(requests, facilities)
        if len(requests) == 1 and not numbers():
            add_elsewhere(target, requests[0].number)
        return found

    monkeypatch.setattr(find_requests, 'known_among', looked)
    status, report = findrequests(*ADD)
    assert (status, numbers(), report['saved'], report['known']) == (0, ['12', '13'], 1, 1), report


@only_on_postgresql
def test_nor_when_a_cadence_completes_what_was_uncertain(
    client, staff, portal, target, monkeypatch
):
    first = submitting.by_form(client, portal, target, 'LCO', 'RetryFailedObservationsStrategy')
    fail(portal, first)
    broken = accepted_then(portal, faults.reset())
    ran('updatecadences')
    portal.breaks.remove(broken)
    plain = accepted_records._record_of

    def looked(intent, number):
        found = plain(intent, number)
        if found is None:
            add_elsewhere(target, number)
        return found

    monkeypatch.setattr(accepted_records, '_record_of', looked)
    status, report = ran('updatecadences')
    assert status == 0, report
    record = ObservationRecord.objects.exclude(pk=first.pk).get()
    assert record.parameters['c_1_ic_1_filter'] == 'rp' and record.observationgroup_set.exists()


def test_what_the_page_adds_before_a_cadence_records_it_is_its_record(
    client, staff, portal, target, monkeypatch
):
    first = submitting.by_form(client, portal, target, 'LCO', 'RetryFailedObservationsStrategy')
    fail(portal, first)

    def add():
        fields = {'target_id': target.pk, 'facility': 'LCO', 'observation_id': max(portal.requests)}
        client.post('/observations/add/', fields | {'confirm': 'on'})

    monkeypatch.setattr(ocs, 'make_request', around_a_submission(after=add))
    status, report = ran('updatecadences')
    assert (status, report['submitted']) == (0, 1), report
    record = ObservationRecord.objects.exclude(pk=first.pk).get()
    assert record.parameters['c_1_ic_1_filter'] == 'rp' and record.observationgroup_set.exists()


def test_one_run_adds_at_a_time_and_a_list_waits_for_nobody(sky):
    UpdateRun.objects.create(
        job='findrequests', command='findrequests', host='elsewhere', pid=1,
        started='2026-01-01T00:00Z', heartbeat=timezone.now(),
    )  # fmt: skip
    with pytest.raises(CommandError) as error:
        findrequests(*ADD)
    assert error.value.returncode == 75
    assert findrequests()[0] == 0


def test_the_schedule_can_add_what_is_new(sky, target, hourly):
    hourly.write_text(
        f'{hourly.read_text()}[findrequests]\nwhen = "daily"\n'
        'command = ["findrequests", "--add", "--proposal", "DEMO2026", "--days", "30"]\n'
    )
    sky.add_request(12)
    call_command('schedule', 'run', 'findrequests')
    assert numbers() == ['12']
    run = UpdateRun.objects.get()
    assert (run.job, run.command, run.exit_status, run.only) == (
        'findrequests', 'findrequests', 0, '',
    )  # fmt: skip


@pytest.mark.parametrize('chosen', [(), ('--facility', 'LCO'), ('--facility', 'SOAR')])
def test_of_an_account_a_request_is_for_the_facility_of_its_instrument(sky, target, chosen):
    sky.add_request(12)
    sky.add_request(13, instrument='SOAR_GHTS_REDCAM_IMAGER')
    assert findrequests(*ADD, *chosen)[0] == 0
    rows = ObservationRecord.objects.order_by('observation_id')
    assert list(rows.values_list('facility', flat=True)) == ['LCO', 'SOAR']
    assert asked(sky)['/api/profile/'] == 1, 'facilities with one key are one account'


def points_at(**where):
    return lambda group: group['requests'][0]['configurations'][0]['target'].update(where)


def without_windows(rows):
    rows['requests'][0]['windows'] = []


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (without_windows, '13'),
        (lambda group: group.pop('requests'), 'group'),
        (lambda group: group.update(created='yesterday'), '13'),
        (lambda group: group['requests'][0]['configurations'][0].update(target=None), '13'),
        (lambda group: group.update(created='9' * 30), '13'),
        (points_at(ra=10**400), '13'),
        (points_at(ra='inf'), '13'),
        (points_at(dec=91), '13'),
        (lambda group: group.pop('proposal'), '13'),
        (lambda group: group.update(proposal=None), '13'),
        (lambda group: (group.pop('id'), group.pop('requests')), 'group M 31'),
        (lambda group: group.update(requests=[7]), 'one of group'),
        (lambda group: group['requests'][0].update(id='\0'), 'one of group'),
    ],
)
def test_an_odd_request_hides_no_other(sky, target, change, named):
    for number in (12, 13, 14):
        sky.add_request(number)

    def odd(call, reply):
        answer = json.loads(reply.body)
        change(answer['results'][1])
        return json_reply(answer)

    sky.break_('/api/requestgroups/', odd)
    status, report = findrequests(*ADD)
    assert (status, numbers(), report['odd'], report['found']) == (1, ['12', '14'], 1, 3)
    assert report['failures'][0]['observation_id'].startswith(named)


def test_a_group_without_an_id_is_a_group_of_the_list(sky, target, monkeypatch):
    monkeypatch.setattr(portal_requests, 'PAGE', 2)
    for number in range(12, 17):
        sky.add_request(number)

    def odd(call, reply):
        answer = json.loads(reply.body)
        for group in answer['results']:
            group['requests'][0]['id'] == 15 and group.pop('id')
        return json_reply(answer)

    sky.break_('/api/requestgroups/', odd)
    status, report = findrequests(*ADD)
    assert (status, report['saved'], report['found']) == (0, 5, 5), report


def test_a_request_that_a_match_manager_cannot_read_is_named(sky, target, monkeypatch):
    sky.add_request(12, target='unheard of', ra=1.0), sky.add_request(13)
    plain = find_requests.Matches.match

    def match(self, request):
        return plain(self, request) if request.number == '13' else 1 / 0

    monkeypatch.setattr(find_requests.Matches, 'match', match)
    status, report = findrequests(*ADD)
    assert (status, numbers(), report['odd'], report['found']) == (1, ['13'], 1, 2)
    assert report['failures'][0]['observation_id'] == '12'
