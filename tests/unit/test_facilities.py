"""Facility classes of every shape: each works, or is reported once, and none harms another."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.blanco import BLANCOFacility
from tom_observations.facilities.gemini import GEMFacility
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facilities.lco_redirect import LCORedirectFacility
from tom_observations.facilities.lt import LTFacility
from tom_observations.facilities.manual import ExampleManualFacility
from tom_observations.facilities.soar import SOARFacility
from tom_observations.models import ObservationRecord

import faults
from simulated import Observatory
from tom_auto.models import RecordSync
from tom_auto.simulator import archive

from . import facility_classes as shapes
from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Outcome:
    """What a run makes of a record that was PENDING: its status, and what is reported of it."""

    status: str
    unsupported: str = ''
    error: str = ''
    files: int = 0


#: The classes of the table "Facility classes in the wild": each works, or cannot be asked.
IN_THE_WILD = {
    LCOFacility: Outcome('COMPLETED', files=2),
    SOARFacility: Outcome('COMPLETED', files=2),
    BLANCOFacility: Outcome('COMPLETED', files=2),
    LCORedirectFacility: Outcome('COMPLETED', files=2),
    GEMFacility: Outcome('PENDING', 'GEM reports no status'),
    LTFacility: Outcome('PENDING', 'LT reports no status'),
    ExampleManualFacility: Outcome('PENDING', 'Example has no get_observation_status'),
    shapes.Manual: Outcome('PENDING', 'Manual has no get_observation_status'),
    shapes.Eso: Outcome('PENDING', 'ESO does not implement get_observation_status'),
    shapes.Swift: Outcome(
        'PENDING', 'Swift.get_observation_status cannot be called for one record'
    ),
    shapes.Keck: Outcome('PENDING', 'Keck.get_observation_status cannot be called for one record'),
    shapes.Apo: Outcome('PENDING', 'APO reports no status'),
    shapes.Goats: Outcome('DONE', 'GOATS does not implement save_data_products'),
    shapes.Mmt: Outcome('DONE', 'MMT lists products without id, filename and url'),
    shapes.Anu: Outcome('PENDING', 'ANU reports no status'),
}

#: What else a class may be like. A mistake is a failure, and so is data of the wrong kind.
OTHERS = {
    shapes.NoStates: Outcome('DONE', 'NoStates does not implement get_terminal_observing_states'),
    shapes.NoneForProducts: Outcome('DONE'),
    shapes.OwnArchive: Outcome('COMPLETED', files=1),
    shapes.Saves: Outcome('DONE', files=1),
    shapes.SavesNothing: Outcome('DONE', error='saved a broken file: product'),
    shapes.SavesPages: Outcome('DONE', error='it is a web page'),
    shapes.LazyProducts: Outcome('DONE', error='ZeroDivisionError: a mistake', files=1),
    shapes.Broken: Outcome('PENDING', error='ZeroDivisionError: a mistake'),
    shapes.Unconfigured: Outcome(
        'PENDING', error="failed on the answer or a setting: KeyError: 'portal_url'"
    ),
    shapes.Abstract: Outcome('PENDING', 'Abstract lacks what every facility class has to have'),
}


@pytest.fixture
def installed(settings, sky):
    """A TOM in which all of them are installed."""
    classes = [*IN_THE_WILD, *OTHERS, shapes.Says]
    settings.TOM_FACILITY_CLASSES = [f'{each.__module__}.{each.__name__}' for each in classes]
    sky.add_request(1)
    frame = sky.add_frame(1, filename='a.csv', content=b'wavelength,flux')
    settings.FACILITIES = settings.FACILITIES | {
        'ESO': {'login_url': f'{sky.url}/api/profile/'},
        'ANU': {'password': 'open-sesame'},
        'Lazy': {'url': archive.presigned(sky, frame, frame.versions[0], sky.url)},
    }


@pytest.fixture
def a_record_at_each(installed, observed):
    """Makes a record at each of the given facilities, of a user who may have credentials."""
    user = User.objects.create(username='observer')
    return lambda classes: {each: observed(each.name, user=user) for each in classes}


def outcome(facility, record, report):
    """What became of `record`."""
    failure = [each['error'] for each in report['failures'] if each['record'] == record.pk]
    return Outcome(
        ObservationRecord.objects.get(pk=record.pk).status,
        report['unsupported_facilities'].get(facility.name, ''),
        ' '.join(failure),
        DataProduct.objects.filter(observation_record=record).count(),
    )


def assert_as_expected(table, records, report):
    """Texts need only begin, or for errors be found, as the table has them."""
    for facility, record in records.items():
        expected, found = table[facility], outcome(facility, record, report)
        assert found.unsupported.startswith(expected.unsupported), facility
        assert expected.error in found.error, facility
        assert bool(found.unsupported) == bool(expected.unsupported), facility
        assert bool(found.error) == bool(expected.error), facility
        assert (found.status, found.files) == (expected.status, expected.files), facility


def test_the_classes_in_the_wild_fail_no_run(a_record_at_each):
    records = a_record_at_each(IN_THE_WILD)

    status, report = updatedata()

    assert_as_expected(IN_THE_WILD, records, report)
    assert (status, report['failures']) == (0, [])
    assert report['unsupported'] == sum(bool(each.unsupported) for each in IN_THE_WILD.values())
    assert len(files()) == DataProduct.objects.count() == 8
    assert ObservationRecord.objects.get(facility='GOATS').parameters == {'gpp_id': 'o-1'}


def test_all_of_them_at_once(a_record_at_each):
    """Those with mistakes fail by name, and do the others no harm, in this run or the next."""
    table = IN_THE_WILD | OTHERS
    records = a_record_at_each(table)

    status, report = updatedata()

    assert_as_expected(table, records, report)
    failing = {each for each in OTHERS if OTHERS[each].error}
    assert status == 1
    assert {failure['facility'] for failure in report['failures']} == {
        each.name for each in failing
    }
    assert len(files()) == DataProduct.objects.count() == 8 + 3

    status, report = updatedata('--recheck')
    assert_as_expected(table, records, report)
    assert report['saved'] == 0


def test_each_facility_is_named_once_however_many_records_it_has(installed, add_record):
    for _ in range(3):
        add_record('GEM', status='ON_HOLD')

    status, report = updatedata()

    assert (status, report['unsupported']) == (0, 3)
    assert report['unsupported_facilities'] == {'GEM': 'GEM reports no status'}


def test_what_is_not_supported_hides_no_failure(installed, add_record, monkeypatch):
    """The status cannot be asked for, and then the list of frames broke: that was no failure."""
    monkeypatch.setattr(shapes.Eso, 'data_products', lambda self, observation_id: 1 / 0)
    record = add_record('ESO', status='')

    status, report = updatedata()

    assert (status, report['failed'], report['unsupported']) == (1, 1, 0)
    sync = RecordSync.objects.get(record=record)
    assert (sync.state, 'ZeroDivisionError' in sync.error) == ('backing off', True)


def test_a_record_that_cannot_be_asked_for_is_asked_for_again(installed, add_record, monkeypatch):
    """ANU knows nothing today; another version of a class may know more."""
    record = add_record('ANU')
    updatedata()
    assert not RecordSync.objects.get(record=record).is_settled
    monkeypatch.setattr(shapes.Anu, 'known', {'state': 'Succeeded'})

    _, report = updatedata()

    record.refresh_from_db()
    assert (record.status, report['unsupported']) == ('Succeeded', 0)


def test_what_a_class_prints_is_no_answer_and_its_password_is_not_kept(
    installed, add_record, capsys, caplog
):
    add_record('ANU')
    with caplog.at_level('INFO'):
        call_command('updatedata', '--json')
    printed = capsys.readouterr()
    assert printed.out.startswith('{')
    assert printed.out.count('\n') == 1
    assert 'open-sesame' not in printed.out + printed.err


def test_a_login_that_fails_is_the_trouble_of_its_facility_alone(
    a_record_at_each, observed, settings
):
    """Of five records of a facility that is away, none is asked for a sixth."""
    a_record_at_each([shapes.Eso, LCOFacility])
    user = User.objects.get(username='observer')
    for _ in range(7):
        observed('ESO', user=user)
    settings.FACILITIES['ESO']['login_url'] = 'http://127.0.0.1:9'  # nobody listens there

    status, report = updatedata('--workers', '1')

    assert (status, report['saved']) == (1, 2)
    assert {failure['facility'] for failure in report['failures']} == {'ESO'}
    assert 5 + 1 <= len(report['failures']) <= 6 + 1  # the sixth may be on its way by then
    assert 'ESO does not answer' in report['failures'][0]['error']


NOON = datetime(2026, 9, 12, 12, 30, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ('answer', 'state', 'start'),
    [
        ('DONE', 'DONE', None),
        ({'state': 'DONE'}, 'DONE', None),
        ({'state': 'DONE', 'grade': 'A', 'parameters': {}}, 'DONE', None),
        ({'state': 'DONE', 'scheduled_start': None, 'scheduled_end': None}, 'DONE', None),
        ({'state': 'DONE', 'scheduled_start': ''}, 'DONE', None),
        ({'state': 'DONE', 'scheduled_start': NOON}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': NOON.replace(tzinfo=None)}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': NOON.astimezone(EAST)}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': '2026-09-12T12:30:00Z'}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': '2026-09-12T14:30:00+02:00'}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': '2026-09-12 12:30'}, 'DONE', NOON),
        ({'state': 'DONE', 'scheduled_start': '2026-09-12T12:30:00.000000'}, 'DONE', NOON),
    ],
)
def test_a_status_in_any_dress(installed, add_record, monkeypatch, answer, state, start):
    record = add_record('Says')
    monkeypatch.setattr(shapes.Says, 'answer', answer)

    status, report = updatedata()

    record.refresh_from_db()
    assert (status, report['changed']) == (0, 1)
    assert (record.status, record.scheduled_start) == (state, start)
    updatedata('--recheck')
    assert ObservationRecord.objects.get(pk=record.pk).modified == record.modified


@pytest.mark.parametrize(
    ('answer', 'exits'),
    [
        (None, 0),
        ({}, 0),
        ([], 0),
        (['DONE'], 0),
        (7, 0),
        ('', 0),
        ({'state': None}, 0),
        ({'state': ['DONE']}, 0),
        ({'status': 'DONE'}, 0),
        ({'state': 'x' * 201}, 1),
    ],
)
def test_what_is_no_status_is_not_written(installed, add_record, monkeypatch, answer, exits):
    """Nothing that is meant as a status is unsupported; what cannot be one is a failure."""
    record = add_record('Says')
    monkeypatch.setattr(shapes.Says, 'answer', answer)

    status, report = updatedata()

    record.refresh_from_db()
    assert (status, report['failed'], report['unsupported']) == (exits, exits, 1 - exits)
    assert (record.status, record.scheduled_start) == ('PENDING', None)


def test_two_products_of_one_id_are_named(installed, add_record, monkeypatch, settings):
    add_record('Says')
    product = {'id': 1, 'filename': 'a.csv', 'url': settings.FACILITIES['Lazy']['url']}
    monkeypatch.setattr(shapes.Says, 'answer', 'DONE')
    for filename, exits in (('a.csv', 0), ('b.csv', 1)):
        products = [product, product | {'filename': filename}]
        monkeypatch.setattr(shapes.Says, 'products', products)
        status, report = updatedata('--recheck')
        assert (status, DataProduct.objects.count()) == (exits, 1)
    assert 'frame 1 is listed as two different files' in report['failures'][0]['error']


@pytest.mark.parametrize('others', [0, 1])
def test_what_has_no_address_yet_is_awaited(installed, add_record, monkeypatch, settings, others):
    """The first product of a list is not released yet: the rest is good, and it is asked again."""
    products = [
        {'id': number, 'filename': 'a.csv', 'url': settings.FACILITIES['Lazy']['url']}
        for number in range(others + 1)
    ]
    record = add_record('Says')
    monkeypatch.setattr(shapes.Says, 'answer', 'DONE')
    signed = {'url': None, 'filename': 'https://store.example/a.csv?Expires=1&Signature=hush'}
    monkeypatch.setattr(shapes.Says, 'products', [products[0] | signed, *products[1:]])

    status, report = updatedata()

    assert (status, report['failed'], report['saved']) == (1, 1, others)
    assert 'https://store.example/a.csv is listed without' in report['failures'][0]['error']
    assert not RecordSync.objects.get(record=record).is_settled
    monkeypatch.setattr(shapes.Says, 'products', products)
    status, report = updatedata()
    assert (status, report['saved']) == (0, 1)


@pytest.mark.parametrize('start', ['tomorrow, perhaps', 10**30, 1789215000, [], {}])
def test_a_time_that_is_none_does_not_take_the_status_with_it(
    installed, add_record, monkeypatch, start
):
    record = add_record('Says')
    monkeypatch.setattr(shapes.Says, 'answer', {'state': 'DONE', 'scheduled_start': start})

    status, report = updatedata()

    record.refresh_from_db()
    assert (status, report['failed']) == (1, 1)
    assert 'scheduled start that is not a time' in report['failures'][0]['error']
    assert (record.status, record.scheduled_start) == ('DONE', None)


def test_the_data_comes_home_although_the_status_does_not(
    installed, add_record, monkeypatch, settings
):
    add_record('Says')
    product = {'filename': 'a.csv', 'url': settings.FACILITIES['Lazy']['url']}
    for answer, exits in ((None, 0), ({'state': 'DONE', 'scheduled_start': 'tomorrow'}, 1)):
        monkeypatch.setattr(shapes.Says, 'products', [product | {'id': str(answer)}])
        monkeypatch.setattr(shapes.Says, 'answer', answer)
        status, report = updatedata('--recheck')
        assert (status, report['saved']) == (exits, 1)


def test_a_stock_archive_is_asked_by_request_id(sky, observed):
    """By REQNUM, the archive's estimate can lose frames in silence."""
    observed('LCO', frames=3)
    sky.estimate = 1
    _, report = updatedata()
    assert report['saved'] == 3
    frames = [seen.query for seen in sky.requests_seen if seen.path == '/frames/']
    assert all('request_id=' in query and 'REQNUM' not in query for query in frames)


