"""`updatetargets`: new candidates become targets, once; known ones are recognised."""

import json
import sys
from time import sleep

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.utils import timezone
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.models import DataServiceQuery
from tom_targets.base_models import BaseTarget, TargetMatchManager
from tom_targets.models import Target, TargetExtra, TargetName
from tom_targets.permissions import targets_for_user

from tom_auto.models import RunFailure, ServiceTarget, UpdateRun

from .brokers import MPC, TNS, names, save_query, tns, updatetargets
from .service_classes import found

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_query_of_the_page_makes_targets_with_extras_and_data(client, login, alerce):
    login()
    alerce.add('ZTF26a', ra=11.5)
    fields = {'data_service': 'ALeRCE', 'query_save': 'on', 'query_name': 'mine', 'survey': 'ZTF'}
    assert client.post('/tom_dataservices/query/create/', fields).status_code == 302

    status, report = updatetargets()

    assert (status, report['new'], report['points']) == (0, 1, 2), report
    target = Target.objects.get()
    assert (target.name, target.ra, target.tags['ndet']) == ('ZTF26a', 11.5, '2')
    assert PhotometryReducedDatum.objects.filter(target=target).count() == 2
    assert DataServiceQuery.objects.get().last_run is not None


def test_the_run_is_remembered(alerce):
    alerce.add('ZTF26a')
    save_query('ALeRCE', survey='ZTF')
    updatetargets()
    run = UpdateRun.objects.get()
    assert (run.job, run.status, run.found, run.saved) == ('updatetargets', 'ok', 1, 1)


@pytest.mark.parametrize('existing', ['SN 2026ab', 'sn2026AB', 'SN-2026ab'])
def test_a_name_that_is_written_otherwise_is_known(broker, existing):
    Target.objects.create(name=existing, type='SIDEREAL', ra=1, dec=2)
    broker.hosts[TNS] = tns('2026ab')
    save_query('TNS')
    status, report = updatetargets()
    assert (status, report['new'], names()) == (0, 0, [existing])


def test_of_two_whose_names_are_alike_the_one_with_its_name_or_at_its_place_is_known(broker):
    """The stub has its transients at RA 30, Dec -5."""
    _far, near, exact = (
        Target.objects.create(name=name, type='SIDEREAL', ra=ra, dec=-5)
        for name, ra in (('SN 2026ab', 90), ('sn2026ab', 30), ('SN-2026ac', 90))
    )
    TargetName.objects.create(target=near, name='SN 2026ac')
    TargetName.objects.create(target=exact, name='SN2026ac')
    broker.hosts[TNS] = tns('2026ab', '2026ac')
    save_query('TNS')
    status, report = updatetargets()
    assert (status, report['new']) == (0, 0), report
    found = ServiceTarget.objects.values_list('target', flat=True)
    assert sorted(found) == [near.pk, exact.pk]


def test_an_alias_is_known(broker):
    target = Target.objects.create(name='my star', type='SIDEREAL', ra=1, dec=2)
    TargetName.objects.create(target=target, name='SN2026ab')
    broker.hosts[TNS] = tns('2026ab')
    save_query('TNS')
    assert updatetargets()[1]['new'] == 0
    assert names() == ['my star']


class ByPosition(TargetMatchManager):
    """As the guide of tomtoolkit shows one."""

    def match_target(self, target, *args, **kwargs):
        return self.match_cone_search(target.ra, target.dec, 2)


def test_the_match_manager_of_the_tom_is_asked(broker, monkeypatch):
    manager = ByPosition()
    manager.model = Target
    monkeypatch.setattr(BaseTarget, 'matches', manager)
    Target.objects.create(name='my star', type='SIDEREAL', ra=30.0001, dec=-5.0)
    broker.hosts[TNS] = tns('2026ab', '2026ac')
    save_query('TNS')
    updatetargets()
    assert names() == ['SN2026ac', 'my star']


