"""`manage.py doctor` names what is wrong, and what to do about it."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from app import doctor
from app.models import UpdateRun
from app.observatory import faults

from .receiving import free_port, mail_server, use_mail
from .test_alerts import ran

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def machine(settings, tmp_path, monkeypatch):
    """A machine on which all is well, apart from what a test breaks."""
    (tmp_path / 'requirements.txt').write_text('django==1.0 \\\n    --hash=x\n')
    (tmp_path / 'schedule.toml').write_text(
        'environment = "virtualenv"\n[updatedata]\nwhen = "hourly"\n'
    )
    settings.FACILITIES = {}
    monkeypatch.setattr(doctor.schedule_state, 'state', lambda: (0, ['Installed and current:']))
    monkeypatch.setattr(doctor, 'cron_daemon_runs', lambda: True)
    monkeypatch.setattr(doctor.metadata, 'version', lambda name: '1.0')
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


def test_all_is_well(settings):
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
        cursor.execute("DELETE FROM django_migrations WHERE app = 'app'")
    status, states, words = examined('Database')
    assert (status, states) == (1, ['failed'])
    assert 'manage.py migrate' in words


def test_a_media_folder_that_is_not_there(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / 'nowhere'
    status, states, words = examined('Data')
    assert (status, states) == (1, ['failed'])
    assert 'cannot be written' in words


def test_a_full_disk(automation):
    automation['MIN_FREE_BYTES'] = 10**18
    status, states, _ = examined('Data')
    assert (status, states) == (1, ['ok', 'failed'])


def test_a_token_that_is_accepted_costs_one_question(sky, settings):
    status, states, words = examined('Observatories')
    assert status == 0
    assert 'accepts its token' in words
    assert 'The clock agrees' in words
    assert len(sky.requests_seen) == 1  # three facilities of one account


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
    assert states == ['warning']
    assert 'public data' in words


def test_an_observatory_that_does_not_answer(settings):
    portal = f'http://127.0.0.1:{free_port()}'
    settings.FACILITIES = {'LCO': {'portal_url': portal, 'api_key': 'only-for-this-test'}}
    status, states, _ = examined('Observatories')
    assert (status, states) == (1, ['failed'])


def test_a_clock_that_is_wrong():
    state, words, fix = doctor._clock('LCO', 'Wed, 01 Jan 2020 00:00:00 GMT')
    assert state == 'failed'
    assert 'differ' in words
    assert fix


def test_no_schedule_and_no_cron(monkeypatch):
    monkeypatch.setattr(doctor.schedule_state, 'state', lambda: (1, ['Not installed.']))
    monkeypatch.setattr(doctor, 'cron_daemon_runs', lambda: False)
    status, states, words = examined('Schedule')
    assert (status, states) == (1, ['failed'])
    assert 'schedule install' in words
    assert examined('Cron')[1] == ['warning']
    monkeypatch.setattr(doctor, 'in_container', lambda: True)
    assert examined('Cron')[1] == ['ok']


def test_runs_that_died():
    UpdateRun.objects.update(status='died')
    assert examined('Runs')[:2] == (1, ['failed'])


def test_mail(settings):
    settings.ADMINS = []
    assert examined('Mail')[1] == ['warning']
    use_mail(settings, free_port())
    assert examined('Mail')[:2] == (1, ['failed'])


def test_a_check_that_raises_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError('api_key=0123456789')

    monkeypatch.setitem(doctor.CHECKS, 'Runs', broken)
    status, states, words = examined('Runs')
    assert (status, states) == (1, ['failed'])
    assert '0123456789' not in words
