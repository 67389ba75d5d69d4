"""Who is told that data came in: exactly those who want to know and may, once, whatever happens."""

import asyncio
import itertools
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from astropy.io import fits
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.utils import DNS_NAME
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_targets.merge import target_merge
from tom_targets.models import Target

from tom_auto import interrupt
from tom_auto.arrivals import choosing, drawing_program, illustrations, mailing, notices, telling
from tom_auto.arrivals.models import Arrival, Notice, Wish
from tom_auto.arrivals.noting import note_arrivals
from tom_auto.arrivals.numbers import newest_frame
from tom_auto.models import SharedFrame, UpdateRun

from .page import came, ran, stored
from .receiving import free_port, mail_server, slow_mail_server, web_server
from .running import updatedata

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures('hourly')]

frame_ids = (f'frame {number}' for number in itertools.count())


@pytest.fixture
def mails(settings):
    with mail_server(settings) as mailbox:
        settings.ADMINS = []
        yield mailbox


@pytest.fixture
def web(settings):
    with web_server() as receiver:
        settings.TOM_AUTO |= {'ARRIVALS_WEBHOOK_URL': f'{receiver.url}/came'}
        yield receiver


@pytest.fixture
def open_target(target):
    Target.objects.update(permissions='OPEN')
    return target


def who_wants(name='ann', when='at once', about='all', **fields):
    user = User.objects.create_user(name, f'{name}@example.org')
    now = {'told_at': timezone.now(), 'told_up_to': newest_frame()}
    return Wish.objects.create(user=user, when=when, about=about, **(now | fields))


def parts(mail):
    """The plain text, the HTML and the number of pictures of a mail."""
    texts = {part.get_content_type(): part for part in mail.walk()}
    plain, html = (
        texts[kind].get_payload(decode=True).decode() for kind in ('text/plain', 'text/html')
    )
    return plain, html, [part['Content-ID'] for part in mail.walk() if part['Content-ID']]


def subject(mail):
    return str(make_header(decode_header(mail['Subject'])))


def tell(record=None, frames=0):
    for _ in range(frames):
        came(record, next(frame_ids))
    telling.tell_of_arrivals()


def test_one_mail_after_the_run_that_brought_it(
    mails, observed, open_target, settings, monkeypatch
):
    for limit in (
        'DRAWING_SECONDS',
        'DRAWING_LASTS',
        'READING_LASTS',
    ):  # this machine has other things to do
        monkeypatch.setattr(illustrations, limit, 60)
    settings.ALLOWED_HOSTS = ['tom.example.org']
    who_wants()
    observed(frames=5, pixels=64)
    updatedata()
    [mail] = mails
    assert mail['To'] == 'ann@example.org'
    assert subject(mail) == '[Test TOM] 5 new frames of M 31'
    plain, html, pictures = parts(mail)
    assert 'M 31: 5 of LCO' in plain
    assert f'/targets/{open_target.pk}/' in plain
    assert '/automation/arrivals/' in plain
    assert len(pictures) == 4  # the newest
    assert all(f'src="cid:{each.strip("<>")}"' in html for each in pictures)
    assert Notice.objects.get().message_id == mail['Message-ID']
    updatedata('--recheck')
    assert len(mails) == 1