def test_all_pages_of_a_list_are_read(sky, observed, monkeypatch):
    monkeypatch.setattr('tom_auto.observatories.frames.PAGE', 2)
    observed('LCO', frames=5)
    assert updatedata()[1]['saved'] == 5


def test_a_list_without_an_end_ends(sky, observed):
    observed('LCO')
    sky.break_('/frames/', faults.endless_next())
    status, report = updatedata()
    assert status == 1
    assert 'no end' in report['failures'][0]['error']


def test_the_token_does_not_follow_a_list_to_another_host(sky, observed):
    observed('LCO')
    with Observatory() as other:
        elsewhere = f'{other.url}/frames/?offset=1'
        sky.break_('/frames/', faults.edit(lambda page: page.update(next=elsewhere)), times=1)
        updatedata()
        assert other.requests_seen == []


def test_an_address_that_is_none_is_that_facilitys_trouble_alone(observed, settings):
    observed('LCO')
    observed('SOAR')
    broken = settings.FACILITIES['SOAR'] | {'portal_url': 'http://[archive/'}
    settings.FACILITIES = settings.FACILITIES | {'SOAR': broken}

    _, report = updatedata()

    assert (report['checked'], report['unsupported'], report['saved']) == (1, 1, 2)
    assert 'cannot be used as settings.py has it' in report['unsupported_facilities']['SOAR']


