"""Pictures for mails are drawn while a run is at work: at its end nobody waits for them."""

import threading
from contextlib import suppress
from sys import exc_info
from time import monotonic

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

from tom_auto.arrivals import drawing_ahead, drawing_program, illustrations, mailing, telling
from tom_auto.arrivals.models import Arrival, Notice, Wish
from tom_auto.arrivals.numbers import newest_frame

from .page import came
from .receiving import mail_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures('hourly')]


@pytest.fixture
def mails(settings):
    with mail_server(settings) as mailbox:
        settings.ADMINS = []
        yield mailbox


@pytest.fixture
def at_once(monkeypatch):
    """The first look comes soon; and what is not drawn ahead is not drawn at all."""
    monkeypatch.setattr(drawing_ahead, 'FIRST_LOOK', 0.2)
    monkeypatch.setattr(drawing_ahead, 'NICENESS', 0)  # this machine has other things to do
    monkeypatch.setattr(illustrations, 'to_draw_of', lambda frames: [])
    monkeypatch.setattr(illustrations, 'READING_LASTS', 60)


@pytest.fixture
def last_one_is_slow(sky, monkeypatch, settings):
    """The last frame of a record comes when there was time to draw those before: the run waits for it."""
    settings.TOM_AUTO |= {'READ_TIMEOUT': 60}
    looked, look = threading.Event(), drawing_ahead._Ahead.look

    def noted(ahead, draw_each):
        try:
            look(ahead, draw_each)
        finally:
            if Arrival.objects.exists() and (ahead._seen == newest_frame() or exc_info()[1]):
                looked.set()

    def slow(record, until=looked):
        last = sky.frames_of[int(record.observation_id)][-1]

        def fault(call, reply):
            until.wait(60)
            return reply

        sky.break_(f'/store/.*{last.filename}', fault, times=1)

    monkeypatch.setattr(drawing_ahead._Ahead, 'look', noted)
    return slow


def who_wants(name, about='all', **fields):
    user = User.objects.create_user(name, f'{name}@example.org')
    now = {'told_at': timezone.now(), 'told_up_to': newest_frame()}
    return Wish.objects.create(user=user, when='at once', about=about, **(now | fields))


def pictures_in(mails):
    return {
        mail['To'].split('@')[0]: sum(1 for part in mail.walk() if part['Content-ID'])
        for mail in mails
    }


def run():
    with suppress(SystemExit):
        call_command('schedule', 'run', 'updatedata')


def test_each_mail_has_a_few_pictures_and_none_is_drawn_at_the_end(
    mails, observed, add_record, sky, at_once, last_one_is_slow
):
    other = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1)
    ann, bob, _ = who_wants('ann'), who_wants('bob', 'own'), who_wants('cyd', 'chosen')
    ann.targets.add(other)
    observed(frames=6, pixels=64)
    observed(frames=3, pixels=64, user=bob.user, target=other)
    last_one_is_slow(observed(frames=2, pixels=64))
    Target.objects.update(permissions='OPEN')
    run()
    assert pictures_in(mails) == {'ann': 4, 'bob': 3}
    assert Arrival.objects.filter(picture='drawn').count() <= 7  # few: mails share


def test_nothing_is_drawn_for_nobody(observed, at_once, monkeypatch, last_one_is_slow):
    """Neither without wishes, nor for those who are not told, nor for what they may not see."""
    for name, fields in {'ann': {'when': 'never'}, 'bob': {}, 'cyd': {}}.items():
        Wish.objects.filter(pk=who_wants(name).pk).update(**fields)
    User.objects.filter(username='bob').update(email='')
    observed(frames=3, pixels=64)
    last_one_is_slow(observed(frames=1))
    Target.objects.update(permissions='PRIVATE')
    begun = []
    monkeypatch.setattr(drawing_program.Program, '_begin', lambda *_: begun.append(1) or 1 / 0)
    monkeypatch.setattr(drawing_ahead, 'reverse', begun.append)
    run()
    assert Arrival.objects.count() == 4
    assert not begun


def test_a_picture_that_takes_long_holds_up_no_run(
    mails, observed, at_once, monkeypatch, tmp_path, last_one_is_slow
):
    program, asked, ended = tmp_path / 'program.py', threading.Event(), []
    program.write_text('import time\ntime.sleep(60)')
    begin, end = drawing_program.Program._begin, drawing_program.Program.end
    for name, value in {
        '_begin': lambda one: (asked.set(), begin(one))[1],
        'end': lambda one: (ended.append(monotonic()), end(one)),
    }.items():
        monkeypatch.setattr(drawing_program.Program, name, value)
    monkeypatch.setattr(drawing_program, 'DRAWING', program)
    who_wants('ann')
    observed(frames=3, pixels=64)
    last_one_is_slow(observed(frames=1), asked)
    Target.objects.update(permissions='OPEN')
    run()
    assert pictures_in(mails) == {'ann': 0}
    assert monotonic() - ended[0] < 5
    assert Arrival.objects.filter(picture='waiting', trouble='').count() == 4  # nothing is known


