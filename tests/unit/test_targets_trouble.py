"""`updatetargets`: trouble stays with its candidate, its query or its service, and has a name."""

import time

import pytest
from django.db import OperationalError
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.models import DataServiceQuery
from tom_targets.models import Target, TargetName

from tom_auto.errors import BadAnswer
from tom_auto.models import RunFailure, ServiceTarget, UpdateRun
from tom_auto.targets.hidden_faults import overheard_faults
from tom_auto.targets.names import Names

from .brokers import (
    ALERCE,
    MPC,
    NED,
    TNS,
    brightness,
    names,
    ned_table,
    save_query,
    tns,
    updatetargets,
)
from .service_classes import at, found

pytestmark = pytest.mark.django_db(transaction=True)


def errors(report):
    return {one['facility']: one['error'] for one in report['failures']}


@pytest.mark.parametrize(
    ('candidate', 'says'),
    [
        (found(''), 'cannot be the name of a target'),
        (found('n' * 101), 'cannot be the name of a target'),
        (found('a', ra='east'), "ra is 'east', which is not a number"),
        (found('a', dec=91), 'Dec 91.0 is not a position in degrees'),
        (found('a', ra=float('nan')), 'RA None, Dec 20.0 is not a position'),
        ({'name': 'a'}, 'the class of Survey failed on the answer'),
    ],
)
def test_a_candidate_that_makes_no_sense_is_alone(survey, candidate, says):
    survey(results=[found('first'), candidate, found('last')])
    status, report = updatetargets()
    assert (status, names()) == (1, ['first', 'last'])
    assert says in errors(report)['Survey']


@pytest.mark.parametrize('odd', [None, '', float('nan'), ['b']])
def test_an_alias_that_is_no_text_is_left_out(survey, odd):
    survey(results=[found('a', aliases=['b', odd, 12345])])
    for _ in range(2):
        assert updatetargets()[0] == 0
    aliases = set(TargetName.objects.values_list('name', flat=True))
    assert (names(), aliases) == (['a'], {'b', '12345'})


def test_nor_does_one_fail_the_data_of_its_target(survey):
    survey('Knows', results=[found('a')], others=[None, 12345, 'b'])
    assert updatetargets()[0] == 0
    assert set(TargetName.objects.values_list('name', flat=True)) == {'b', '12345'}


def test_each_target_has_its_own_data(survey):
    survey('KeepsAnswers', results=[found('a'), found('b')],
           points={'a': [at(1, 17.0)], 'b': [at(1, 19.0)]})  # fmt: skip
    updatetargets()
    assert (brightness('a'), brightness('b')) == ([17.0], [19.0])


def test_a_changed_point_is_the_same_point_and_does_not_stop_the_rest(survey, monkeypatch):
    own = survey(results=[found('a')], points={'a': [at(1, 17.0), at(2, 17.5)]})
    updatetargets()
    changed = {'a': [at(1, 17.0, error=0.02), at(2, 17.5), at(3, 18.0)]}
    monkeypatch.setattr(own, 'points', changed)
    forget_when_asked()

    status, report = updatetargets()

    assert (status, report['points']) == (0, 2)
    assert brightness('a') == [17.0, 17.5, 18.0]
    assert PhotometryReducedDatum.objects.earliest().brightness_error == 0.02


def test_points_that_come_with_the_candidate_are_stored_once(survey):
    with_data = found('a', reduced_datums={'photometry': [at(1, 17.0)]})
    survey(results=[with_data])
    assert updatetargets()[1]['points'] == 1
    assert updatetargets()[1]['points'] == 0
    assert brightness('a') == [17.0]


def test_a_point_that_cannot_be_stored_keeps_those_before_it_and_the_target(survey):
    points = [at(1, 17.0), at(2, 17.5) | {'telescope': None}, at(3, 18.0)]
    survey(results=[found('a', reduced_datums={'photometry': points}), found('b')])
    status, _ = updatetargets()
    assert (status, names(), brightness('a')) == (1, ['a', 'b'], [17.0])