def test_each_mail_has_a_picture_before_a_second_of_any_is_drawn(
    mails, add_record, media, monkeypatch, tmp_path
):
    """The start of the program that draws does not count."""
    program, asked, draw = tmp_path / 'program.py', [], drawing_program.Program.draw
    program.write_text(f'import time\ntime.sleep(1)\n{drawing_program.DRAWING.read_text()}')
    monkeypatch.setattr(drawing_program, 'DRAWING', program)
    monkeypatch.setattr(illustrations, 'DRAWING_SECONDS', 0.9)
    monkeypatch.setattr(illustrations, 'DRAWING_LASTS', 60)
    monkeypatch.setattr(illustrations, 'READING_LASTS', 60)
    monkeypatch.setattr(
        drawing_program.Program, 'draw', lambda *call: (asked.append(call[1]), draw(*call))[1]
    )
    for name in ('ann', 'bob', 'cyd'):
        target = Target.objects.create(name=name, type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
        who_wants(name, about='chosen').targets.add(target)
        record = add_record(target=target)
        for n in range(2):
            file = Path(came(record, f'{name} {n}', picture='waiting').product.data.path)
            file.parent.mkdir(parents=True)
            fits.writeto(file, np.eye(60))
    tell()
    assert len(mails) == 3
    assert all(parts(mail)[2] for mail in mails)
    assert [re.search('ann|bob|cyd', Path(path).parent.name)[0] for path in asked[:3]] == [
        'ann', 'bob', 'cyd',
    ]  # fmt: skip


def test_a_job_of_the_schedule_tells_as_well(mails, add_record, open_target, hourly):
    hourly.write_text(f'{hourly.read_text()}[tidy]\ncommand = ["clearsessions"]\nwhen = "daily"\n')
    who_wants()
    came(add_record(), 'one')
    call_command('schedule', 'run', 'tidy')
    assert len(mails) == 1


def test_nobody_hears_of_what_they_may_not_see_when_it_is_sent(mails, add_record, target):
    Target.objects.update(permissions='PRIVATE')
    wish, record = who_wants(), add_record()
    tell(record, 2)
    assert not mails
    assign_perm('tom_targets.view_target', wish.user, target)
    tell()
    assert not mails  # what came then is past
    tell(record, 1)
    assert subject(mails[0]) == '[Test TOM] 1 new frame of M 31'


def test_permissions_of_their_own(mails, add_record, target, settings):
    settings.TARGET_PERMISSIONS_ONLY = False
    Target.objects.update(permissions='PRIVATE', name='Secret Star')
    wish, record = who_wants(), add_record()
    team = Group.objects.create(name='team')
    wish.user.groups.add(team)
    came(record, 'hidden')
    assign_perm('tom_dataproducts.view_dataproduct', team, came(record, 'shown').product)
    tell()
    assert subject(mails[0]) == '[Test TOM] 1 new frame of a target that you may not see'
    assert 'Secret Star' not in mails[0].as_string()


def test_own_observations_and_chosen_targets(mails, add_record, open_target):
    wish = who_wants(about='own')
    other = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    third = Target.objects.create(name='M 81', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    wish.targets.add(other)
    tell(add_record(user=wish.user), 1)
    tell(add_record(target=other), 2)
    tell(add_record(target=third), 4)
    assert [subject(mail)[11:] for mail in mails] == ['1 new frame of M 31', '2 new frames of M 33']
    Wish.objects.update(about='chosen')
    tell(add_record(user=wish.user), 1)
    assert len(mails) == 2


def test_a_frame_that_is_shared_is_ones_own(mails, add_record, open_target):
    wish = who_wants(about='own')
    frame = came(add_record(), 'shared').product.stored_frame
    mine = add_record(user=wish.user)
    SharedFrame.objects.create(record=mine, archive=frame.archive, frame_id=frame.frame_id)
    tell()
    assert len(mails) == 1


@pytest.mark.parametrize('host', [f'{"node-" * 12}pool.{"c." * 30}internal', 'x' * 200, '-' * 90])
def test_a_host_with_a_long_name_tells_as_others_do(
    mails, add_record, open_target, monkeypatch, host
):
    """As clouds have them. PostgreSQL takes no more characters than a column has."""
    monkeypatch.setattr(DNS_NAME, '_fqdn', host, raising=False)
    who_wants()
    tell(add_record(), 1)
    [mail] = mails
    notice = Notice.objects.get()
    assert mail['Message-ID'].strip() == notice.message_id
    assert len(notice.message_id) <= Notice._meta.get_field('message_id').max_length
    assert re.fullmatch(r'<[\w.]+@\w[\w.-]*>', notice.message_id)


@pytest.mark.parametrize('fields', [{'is_active': False}, {'email': ''}])
def test_nobody_who_left_or_has_no_address(mails, add_record, open_target, fields):
    who_wants()
    User.objects.filter(username='ann').update(**fields)
    tell(add_record(), 1)
    assert not mails
    assert not Notice.objects.exists()


def test_once_a_day_at_an_hour_of_theirs(mails, add_record, open_target, monkeypatch):
    """In Honolulu, ten hours behind: 8:00 there is 18:00 UTC."""
    clock = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(telling.timezone, 'now', lambda: clock[0])
    wish = who_wants(when='daily', hour=8, zone='Pacific/Honolulu', told_at=clock[0])
    tell(add_record(), 1)
    clock[0] += timedelta(hours=5, minutes=59)
    tell()
    assert not mails
    clock[0] += timedelta(minutes=1)
    tell()
    tell(add_record(), 2)
    assert [subject(mail)[11:] for mail in mails] == ['1 new frame of M 31']
    wish.refresh_from_db()
    clock[0] += timedelta(days=1)
    tell()
    clock[0] += timedelta(days=1)  # nothing new: no mail
    tell()
    assert [subject(mail)[11:] for mail in mails][1:] == ['2 new frames of M 31']


def test_a_clock_that_was_a_year_ahead_silences_no_daily_mail(mails, add_record, open_target):
    """A run told somebody at a time that is still to come; or it died while it did."""
    ahead = timezone.now() + timedelta(days=365)
    told, being_told = (who_wants(name, when='daily', told_at=ahead) for name in ('ann', 'bob'))
    claimed = {'after': being_told.told_up_to, 'up_to': newest_frame(), 'at': ahead}
    Notice.objects.create(wish=being_told, claimed_until=ahead + notices.CLAIM, **claimed)
    tell(add_record(), 1)
    assert sorted(mail['To'] for mail in mails) == ['ann@example.org', 'bob@example.org']
    tell(add_record(), 1)
    assert len(mails) == 2  # until tomorrow
    now = timezone.now()
    told.refresh_from_db()
    assert told.told_at <= now < choosing.next_moment(told, now)


@pytest.mark.parametrize(
    ('now', 'hour', 'last', 'following'),
    [
        # Clocks go back at 01:00 UTC: the hour from 02:00 to 03:00 comes twice.
        ('2026-10-25T00:30', 2, '2026-10-25T00:00', '2026-10-26T01:00'),
        ('2026-10-25T01:30', 2, '2026-10-25T00:00', '2026-10-26T01:00'),
        # They go forward at 01:00 UTC, over 02:00.
        ('2026-03-29T00:30', 2, '2026-03-28T01:00', '2026-03-29T01:00'),
        ('2026-03-29T01:30', 2, '2026-03-29T01:00', '2026-03-30T00:00'),
    ],
)
def test_one_mail_on_the_days_when_clocks_change(now, hour, last, following):
    now, last, following = (
        datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, last, following)
    )
    wish = Wish(hour=hour, zone='Europe/Berlin', told_at=last)
    assert choosing.last_moment(wish, now).astimezone(UTC) == last
    assert choosing.next_moment(wish, now).astimezone(UTC) == following


def test_what_a_run_brings_is_told_when_it_has_ended(mails, add_record, open_target):
    who_wants()
    run = ran(status='running', finished=None, heartbeat=timezone.now())
    tell(add_record(), 1)  # at the end of another job
    assert not mails
    UpdateRun.objects.filter(pk=run.pk).update(status='ok', finished=timezone.now())
    tell()
    assert len(mails) == 1


def test_a_server_that_is_away_is_tried_again_and_fails_no_run(
    mails, observed, open_target, settings
):
    who_wants()
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, free_port()
    observed(frames=1)
    assert updatedata()[0] == 0
    notice = Notice.objects.get()
    assert (notice.state, 'refused' in notice.error) == ('failed', True)
    settings.EMAIL_PORT = port
    assert updatedata()[0] == 0
    assert len(mails) == 1
    assert Notice.objects.get().state == 'sent'


def test_an_address_that_is_refused_keeps_no_other_from_being_told(mails, add_record, open_target):
    async def refuse(server, session, envelope, address, options):
        if 'bob' in address:
            return '550 no such person'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    mails.handle_RCPT = refuse
    who_wants('bob')
    who_wants('carl')
    tell(add_record(), 1)
    assert [mail['To'] for mail in mails] == ['carl@example.org']
    assert Notice.objects.get(wish__user__username='bob').state == 'failed'


def test_a_server_that_goes_away_in_the_middle_may_have_taken_it(
    mails, add_record, open_target, settings
):
    """It is not sent again, and the next mail says so."""
    who_wants()
    settings.EMAIL_TIMEOUT, mails.delay = 0.3, 1
    tell(add_record(), 3)
    assert Notice.objects.get().state == 'uncertain'
    settings.EMAIL_TIMEOUT, mails.delay = 20, 0
    mails.clear()
    tell()
    assert not mails
    tell(add_record(), 1)
    plain, html, _ = parts(mails[0])
    assert 'The mail about 3 frames of' in plain
    assert 'may not have arrived' in html
    tell(add_record(), 1)
    assert 'may not have arrived' not in parts(mails[1])[0]


def test_every_message_that_may_be_lost_is_named(settings, add_record, open_target):
    who_wants()
    record = add_record()
    with slow_mail_server(settings, '-END'):
        tell(record, 5)
        tell(record, 3)
    with mail_server(settings) as mails:
        settings.ADMINS = []
        tell(record, 1)
        tell(record, 1)
    for text in parts(mails[0])[:2]:
        assert re.findall(r'The mail about (\d) frames', text) == ['5', '3']
    assert 'may not have arrived' not in parts(mails[1])[0]


def test_what_may_be_lost_is_kept_until_it_is_named(settings, add_record, open_target, automation):
    """A daily mail may find nothing to tell for longer than messages are kept."""
    wish, record, long_ago = who_wants(), add_record(), timezone.now() - timedelta(days=100)
    past = {'after': 0, 'up_to': 0, 'claimed_until': long_ago}
    states = ['uncertain', 'sent', 'uncertain', 'uncertain']
    for n, state in enumerate(states):
        at = long_ago + timedelta(minutes=n)
        Notice.objects.create(wish=wish, state=state, message_id=f'{n}', frames=n, at=at, **past)
    tell()
    assert list(Notice.objects.order_by('at').values_list('frames', flat=True)) == [2, 3]
    with mail_server(settings) as mails:
        settings.ADMINS = []
        tell(record, 1)
    assert re.findall(r'The mail about (\d) frames', parts(mails[0])[0]) == ['2', '3']
    assert Notice.objects.get().state == 'sent'


def test_the_webhook_says_what_may_be_lost(web, add_record, open_target):
    ran(timedelta(hours=1))
    record = add_record()
    tell(record, 5)
    Notice.objects.update(state='uncertain')
    tell(record, 1)
    tell(record, 1)
    told = [sent for _, _, sent in web.seen]
    assert [[lost['frames'] for lost in sent['missed']] for sent in told] == [[], [5], []]
    assert 'may not have arrived' in told[1]['text']


@pytest.mark.parametrize(
    ('answer', 'state'),
    [
        (b'250 ' + b'x' * 9000, 'uncertain'),  # smtplib calls this 500
        (b'hello', 'uncertain'),  # and this -1
        (b'354 go on', 'uncertain'),
        (b'450 later', 'failed'),
        (b'554 no', 'failed'),
    ],
)
def test_only_the_refusal_of_the_server_is_one(mails, add_record, open_target, answer, state):
    async def odd(server, session, envelope):
        return answer.decode()

    mails.handle_DATA = odd
    who_wants()
    tell(add_record(), 1)
    assert Notice.objects.get().state == state


def test_what_a_process_that_died_was_preparing_is_sent_by_the_next(mails, add_record, open_target):
    wish = who_wants()
    came(add_record(), 'one')
    notices.claim(wish, newest_frame())
    tell()
    assert not mails  # it may be alive
    Notice.objects.update(claimed_until=timezone.now())
    tell()
    assert len(mails) == 1


def test_what_a_process_that_died_was_sending_is_not_sent_twice(mails, add_record, open_target):
    wish = who_wants()
    came(add_record(), 'one')
    notice = notices.claim(wish, newest_frame())
    notices.begin_sending(notice, 1)
    Notice.objects.update(claimed_until=timezone.now())
    tell()
    assert not mails
    assert Notice.objects.get().state == 'uncertain'


def test_a_mistake_of_ours_fails_no_run(mails, observed, open_target, monkeypatch):
    who_wants()
    observed(frames=1)
    monkeypatch.setattr(telling.letters, 'content_of', lambda frames: 1 / 0)
    assert updatedata()[0] == 0
    assert Notice.objects.get().state == 'failed'


@pytest.mark.parametrize(
    ('stops_at', 'state'), [('HELLO', 'failed'), ('RCPT', 'failed'), ('END', 'uncertain')]
)
def test_a_server_that_answers_without_end_holds_no_run(
    settings, add_record, open_target, monkeypatch, stops_at, state
):
    monkeypatch.setattr(telling, 'SENDING_SECONDS', 0.3)
    monkeypatch.setattr(telling, 'LAST_SECONDS', 0.2)
    who_wants()
    came(add_record(), 'one')
    with slow_mail_server(settings, stops_at):
        begun = monotonic()
        tell()
        took = monotonic() - begun
        assert Notice.objects.get().state == state
    wait_for_what_was_left()
    assert took < 2
    assert Notice.objects.get().state == state


@pytest.mark.parametrize('stops_at', ['-EHLO', '-MAIL', '-RCPT'])
def test_what_breaks_off_before_the_mail_is_tried_again(
    settings, add_record, open_target, stops_at
):
    who_wants()
    came(add_record(), 'one')
    with slow_mail_server(settings, stops_at):
        tell()
    assert Notice.objects.get().state == 'failed'


@pytest.mark.skipif(connection.vendor != 'postgresql', reason='SQLite locks no rows')
def test_a_lock_of_somebody_else_holds_no_run(mails, add_record, open_target, monkeypatch):
    """Neither where a wish is looked after, nor where what takes too long is given up."""
    for limit in ('SENDING_SECONDS', 'LAST_SECONDS', 'GIVING_UP_SECONDS'):
        monkeypatch.setattr(telling, limit, 0.3)
    wish = who_wants()
    came(add_record(), 'one')
    notice = notices.claim(wish, newest_frame())
    Notice.objects.update(claimed_until=timezone.now())
    locked, over = threading.Event(), threading.Event()

    def keep():
        with transaction.atomic():
            Notice.objects.select_for_update().get(pk=notice.pk)
            locked.set()
            over.wait(20)
        connection.close()

    keeper = threading.Thread(target=keep)
    keeper.start()
    assert locked.wait(20)
    begun = monotonic()
    telling.tell_of_arrivals()
    took = monotonic() - begun
    over.set()
    keeper.join()
    wait_for_what_was_left()
    assert took < 5
    tell()
    assert len(mails) == 1


def test_what_breaks_off_in_the_mail_may_have_arrived(settings, add_record, open_target):
    who_wants()
    came(add_record(), 'one')
    with slow_mail_server(settings, '-END'):
        tell()
    assert Notice.objects.get().state == 'uncertain'


@pytest.mark.parametrize('own', [True, False])
def test_an_address_that_no_mail_can_have_is_tried_again(
    mails, add_record, open_target, settings, own
):
    if not own:
        settings.EMAIL_BACKEND = f'{__name__}.ConnectsAnew'
    who_wants()
    settings.DEFAULT_FROM_EMAIL = 'tom@example.org\nBcc: x@example.org'
    tell(add_record(), 1)
    settings.DEFAULT_FROM_EMAIL = 'tom@example.org'
    assert Notice.objects.get().state == 'failed'
    tell()
    assert len(mails) == 1


class CountsNone(BaseEmailBackend):
    """As one that puts mails into a queue."""

    counted = 0
    got = 0

    def send_messages(self, messages):
        CountsNone.got += len(messages)
        return self.counted


class SaysNothing(CountsNone):
    counted = None


class ConnectsAnew(EmailBackend):
    """As wrappers do that have a connection of their own for each mail."""

    def send_messages(self, messages):
        self.close()
        self.open()
        return super().send_messages(messages)


@pytest.mark.parametrize(
    ('command', 'answer', 'state'),
    [
        ('DATA', 'hello', 'uncertain'),
        ('DATA', '450 later', 'failed'),
        ('RCPT', '450 later', 'failed'),
    ],
)
def test_a_backend_that_connects_anew_does_not_send_twice(
    mails, add_record, open_target, settings, command, answer, state
):
    """Only what the server refused is tried again."""

    async def odd(server, session, envelope, *address):
        return answer

    settings.EMAIL_BACKEND = f'{__name__}.ConnectsAnew'
    setattr(mails, f'handle_{command}', odd)
    who_wants()
    tell(add_record(), 1)
    assert Notice.objects.get().state == state


class Stumbles(CountsNone):
    """As one that cannot read the answer of a service, which has the mail by then."""

    def send_messages(self, messages):
        super().send_messages(messages)
        raise ValueError('no JSON')


@pytest.mark.parametrize(
    ('backend', 'state'),
    [(CountsNone, 'uncertain'), (SaysNothing, 'sent'), (Stumbles, 'uncertain')],
)
def test_a_backend_that_counts_no_mail_does_not_get_it_twice(
    settings, add_record, open_target, backend, state
):
    settings.EMAIL_BACKEND, CountsNone.got = f'{__name__}.{backend.__name__}', 0
    who_wants()
    tell(add_record(), 1)
    telling.tell_of_arrivals()
    assert (Notice.objects.get().state, CountsNone.got) == (state, 1)


@pytest.mark.parametrize('address', ['http://[not-valid', 'https{}/came'])
def test_a_webhook_that_cannot_be_called_is_tried_again(web, add_record, target, settings, address):
    ran(timedelta(hours=1))
    there = address.format(web.url.removeprefix('http'))  # which speaks no TLS
    settings.TOM_AUTO |= {'ARRIVALS_WEBHOOK_URL': there}
    tell(add_record(), 1)
    assert Notice.objects.get().state == 'failed'


@pytest.mark.parametrize('status', [302, 404, 503])
def test_a_webhook_that_refuses_gets_it_again_under_the_same_number(
    web, add_record, target, status
):
    ran(timedelta(hours=1))
    web.status = status
    tell(add_record(), 1)
    assert Notice.objects.get().state == 'failed'
    web.status = 200
    tell()
    first, second = (sent for _, _, sent in web.seen)
    assert first['id'] == second['id']
    assert second['missed'] == []


@pytest.mark.parametrize('status', [500, 502, 504])
def test_a_webhook_that_may_have_taken_it_does_not_get_it_twice(web, add_record, target, status):
    ran(timedelta(hours=1))
    web.status, record = status, add_record()
    tell(record, 1)
    assert Notice.objects.get().state == 'uncertain'
    web.status = 200
    tell()
    tell(record, 1)
    first, second = (sent for _, _, sent in web.seen)
    assert [lost['id'] for lost in second['missed']] == [first['id']]
    assert first['id'] != second['id']


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens while the pictures of a mail are drawn."""

    def happens(change):
        @contextmanager
        def slow(of_mails):
            yield lambda frames: (change(), sleep(0.05), {})[2]

        monkeypatch.setattr(mailing, 'FRESH', 0.05)
        monkeypatch.setattr(telling, 'illustrating', slow)

    return happens


@pytest.mark.parametrize(
    'change',
    [
        lambda: User.objects.update(is_superuser=False),
        lambda: User.objects.update(is_active=False),
        lambda: User.objects.update(email=''),
        lambda: Wish.objects.update(when='never'),
        lambda: Wish.objects.update(told_up_to=newest_frame()),
        lambda: User.objects.filter(username='ann').delete(),
    ],
)
def test_what_ends_while_pictures_are_drawn(mails, add_record, target, meanwhile, change):
    """Nothing is remembered of the user: neither what they may see, nor where to reach them."""
    Target.objects.update(permissions='PRIVATE')
    User.objects.filter(pk=who_wants().user_id).update(is_superuser=True)
    meanwhile(change)
    tell(add_record(), 1)
    assert not mails
    assert not Notice.objects.exists()


def test_a_target_that_is_hidden_while_pictures_are_drawn(
    mails, add_record, open_target, meanwhile
):
    who_wants()
    meanwhile(lambda: Target.objects.update(permissions='PRIVATE'))
    tell(add_record(), 1)
    assert not mails
    assert not Notice.objects.exists()


def test_the_address_is_the_one_at_that_moment(mails, add_record, open_target, meanwhile):
    who_wants()
    meanwhile(lambda: User.objects.update(email='new@example.org'))
    tell(add_record(), 1)
    assert [mail['To'] for mail in mails] == ['new@example.org']
    assert Notice.objects.get().address == 'new@example.org'


@pytest.mark.parametrize('command', ['MAIL', 'RCPT'])
@pytest.mark.parametrize(
    'change',
    [
        lambda: User.objects.update(is_active=False),
        lambda: User.objects.update(email='new@example.org'),
        lambda: Wish.objects.update(when='never'),
        lambda: Target.objects.update(permissions='PRIVATE'),
    ],
)
def test_what_ends_while_a_server_takes_the_addresses(
    mails, add_record, open_target, monkeypatch, command, change
):
    """A server that makes senders wait is no reason to tell who may not know any more."""

    async def slow(server, session, envelope, address, options):
        await sync_to_async(alone)(change)
        await asyncio.sleep(0.05)
        envelope.mail_from = envelope.mail_from or address
        if command == 'RCPT':
            envelope.rcpt_tos.append(address)
        return '250 OK'

    monkeypatch.setattr(mailing, 'FRESH', 0.05)
    setattr(mails, f'handle_{command}', slow)
    who_wants()
    tell(add_record(), 1)
    assert not mails
    assert not Notice.objects.exists()


def alone(change):
    """Do it by a connection of its own, as another process does."""
    change()
    connection.close()


class SlowStore(InMemoryStorage):
    def _open(self, name, mode='rb'):
        sleep(3)
        return super()._open(name, mode)


@pytest.mark.parametrize('picture', ['waiting', 'drawn'])
def test_a_slow_store_holds_up_no_mail(mails, add_record, open_target, settings, picture):
    """Neither for the file, nor for a picture that was drawn."""
    settings.STORAGES = settings.STORAGES | {'default': {'BACKEND': f'{__name__}.SlowStore'}}
    who_wants()
    who_wants('bob')
    product = came(add_record(), 'one', picture=picture).product
    DataProduct.objects.update(thumbnail='previews/one.jpg' if picture == 'drawn' else '')
    for name in (product.data.name, 'previews/one.jpg'):
        product.data.storage.save(name, ContentFile(b'SIMPLE'))
    begun = monotonic()
    tell()
    took = monotonic() - begun
    assert [parts(mail)[2] for mail in mails] == [[], []]
    wait_for_what_was_left()
    assert took < illustrations.DRAWING_LASTS + illustrations.READING_LASTS + 1
    assert Arrival.objects.get().picture == picture  # nothing is known of it


def wait_for_what_was_left():
    """Threads that were given up may still be at work."""
    for thread in threading.enumerate():
        if thread.name == interrupt.WITHIN:
            thread.join(10)


def test_who_could_not_be_reached_is_told_of_what_comes_from_then_on(
    mails, add_record, open_target
):
    wish, record = who_wants(), add_record()
    User.objects.filter(pk=wish.user_id).update(email='')
    tell(record, 3)
    User.objects.filter(pk=wish.user_id).update(email='ann@example.org')
    tell()
    assert not mails
    tell(record, 1)
    assert [subject(mail)[11:] for mail in mails] == ['1 new frame of M 31']


def test_a_webhook_that_was_off_hears_of_what_comes_from_then_on(web, add_record, target, settings):
    ran(timedelta(hours=1))
    record, there = add_record(), settings.TOM_AUTO['ARRIVALS_WEBHOOK_URL']
    tell(record, 1)
    settings.TOM_AUTO |= {'ARRIVALS_WEBHOOK_URL': ''}
    tell(record, 3)
    settings.TOM_AUTO |= {'ARRIVALS_WEBHOOK_URL': there}
    tell()
    tell(record, 1)
    assert [sent['frames'] for _, _, sent in web.seen] == [1, 1]


def test_two_messages_that_failed_cannot_be(add_record, open_target):
    """Or neither could be claimed any more."""
    wish = who_wants()
    came(add_record(), 'one')
    notice = notices.claim(wish, newest_frame())
    notices.end(notice, 'failed')
    notice.pk = None
    with pytest.raises(IntegrityError):
        notice.save(force_insert=True)


def test_whom_the_last_try_did_not_reach_comes_last(mails, add_record, open_target):
    first, _ = who_wants(), who_wants('bob')
    came(add_record(), 'one')
    notices.end(notices.claim(first, newest_frame()), 'failed')
    tell()
    assert [mail['To'] for mail in mails] == ['bob@example.org', 'ann@example.org']


@pytest.mark.parametrize('change', ['reprocess', 'lose'])
def test_a_frame_from_before_frames_were_noted_is_no_news(
    mails, observed, open_target, sky, change
):
    record = observed(frames=1)
    updatedata()
    Arrival.objects.all().delete()
    who_wants()
    if change == 'lose':
        product = DataProduct.objects.get()
        product.data.storage.delete(product.data.name)
    else:
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])
    counts = updatedata('--recheck')[1]
    assert counts['saved'] + counts['repaired'] == 1
    assert not mails
    assert not Arrival.objects.exists()


def test_frames_of_merged_targets_are_not_news(mails, add_record, open_target):
    who_wants()
    other = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    tell(add_record(), 2)
    target_merge(other, open_target)
    assert [each.target_id for each in Arrival.objects.all()] == [other.pk] * 2
    tell()
    assert len(mails) == 1


def test_what_was_chosen_stays_so_when_targets_are_merged(mails, add_record, open_target):
    """tomtoolkit deletes the second; its observations go on."""
    wish, other = who_wants(about='chosen'), who_wants('bob', about='chosen')
    second = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    third = Target.objects.create(name='M 81', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    wish.targets.add(second)
    other.targets.add(third)
    record = add_record(target=second)
    target_merge(open_target, second)
    third.delete()
    record.refresh_from_db()
    tell(record, 1)
    assert [mail['To'] for mail in mails] == ['ann@example.org']
    assert list(wish.targets.values_list('name', flat=True)) == ['M 31']
    assert not other.targets.exists()


def test_a_frame_that_was_moved_to_a_target_that_all_see(mails, client, add_record, target):
    """Whoever reads on is told of it at once; the rest is found a little later."""
    Target.objects.update(permissions='PRIVATE')
    who_wants()
    shown = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    moved = came(add_record(), 'one').product
    DataProduct.objects.filter(pk=moved.pk).update(target=shown)  # nobody is told of this
    tell()
    assert [subject(mail)[11:] for mail in mails] == ['1 new frame of M 33']
    before = moved.arrival.pk - 1
    [frame] = client.get('/automation/arrivals.json', {'after': before}).json()['frames']
    assert frame['target'] == 'M 33'
    moved.data.storage.save(moved.data.name, ContentFile(b'SIMPLE'))
    assert client.get(f'/automation/arrivals/{frame["id"]}/file/').status_code == 200


def test_the_web_server_lets_frames_follow_that_were_moved(client, add_record, target, automation):
    automation['WATCH_EVERY'] = 300
    Target.objects.update(permissions='PRIVATE')
    shown = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
    frame = came(add_record(), 'one')
    DataProduct.objects.update(target=shown)
    client.get('/')
    end = monotonic() + 30
    while frame.target_id != shown.pk:  # in a thread of the web server, a moment later
        assert monotonic() < end
        sleep(0.05)
        frame.refresh_from_db()
    assert client.get('/automation/arrivals.json').json()['frames']


def test_a_frame_that_was_moved_to_a_hidden_target(mails, add_record, open_target):
    who_wants()
    hidden = Target.objects.create(name='Secret', type='SIDEREAL', ra=1, dec=1)
    Target.objects.filter(pk=hidden.pk).update(permissions='PRIVATE')
    moved = came(add_record(), 'one').product
    DataProduct.objects.filter(pk=moved.pk).update(target=hidden)  # nobody is told of this
    tell()
    assert not mails


def test_the_migrations_keep_one_open_message_and_let_frames_follow(add_record):
    wishes = [who_wants(name) for name in ('ann', 'bob', 'carl')]
    moved, stays = came(add_record(), 'one'), came(add_record(), 'two')
    other = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1)
    states = [['failed', 'failed'], ['sending', 'failed'], ['failed', 'sent']]
    try:
        call_command('migrate', 'tom_auto', '0011', verbosity=0)
        DataProduct.objects.filter(pk=moved.product_id).update(target=other)
        Arrival.objects.filter(pk=stays.pk).update(picture='broken', trouble='its file is gone')
        now = {'at': timezone.now(), 'claimed_until': timezone.now(), 'after': 0, 'up_to': 1}
        for wish, each in zip(wishes, states, strict=True):
            for state in each:
                Notice.objects.create(wish=wish, state=state, message_id='x', **now)
    finally:
        call_command('migrate', 'tom_auto', verbosity=0)
    assert Arrival.objects.get(pk=moved.pk).target_id == other.pk
    kept = Arrival.objects.get(pk=stays.pk)
    assert (kept.target_id, kept.picture) == (stays.target_id, 'gone')
    kept = [sorted(wish.notices.values_list('state', flat=True)) for wish in wishes]
    assert kept == [['failed'], ['sending'], ['failed', 'sent']]


@pytest.mark.skipif(connection.vendor != 'postgresql', reason='SQLite writes in one order')
def test_nobody_reads_past_a_frame_that_is_seen_later(mails, client, add_record, open_target):
    """PostgreSQL gives numbers before it commits them."""
    record, feed = add_record(), '/automation/arrivals.json'
    who_wants()
    came(record, 'first')
    last = client.get(feed).json()['last']
    noted, seen = threading.Event(), threading.Event()

    def note_slowly():
        with transaction.atomic():
            note_arrivals([('LCO', stored(record, 'slow').product)])
            noted.set()
            seen.wait(20)
        connection.close()

    slow = threading.Thread(target=note_slowly)
    slow.start()
    assert noted.wait(20)
    note_arrivals([('LCO', stored(record, 'quick').product)])
    tell()
    assert client.get(feed, {'after': last}).json() == {'frames': [], 'last': last}
    seen.set()
    slow.join()
    told = client.get(feed, {'after': last}).json()['frames']
    assert [frame['id'] for frame in told] == sorted(Arrival.objects.values_list('pk', flat=True))[
        1:
    ]
    tell()
    assert [subject(mail)[11:] for mail in mails] == ['1 new frame of M 31', '2 new frames of M 31']


def test_a_run_of_the_schedule_tells_once(web, add_record, target, hourly):
    tell()
    came(add_record(), 'one')
    web.status = 500
    with pytest.raises(SystemExit):  # there is no observatory
        call_command('schedule', 'run', 'updatedata')
    assert web.paths() == ['/came']


def test_who_may_not_see_the_page_gets_no_link_to_it(
    mails, add_record, open_target, client, settings
):
    settings.ALLOWED_HOSTS = ['testserver']
    settings.TOM_AUTO |= {'PAGE_FOR': 'staff'}
    client.force_login(who_wants().user)
    tell(add_record(), 1)
    links = re.findall(r'http://testserver(\S+)', parts(mails[0])[0])
    assert len(links) == 3  # the target, the profile, the end of the mails
    assert [client.get(link).status_code for link in links] == [200] * 3
    assert '/automation/arrivals/"' not in parts(mails[0])[1]


def test_the_link_in_the_mail_ends_them(mails, add_record, open_target, client, settings):
    settings.ALLOWED_HOSTS = ['testserver']
    who_wants()
    tell(add_record(), 1)
    address = mails[0]['List-Unsubscribe'].strip(' \r\n<>').removeprefix('http://testserver')
    assert mails[0]['List-Unsubscribe-Post'] == 'List-Unsubscribe=One-Click'
    assert address in parts(mails[0])[0]
    assert b'ann gets mails' in client.get(address).content
    assert Wish.objects.get().when == 'at once'  # what a mail scanner opens changes nothing
    assert b'no more e-mails' in client.post(address, {'List-Unsubscribe': 'One-Click'}).content
    tell(add_record(), 1)
    assert len(mails) == 1
    assert client.post(re.sub(r'.(?=/$)', '!', address)).status_code == 404


def test_a_name_with_anything_in_it_breaks_no_mail(mails, add_record, open_target):
    Target.objects.update(name='<b>M\n31</b> é' + 'x' * 80)
    who_wants()
    tell(add_record(), 1)
    plain, html, _ = parts(mails[0])
    assert '<b>M' not in html
    assert '<b>M' in plain


def test_the_webhook_gets_the_same(web, observed, target):
    ran(timedelta(hours=1))
    observed(frames=2)
    web.status = 503
    assert updatedata()[0] == 0
    web.status = 200
    updatedata()
    updatedata()
    assert [path for _, path, _ in web.seen] == ['/came'] * 2
    told = web.seen[-1][2]
    assert told['text'] == 'Test TOM: 2 new frames of M 31'
    assert (told['frames'], told['targets'][0]['facility']) == (2, 'LCO')


def test_without_anybody_who_asks_nothing_is_done(add_record, django_assert_num_queries):
    came(add_record(), 'one')
    with django_assert_num_queries(1):  # does somebody want to be told?
        telling.tell_of_arrivals()
    assert Arrival.objects.count() == 1
