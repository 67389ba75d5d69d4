"""Alerts that people keep switched on: what is new, what is muted, and what has arrived: F2, F4."""

import json
from contextlib import suppress
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from tom_targets.models import Target

from tom_auto.alerts import send_alerts
from tom_auto.channels import ping
from tom_auto.health import healths
from tom_auto.models import Mute, RunFailure, Told, UpdateRun

from .page import failing, ran, text
from .receiving import mail_server, web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures('hourly')]


@pytest.fixture
def mails(settings):
    with mail_server(settings) as mailbox:
        yield mailbox


@pytest.fixture
def web(settings):
    with web_server() as receiver:
        settings.ADMINS = []
        settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{receiver.url}/hook', 'PING_URL': receiver.url}
        yield receiver


def refused(*facilities):
    """A run of the schedule in which these facilities were in trouble as a whole."""
    run = ran(status='failed')
    for name in facilities:
        RunFailure.objects.create(run=run, facility=name, error='refuses the token')
    send_alerts()


def muted(**what):
    until = what.pop('until', timezone.now() + timedelta(days=1))
    return Mute.objects.create(by='ada', why='known', until=until, **what)


def state():
    [health] = healths()
    return health.state, health.reason


# --- A facility newly in trouble -----------------------------------------------------------------


def test_f2_a_facility_newly_in_trouble_is_news_though_a_record_fails_already(mails, add_record):
    failing(add_record())
    refused()
    refused()
    assert mails.subjects() == ['[Test TOM] updatedata is failing']
    refused('LCO')
    refused('LCO')
    assert mails.subjects()[1:] == ['[Test TOM] updatedata is failing, and now LCO as well']
    refused('LCO', 'SOAR')
    assert mails.subjects()[2:] == ['[Test TOM] updatedata is failing, and now SOAR as well']


def test_f2_what_comes_and_goes_is_news_once_a_day(mails, add_record):
    failing(add_record())
    for _ in range(3):
        refused('LCO')
        refused()
    assert len(mails) == 1


def test_f2_so_is_the_first_observation_of_another_facility(mails, add_record):
    failing(add_record())
    refused()
    failing(add_record('SOAR'))
    refused()
    assert mails.subjects()[1].endswith('and now observations of SOAR as well')


def test_the_subject_names_the_tom(mails, settings):
    settings.EMAIL_SUBJECT_PREFIX = '[Our group] '
    refused('LCO')
    assert mails.subjects() == ['[Our group] updatedata is failing']


# --- Muted ---------------------------------------------------------------------------------------


def test_a_muted_record_makes_nothing_fail(mails, add_record):
    record = add_record()
    failing(record)
    mute = muted(record=record)
    refused()
    assert (state(), len(mails)) == (('working', ''), 0)
    assert healths()[0].muted == 1
    failing(add_record())
    assert state() == ('failing', '1 observation could not be checked')
    mute.until = timezone.now()
    mute.save()
    assert state() == ('failing', '2 observations could not be checked')


def test_a_muted_facility_makes_nothing_fail(mails, add_record):
    muted(facility='LCO')
    failing(add_record())
    refused('LCO')
    assert (state(), len(mails)) == (('working', ''), 0)
    refused('LCO', 'SOAR')
    assert state() == ('failing', 'SOAR could not be checked')


def test_nor_does_a_muted_record_make_a_job_of_its_facility_fail(mails, add_record, hourly):
    command = '["updatedata", "--facility", "LCO"]'
    hourly.write_text(f'{hourly.read_text()}[lco]\nwhen = "hourly"\ncommand = {command}\n')
    record = add_record()
    ran()
    run = ran(job='lco', status='failed', exit_status=1)
    RunFailure.objects.create(run=run, record=record, facility='LCO', observation_id='1', error='x')
    assert [health.state for health in healths()] == ['working', 'failing']
    muted(record=record)
    send_alerts()
    assert [health.state for health in healths()] == ['working', 'working']
    assert len(mails) == 0