def test_what_the_service_knows_newly_is_taken_over_and_what_a_person_changed_stays(alerce):
    alerce.add('ZTF26a', ra=11.5, probability=0.5)
    save_query('ALeRCE', survey='ZTF')
    updatetargets()
    target = Target.objects.get()
    Target.objects.update(dec=-77.0)
    TargetExtra.objects.filter(key='probability').update(value='mine')

    alerce.add('ZTF26a', ra=11.6, dec=20.1, ndet=9, probability=0.9, corrected=True)
    _, report = updatetargets()

    assert (report['refreshed'], report['new']) == (1, 0)
    target = Target.objects.get()
    assert (target.ra, target.dec) == (11.6, -77.0)
    assert target.tags | {'survey': ''} == {
        'ndet': '9', 'probability': 'mine', 'corrected': 'True', 'survey': '',
    }  # fmt: skip


@pytest.mark.parametrize('is_else_changed', [False, True])
def test_what_a_person_has_removed_stays_away(survey, is_else_changed):
    own = survey('Knows', results=[found('a', distance=3.5, rating='1', aliases=['b', 'c'])])
    updatetargets()
    target = Target.objects.get()
    assert (target.distance, target.tags, target.aliases.count()) == (3.5, {'rating': '1'}, 2)
    Target.objects.update(distance=None)
    TargetExtra.objects.all().delete()
    TargetName.objects.filter(name='b').delete()
    if is_else_changed:
        own.results[0] |= {'ra': 10.001, 'aliases': ['b', 'c', 'd']}
    for _ in range(2):
        assert updatetargets()[0] == 0
    target = Target.objects.get()
    assert (target.distance, target.tags) == (None, {})
    names = set(target.aliases.values_list('name', flat=True))
    assert names == ({'c', 'd'} if is_else_changed else {'c'})


def test_nor_does_an_alias_come_back_with_the_data_of_its_target(survey):
    survey('Knows', results=[found('a')], others=['b', 'c'])
    updatetargets()
    TargetName.objects.filter(name='b').delete()
    ServiceTarget.objects.update(asked_at=None)
    updatetargets()
    assert list(TargetName.objects.values_list('name', flat=True)) == ['c']


def test_what_the_service_begins_to_say_is_taken_over_where_nothing_is(survey):
    own = survey('Knows', results=[found('a')])
    updatetargets()
    own.results[0] |= {'distance': 3.5, 'rating': '1'}
    updatetargets()
    target = Target.objects.get()
    assert (target.distance, target.tags) == (3.5, {'rating': '1'})


def test_two_runs_give_the_same_database_as_one(broker, alerce):
    for number in range(5):
        alerce.add(f'ZTF26a{number}', ra=number)
    broker.hosts[TNS] = tns('2026ab', '2026ac')
    save_query('ALeRCE', survey='ZTF')
    save_query('TNS')

    def everything():
        targets = Target.objects.order_by('name').values('name', 'ra', 'dec', 'modified')
        extras = TargetExtra.objects.order_by('pk').values()
        points = PhotometryReducedDatum.objects.order_by('pk').values()
        return [*targets], [*extras], [*points], TargetName.objects.count()

    updatetargets()
    once = everything()
    status, report = updatetargets()
    assert (status, report['known'], report['new'], report['refreshed']) == (0, 7, 0, 0)
    assert everything() == once


def test_who_may_see_a_new_target(broker, automation):
    sn, others = Group.objects.create(name='SN'), Group.objects.create(name='others')
    ann, bob = (User.objects.create_user(name) for name in ('ann', 'bob'))
    ann.groups.add(sn), bob.groups.add(others)
    automation['NEW_TARGETS'] = {'groups': ['SN'], 'permission': 'PRIVATE'}
    broker.hosts[TNS] = tns('2026ab')
    save_query('TNS')

    updatetargets()

    seen = [targets_for_user(who, Target.objects.all(), 'view_target') for who in (ann, bob)]
    assert [list(map(str, one)) for one in seen] == [['SN2026ab'], []]


def test_it_is_told_when_nobody_would_see_them(broker, capsys):
    broker.hosts[TNS] = tns('2026ab')
    save_query('TNS')
    call_command('updatetargets')
    assert 'Only superusers see the new targets' in capsys.readouterr().out


