"""People are told once when a job begins to fail, is overdue, or is well again."""

import time
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections
from django.db.models import F
from django.utils import timezone

import faults
from tom_auto import channels
from tom_auto.alerts import send_alerts
from tom_auto.models import Alert, JobPause, RecordSync, Told, UpdateRun
from tom_auto.redact import redact
from tom_auto.running.runs import ASKED_BY

from .page import ran
from .receiving import (
    free_port,
    mail_server,
    slow_mail_server,
    slow_web_server,
    use_mail,
    web_server,
)
from .running import updatedata

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures('hourly'),
]


@pytest.fixture
def mails(settings):
    with mail_server(settings) as mailbox:
        yield mailbox


@pytest.fixture
def web():
    with web_server() as receiver:
        yield receiver


def let_pass(**time_gone):
    """Let everything that is remembered have happened so much earlier."""
    gone = timedelta(**time_gone)
    for run in UpdateRun.objects.all():
        run.started, run.heartbeat = run.started - gone, run.heartbeat - gone
        run.finished = run.finished and run.finished - gone
        run.save()
    for alert in Alert.objects.all():
        alert.told_at = alert.told_at and alert.told_at - gone
        alert.claimed_until = alert.claimed_until and alert.claimed_until - gone
        alert.save()
    Told.objects.update(at=F('at') - gone)


def test_one_mail_when_it_begins_to_fail_and_one_when_it_is_well_again(mails, sky, observed):
    record = observed()
    assert updatedata()[0] == 0
    assert mails.subjects() == []

    sky.break_('/requestgroups', faults.status(500))
    sky.break_('/requests/', faults.status(500))
    sky.break_('/frames/', faults.status(500))
    assert updatedata('--recheck')[0] == 1
    assert mails.subjects() == ['[Test TOM] updatedata is failing']
    assert record.observation_id in mails.text()
    assert 'doctor' in mails.text()
    assert updatedata('--recheck')[0] == 1
    assert len(mails) == 1

    sky.mend()
    assert updatedata('--recheck')[0] == 0
    assert mails.subjects()[1:] == ['[Test TOM] updatedata is working again']
    assert updatedata('--recheck')[0] == 0
    assert len(mails) == 2


def test_a_run_in_between_that_asked_nobody_is_no_recovery(mails, sky, observed):
    observed()
    sky.break_('/frames/', faults.status(500))
    updatedata()
    RecordSync.objects.update(next_check=timezone.now() + timedelta(hours=1))
    assert updatedata()[1]['due'] == 0
    assert len(mails) == 1


def test_a_reminder_a_day(mails, sky, observed):
    observed()
    sky.break_('/frames/', faults.status(500))
    updatedata()
    let_pass(hours=23)
    updatedata('--recheck')
    assert len(mails) == 1
    let_pass(hours=2)
    updatedata('--recheck')
    assert mails.subjects()[1:] == ['[Test TOM] updatedata is still failing']


def test_a_facility_that_refuses_the_token(mails, sky, observed):
    observed()
    sky.break_('/', faults.status(401))
    assert updatedata()[0] == 1
    assert len(mails) == 1


