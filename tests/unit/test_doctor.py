"""`manage.py doctor` names what is wrong, and what to do about it."""

import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core import management
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_dataservices.models import DataServiceQuery
from tom_observations.models import DynamicCadence, ObservationGroup

import faults
from tom_auto import conf
from tom_auto.channels import ping
from tom_auto.doctor import checks as doctor
from tom_auto.doctor import network, observatories
from tom_auto.files.storage import RESTORING
from tom_auto.files.storage_id import MARK, accept_storage
from tom_auto.models import Submission, UpdateRun

from .own_classes import Lists
from .page import ran
from .receiving import free_port, mail_server, use_mail

pytestmark = pytest.mark.django_db

STATE = doctor.cli.state


@pytest.fixture(autouse=True)
def machine(settings, tmp_path, monkeypatch, hourly):
    """A machine on which all is well, apart from what a test breaks."""
    (tmp_path / 'requirements.txt').write_text('django==1.0 \\\n    --hash=x\n')
    (tmp_path / '.env.example').touch()  # a generated TOM
    settings.FACILITIES = {}
    for name in (*network.PROXIES, *network.CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(network, 'MACHINE', tmp_path / 'environment')
    monkeypatch.setattr(doctor.cli, 'state', lambda site: (0, ['Installed and current:']))
    monkeypatch.setattr(doctor.metadata, 'version', lambda name: '1.0')
    monkeypatch.setattr(doctor.versions, 'lacking', list)
    ran()


def examined(check):
    """What the doctor finds about `check`: the states, the words and the fixes, and its exit."""
    output, status = StringIO(), 0
    try:
        call_command('doctor', '--json', stdout=output)
    except SystemExit as end:
        status = end.code
    told = json.loads(output.getvalue())
    assert told['well'] == (status == 0)
    found = [finding for finding in told['checks'] if finding['check'] == check]
    assert found
    assert all(finding['fix'] for finding in found if finding['state'] != 'ok')
    states = [finding['state'] for finding in found]
    return status, states, ' '.join(f'{finding["found"]} {finding["fix"]}' for finding in found)


def test_the_variable_of_an_observatory_of_the_tom_itself(settings, sky):
    """In .env its name is in capitals: docs/own.md."""
    settings.TOM_FACILITY_CLASSES = [f'{Lists.__module__}.Lists']
    settings.FACILITIES = {'Lists': sky.settings() | {'api_key': ''}}
    assert 'Set LISTS_API_KEY in .env' in examined('Observatories')[2]


def test_a_query_of_a_service_that_is_missing_and_an_uncertain_submission(add_record):
    DataServiceQuery.objects.create(name='old', data_service='Gone', parameters={})
    status, states, words = examined('Queries')
    assert (status, states) == (1, ['failed', 'ok'])
    assert '1 saved queries are for Gone, which is missing' in words
    assert 'which no job of schedule.toml runs' in words

    group = ObservationGroup.objects.create(name='mine')
    cadence = DynamicCadence.objects.create(
        observation_group=group, cadence_strategy='x', cadence_parameters={}, active=True
    )
    Submission.objects.create(
        cadence=cadence, trigger=add_record(), facility='LCO', name='M 31', payload={},
        created=timezone.now(), state='uncertain', error='LCO does not answer',
    )  # fmt: skip
    _, states, words = examined('Cadences')
    assert states == ['warning', 'ok']
    assert 'may have been accepted: LCO does not answer' in words and '--not-submitted' in words
    assert '1 active cadences' in words


def test_all_is_well(settings, sky):
    settings.FACILITIES = {'LCO': sky.settings()}
    with mail_server(settings):
        status, _, _ = examined('Packages')
        assert status == 0
        output = StringIO()
        call_command('doctor', stdout=output)
    assert {line.split()[0] for line in output.getvalue().splitlines()} == {'ok'}


def test_a_package_of_another_version(monkeypatch):
    monkeypatch.setattr(doctor.metadata, 'version', lambda name: '0.9')
    _, states, words = examined('Packages')
    assert states[-1] == 'warning'
    assert 'django is 0.9, not 1.0' in words


def test_a_migration_that_is_missing():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tom_auto'")
    status, states, words = examined('Database')
    assert (status, states) == (1, ['failed'])
    assert 'manage.py migrate' in words


def test_a_media_folder_that_is_not_there(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / 'nowhere'
    status, states, words = examined('Data')
    assert (status, states) == (1, ['failed'])
    assert 'cannot be written' in words
    assert f'mkdir -p {settings.MEDIA_ROOT}' in words


@pytest.mark.parametrize('known_by', ['its id', 'a data product'])
def test_data_that_was_there_is_mounted_and_not_made(settings, tmp_path, add_record, known_by):
    """mkdir would make an empty directory on the disk below the one that is missing."""
    if known_by == 'its id':
        accept_storage()
    else:
        DataProduct.objects.create(target=add_record().target, data='M31/LCO/1/a.fits')
    settings.MEDIA_ROOT = tmp_path / 'nowhere'
    _, _, words = examined('Data')
    assert 'is missing' in words and 'Mount the disk' in words
    assert 'mkdir' not in words


@pytest.fixture
def bucket(settings, tmp_path):
    """The data is in no folder, and this machine has none for it."""
    settings.STORAGES = settings.STORAGES | {
        'default': {'BACKEND': 'django.core.files.storage.InMemoryStorage'}
    }
    settings.MEDIA_ROOT = tmp_path / 'nowhere'
    return DataProduct._meta.get_field('data').storage


def test_data_in_a_store_needs_no_folder(bucket):
    status, states, words = examined('Data')
    assert (status, states) == (0, ['ok'])
    assert 'Not checked' in words


def test_another_store_than_the_one_that_was_there(bucket):
    accept_storage()
    assert examined('Data')[1] == ['ok']
    bucket.delete(MARK)
    status, states, words = examined('Data')
    assert (status, states) == (1, ['ok', 'failed'])
    assert 'not the one that was there' in words


def test_a_switch_that_is_not_reached_is_not_sent_a_test(automation, settings):
    """A call by hand would tell it that the jobs work."""
    settings.ADMINS = []
    automation['PING_URL'] = f'http://127.0.0.1:{free_port()}/'
    ping()
    status, states, words = examined('Alerts')
    assert (status, states) == (1, ['failed'])
    assert 'Correct PING_URL in .env; the next scheduled run calls it' in words
    assert '--send-test' not in words


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(
        CommandError, match='--send-test and --accept-storage cannot be combined'
    ) as refused:
        call_command('doctor', '--send-test', '--accept-storage')
    assert refused.value.returncode == 2


def test_a_storage_is_not_accepted_in_the_middle_of_a_restore(media):
    (media / RESTORING).mkdir()
    with pytest.raises(CommandError, match='was not accepted: a restore of the data'):
        call_command('doctor', '--accept-storage')


def test_a_full_disk(automation):
    automation['MIN_FREE_BYTES'] = 10**18
    status, states, _ = examined('Data')
    assert (status, states) == (1, ['ok', 'failed'])


def test_a_token_that_is_accepted_costs_a_question_of_each_service(sky, settings):
    status, states, words = examined('Observatories')
    assert status == 0
    assert 'LCO, SOAR, BLANCO: the portal takes the token' in words
    assert 'LCO, SOAR, BLANCO: the archive takes the token' in words
    assert len(sky.requests_seen) == 3  # two for the account of all three, one for the clock


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        (faults.status(401), 'the archive refuses the token'),
        (faults.status(502), 'the archive answered 502'),
        (faults.reset(), 'no answer from the archive'),
        (faults.status(404), 'does not answer as the archive does'),
        (faults.html(), 'does not answer as the archive does'),
    ],
)
def test_i6_an_archive_in_trouble_is_named_though_the_portal_is_well(sky, settings, fault, words):
    settings.FACILITIES = {'LCO': sky.settings()}
    sky.break_('/profile/', fault)
    status, states, found = examined('Observatories')
    assert (status, states[:2]) == (1, ['ok', 'failed'])
    assert f'LCO: {words}' in found or words in found
    assert 'LCO_ARCHIVE_URL' in found or 'LCO_API_KEY' in found


