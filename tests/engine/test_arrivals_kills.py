"""A thousand frames, thirty people with different rights and wishes, and kills at any instant.

Each person gets one mail with exactly theirs, and of no frame is anybody told twice. KILLS in the
environment says how many times the process that tells is killed: KILLS=50 takes two minutes.
"""

import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from email.header import decode_header, make_header
from time import monotonic, sleep, thread_time

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User
from django.core.mail import get_connection
from django.urls import reverse
from django.utils import timezone
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import forked
from machine import within
from tom_auto.arrivals import telling
from tom_auto.arrivals.models import Arrival, Notice, Wish
from unit.receiving import mail_server

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = int(os.environ.get('KILLS', '5'))
SEED = 20261127
PEOPLE, TARGETS, FRAMES = 30, 10, 1000
SLOWER = 2  # seconds that a run may be longer for having told everybody
numbers = itertools.count(1)


class Theirs:
    """Which frames each person is to hear of, worked out without the library."""

    def __init__(self) -> None:
        self.targets = [
            Target.objects.create(
                name=f'T {n}', type='SIDEREAL', ra=n, dec=n,
                permissions='OPEN' if n % 2 else 'PRIVATE',
            )
            for n in range(TARGETS)
        ]  # fmt: skip
        self.wants: dict[int, Callable[[int, int], bool]] = {}
        self.frames: list[tuple[int, int, int]] = []  # number, target, whose record
        people = [User.objects.create_user(f'u{n}', f'u{n}@example.org') for n in range(PEOPLE)]
        self.records = {
            (number, user.pk): ObservationRecord.objects.create(
                target=target, user=user, facility='LCO', status='COMPLETED', parameters={},
                observation_id=f'{number}{user.pk}',
            )
            for number, target in enumerate(self.targets)
            for user in people[:3]
        }  # fmt: skip
        for n, user in enumerate(people):
            self._decide(n, user)

    def _decide(self, n: int, user: User) -> None:
        """One of three wishes, and the right to see one private target."""
        private, chosen = 2 * (n % 5), {n % TARGETS, (n + 3) % TARGETS}
        assign_perm('tom_targets.view_target', user, self.targets[private])
        about = ('all', 'own', 'chosen')[n % 3]
        wish = Wish.objects.create(user=user, when='at once', about=about, told_at=timezone.now())
        wish.targets.set([self.targets[each] for each in chosen])

        def wants(target: int, whose: int) -> bool:
            may = bool(target % 2) or target == private
            own = about == 'own' and whose == user.pk
            return may and (about == 'all' or own or target in chosen)

        self.wants[wish.pk] = wants

    def come(self, count: int, names: list[str]) -> None:
        """Let so many frames come in."""
        keys = random.Random(SEED + next(numbers)).choices(list(self.records), k=count)  # noqa: S311
        products = DataProduct.objects.bulk_create(
            DataProduct(
                product_id=str(next(numbers)), target=self.targets[target],
                observation_record=self.records[target, whose], data=names[n % len(names)],
            )
            for n, (target, whose) in enumerate(keys)
        )  # fmt: skip
        for product, (target, whose) in zip(products, keys, strict=True):
            arrival = Arrival.objects.create(
                product=product, target=product.target, facility='LCO', at=timezone.now()
            )
            self.frames.append((arrival.pk, target, whose))

    def of(self, wish: int, after: int = 0, up_to: int = 10**9) -> int:
        """How many frames of that range are for somebody."""
        wants = self.wants[wish]
        return sum(
            after < pk <= up_to and wants(target, whose) for pk, target, whose in self.frames
        )


@pytest.fixture
def mails(settings):
    with mail_server(settings) as mailbox:
        settings.ADMINS = []
        yield mailbox