def test_overdue_is_told_once_by_any_number_of_processes(mails):
    ran(timedelta(hours=5))
    mails.delay = 1  # second, in which the others look as well
    together = Barrier(8)

    def look():
        together.wait(60)
        send_alerts()
        connections.close_all()

    threads = [Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert mails.subjects() == ['[Test TOM] updatedata is overdue']
    ran()
    send_alerts()
    send_alerts()
    assert mails.subjects()[1:] == ['[Test TOM] updatedata is working again']


@pytest.mark.parametrize('column', ['told_at', 'claimed_until'])
def test_a_clock_that_was_a_year_ahead_does_not_silence_it(mails, column):
    """Somebody was told, or was being told, at a time that is still to come."""
    ran(status='died')
    send_alerts()
    Alert.objects.update(**{column: timezone.now() + timedelta(days=365)})
    send_alerts()
    ran(status='died')
    if column == 'claimed_until':
        Alert.objects.update(state='working')
    send_alerts()
    assert mails.subjects() == [
        '[Test TOM] updatedata is failing',
        f'[Test TOM] updatedata is {"still " if column == "told_at" else ""}failing',
    ]


def test_the_web_server_tells_when_cron_is_dead(mails, automation, client):
    automation['WATCH_EVERY'] = 300
    ran(timedelta(hours=5))
    for _ in range(3):
        client.get('/automation/')
    end = time.monotonic() + 30
    while not mails and time.monotonic() < end:
        time.sleep(0.05)
    client.get('/automation/')
    assert mails.subjects() == ['[Test TOM] updatedata is overdue']
    while Alert.objects.get().claimed_until and time.monotonic() < end:
        time.sleep(0.05)  # until the thread has ended


def test_a_run_at_work_is_not_overdue_and_a_dead_one_is(mails):
    run = ran(timedelta(hours=5), status='running', finished=None, heartbeat=timezone.now())
    send_alerts()
    assert not mails
    run.heartbeat -= timedelta(hours=4)
    run.save()
    send_alerts()
    assert mails.subjects() == ['[Test TOM] updatedata is overdue']


def test_a_run_that_died_is_told(mails):
    ran(status='died')
    send_alerts()
    assert mails.subjects() == ['[Test TOM] updatedata is failing']


def test_nothing_has_ever_run_though_there_are_observations(mails, add_record):
    record = add_record()
    send_alerts()
    assert not mails
    type(record).objects.update(created=timezone.now() - timedelta(days=2))
    send_alerts()
    assert mails.subjects() == ['[Test TOM] updatedata is overdue']


def test_a_paused_job_is_no_trouble(mails):
    ran(timedelta(hours=5))
    JobPause.objects.create(job='updatedata', by='me', since=timezone.now())
    send_alerts()
    assert not mails


def test_a_dead_mail_server_fails_no_run_and_the_mail_comes_later(settings, sky, observed, caplog):
    use_mail(settings, free_port())
    record = observed()
    assert updatedata()[0] == 0
    sky.break_('/frames/', faults.status(500))
    assert updatedata('--recheck')[0] == 1
    assert 'No message about updatedata' in caplog.text
    assert record.observation_id
    with mail_server(settings) as mailbox:
        send_alerts()
        assert not mailbox  # another process may be trying
        let_pass(minutes=6)
        send_alerts()
        send_alerts()
        assert mailbox.subjects() == ['[Test TOM] updatedata is failing']


def test_a_mail_server_that_is_down_for_days_is_asked_less_often_and_tells_in_the_end(settings):
    use_mail(settings, free_port())
    ran(timedelta(hours=5))
    for _ in range(2 * 24 * 6):
        send_alerts()
        let_pass(minutes=10)
    assert Told.objects.count() < 60
    with mail_server(settings) as mailbox:
        let_pass(hours=1)
        send_alerts()
        assert mailbox.subjects() == ['[Test TOM] updatedata is overdue']


def test_a_webhook_that_may_have_it_is_not_told_again_and_again(settings, web):
    """A gateway answers 504 when the receiver has taken the message, and is slow to say so."""
    settings.ADMINS, web.status = [], 504
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{web.url}/hook'}
    ran(timedelta(hours=5))
    for _ in range(22):
        send_alerts()
        let_pass(hours=1)
    assert 1 < len(web.seen) <= 3
    for _ in range(30):
        UpdateRun.objects.all().delete()
        ran()
        send_alerts()
        let_pass(hours=2)
    assert len(web.seen) <= 6
    assert Alert.objects.get().state == 'working'


def test_what_certainly_was_not_taken_does_not_count_among_those_tries(settings, web, monkeypatch):
    """A receiver that was down, and answers in several ways as it comes up."""
    settings.ADMINS = []
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{web.url}/hook'}
    ran(timedelta(hours=5))
    with monkeypatch.context() as down:
        down.setitem(settings.TOM_AUTO, 'ALERT_WEBHOOK_URL', 'http://127.0.0.1:9/hook')
        for _ in range(4):
            send_alerts()
            let_pass(hours=1)
    for web.status in (502, 504, 500, 503, 502):
        send_alerts()
        let_pass(hours=1)
    assert len(web.seen) == 3


def test_a_mail_server_that_answers_late_gets_few_mails(mails, monkeypatch):
    monkeypatch.setattr(channels, 'DELIVERY_SECONDS', 0.3)
    mails.delay = 0.6
    ran(timedelta(hours=5))
    for _ in range(8):
        send_alerts()
        let_pass(hours=1)
    end = time.monotonic() + 30
    while len(mails) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert mails.subjects() == ['[Test TOM] updatedata is overdue'] * 3
    assert Told.objects.count() == 3


class Queue(BaseEmailBackend):
    """One that puts mails into a queue, and counts none or says nothing."""

    said = None
    got = 0

    def send_messages(self, messages):
        Queue.got += len(messages)
        return self.said


class CountsNone(Queue):
    said = 0


@pytest.mark.parametrize('backend', [Queue, CountsNone])
def test_a_backend_that_counts_no_mail_gets_it_once(settings, backend):
    settings.ADMINS, Queue.got = [('Ada', 'ada@example.org')], 0
    settings.EMAIL_BACKEND = f'{__name__}.{backend.__name__}'
    ran(timedelta(hours=5))
    send_alerts()
    Alert.objects.update(claimed_until=None)
    send_alerts()
    assert (Told.objects.get().error, Queue.got) == ('', 1)


@pytest.mark.parametrize('channel', ['mail', 'webhook', 'switch'])
def test_a_receiver_that_answers_without_end_holds_no_run(
    settings, sky, observed, monkeypatch, channel
):
    monkeypatch.setattr(channels, 'DELIVERY_SECONDS', 0.3)
    observed()
    sky.break_('/frames/', faults.status(500))
    with slow_mail_server(settings, 'RCPT'), slow_web_server() as url:
        settings.ADMINS = [('Ada', 'ada@example.org')] if channel == 'mail' else []
        if channel != 'mail':
            setting = {'webhook': 'ALERT_WEBHOOK_URL', 'switch': 'PING_URL'}[channel]
            settings.TOM_AUTO |= {setting: url}
        assert updatedata()[0] == 1
    assert Told.objects.get(channel=channel).error == 'TimeoutError: it was given up after 0.3 s'


def test_the_webhook_is_told_beside_the_mail(mails, web, settings, caplog):
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{web.url}/hooks/only-for-this-test'}
    web.status = 500
    ran(timedelta(hours=5))
    send_alerts()
    assert len(mails) == 1
    assert 'only-for-this-test' not in caplog.text
    web.status = 200
    let_pass(minutes=6)
    send_alerts()
    send_alerts()
    assert len(mails) == 1
    [_, (method, path, told)] = web.seen
    assert (method, path) == ('POST', '/hooks/only-for-this-test')
    assert (told['job'], told['state'], told['reminder']) == ('updatedata', 'overdue', False)


def test_the_webhook_is_told_once_of_each_change(web, settings):
    settings.ADMINS = []
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{web.url}/hook'}
    settings.ALLOWED_HOSTS, settings.HTTPS = ['tom.example.org'], True
    ran(status='died')
    for _ in range(3):
        send_alerts()
    let_pass(hours=25)
    ran(timedelta(hours=5), status='died')
    for _ in range(3):
        send_alerts()
    ran()
    for _ in range(3):
        send_alerts()
    told = [(what['state'], what['reminder']) for _, _, what in web.seen]
    assert told == [('failing', False), ('overdue', False), ('working', False)]
    assert web.seen[0][2]['page'] == 'https://tom.example.org/automation/'
    assert 'updatedata has been overdue' in web.seen[1][2]['text']


def test_the_webhook_reminds_once_a_day(web, settings):
    settings.ADMINS = []
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': f'{web.url}/hook'}
    ran(timedelta(hours=5))
    for hours in (0, 23, 2, 1):  # later each time
        let_pass(hours=hours)
        send_alerts()
    assert [what['reminder'] for _, _, what in web.seen] == [False, True]


def test_each_change_between_failing_and_overdue_is_one_mail(mails):
    ran(status='died')
    send_alerts()
    let_pass(hours=5)
    send_alerts()
    send_alerts()
    ran(status='died')
    send_alerts()
    send_alerts()
    words = [subject.removeprefix('[Test TOM] updatedata is ') for subject in mails.subjects()]
    assert words == ['failing', 'overdue', 'failing']


def test_the_switch_hears_of_the_beginning_and_the_end(web, settings, sky, observed):
    settings.TOM_AUTO |= {'PING_URL': f'{web.url}/ping/0123-4567'}
    record = observed()
    updatedata()
    sky.break_('/frames/', faults.status(500))
    updatedata('--recheck')
    ping = '/ping/0123-4567'
    assert web.paths() == [f'{ping}/start', ping, f'{ping}/start', f'{ping}/fail']
    updatedata('--target_id', str(record.target_id))
    assert len(web.seen) == 4  # not what the switch waits for


def test_the_switch_hears_of_no_run_by_hand(web, settings, monkeypatch):
    settings.TOM_AUTO |= {'PING_URL': f'{web.url}/ping/0123-4567'}
    monkeypatch.setenv(ASKED_BY, 'me')
    updatedata()
    assert web.seen == []
    assert UpdateRun.objects.get().started_by == 'me'


def test_a_run_that_is_refused_pings_nobody(web, settings):
    settings.TOM_AUTO |= {'PING_URL': f'{web.url}/ping/0123-4567'}
    ran(status='running', finished=None, heartbeat=timezone.now() + timedelta(minutes=1), host='x')
    with pytest.raises(Exception, match='in progress'):
        updatedata()
    assert web.seen == []


def test_a_dead_switch_fails_no_run_and_its_address_is_secret(settings, caplog, observed):
    settings.TOM_AUTO |= {'PING_URL': f'http://127.0.0.1:{free_port()}/ping/0123-4567'}
    observed()
    assert updatedata()[0] == 0
    written = redact(caplog.text)  # as the log's formatter has it
    assert 'could not be reached' in written
    assert '0123-4567' not in written


def test_nobody_to_tell_costs_nothing(settings, django_assert_num_queries):
    settings.ADMINS = []
    settings.TOM_AUTO |= {'ALERT_WEBHOOK_URL': ''}
    with django_assert_num_queries(0):
        send_alerts()
