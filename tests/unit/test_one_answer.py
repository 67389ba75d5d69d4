"""One function says how a job is, and every place says that, in every state: F6, F8, J3, J15."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from tom_auto.alerts import send_alerts
from tom_auto.health import healths, schedule_site
from tom_auto.models import JobPause, Mute, RunFailure, UpdateRun

from .page import failing, ran, text
from .receiving import mail_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures('own_templates'),
]


def one_fails():
    run = ran(status='failed', failed=1)
    record = ObservationRecord.objects.get()
    failing(record)
    RunFailure.objects.create(run=run, record=record, facility='LCO', observation_id='1', error='x')


def a_muted_one_fails():
    one_fails()
    tomorrow = timezone.now() + timedelta(days=1)
    Mute.objects.create(facility='LCO', by='ada', why='known', until=tomorrow)


def a_facility_fails():
    RunFailure.objects.create(run=ran(status='failed'), facility='LCO', error='refuses')


def a_run_is_slow():
    for number in range(11):
        begun = timezone.now() - timedelta(hours=1 + number)
        ran(timedelta(hours=1 + number), finished=begun + timedelta(minutes=0 if number else 58))


def it_is_paused():
    ran()
    JobPause.objects.create(job='updatedata', by='ada', since=timezone.now())


def it_fails_by_its_exit_status():
    ran(status='failed', exit_status=2, output='no such option')


#: What there is, and what every place has to say of it; None: it is no trouble, and not working.
STATES = {
    'nothing has run': (lambda: None, 'never', None),
    'only a person has run it': (lambda: ran(started_by='ann'), 'never', None),
    'all is well': (ran, 'working', True),
    'it runs now': (
        lambda: ran(status='running', finished=None, heartbeat=timezone.now()), 'working', True,
    ),
    'a record fails': (one_fails, 'failing', False),
    'a muted record fails': (a_muted_one_fails, 'working', True),
    'a facility fails': (a_facility_fails, 'failing', False),
    'it fails by its exit status': (it_fails_by_its_exit_status, 'failing', False),
    'it died': (lambda: ran(status='died'), 'failing', False),
    'cron is dead': (lambda: ran(timedelta(hours=5)), 'overdue', False),
    'it is slow': (a_run_is_slow, 'slow', False),
    'it is paused': (it_is_paused, 'paused', None),
}  # fmt: skip


@pytest.fixture
def visitors(login, client, add_record) -> dict[str, Client]:
    add_record()
    Target.objects.update(permissions='OPEN')
    chief = Client()
    chief.force_login(login('chief', is_superuser=True, is_staff=True))
    return {'chief': chief, 'nobody': Client()}


def of_doctor() -> str:
    output = StringIO()
    try:
        call_command('doctor', stdout=output)
    except SystemExit:
        return output.getvalue()
    return output.getvalue()


@pytest.mark.parametrize('named', STATES)
def test_every_place_says_the_same(named, visitors, hourly, settings):
    make, state, well = STATES[named]
    make()
    [health] = healths()
    trouble = well is False
    assert (health.state, health.is_trouble) == (state, trouble)

    of_status = schedule_site().health()
    assert health.sentence() in of_status[1 if trouble else 0]
    assert health.sentence() not in of_status[0 if trouble else 1]

    [line] = [line for line in of_doctor().splitlines() if line.endswith(health.sentence())]
    assert line.startswith('failed' if trouble else 'warning' if state == 'never' else 'ok')

    for client in visitors.values():
        told = client.get('/automation/status.json').json()
        assert told['jobs'][0]['state'] == state
        assert told['working'] is bool(well)
        words = health.words if state == 'overdue' else health.words_since
        assert f'dot-{state}' in text(client)
        assert f'<strong>updatedata {words}</strong>' in text(client)
        home = text(client, '/')
        assert f'updatedata {health.words_since}' in home
        assert f'dot-{state}' in home
        metrics = client.get('/automation/metrics').content.decode()
        assert f'tom_job_trouble{{job="updatedata"}} {int(trouble)}' in metrics
        last = told['jobs'][0]['last']
        if well and last:
            assert last['status'] != 'failed' or named == 'a muted record fails'

    with mail_server(settings) as mails:
        send_alerts()
        assert len(mails) == trouble
        if trouble:
            assert health.sentence() in ' '.join(mails.text().split())
            assert mails.subjects() == [f'[Test TOM] updatedata {health.words}']


@pytest.mark.parametrize('environment', ['virtualenv', 'docker', 'kubernetes'])
def test_and_of_each_of_several_jobs(environment, visitors, hourly, settings):
    """Two of one command, and one of the user's own; on a host and in containers."""
    hourly.write_text(
        f'environment = "{environment}"\nid = "7f3a09c2"\n[updatedata]\nwhen = "hourly"\n'
        '[lco]\nwhen = "hourly"\ncommand = ["updatedata", "--facility", "LCO"]\n'
        '[tidy]\nwhen = "hourly"\ncommand = ["clearsessions"]\n'
    )
    ran(command='updatedata')
    ran(timedelta(hours=5), job='lco', command='updatedata')
    ran(job='tidy', command='clearsessions', status='failed', exit_status=3, output='no room')
    states = {'updatedata': 'working', 'lco': 'overdue', 'tidy': 'failing'}
    answers = {health.job: health for health in healths()}
    assert {job: health.state for job, health in answers.items()} == states

    well, wrong = schedule_site().health()
    doctor = of_doctor().splitlines()
    for job, health in answers.items():
        assert health.sentence() in (wrong if health.is_trouble else well)
        [line] = [line for line in doctor if line.endswith(health.sentence())]
        assert line.startswith('failed' if health.is_trouble else 'ok')
        for client in visitors.values():
            words = health.words if health.state == 'overdue' else health.words_since
            assert f'<strong>{job} {words}</strong>' in text(client)
            metrics = client.get('/automation/metrics').content.decode()
            assert f'tom_job_trouble{{job="{job}"}} {int(health.is_trouble)}' in metrics
    for client in visitors.values():
        told = client.get('/automation/status.json').json()
        assert {job['job']: job['state'] for job in told['jobs']} == states
        assert told['working'] is False
    with mail_server(settings) as mails:
        send_alerts()
        assert sorted(mails.subjects()) == [
            '[Test TOM] lco is overdue',
            '[Test TOM] tidy is failing',
        ]


