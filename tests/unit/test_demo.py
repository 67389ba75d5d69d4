"""The demo: it works, twice is harmless, and it keeps away from a TOM that is at work."""

import os
import signal
from datetime import timedelta
from io import StringIO
from itertools import count
from time import monotonic

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_dataservices.models import DataServiceQuery
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord
from tom_targets.models import Target

import forked
from tom_auto import demo_candidate
from tom_auto.models import Submission

from .running import files, ran, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def demo(*arguments):
    output = StringIO()
    call_command('demo', *arguments, stdout=output)
    return output.getvalue()


def test_frames_come_home_and_the_page_shows_them(client, settings):
    settings.ALLOWED_HOSTS = []
    began = monotonic()
    printed = demo()

    assert monotonic() - began < 40
    assert len(files()) == DataProduct.objects.count() == 12
    assert '9 saved' in printed and '3 saved' in printed
    assert 'python manage.py runserver' in printed
    settings.ALLOWED_HOSTS = ['testserver']
    target = Target.objects.get(name='M 31 (demo)')
    page = client.get(f'/targets/{target.pk}/').content.decode()
    for product in target.dataproduct_set.all():
        assert product.get_file_name() in page


def test_twice_is_harmless(settings):
    demo()
    before, records = files(), ObservationRecord.objects.count()
    settings.ALLOWED_HOSTS = ['tom.example.org']
    printed = demo()
    assert printed.count('0 saved') == 2
    assert 'Look at them here: http' in printed
    assert 'runserver' not in printed, 'J14: this TOM has a web server'
    assert files() == before
    assert (ObservationRecord.objects.count(), Target.objects.count()) == (records, 4)


def test_a_candidate_becomes_a_target_is_observed_by_a_cadence_and_its_frames_come_home():
    printed = demo()
    target = Target.objects.get(name='SN2026ab (demo)')
    assert (target.permissions, '1 new' in printed, '1 submitted' in printed) == (
        'OPEN',
        True,
        True,
    )
    records = target.observationrecord_set.order_by('pk')
    assert [record.status for record in records] == ['COMPLETED', 'COMPLETED']
    assert [record.dataproduct_set.count() for record in records] == [1, 2]
    assert Submission.objects.get().state == 'recorded'


def test_nothing_of_the_candidate_is_left_for_real_services():
    demo()
    assert not DynamicCadence.objects.filter(active=True).exists()
    assert not DataServiceQuery.objects.exists()
    assert cache.get('LCO_instruments') is None
    assert ran('updatecadences')[1]['due'] == ran('updatetargets')[1]['due'] == 0


@pytest.mark.parametrize('stop', [signal.SIGHUP, signal.SIGKILL])
def test_nor_is_it_if_the_demo_is_stopped(tmp_path, stop):
    """The terminal is closed, or the process is killed; the next demo goes on from there."""

    def stopped():
        calls, observe = count(), demo_candidate.observe_candidate

        def observed(sky):
            if next(calls) == 1:  # the cadence has just begun
                os.kill(os.getpid(), stop)
            observe(sky)

        demo_candidate.observe_candidate = observed
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests may ignore it
        demo()

    printed = tmp_path / 'printed'
    ended = forked.ended(forked.start(printed, stopped))
    assert DynamicCadence.objects.count() == 1
    assert not DynamicCadence.objects.filter(active=True).exists()
    if stop == signal.SIGHUP:
        assert (ended, 'Stopped by SIGHUP' in printed.read_text()) == (1, True)
    else:
        assert ended == -stop
        assert DataServiceQuery.objects.get().parameters['objname'] == '2026ab (demo)'
        demo()
    assert not DataServiceQuery.objects.exists()


def test_a_real_cadence_does_not_go_on_in_the_demo(observed):
    group = ObservationGroup.objects.create(name='mine')
    group.observation_records.add(observed())
    cadence = DynamicCadence.objects.create(
        observation_group=group, cadence_strategy='ResumeCadenceAfterFailureStrategy',
        cadence_parameters={'cadence_frequency': 24}, active=True,
    )  # fmt: skip
    real = Submission.objects.create(
        cadence=cadence, trigger=group.observation_records.get(), facility='LCO', name='x',
        payload={}, created=timezone.now() - timedelta(days=1), state='uncertain',
    )  # fmt: skip
    demo('--among-real-records')
    real.refresh_from_db()
    assert real.state == 'uncertain'
    assert group.observation_records.count() == 1


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
    assert not ObservationGroup.objects.exists() and not Submission.objects.exists()
    assert files() == {}


def test_no_directory_of_its_own_is_left(media):
    own = media / 'm-31-demo' / 'lco' / 'mine.txt'
    demo()
    folders = [folder.relative_to(media) for folder in media.rglob('*') if folder.is_dir()]
    assert {'m-31-demo', 'm-83-demo'} < {str(folder) for folder in folders}
    (media / 'empty').mkdir()
    own.write_text('mine')
    demo('--remove')
    left = {
        str(path.relative_to(media)) for path in media.rglob('*') if not path.name.startswith('.')
    }
    assert left == {'empty', 'm-31-demo', 'm-31-demo/lco', 'm-31-demo/lco/mine.txt'}


def test_a_tom_of_tom_setups_has_a_demo_too(settings):
    settings.TOM_FACILITY_CLASSES = [
        'tom_observations.facilities.lco_redirect.LCORedirectFacility',
        'tom_observations.facilities.gemini.GEMFacility',
    ]
    printed = demo()
    assert '9 saved' in printed and 'no facility LCO' in printed
    assert {record.facility for record in ObservationRecord.objects.all()} == {'LCORedirect'}


@pytest.mark.parametrize(
    'touch',
    [
        lambda: Target.objects.filter(name=demo_candidate.TARGET).update(name='renamed'),
        lambda: demo_candidate.its_records()[-1].delete(),
        lambda: ObservationRecord.objects.filter(target__name=demo_candidate.TARGET).delete(),
        lambda: ObservationGroup.objects.get().observation_records.clear(),
        lambda: ObservationGroup.objects.get().delete(),
        lambda: Target.objects.filter(name=demo_candidate.TARGET).delete(),
    ],
)
def test_a_second_one_works_whatever_somebody_did_to_the_first(touch):
    demo()
    touch()
    assert 'Failed' not in demo()
    assert len(demo_candidate.its_records()) >= 2
    demo('--remove')
    assert not ObservationRecord.objects.exists() and not Submission.objects.exists()
    assert not DynamicCadence.objects.exists()
