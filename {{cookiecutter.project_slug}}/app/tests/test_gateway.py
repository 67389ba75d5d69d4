"""Facility classes of every shape: each works, or is reported once, and none harms another."""

import pytest
from django.core.files.base import ContentFile
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facilities.manual import ExampleManualFacility
from tom_observations.facility import BaseRoboticObservationFacility
from tom_observations.models import ObservationRecord

from app.observatory import faults

from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


class Robotic(BaseRoboticObservationFacility):
    """What the facilities below have in common: the methods that no run calls."""

    get_form = submit_observation = validate_observation = None
    get_observing_sites = get_observation_url = None

    def get_terminal_observing_states(self):
        return ['DONE']

    def get_observation_status(self, observation_id):
        return {'state': 'DONE', 'scheduled_start': None, 'scheduled_end': None}

    def data_products(self, observation_id, product_id=None):
        return []


class OnlyStatus(Robotic):
    name = 'OnlyStatus'


class NoStatus(Robotic):
    name = 'NoStatus'

    def get_observation_status(self, observation_id):
        return None


class NoStatesAtAll(Robotic):
    name = 'NoStatesAtAll'

    def get_terminal_observing_states(self):
        return None


class OddSignature(Robotic):
    name = 'OddSignature'

    def get_observation_status(self):
        return {'state': 'DONE'}


class ListForStatus(Robotic):
    name = 'ListForStatus'

    def get_observation_status(self, observation_id):
        return ['DONE', None, None]


class NotImplementedAtAll(Robotic):
    name = 'NotImplementedAtAll'

    def get_observation_status(self, observation_id):
        raise NotImplementedError


class StringsForProducts(Robotic):
    name = 'StringsForProducts'

    def data_products(self, observation_id, product_id=None):
        yield 'image.fits'


class Writes(Robotic):
    """Has its own update_observation_status, which writes more than the status."""

    name = 'Writes'

    def update_observation_status(self, observation_id):
        for record in ObservationRecord.objects.filter(observation_id=observation_id):
            record.status = 'DONE'
            record.parameters = {'grade': 'A'}
            record.save()


class Saves(Robotic):
    """Has its own save_data_products."""

    name = 'Saves'

    content = b'wavelength,flux'

    def save_data_products(self, observation_record, product_id=None):
        product, created = DataProduct.objects.get_or_create(
            product_id=f'{self.name}-{observation_record.pk}',
            target=observation_record.target,
            observation_record=observation_record,
        )
        if created and self.content:
            product.data.save('spectrum.csv', ContentFile(self.content))
        return [product]


class SavesNothing(Saves):
    """Leaves a row without a file, as tomtoolkit's own method does when a download fails."""

    name = 'SavesNothing'
    content = b''


class SavesPages(Saves):
    """Saves whatever comes, as tomtoolkit's own method does."""

    name = 'SavesPages'
    content = b'<!DOCTYPE html><html>Service unavailable</html>'


class Broken(Robotic):
    name = 'Broken'

    def get_observation_status(self, observation_id):
        raise ZeroDivisionError('a mistake')


class OwnArchive(LCOFacility):
    """A user's subclass of LCO's class that lists frames in its own way."""

    name = 'OwnArchive'

    def data_products(self, observation_id, product_id=None):
        return super().data_products(observation_id, product_id)[:1]


CLASSES = [
    OnlyStatus, NoStatus, NoStatesAtAll, OddSignature, ListForStatus, NotImplementedAtAll,
    StringsForProducts, Writes, Saves, SavesNothing, SavesPages, Broken, OwnArchive,
    ExampleManualFacility,
]  # fmt: skip


@pytest.fixture(autouse=True)
def installed(settings):
    settings.TOM_FACILITY_CLASSES = settings.TOM_FACILITY_CLASSES + [
        f'{each.__module__}.{each.__name__}' for each in CLASSES
    ]