def test_nor_is_it_that_of_a_record_with_a_frame_of_the_same_id(sky, observed, settings, target):
    """Somebody has stored a product of that id for a record of the other facility."""
    record, other = observed('LCO', frames=1), observed('SOAR', frames=0)
    [frame] = sky.frames_of[int(record.observation_id)]
    product = DataProduct(product_id=str(frame.id), target=target, observation_record=other)
    product.data.save('a.csv', ContentFile(b'wavelength,flux'))
    broken = settings.FACILITIES['SOAR'] | {'portal_url': 'http://[archive/'}
    settings.FACILITIES = settings.FACILITIES | {'SOAR': broken}

    status, report = updatedata('--facility', 'LCO')

    assert (status, report['checked'], report['unsupported'], report['saved']) == (0, 1, 0, 1)
    assert sorted(files().values()) == sorted([frame.content, b'wavelength,flux'])


@pytest.mark.parametrize('address', ['http://[x/f.fits', 'http://a\u2100b/f.fits'])
def test_a_frame_whose_address_is_none_is_named_and_the_others_come(sky, observed, address):
    observed('LCO', frames=3)
    sky.break_('/frames/', faults.edit(lambda page: page['results'][1].update(url=address)))

    status, report = updatedata()

    [failure] = report['failures']
    assert (status, report['saved'], failure['kind']) == (1, 2, 'bad answer')
    assert any(failure['error'].startswith(frame.filename) for frame in sky.frames.values())
    assert 'without an id, a file name or an address that is valid' in failure['error']