def test_a_dry_run_says_what_would_be_new_and_writes_nothing(broker):
    Target.objects.create(name='SN 2026ab', type='SIDEREAL', ra=1, dec=2)
    broker.hosts[TNS] = tns('2026ab', '2026ac')
    save_query('TNS')
    status, report = updatetargets('--dry-run')
    assert status == 0
    assert report['candidates'] == [
        {'service': 'TNS', 'name': 'SN2026ab', 'outcome': 'known', 'target': 'SN 2026ab'},
        {'service': 'TNS', 'name': 'SN2026ac', 'outcome': 'new', 'target': ''},
    ]
    assert names() == ['SN 2026ab']
    assert not UpdateRun.objects.exists() and not ServiceTarget.objects.exists()
    assert DataServiceQuery.objects.get().last_run is None


def test_a_limit_is_of_new_targets(broker):
    Target.objects.create(name='SN 2026ab', type='SIDEREAL', ra=1, dec=2)
    broker.hosts[TNS] = tns('2026ab', '2026ac', '2026ad')
    save_query('TNS')
    updatetargets('--limit', '1')
    assert names() == ['SN 2026ab', 'SN2026ac']
    assert UpdateRun.objects.get().only == '1 new targets of a query'


@pytest.mark.parametrize('by', ['id', 'name', 'service'])
def test_only_what_is_chosen_is_asked(broker, alerce, by):
    alerce.add('ZTF26a')
    broker.hosts[TNS] = tns('2026ab')
    query = save_query('TNS', 'my query')
    save_query('ALeRCE', survey='ZTF')
    chosen = {'id': ('--query', str(query.pk)), 'name': ('--query', 'my query'),
              'service': ('--service', 'TNS')}  # fmt: skip
    updatetargets(*chosen[by])
    assert names() == ['SN2026ab']


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (('--query', 'none'), "There is no query 'none'. The queries are: "),
        (('--query', '99'), "There is no query '99'. The queries are: "),
        (('--query', 'twice'), '(twice, TNS)'),
        (('--service', 'Gaia'), 'The data services are: ALeRCE, '),
    ],
)
def test_bad_usage_says_what_there_is_to_choose_from(broker, arguments, says):
    save_query('TNS', 'twice'), save_query('TNS', 'twice')
    with pytest.raises(CommandError) as error:
        updatetargets(*arguments)
    assert error.value.returncode == 2
    assert says in str(error.value)
    assert not broker.asked


def test_a_query_may_have_a_number_for_a_name(broker):
    broker.hosts[TNS] = tns('2026ab')
    query = save_query('TNS', '70000')
    assert updatetargets('--query', '70000')[1]['new'] == 1
    other = save_query('TNS', str(query.pk))
    with pytest.raises(CommandError, match='the id of one query, and the name of another') as error:
        updatetargets('--query', str(query.pk))
    assert f'{other.pk} ({query.pk}, TNS)' in str(error.value)
    assert updatetargets('--query', '70000')[1]['known'] == 1


@pytest.mark.parametrize('order', [1, -1])
def test_two_candidates_whose_names_differ_in_case_only(survey, order):
    """To the TOM they are one name, so one of them is its target, and stays it."""
    own = survey(results=[found('Twin', ra=10.0), found('TWIN', ra=200.0)])
    for _ in range(3):
        status, report = updatetargets()
        assert (status, report['found'], report['not_kept'], report['refreshed']) == (1, 2, 1, 0)
        [failure] = report['failures']
        assert failure['observation_id'] == 'TWIN'
        assert 'TWIN has the same name as Twin, which is elsewhere' in failure['error']
        own.results.sort(key=lambda result: order * result['ra'])
    target = Target.objects.get()
    assert (target.name, target.ra) == ('Twin', 10.0)


def test_one_object_that_an_answer_has_twice_is_kept_once(survey):
    target = Target.objects.create(name='Twin', type='SIDEREAL', ra=10.0, dec=20.0)
    TargetName.objects.create(target=target, name='Other')
    survey(results=[found('Twin', ra=10.0001), found('Other', ra=10.0002)])
    updatetargets()
    for _ in range(2):
        status, report = updatetargets()
        assert (status, report['known'], report['refreshed']) == (0, 2, 0)


def test_a_candidate_that_is_spelled_otherwise_from_now_on_is_still_refreshed(survey):
    own = survey(results=[found('SN 2026ab', ra=10.0)])
    updatetargets()
    own.results[:] = [found('SN2026ab', ra=10.001)]
    assert updatetargets()[1]['refreshed'] == 1
    assert Target.objects.get().ra == 10.001