def test_where_everything_is_muted_nobody_is_told_and_the_page_is_true(mails):
    mute = muted()
    refused('LCO')
    assert (state()[0], len(mails)) == ('failing', 0)
    mute.delete()
    send_alerts()
    assert len(mails) == 1, 'it is news when the time is over'


def test_people_mute_and_unmute_on_the_page(client, staff, add_record):
    record = add_record()
    failing(record)
    Target.objects.update(permissions='OPEN')
    assert f'/automation/alerts/?record={record.pk}' in text(client)
    assert record.observation_id in text(client, f'/automation/alerts/?record={record.pk}')
    week = (timezone.localdate() + timedelta(days=7)).isoformat()
    client.post('/automation/alerts/mute/', {'record': record.pk, 'until': week, 'why': 'dead'})
    mute = Mute.objects.get()
    assert (mute.record, mute.by, mute.why) == (record, 'staff', 'dead')
    assert timezone.localdate(mute.until).isoformat() == week
    page = text(client, '/automation/alerts/')
    assert f'Observation {record.observation_id} until {week}, by staff: dead' in page
    assert '1 muted' in text(client)
    client.post(f'/automation/alerts/unmute/{mute.pk}/')
    assert not Mute.objects.exists()


@pytest.mark.parametrize(
    'wrong',
    [
        {'until': '2001-01-01', 'why': 'x'},
        {'until': '9999-12-31', 'why': 'x'},
        {'until': '', 'why': 'x'},
        {'why': ''},
        {'why': 'a\0b'},
        {'why': 'x' * 201},
        {'why': 'x', 'facility': 'NOWHERE'},
        {'why': 'x', 'record': '99999'},
    ],
)
def test_a_mute_that_says_too_little_or_nonsense_is_refused(client, staff, wrong):
    fields = {'until': timezone.localdate().isoformat(), 'why': 'x'} | wrong
    page = client.post('/automation/alerts/mute/', fields, follow=True)
    assert not Mute.objects.exists()
    assert b'alert-danger' in page.content or b'alert-error' in page.content


def test_only_staff_with_the_permission_see_and_mute(client, login, add_record, hidden):
    assert client.get('/automation/alerts/').status_code in (302, 403)
    login('ann')
    until = timezone.localdate().isoformat()
    client.post('/automation/alerts/mute/', {'until': until, 'why': 'x'})
    assert not Mute.objects.exists()
    login('staff', 'run_automation', is_staff=True)
    what = {'record': hidden.pk, 'until': until, 'why': 'x'}
    client.post('/automation/alerts/mute/', what)
    assert not Mute.objects.exists(), 'what one may not see one cannot mute'
    mute = muted(record=hidden)
    assert client.get('/automation/alerts/mute/').status_code == 405
    assert client.post(f'/automation/alerts/unmute/{mute.pk}/').status_code == 404
    assert '8675309' not in text(client, '/automation/alerts/')
    its = client.get(f'/automation/alerts/?record={hidden.pk}')
    assert its.status_code == 404
    assert '8675309' not in its.content.decode()


# --- Told, or not --------------------------------------------------------------------------------


@pytest.mark.parametrize('status', [301, 404, 500])
def test_f4_only_2xx_is_told(web, status):
    web.status = status
    refused('LCO')
    message = Told.objects.get()
    assert (message.channel, message.error) == ('webhook', f'it answered {status}')
    assert 'Alerts' in doctor() and f'it answered {status}' in doctor()
    ping('/start')
    ping()
    assert Told.objects.filter(channel='switch', error=f'it answered {status}').count() == 1
    web.status = 204
    ping()
    call_command('doctor', '--send-test', stdout=StringIO())
    assert 'it answered' not in doctor()


def doctor():
    output = StringIO()
    with suppress(SystemExit):
        call_command('doctor', stdout=output)
    return output.getvalue()


def test_what_was_told_to_whom_is_kept(client, mails, login):
    refused('LCO')
    login('chief', is_superuser=True, is_staff=True)
    page = text(client, '/automation/alerts/')
    assert '<td>updatedata is failing</td>' in page
    assert '<td>ada@example.org</td>' in page
    Told.objects.update(at=timezone.now() - timedelta(days=100))
    client.post('/automation/alerts/test/')
    assert [message.subject for message in Told.objects.all()] == ['a test message']