def test_points_that_a_class_stores_at_once_do_not_undo_their_target(survey):
    """The database's constraint refuses the second, and with it the statement."""
    points = {'photometry': [at(1, 17.0), at(1, 17.0)]}
    survey('StoresAtOnce', results=[found('a', reduced_datums=points), found('b')])
    for new in (2, 0):
        status, report = updatetargets()
        assert (status, report['new'], report['points']) == (1, new, 0)
        assert names() == ['a', 'b']
        assert 'unique' in errors(report)['Survey'].lower()


def test_what_a_class_adds_to_a_target_is_added_to_known_ones_as_well(survey):
    own = survey('AddsDetail', results=[found('a', rating='1')])
    updatetargets()
    own.results[0]['rating'] = '2'
    updatetargets()
    assert Target.objects.get().tags['rating'] == '2'


def test_a_service_that_hangs_is_ended_and_named(survey, automation):
    automation['TRANSFER_TIMEOUT'] = 1
    survey('Sleeps')
    began = time.monotonic()
    status, report = updatetargets()
    assert (status, time.monotonic() - began < 10) == (1, True)
    assert errors(report)['Survey'] == 'Survey.query_targets has not ended after 1 s'


def test_the_deadline_ends_a_service_that_hangs(survey, broker):
    survey('Sleeps')
    status, report = updatetargets('--deadline', '1')
    assert (status, report['seconds'] < 8) == (1, True)
    assert UpdateRun.objects.get().status == 'failed'


def test_a_service_that_ends_its_process_takes_nobody_along(survey, broker):
    broker.hosts[TNS] = tns('2026ab')
    survey('Exits'), save_query('TNS')
    status, report = updatetargets()
    assert (status, names()) == (1, ['SN2026ab'])
    assert errors(report) == {'Survey': 'Survey.query_targets ended its process'}


def test_a_service_that_cannot_be_reached_is_not_asked_for_each_query(survey):
    survey('Offline')
    save_query('Survey'), save_query('Survey')
    _, report = updatetargets()
    assert (report['failed'], report['set_aside']) == (1, 2)
    assert RunFailure.objects.get().observation_id == ''


def known(name='known'):
    """A target whose data the survey has."""
    target = Target.objects.create(name=name, type='SIDEREAL', ra=100, dec=-20)
    ServiceTarget.objects.create(target=target, service='Survey')


def test_data_are_asked_for_although_no_query_is_answered(survey):
    survey('Silent', has_queries=False, points={'known': [at(1, 17.0)]})
    save_query('Survey'), known()
    status, report = updatetargets()
    assert (status, brightness('known')) == (1, [17.0])
    assert (report['due'], report['failed'], report['set_aside']) == (3, 1, 1), report


@pytest.mark.parametrize(
    ('silent', 'kept', 'failed'),
    [
        ({'b'}, ['a', 'c', 'd'], ['a candidate']),
        ({'b', 'd'}, ['a', 'c'], ['a candidate'] * 2),
        ({'b', 'c'}, ['a'], ['a candidate', '']),
    ],
)
def test_a_query_goes_on_after_a_candidate_without_an_answer_but_not_after_two(
    survey, silent, kept, failed
):
    results = [found(name, ra=ra) for ra, name in enumerate('abcd')]
    survey('Silent', results=results, silent=silent, points={'known': [at(1, 17.0)]})
    known()
    status, report = updatetargets()
    assert (status, report['new'], brightness('known')) == (1, len(kept), [17.0])
    assert names() == [*kept, 'known']
    assert [one['observation_id'] for one in report['failures']] == failed
    assert report['not_kept'] == 4 - len(kept) - (failed[-1] == ''), report


def test_a_service_that_refuses_the_key_is_not_asked_for_data(broker):
    broker.hosts[TNS] = lambda path, body: (401, {})
    save_query('TNS'), known()
    ServiceTarget.objects.update(service='TNS')
    status, report = updatetargets()
    assert (status, report['failed_items'], len(broker.asked)) == (1, 1, 1)


