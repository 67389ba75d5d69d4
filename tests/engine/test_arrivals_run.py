"""A whole run that brings frames, of which thirty people are told, each with a few pictures.

RECORDS in the environment says of how many requests, each with ten frames: RECORDS=100 takes a minute.
"""

import itertools
import os
import threading
from time import monotonic

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from machine import within
from test_arrivals_kills import PEOPLE, SLOWER, TARGETS, cpu_seconds
from tom_auto import run_job
from tom_auto.arrivals import drawing_ahead, drawing_program, telling
from tom_auto.arrivals.models import Arrival, Wish
from tom_auto.models import UpdateRun
from unit.receiving import mail_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures('hourly')]

RECORDS, FRAMES = int(os.environ.get('RECORDS', '20')), 10
PICTURES = 4
numbers = itertools.count(5000)


@pytest.fixture
def night(sky):
    """Lets the observatory complete as many requests, of ten targets and for three users."""
    targets = [
        Target.objects.create(name=f'T {n}', type='SIDEREAL', ra=n, dec=n, permissions='OPEN')
        for n in range(TARGETS)
    ]
    people = [User.objects.create_user(f'u{n}', f'u{n}@example.org') for n in range(PEOPLE)]

    def come():
        for n in range(RECORDS):
            number = next(numbers)
            ObservationRecord.objects.create(
                target=targets[n % TARGETS], user=people[n % 3], facility='LCO', status='PENDING',
                parameters={}, observation_id=str(number),
            )  # fmt: skip
            sky.add_request(number)
            sky.complete(number, frames=FRAMES, pixels=256)

    return targets, people, come


def wish(targets, people):
    for n, user in enumerate(people):
        about = ('all', 'own', 'chosen')[n % 3]
        one = Wish.objects.create(
            user=user, when='at once', about=about, told_at=timezone.now(),
            told_up_to=Arrival.objects.order_by('-pk').values_list('pk', flat=True).first() or 0,
        )  # fmt: skip
        one.targets.set(targets[n % TARGETS :][:2])


def ran(monkeypatch):
    """A run of the schedule: how long it took, and the seconds, also of CPU, after it had ended."""
    costs = []

    def told():
        begun, wall = cpu_seconds(), monotonic()
        telling.tell_of_arrivals()
        costs.extend([cpu_seconds() - begun, monotonic() - wall])

    monkeypatch.setattr(telling, 'within', lambda seconds, work: work())  # in this thread
    monkeypatch.setattr(run_job, 'tell_of_arrivals', told)
    begun = monotonic()
    call_command('schedule', 'run', 'updatedata')
    return monotonic() - begun, *costs


def wait_for_the_drawing(sky, monkeypatch):
    """The last request's frames come no sooner: this machine may have other things to do than to draw."""
    ready, look = threading.Event(), drawing_ahead._Ahead.look

    def noted(ahead, draw_each):
        look(ahead, draw_each)
        if len(ahead._has_all) == PEOPLE:
            ready.set()

    def fault(call, reply):
        ready.wait(60)
        return reply

    monkeypatch.setattr(drawing_ahead._Ahead, 'look', noted)
    last = sky.frames_of[max(sky.frames_of)][-1]
    sky.break_(f'/store/.*{last.filename}', fault, times=1)


def test_a_run_draws_for_its_mails_while_it_is_at_work(settings, sky, night, monkeypatch):
    settings.TOM_AUTO |= {'READ_TIMEOUT': 60, 'WORKERS': 4}
    targets, people, come = night
    begun, begin = [], drawing_program.Program._begin
    monkeypatch.setattr(
        drawing_program.Program, '_begin', lambda one: (begun.append(1), begin(one))[1]
    )
    monkeypatch.setattr(drawing_ahead, 'NICENESS', 0)  # this machine has other things to do
    come()
    plain, *_ = ran(monkeypatch)
    assert not begun
    wish(targets, people)
    come()
    wait_for_the_drawing(sky, monkeypatch)
    with mail_server(settings) as mails:
        settings.ADMINS = []
        with_mails, cpu, wall = ran(monkeypatch)
    pictures = [sum(1 for part in mail.walk() if part['Content-ID']) for mail in mails]
    print(  # noqa: T201
        f'{plain:.1f} s without mails, {with_mails:.1f} s with {len(mails)} mails and '
        f'{sum(pictures)} pictures ({Arrival.objects.filter(picture="drawn").count()} drawn); '
        f'{wall:.2f} s after its end, {cpu:.2f} s of CPU'
    )
    assert UpdateRun.objects.filter(status='ok').count() == 2
    assert len(mails) >= PEOPLE - 8  # those who told of their own observations alone may have none
    assert set(pictures) == {PICTURES}
    assert len(begun) == 1, 'some were drawn after the run had ended'
    assert within(cpu, SLOWER)