def test_i6_an_archive_that_shows_nothing(sky, settings):
    """As it answers with nothing, and 200, where the portal has revoked the token."""
    settings.FACILITIES = {'LCO': sky.settings()}
    sky.accounts[sky.token].proposals.clear()
    _, states, found = examined('Observatories')
    assert states[:2] == ['ok', 'warning']
    assert 'the archive lists no proposal for this account' in found


def test_a_token_that_is_refused_is_not_shown(sky, settings):
    settings.FACILITIES = {'LCO': sky.settings(token='0123-not-a-token-4567')}
    sky.break_('/api/profile/', faults.status(401))
    status, states, words = examined('Observatories')
    assert (status, states[0]) == (1, 'failed')
    assert 'LCO_API_KEY' in words
    assert '4567' not in words


def test_no_token(settings):
    settings.FACILITIES = {'LCO': {'portal_url': 'https://x', 'api_key': ''}}
    _, states, words = examined('Observatories')
    assert states[0] == 'warning'
    assert 'public data' in words


def test_an_observatory_that_does_not_answer(settings):
    portal = f'http://127.0.0.1:{free_port()}'
    settings.FACILITIES = {'LCO': {'portal_url': portal, 'api_key': 'only-for-this-test'}}
    status, states, _ = examined('Observatories')
    assert (status, states[0]) == (1, 'failed')