def test_all_of_them_at_once(sky, observed, add_record):
    good = observed('LCO')
    records = {each.name: add_record(each.name) for each in CLASSES if each is not OwnArchive}
    records['OwnArchive'] = observed('OwnArchive')

    status, report = updatedata()

    statuses = {
        name: ObservationRecord.objects.get(pk=record.pk).status for name, record in records.items()
    }
    assert {name for name, state in statuses.items() if state == 'DONE'} == {
        'OnlyStatus', 'NoStatesAtAll', 'Writes', 'Saves', 'SavesNothing', 'SavesPages',
        'StringsForProducts',
    }  # fmt: skip
    assert statuses['OwnArchive'] == 'COMPLETED'
    good.refresh_from_db()
    assert good.status == 'COMPLETED'
    assert set(report['unsupported_facilities']) == {
        'NoStatus', 'OddSignature', 'ListForStatus', 'NotImplementedAtAll', 'StringsForProducts',
        ExampleManualFacility.name,
    }  # fmt: skip
    assert status == 1
    assert {failure['facility']: failure['error'] for failure in report['failures']} == {
        'Broken': 'ZeroDivisionError: a mistake',
        'SavesNothing': (
            'SavesNothing saved what is no file: '
            f'product SavesNothing-{records["SavesNothing"].pk}: there is no file'
        ),
        'SavesPages': (
            'SavesPages saved what is no file: '
            f'product SavesPages-{records["SavesPages"].pk}: it is a web page'
        ),
    }
    assert report['saved'] == 2 + 1 + 1
    assert len(files()) == DataProduct.objects.count() == 4
    assert ObservationRecord.objects.get(facility='Writes').parameters == {'grade': 'A'}


def test_a_stock_archive_is_asked_by_request_id(sky, observed):
    """By REQNUM, the archive's estimate can lose frames in silence."""
    observed('LCO', frames=3)
    sky.reqnum_estimate = 1
    _, report = updatedata()
    assert report['saved'] == 3
    frames = [seen.query for seen in sky.requests_seen if seen.path == '/frames/']
    assert all('request_id=' in query and 'REQNUM' not in query for query in frames)


def test_all_pages_of_a_list_are_read(sky, observed, monkeypatch):
    monkeypatch.setattr('app.sync.gateway.PAGE', 2)
    observed('LCO', frames=5)
    assert updatedata()[1]['saved'] == 5


def test_a_list_without_an_end_ends(sky, observed):
    observed('LCO')
    sky.break_('/frames/', faults.endless_next())
    status, report = updatedata()
    assert status == 1
    assert 'no end' in report['failures'][0]['error']


def test_the_token_does_not_follow_a_list_to_another_host(sky, observed):
    from app.observatory import Observatory

    observed('LCO')
    with Observatory() as other:
        elsewhere = f'{other.url}/frames/?offset=1'
        sky.break_('/frames/', faults.edit(lambda page: page.update(next=elsewhere)), times=1)
        updatedata()
        assert other.requests_seen == []


@pytest.mark.parametrize(
    ('where', 'fault', 'reason'),
    [
        ('/api/', faults.status(500), 'LCO answered 500'),
        ('/api/', faults.status(429), 'come back later'),
        ('/api/', faults.html(), 'not JSON'),
        ('/api/', faults.broken_json(), 'not JSON'),
        ('/api/', faults.answer([]), 'TypeError'),
        ('/api/', faults.answer({}), 'KeyError'),
        ('/api/', faults.reset(), 'does not answer'),
        ('/frames/', faults.status(500), 'LCO answered 500'),
        ('/frames/', faults.html(), 'not JSON'),
        ('/frames/', faults.answer([]), 'no list of frames'),
        ('/frames/', faults.answer({'results': [7]}), 'without id'),
        ('/frames/', faults.answer({'results': [{}]}), 'without id'),
    ],
)
def test_what_goes_wrong_is_told_and_passes(sky, observed, where, fault, reason):
    observed('LCO')
    sky.break_(where, fault)
    status, report = updatedata()
    assert status == 1
    assert reason in report['failures'][0]['error']

    sky.mend()
    status, report = updatedata()
    assert (status, report['saved']) == (0, 2)