def test_f8_who_may_not_see_what_failed_is_told_no_contradiction(client, hourly, hidden):
    UpdateRun.objects.filter(only='').delete()
    run = ran(status='failed', failed=1)
    RunFailure.objects.create(
        run=run, record=hidden, facility='LCO', observation_id='8675309', error='8675309'
    )
    page = text(client)
    assert 'updatedata has been working' in page
    option = '<option value="failed">something failed</option>'
    for place in ('', 'runs/', f'runs/{run.pk}/', 'progress/?after=0'):
        assert 'something failed' not in text(client, f'/automation/{place}').replace(option, '')
    # Around midnight the two are on two days.
    ended = re.findall(
        '<td>0</td><td>0</td><td>0</td><td>([12])</td>', text(client, '/automation/weeks/')
    )
    assert sum(map(int, ended)) == 2
    assert client.get('/automation/status.json').json()['jobs'][0]['last']['status'] == 'ended'
    assert 'outcome-ended' not in text(client, '/automation/runs/?status=failed')
    assert 'outcome-ended' in text(client, '/automation/runs/?status=ended')


def test_the_table_of_facilities_says_what_the_json_says(visitors, hourly):
    """Also where the last run was killed: what the one before could not check, it may have checked."""
    run = ran(timedelta(hours=2), status='failed')
    RunFailure.objects.create(run=run, facility='LCO', error='refuses')
    failing(ObservationRecord.objects.get())

    def trouble(client):
        [told] = client.get('/automation/status.json').json()['facilities']
        shown = text(client, '/automation/facilities/')
        assert ('could not be checked' in shown or 'refuses' in shown) == bool(told['trouble'])
        return bool(told['trouble'])

    assert all(map(trouble, visitors.values()))
    long_ago = timezone.now() - timedelta(hours=1)
    ran(timedelta(hours=1), status='running', finished=None, heartbeat=long_ago)
    assert not any(map(trouble, visitors.values()))


def test_a_run_of_a_time_to_come_does_not_hide_that_cron_is_dead(visitors, hourly):
    """The clock was a year ahead for one run."""
    ran(-timedelta(days=365), status='failed')
    ran()
    assert [health.state for health in healths()] == ['working']
    long_ago = timezone.now() - timedelta(hours=5)
    UpdateRun.objects.filter(status='ok').update(started=long_ago, finished=long_ago)
    assert [health.state for health in healths()] == ['overdue']
    for client in visitors.values():
        assert client.get('/automation/status.json').json()['jobs'][0]['state'] == 'overdue'


@pytest.mark.parametrize('permissions_only', [True, False])
def test_f8_a_run_that_went_well_is_well_for_those_who_may_know(
    client, hourly, login, add_record, settings, permissions_only
):
    """Others read the same as of one in which something hidden has failed."""
    settings.TARGET_PERMISSIONS_ONLY = permissions_only
    add_record()
    run = ran(exit_status=0)
    everything = 'view_observationrecord'

    def told():
        page = text(client, f'/automation/runs/{run.pk}/')
        assert ('Exit status 0' in page) != ('The overall outcome of a run is shown' in page)
        shown = client.get('/automation/status.json').json()['jobs'][0]['last']['status']
        assert (shown == 'ok') == ('Exit status 0' in page)
        return shown

    Target.objects.update(permissions='PRIVATE')
    assert told() == 'ended'
    operator = login('operator', 'run_automation', is_staff=True)
    assert told() == 'ended'
    Target.objects.update(permissions='OPEN')
    operator.user_permissions.add(*Permission.objects.filter(codename=everything))
    assert told() == 'ok'
    login('user', everything)
    assert told() == 'ended', 'this one cannot do anything about it'
    login('chief', is_superuser=True)
    assert told() == 'ok'


@pytest.mark.parametrize(
    ('environment', 'said'),
    [
        ('docker', 'python3 -m tom_auto.scheduling install'),
        ('kubernetes', 'python3 -m tom_auto.scheduling install'),
    ],
)
def test_j3_in_a_container_the_page_says_what_to_type_on_the_host(
    client, hourly, staff, environment, said
):
    hourly.write_text(
        f'environment = "{environment}"\nid = "7f3a09c2"\n[updatedata]\nwhen = "hourly"\n'
    )
    page = text(client)
    assert said in page
    assert 'On the machine from which you started them, in the directory of the project' in page
    assert 'cron.log' not in page, 'no line with the paths of the container'