def test_the_clock_is_that_of_an_observatory(sky, monkeypatch):
    assert examined('Clock')[:2] == (0, ['ok'])
    later = timezone.now() + timedelta(minutes=5)
    monkeypatch.setattr(observatories.timezone, 'now', lambda: later)
    status, states, words = examined('Clock')
    assert (status, states) == (1, ['failed'])
    assert re.search(r'differ by (299|30[0-9]) s', words)
    assert 'set-ntp' in words


def test_a_clock_that_nobody_can_be_asked_about():
    assert examined('Clock')[:2] == (0, ['warning'])


@pytest.mark.parametrize('version', [(3, 10, 9), (3, 14, 0)])
def test_a_python_that_tomtoolkit_is_not_made_for(version, monkeypatch):
    monkeypatch.setattr(doctor.sys, 'version_info', version)
    status, states, words = examined('Python')
    assert (status, states) == (1, ['failed'])
    assert 'with Python 3.11 to 3.13' in words


def test_a_facility_that_cannot_be_asked_is_named():
    assert 'GEM' in examined('Observatories')[2]


def test_no_migration_at_all_is_one_screen(monkeypatch):
    """Where every check fails, each has its line and its fix, and nothing is raised."""

    def gone(*words):
        raise OperationalError('no such table')

    monkeypatch.setattr(doctor, 'healths', gone)
    monkeypatch.setattr(doctor, 'MigrationExecutor', gone)
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command('doctor', stdout=output)
    lines = output.getvalue().splitlines()
    assert len(lines) < 40
    assert all(name in output.getvalue() for name in doctor.CHECKS)
    assert all(len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    ('status', 'report', 'states', 'fix'),
    [
        (0, ['Installed and current:'], ['ok'], ''),
        (0, ['Installed:', 'Warning: twice. Delete it'], ['ok', 'warning'], 'Do what this says'),
        (1, ['Not installed.', 'To install: this'], ['failed'], 'To install: this'),
        (2, ['Warning: no daemon', 'Nothing starts it:', 'To check: that'],
         ['failed', 'warning'], 'To check: that'),
    ],
)  # fmt: skip
def test_h7_each_state_of_the_schedule_has_its_own_advice(monkeypatch, status, report, states, fix):
    monkeypatch.setattr(doctor.cli, 'state', lambda site: (status, report))
    _, found, words = examined('Schedule')
    assert found == states
    assert fix in words


def test_h7_a_schedule_that_cannot_be_read_or_installed(monkeypatch, hourly, cron):
    monkeypatch.setattr(doctor.cli, 'state', STATE)
    hourly.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "often"\n')
    status, states, words = examined('Schedule')
    assert (status, states) == (1, ['failed'])
    assert 'line 3' in words
    assert 'schedule install' not in words


