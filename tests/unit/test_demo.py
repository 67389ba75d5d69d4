"""The demo: it works, twice is harmless, and it keeps away from a TOM that is at work."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def demo(*arguments):
    output = StringIO()
    call_command('demo', *arguments, stdout=output)
    return output.getvalue()


def test_frames_come_home_and_the_page_shows_them(client, settings):
    settings.ALLOWED_HOSTS = []
    printed = demo()

    assert len(files()) == DataProduct.objects.count() == 9
    assert '9 saved' in printed
    assert 'python manage.py runserver' in printed
    settings.ALLOWED_HOSTS = ['testserver']
    target = Target.objects.get(name='M 31 (demo)')
    page = client.get(f'/targets/{target.pk}/').content.decode()
    for product in target.dataproduct_set.all():
        assert product.get_file_name() in page


def test_twice_is_harmless():
    demo()
    before, records = files(), ObservationRecord.objects.count()
    assert '0 saved' in demo()
    assert files() == before
    assert (ObservationRecord.objects.count(), Target.objects.count()) == (records, 3)


def test_no_real_observatory_is_asked_about_the_demo():
    demo()
    status, report = updatedata()
    assert (status, report['due']) == (0, 0)


def test_a_tom_at_work_is_left_alone_unless_told(observed):
    real = observed()
    with pytest.raises(CommandError, match='1 real observation records') as raised:
        demo()
    assert raised.value.returncode == 2
    assert Target.objects.count() == 1

    demo('--among-real-records')
    real.refresh_from_db()
    assert real.status == 'PENDING'

    demo('--remove')
    assert [*ObservationRecord.objects.all()] == [real]
    assert [*Target.objects.all()] == [real.target]
    assert files() == {}


def test_a_tom_of_tom_setups_has_a_demo_too(settings):
    settings.TOM_FACILITY_CLASSES = [
        'tom_observations.facilities.lco_redirect.LCORedirectFacility',
        'tom_observations.facilities.gemini.GEMFacility',
    ]
    assert '9 saved' in demo()
    assert {record.facility for record in ObservationRecord.objects.all()} == {'LCORedirect'}