def test_what_goes_wrong_while_drawing_ahead_fails_no_run(
    mails, observed, at_once, monkeypatch, last_one_is_slow, caplog
):
    monkeypatch.setattr(drawing_ahead, 'shown_by', lambda wishes, newest: wishes and 1 / 0)
    who_wants('ann')
    observed(frames=2, pixels=64)
    last_one_is_slow(observed(frames=1))
    Target.objects.update(permissions='OPEN')
    run()
    assert len(mails) == 1
    assert 'Pictures are not drawn ahead' in caplog.text


@pytest.fixture
def waiting(add_record, media):
    """A frame that waits for its picture."""

    def wait(name, image=True):
        arrival = came(add_record(), name, picture='waiting')
        file = media / arrival.product.data.name
        file.parent.mkdir(parents=True)
        if image:
            fits.writeto(file, np.eye(60))
        else:
            file.write_bytes(b'seeing 1.2')
        return arrival

    return wait


def test_mails_show_pictures_that_are_there_rather_than_newer_frames(mails, waiting, monkeypatch):
    monkeypatch.setattr(illustrations, 'READING_LASTS', 60)
    who_wants('ann')
    frames = [waiting(f'frame {n}') for n in range(3)]
    Target.objects.update(permissions='OPEN')
    with illustrations.drawing(60) as draw:
        draw(frames)
    for n in range(5):
        waiting(f'broken {n}', image=False)
    monkeypatch.setattr(illustrations, 'to_draw_of', lambda frames: [])
    telling.tell_of_arrivals()
    assert pictures_in(mails) == {'ann': 3}


def test_a_frame_that_gets_its_picture_while_a_mail_is_made_withdraws_it_not(
    mails, waiting, monkeypatch
):
    """A page may have it drawn at that moment."""
    who_wants('ann')
    arrival = waiting('one')
    Target.objects.update(permissions='OPEN')
    monkeypatch.setattr(mailing, 'FRESH', 0)
    monkeypatch.setattr(illustrations, 'to_draw_of', lambda frames: [])
    tell = mailing.notices.perhaps_lost

    def meanwhile(wish):
        DataProduct.objects.filter(pk=arrival.product_id).update(thumbnail='previews/one.jpg')
        Arrival.objects.update(picture='drawn')
        return tell(wish)

    monkeypatch.setattr(mailing.notices, 'perhaps_lost', meanwhile)
    telling.tell_of_arrivals()
    assert pictures_in(mails) == {'ann': 0}
    assert Notice.objects.get().state == 'sent'


def test_slow_drawing_takes_no_picture_from_a_mail_that_is_drawn_already(
    mails, waiting, monkeypatch, tmp_path
):
    who_wants('ann')
    frames = [waiting(f'frame {n}') for n in range(2)]
    Target.objects.update(permissions='OPEN')
    with illustrations.drawing(60) as draw:
        draw(frames[:1])
    program = tmp_path / 'program.py'
    program.write_text('import time\ntime.sleep(60)')
    monkeypatch.setattr(drawing_program, 'DRAWING', program)
    monkeypatch.setattr(illustrations, 'READING_LASTS', 60)
    telling.tell_of_arrivals()
    assert pictures_in(mails) == {'ann': 1}


@pytest.mark.parametrize('name', ['', None])
def test_a_picture_that_was_taken_away_is_drawn_for_a_mail(mails, waiting, monkeypatch, name):
    for limit in ('DRAWING_SECONDS', 'DRAWING_LASTS', 'READING_LASTS'):
        monkeypatch.setattr(illustrations, limit, 60)
    who_wants('ann')
    arrival = waiting('one')
    Target.objects.update(permissions='OPEN')
    Arrival.objects.update(picture='drawn')
    DataProduct.objects.filter(pk=arrival.product_id).update(thumbnail=name)
    telling.tell_of_arrivals()
    assert pictures_in(mails) == {'ann': 1}


def test_a_big_picture_of_somebody_else_is_not_sent(mails, waiting, media):
    """The server would refuse the mail, at every run."""
    who_wants('ann')
    arrival = waiting('one')
    Target.objects.update(permissions='OPEN')
    (media / 'mine.jpg').write_bytes(bytes(illustrations.LARGEST + 1))
    DataProduct.objects.filter(pk=arrival.product_id).update(thumbnail='mine.jpg')
    Arrival.objects.update(picture='drawn')
    telling.tell_of_arrivals()
    assert pictures_in(mails) == {'ann': 0}