def test_the_tutorials_command_runs_in_place_of_the_librarys(monkeypatch, tmp_path):
    """`tom_auto` is last in INSTALLED_APPS, behind an app with an updatedata of its own."""
    commands = tmp_path / 'custom_code' / 'management' / 'commands'
    commands.mkdir(parents=True)
    (commands / 'updatedata.py').write_text(
        'from django.core.management.base import BaseCommand\nclass Command(BaseCommand): pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    named = management.get_commands() | {'updatedata': 'custom_code'}
    monkeypatch.setattr(conf, 'get_commands', lambda: named)
    status, states, words = examined('Schedule')
    assert (status, states) == (1, ['failed', 'ok'])
    assert '`manage.py updatedata` is the command of custom_code' in words
    assert "list 'tom_auto' before 'custom_code'" in words


def test_a_tom_without_a_schedule_is_told_of_init(monkeypatch, hourly, cron):
    monkeypatch.setattr(doctor.cli, 'state', STATE)
    hourly.unlink()
    status, states, words = examined('Schedule')
    assert (status, states) == (1, ['failed'])
    assert 'There is no' in words and 'manage.py schedule init' in words
    assert 'Write one' not in words


def test_h7_no_job_is_enabled(monkeypatch, hourly, cron):
    monkeypatch.setattr(doctor.cli, 'state', STATE)
    hourly.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "daily"\nenabled=false\n')
    assert 'Take out "enabled = false" in schedule.toml' in examined('Schedule')[2]


def test_j14_in_a_container_nothing_says_to_type_what_only_the_host_has(
    hourly, settings, monkeypatch
):
    hourly.write_text('environment = "docker"\nid = "7f3a09c2"\n[updatedata]\nwhen = "hourly"\n')
    settings.MEDIA_ROOT = settings.MEDIA_ROOT / 'nowhere'
    monkeypatch.setattr(doctor.cli, 'state', STATE)
    UpdateRun.objects.all().delete()
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command('doctor', stdout=output)
    printed = output.getvalue()
    assert 'manage.py schedule' not in printed
    assert re.findall(r'(?<!exec web python )manage\.py', printed) == []


def test_runs_that_died():
    UpdateRun.objects.update(status='died')
    assert examined('Runs')[:2] == (1, ['failed'])


def test_mail(settings):
    settings.ADMINS = []
    assert examined('Mail')[1] == ['warning']
    use_mail(settings, free_port())
    assert examined('Mail')[:2] == (1, ['failed'])


@pytest.mark.parametrize('name', ['https_proxy', 'HTTPS_PROXY', 'REQUESTS_CA_BUNDLE'])
def test_f11_what_only_the_shell_has_is_named_and_not_shown(monkeypatch, tmp_path, cron, name):
    assert examined('Network')[1] == ['ok']
    monkeypatch.setenv(name, '/user:hidden@proxy')
    _, states, words = examined('Network')
    assert states == ['warning']
    assert name.upper() in words
    assert 'into .env' in words
    assert 'hidden' not in words
    for file in ('.env', 'environment'):
        (tmp_path / file).write_text(f'A=b\n{name}=x\n')
        assert examined('Network')[1] == ['ok'], file
        (tmp_path / file).unlink()
    cron.table = f'{name} = x\n'.encode()
    assert examined('Network')[1] == ['ok']


def test_a_check_that_raises_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError('api_key=0123456789')

    monkeypatch.setitem(doctor.CHECKS, 'Runs', broken)
    status, states, words = examined('Runs')
    assert (status, states) == (1, ['failed'])
    assert '0123456789' not in words


def test_a_tom_without_env_is_sent_to_its_settings(settings, tmp_path):
    (tmp_path / '.env.example').unlink()
    settings.FACILITIES = {'LCO': {'portal_url': 'https://x', 'api_key': ''}}
    assert "FACILITIES['LCO']['api_key'] in the settings" in examined('Observatories')[2]
