"""Does this TOM work under its own settings? Add tests of your own code beside this file."""

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.facility import get_service_classes
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from tom_auto.models import UpdateRun
from tom_auto.simulator import Observatory

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ['/', '/targets/', '/observations/list/', '/automation/', '/automation/runs/', '/admin/']


@pytest.fixture(autouse=True)
def own_directory(settings, tmp_path):
    """Keep what the tests store out of the data of this TOM."""
    settings.MEDIA_ROOT = tmp_path / 'data'
    settings.MEDIA_ROOT.mkdir()
    settings.BASE_DIR = tmp_path
    files = {'BACKEND': 'django.core.files.storage.FileSystemStorage'}
    settings.STORAGES = settings.STORAGES | {'default': files}
    settings.TOM_AUTO = settings.TOM_AUTO | {
        'PING_URL': '', 'ALERT_WEBHOOK_URL': '', 'ARRIVALS_WEBHOOK_URL': '', 'WATCH_EVERY': 0,
        'MIN_FREE_BYTES': 0, 'WANTED_FRAMES': {},
    }  # fmt: skip
    settings.ADMINS = []


@pytest.fixture
def observatory(settings):
    """A simulated observatory in place of the real ones."""
    with Observatory() as observatory:
        for name in ('LCO', 'Example'):
            settings.FACILITIES = settings.FACILITIES | {name: observatory.settings()}
        settings.TOM_FACILITY_CLASSES = [
            'tom_observations.facilities.lco.LCOFacility', 'app.facilities.ExampleFacility'
        ]  # fmt: skip
        yield observatory


@pytest.fixture
def browser(client, settings):
    """A test client with a superuser logged in, who has done all that the TOM requires of users."""
    settings.TOM_MFA_REQUIRED = settings.TOM_TERMS_OF_SERVICE_VERSION = None
    settings.TOM_PASSWORD_EXPIRY_DAYS, settings.TOM_REQUIRED_USER_FIELDS = None, []
    client.force_login(User.objects.create_superuser('someone'))
    return client


def observed(observatory, facility, number):
    """A record that somebody added, and that the observatory has completed since."""
    target = Target.objects.create(
        name='M 31', type='SIDEREAL', ra=10.68, dec=41.27, permissions='PRIVATE'
    )
    observatory.add_request(number)
    observatory.complete(number, frames=2, pixels=32)
    return ObservationRecord.objects.create(
        target=target, facility=facility, observation_id=str(number), status='', parameters={}
    )


@pytest.mark.parametrize('facility', ['LCO', 'Example'])
def test_updatedata_brings_the_data_home(observatory, facility):
    record = observed(observatory, facility, 1001)

    call_command('updatedata', '--json')

    record.refresh_from_db()
    assert record.status == 'COMPLETED'
    assert DataProduct.objects.filter(observation_record=record).count() == 2
    assert UpdateRun.objects.get().status == 'ok'


@pytest.mark.parametrize('address', PAGES)
def test_the_pages_open(browser, address):
    # A TOM that expects https would redirect a plain request.
    assert browser.get(address, secure=True).status_code == 200


def test_the_page_of_a_target_says_when_its_data_was_checked(observatory, browser):
    record = observed(observatory, 'LCO', 1001)
    call_command('updatedata', '--json')
    page = browser.get(f'/targets/{record.target_id}/', secure=True)
    assert b'Data last checked' in page.content


def test_data_files_are_for_those_who_may_see_them(observatory, browser, client):
    record = observed(observatory, 'LCO', 1001)
    call_command('updatedata', '--json')
    file = DataProduct.objects.filter(observation_record=record).first().data.url
    assert browser.get(file, secure=True).status_code == 200
    client.logout()
    assert client.get(file, secure=True).status_code in (302, 404)


def test_the_settings_have_no_mistakes():
    call_command('check')
    assert get_service_classes()
    assert settings.USE_TZ and timezone.now().tzinfo


def test_no_model_lacks_a_migration():
    call_command('makemigrations', '--check', '--dry-run', 'app', 'tom_auto')