def test_parameters_of_an_older_version_fail_their_query_alone(survey):
    survey('NeedsKey', results=[found('a')])
    DataServiceQuery.objects.create(
        name='new', data_service='Survey', parameters={'object_class': 'SN'}
    )
    status, report = updatetargets()
    assert (status, names()) == (1, ['a'])
    assert 'its saved parameters are not of this version' in errors(report)['Survey']


def test_a_service_without_settings_is_named(broker, settings):
    settings.DATA_SERVICES = {}
    save_query('TNS')
    status, report = updatetargets()
    assert status == 1
    assert errors(report)['TNS'] == "DATA_SERVICES['TNS'] is not in the settings"


HTML = 200, b'<html>Down for maintenance</html>'


@pytest.mark.parametrize(
    ('service', 'host', 'answer', 'says'),
    [
        ('TNS', TNS, (401, {}), 'TNS refuses access (401)'),
        ('TNS', TNS, (429, {}), 'TNS asks us to try again later (429)'),
        ('TNS', TNS, HTML, 'TNS answered something that is not JSON'),
        ('ALeRCE', ALERCE, (500, {}), 'ALeRCE answered 500'),
        ('ALeRCE', ALERCE, HTML, 'ALeRCE answered something that is not JSON'),
        ('MPC Explorer', MPC, (429, {}), 'MPC Explorer asks us to try again later (429)'),
        ('MPC Explorer', MPC, (401, {}), 'MPC Explorer refuses access (401)'),
        ('MPC Explorer', MPC, HTML, 'MPC Explorer answered something that is not JSON'),
        ('NED', NED, (503, {}), 'NED answered 503'),
        ('NED', NED, HTML, 'NED'),
    ],
)
def test_what_is_wrong_with_tomtoolkits_own_services_is_told(
    broker, alerce, service, host, answer, says
):
    fields = {'ALeRCE': {'survey': 'ZTF'}, 'NED': {'object_id': 'M31'}}.get(service, {})
    save_query(service, **fields)
    broker.hosts[host] = lambda path, body: answer
    status, report = updatetargets()
    assert status == 1
    assert says in errors(report)[service]


def test_a_light_curve_that_does_not_come_is_told(broker, alerce):
    """ALeRCE's class logs it, and calls it an empty one."""
    alerce.add('ZTF26a'), alerce.add('ZTF26b')
    alerce.curves['ZTF26a'] = 'nonsense'
    save_query('ALeRCE', survey='ZTF')
    status, report = updatetargets()
    assert (status, names()) == (1, ['ZTF26a', 'ZTF26b'])
    assert len(brightness('ZTF26b')) == 2
    assert [one['observation_id'] for one in report['failures']] == ['ZTF26a']


def test_a_target_that_is_known_by_an_alias_gets_the_name_as_well(broker):
    other = Target.objects.create(name='other', type='SIDEREAL', ra=1, dec=2)
    TargetName.objects.create(target=other, name='NGC 0224')
    table = ned_table('NGC 0224', 10.68, 41.27)
    broker.hosts[NED] = lambda path, body: (200, table)
    save_query('NED', object_id='M 31')
    status, report = updatetargets()
    assert (status, report['new']) == (0, 0), report
    assert [alias.name for alias in other.aliases.order_by('pk')] == ['NGC 0224', 'M 31']


def forget_when_asked():
    ServiceTarget.objects.update(answered_at=None)


def test_what_the_database_says_is_not_what_the_service_answered():
    """A service may have answered badly before, and gone on."""
    with pytest.raises(OperationalError), overheard_faults('Survey', object) as heard:
        heard.append(BadAnswer('Survey answered 500'))
        raise OperationalError('database is locked')


@pytest.mark.parametrize('model', [Target, TargetName])
def test_what_another_transaction_commits_late_is_read(model):
    """It has a lower id than what was committed, and read, before."""
    mine = Target.objects.create(name='mine')

    def named(pk, name):
        return model(pk=pk, name=name, **({} if model is Target else {'target': mine}))

    known, before = Names(), named(None, 'before')
    before.save()
    named(before.pk + 2, 'first').save()
    known.read_new()
    late = named(before.pk + 1, 'late')
    late.save()
    known.read_new()
    assert known.find(['late']) == (late.pk if model is Target else mine.pk)