@pytest.fixture
def names(media):
    """Files of frames, as big as those of a small camera."""
    image = np.random.default_rng(1).normal(300, 10, (1024, 1024)).astype('i2')
    unit = fits.CompImageHDU(image, name='SCI', compression_type='RICE_1')
    for n in range(8):
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(media / f'{n}.fits.fz')
    return [f'{n}.fits.fz' for n in range(8)]


@pytest.fixture
def theirs():
    return Theirs()


def cpu_seconds() -> float:
    """What this thread and the processes that it has started used: the mail server is another's."""
    used = os.times()
    return thread_time() + used.children_user + used.children_system


def said(mail) -> int:
    """How many frames the subject of a mail names."""
    return int(str(make_header(decode_header(mail['Subject']))).split('] ')[1].split()[0])


def test_each_gets_one_mail_with_exactly_theirs_and_soon(mails, theirs, names, monkeypatch):
    monkeypatch.setattr(telling, 'within', lambda seconds, work: work())  # in this thread
    theirs.come(FRAMES, names)
    reverse('automation:home')  # a run loads the addresses while it waits for its observatory
    begun, wall = cpu_seconds(), monotonic()
    telling.tell_of_arrivals()
    took = cpu_seconds() - begun  # not the time: this machine may have other things to do
    print(f'told in {monotonic() - wall:.2f} s, with {took:.2f} s of CPU')  # noqa: T201
    got = {mail['To']: said(mail) for mail in mails}
    wishes = Wish.objects.select_related('user')
    expected = {wish.user.email: theirs.of(wish.pk) for wish in wishes}
    assert got == {address: count for address, count in expected.items() if count}
    assert len(mails) == len(got) >= PEOPLE - 3
    assert within(took, SLOWER)
    telling.tell_of_arrivals()
    assert len(mails) == len(got)


def test_of_no_frame_is_anybody_told_twice_whenever_the_process_is_killed(
    mails, theirs, names, tmp_path
):
    chance = random.Random(SEED)  # noqa: S311
    mails.delay = 0.01
    reverse('automation:home')  # what the children would load anew
    killed = 0
    while killed < KILLS:
        theirs.come(40, names)
        before, some = len(mails), chance.randint(1, 6)
        child = forked.start(tmp_path / 'printed', telling.tell_of_arrivals)
        forked.wait_until(lambda: len(mails) >= before + some or not child.is_alive())  # noqa: B023
        sleep(chance.uniform(0, 0.05))  # into the next one, at any step of it
        if child.is_alive():
            child.kill()
        killed += forked.ended(child) == -signal.SIGKILL
        Notice.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        telling.tell_of_arrivals()
        Notice.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert_nobody_heard_twice(mails, theirs)


def assert_nobody_heard_twice(mails, theirs) -> None:
    """Every mail is one that is noted, with what is its receiver's; no range is told twice."""
    delivered = Counter(mail['Message-ID'] for mail in mails)
    assert set(delivered.values()) <= {1}
    noted = {notice.message_id: notice for notice in Notice.objects.all()}
    assert set(delivered) <= set(noted)  # none that was given up and sent anew
    states = Counter(notice.state for notice in noted.values())
    assert set(states) <= {'sent', 'uncertain'}
    for mail in mails:
        notice = noted[mail['Message-ID']]
        assert said(mail) == theirs.of(notice.wish_id, notice.after, notice.up_to)
    for wish in theirs.wants:
        its = sorted((one.after, one.up_to) for one in noted.values() if one.wish_id == wish)
        assert all(this[1] <= following[0] for this, following in itertools.pairwise(its))
        told = sum(theirs.of(wish, *one) for one in its)
        assert told == theirs.of(wish), 'frames were passed over'
    lost = {one for one, notice in noted.items() if notice.state == 'uncertain'} - set(delivered)
    print(f'{len(mails)} mails, {states["uncertain"]} uncertain, {len(lost)} of them lost')  # noqa: T201


def test_mail_is_a_real_server(mails, settings):
    """Or nothing here would be tested."""
    assert get_connection().__class__.__module__ == 'django.core.mail.backends.smtp'