def test_a_test_message_by_doctor_and_by_the_button(mails, client, staff, settings):
    output = StringIO()
    call_command('doctor', '--send-test', stdout=output)
    assert output.getvalue() == 'mail: sent\n'
    page = client.post('/automation/alerts/test/', follow=True)
    assert b'A test message was sent by mail' in page.content
    assert mails.subjects() == ['[Test TOM] a test message'] * 2
    assert 'staff sent this' in mails.text()
    settings.EMAIL_PORT = 1
    with pytest.raises(SystemExit):
        call_command('doctor', '--send-test', stdout=output)
    assert 'mail: ConnectionRefusedError' in output.getvalue()


def test_a_test_message_as_json(mails, settings):
    output = StringIO()
    call_command('doctor', '--send-test', '--json', stdout=output)
    sent = {'channel': 'mail', 'error': ''}
    assert json.loads(output.getvalue()) == {'well': True, 'sent': [sent]}
    settings.EMAIL_PORT, output = 1, StringIO()
    with pytest.raises(SystemExit):
        call_command('doctor', '--send-test', '--json', stdout=output)
    told = json.loads(output.getvalue())
    assert (told['well'], 'ConnectionRefusedError' in told['sent'][0]['error']) == (False, True)


# --- Slow ----------------------------------------------------------------------------------------


@pytest.fixture
def yearly(hourly):
    """A schedule in which nothing is overdue, whatever the clock says while this is tested."""
    hourly.write_text(hourly.read_text().replace('hourly', '5 4 29 2 *'))


def took(ago, minutes, **fields):
    begun = timezone.now() - ago
    return ran(ago, finished=begun + timedelta(minutes=minutes), **fields)


@pytest.mark.parametrize(
    ('minutes', 'usual', 'slow'), [(50, 2, True), (50, 10, False), (20, 1, False), (3, 2, False)]
)
def test_a_run_that_takes_much_longer_than_usual_is_told(mails, yearly, minutes, usual, slow):
    for number in range(10):
        took(timedelta(hours=2 + number), usual)
    took(timedelta(minutes=55), minutes)
    send_alerts()
    assert state()[0] == ('slow' if slow else 'working')
    assert len(mails) == slow
    if slow:
        assert f'a run takes {minutes} min instead of the usual {usual} min' in mails.text()


def test_so_is_one_in_progress_and_one_of_a_new_tom_is_not(mails, yearly):
    run = ran(timedelta(minutes=50), status='running', finished=None, heartbeat=timezone.now())
    took(timedelta(hours=2), 1)
    assert state()[0] == 'working'
    for number in range(10):
        took(timedelta(hours=3 + number), 1)
    assert state()[0] == 'slow'
    UpdateRun.objects.filter(pk=run.pk).update(status='ok', finished=run.started)
    assert state()[0] == 'working'


@pytest.mark.parametrize(
    ('earlier', 'days', 'told'),
    [
        (3, 3, 'a run has taken 4320 min so far; the longest before took 2 min'),
        (3, 1, ''),  # the next start is not yet due
        (0, 3, ''),  # the first may have years of data to fetch
        (0, 11, 'its first run has taken 15840 min so far'),
    ],
)
def test_a_run_of_a_new_job_that_hangs_is_told(mails, hourly, earlier, days, told):
    hourly.write_text(hourly.read_text().replace('hourly', 'daily'))
    ago = timedelta(days=days)
    for number in range(earlier):
        took(ago + timedelta(days=1 + number), 2)
    if earlier:
        took(ago + timedelta(days=9), 5000, status='died')  # that one hung as well
    ran(ago, status='running', finished=None, heartbeat=timezone.now())
    assert state()[0] == ('slow' if told else 'working')
    send_alerts()
    assert len(mails) == bool(told)
    assert not told or told in mails.text()