def test_a_group_that_does_not_exist_is_bad_usage(broker, automation):
    automation['NEW_TARGETS'] = {'groups': ['nobody']}
    save_query('TNS')
    with pytest.raises(CommandError, match='nobody, but there is no such group'):
        updatetargets()


def test_one_run_at_a_time(broker):
    UpdateRun.objects.create(
        job='updatetargets', command='updatetargets', host='elsewhere', pid=1, started='2026-01-01T00:00Z',
        heartbeat=timezone.now(),
    )  # fmt: skip
    with pytest.raises(CommandError) as error:
        updatetargets()
    assert error.value.returncode == 75


def test_a_paused_job_does_nothing(client, staff, broker, hourly):
    hourly.write_text(f'{hourly.read_text()}[updatetargets]\nwhen = "daily"\n')
    save_query('TNS')
    assert client.post('/automation/updatetargets/pause/').status_code == 302
    assert updatetargets()[1]['status'] == 'paused'
    assert not broker.asked


@pytest.mark.parametrize('hook', ['refuses_a', 'exits_at_a', 'hangs_at_a'])
def test_a_hook_that_does_not_end_well_fails_its_candidate_alone(alerce, settings, hook):
    alerce.add('ZTF26a'), alerce.add('ZTF26b')
    settings.HOOKS = settings.HOOKS | {'target_post_save': f'{__name__}.{hook}'}
    settings.TOM_AUTO |= {'HOOK_SECONDS': 0.3}
    save_query('ALeRCE', survey='ZTF')
    status, report = updatetargets()
    assert (status, names()) == (1, ['ZTF26b'])
    assert RunFailure.objects.get().observation_id == 'ZTF26a'
    assert report['failures'][0]['kind'] == 'hook failed'


def refuses_a(target, created):
    """A hook of the TOM."""
    if target.name == 'ZTF26a':
        raise ValueError('not this one')


def exits_at_a(target, created):
    """A hook that calls `sys.exit()`."""
    if target.name == 'ZTF26a':
        sys.exit(2)


def hangs_at_a(target, created):
    """A hook that takes longer than it may."""
    if target.name == 'ZTF26a':
        sleep(30)


def test_unknown_and_broken_things_are_named_and_others_go_on(broker):
    broker.hosts |= {TNS: tns('2026ab'), MPC: lambda path, body: (500, {})}
    save_query('TNS')
    save_query('MPC Explorer', designation='Bennu')
    DataServiceQuery.objects.create(name='old', data_service='Gone', parameters={})
    status, report = updatetargets()
    assert (status, names()) == (1, ['SN2026ab'])
    errors = {one['facility']: one['error'] for one in report['failures']}
    assert errors['MPC Explorer'] == 'MPC Explorer answered 500'
    assert 'is not installed' in errors['Gone'] and 'ALeRCE' in errors['Gone']


def test_json_is_plain(broker):
    save_query('TNS')
    assert json.dumps(updatetargets()[1])


def test_a_target_that_was_renamed_is_not_made_again(survey):
    survey(results=[found('Cand1', ra=10.0)])
    updatetargets()
    Target.objects.update(name='my star')
    assert [updatetargets('--dry-run')[1]['known'] for _ in range(2)] == [1, 1]
    for _ in range(2):
        status, report = updatetargets()
        assert (status, report['new'], names()) == (0, 0, ['my star'])


def test_a_dry_run_counts_what_it_would_make_once(survey, broker):
    survey(results=[found('SN 2026ab', ra=1.0), found('SN2026ab', ra=1.0), found('b', ra=50.0)])
    broker.hosts[TNS] = tns('2026ab')
    save_query('TNS')
    dry = updatetargets('--dry-run')[1]
    assert (dry['new'], dry['known'], dry['found']) == (2, 2, 4)
    assert updatetargets()[1]['new'] == 2


def test_a_query_of_another_service_than_the_one_chosen_is_bad_usage(broker, alerce):
    save_query('TNS', 'a')
    with pytest.raises(CommandError, match=r'exclude each other: \d+ \(a, TNS\)') as error:
        updatetargets('--query', 'a', '--service', 'ALeRCE')
    assert error.value.returncode == 2