#: An entry of a list that would become a product called None, whoever's it is.
NAMELESS = {'id': None, 'filename': 'a.fits', 'url': 'http://127.0.0.1:9/'}


@pytest.mark.parametrize(
    ('where', 'fault', 'reason'),
    [
        ('/api/', faults.status(500), 'LCO answered 500'),
        ('/api/', faults.status(429), 'asks us to try again later'),
        ('/api/', faults.html(), 'not JSON'),
        ('/api/', faults.broken_json(), 'not JSON'),
        ('/api/', faults.answer([]), 'TypeError'),
        ('/api/', faults.answer({}), 'KeyError'),
        ('/api/', faults.reset(), 'does not answer'),
        ('/frames/', faults.status(500), "LCO's archive answered 500"),
        ('/frames/', faults.html(), 'not JSON'),
        ('/frames/', faults.answer([]), 'other than a list of frames'),
        ('/frames/', faults.answer({'results': [7]}), 'without an id'),
        ('/frames/', faults.answer({'results': [{}]}), 'without an id'),
        ('/frames/', faults.answer({'results': [NAMELESS]}), 'without an id'),
        ('/frames/', faults.answer({'results': [NAMELESS | {'id': ''}]}), 'without an id'),
    ],
)
def test_what_goes_wrong_is_told_and_passes(sky, observed, where, fault, reason):
    observed('LCO')
    sky.break_(where, fault)
    status, report = updatedata()
    assert status == 1
    assert reason in report['failures'][0]['error']

    sky.mend()
    assert updatedata()[0] == 0
    assert DataProduct.objects.count() == 2
