"""`updatetargets`: the reduced data of targets that a service knows."""

import pytest
from django.utils import timezone
from tom_dataproducts.models import PhotometryReducedDatum
from tom_targets.models import Target

from tom_auto.models import ServiceTarget

from .brokers import brightness, save_query, updatetargets
from .service_classes import Survey, at, found

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def known(survey):
    """Makes targets that have a point of the survey, stored by somebody else."""
    survey()

    def make(name, source='Survey'):
        target = Target.objects.create(name=name, type='SIDEREAL', ra=1, dec=2)
        PhotometryReducedDatum.objects.create(
            target=target, bandpass='r', unit='mag', source_name=source, **at(1, 17.0)
        )
        Survey.points[name] = [at(1, 17.0), at(2, 18.0)]
        return target

    return make


def asked():
    """The targets whose data were asked for, in that order."""
    rows = ServiceTarget.objects.exclude(asked_at=None).order_by('asked_at')
    return list(rows.values_list('target__name', flat=True))


@pytest.mark.parametrize('source', ['Survey', 'ZTF (Survey)', 'survey (r)'])
def test_a_target_with_data_of_a_service_gets_the_rest(known, source):
    known('a', source)
    status, report = updatetargets()
    assert (status, report['new'], brightness('a')) == (0, 0, [17.0, 18.0])


def test_a_point_of_somebody_else_stays_as_it_is(known):
    known('a', 'observed by ann')
    ServiceTarget.objects.create(target=Target.objects.get(), service='Survey')
    Survey.points['a'][0]['brightness_error'] = 0.5
    updatetargets()
    mine = PhotometryReducedDatum.objects.earliest()
    assert (mine.source_name, mine.brightness_error) == ('observed by ann', 0.1)
    assert brightness('a') == [17.0, 18.0]


def test_a_target_without_its_data_is_not_asked_for(known):
    known('a', 'observed by ann')
    updatetargets()
    assert asked() == []


def test_those_that_wait_longest_come_first_and_none_too_often(known, automation):
    automation['DATA_TARGETS'] = 2
    for name in 'abc':
        known(name)
    updatetargets()
    assert asked() == ['a', 'b']
    updatetargets()
    assert asked() == ['a', 'b', 'c']
    assert updatetargets()[1]['due'] == 1  # the query alone
    long_ago = timezone.now() - timezone.timedelta(hours=2)
    ServiceTarget.objects.update(answered_at=long_ago)
    updatetargets()
    assert asked() == ['c', 'a', 'b']


def test_one_target_in_trouble_does_not_stop_the_others(known):
    for name in 'abc':
        known(name)
    Survey.points['b'] = [{'timestamp': 'yesterday'}]
    status, report = updatetargets()
    assert status == 1
    assert [one['observation_id'] for one in report['failures']] == ['b']
    assert [brightness(name) for name in 'abc'] == [[17.0, 18.0], [17.0], [17.0, 18.0]]


def test_with_a_query_only_its_new_targets_are_asked_for(known):
    target = known('a')
    now = timezone.now()
    ServiceTarget.objects.create(
        target=target, service='Survey', asked_at=now, answered_at=now.replace(year=2020)
    )
    Survey.results.append(found('new'))
    Survey.points['new'] = [at(3, 19.0)]
    query = save_query('Survey', 'this one')
    updatetargets('--query', str(query.pk))
    assert (brightness('a'), brightness('new')) == ([17.0], [19.0])


def test_a_person_may_wish_for_the_data_of_a_target(admin_client, survey):
    survey()
    target = Target.objects.create(name='a', type='SIDEREAL', ra=1, dec=2)
    Survey.points['a'] = [at(1, 17.0)]
    page = '/admin/tom_auto/servicetarget/'
    assert b'>Survey<' in admin_client.get(f'{page}add/').content
    for _ in range(2):  # the second time it is there already
        admin_client.post(f'{page}add/', {'target': target.pk, 'service': 'Survey'})
    assert ServiceTarget.objects.count() == 1
    status, report = updatetargets()
    assert (status, report['points'], brightness('a')) == (0, 1, [17.0])
    assert b'Survey' in admin_client.get(page).content


def test_it_may_be_taken_back_and_goes_with_its_target(admin_client, survey):
    survey()
    target = Target.objects.create(name='a', type='SIDEREAL', ra=1, dec=2)
    wish = ServiceTarget.objects.create(target=target, service='Survey')
    page = f'/admin/tom_auto/servicetarget/{wish.pk}/delete/'
    assert admin_client.post(page, {'post': 'yes'}).status_code == 302
    assert not ServiceTarget.objects.exists()
