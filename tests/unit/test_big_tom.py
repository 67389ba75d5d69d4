"""In a TOM of 100,000 records no address is slow, big or broken, whoever asks and whatever they ask.

The addresses are those of the URL configuration. ODD_PARAMETERS says how many are made up; 10,000 take
a quarter of an hour. Each run tries others; a failure names its seed.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from machine import within
from tom_auto.arrivals.models import Arrival

from . import big_tom
from .page import seconds_used
from .test_odd_requests import NAMES, PARTS, VALUES, of_library

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group('big TOM')]

ODD_PARAMETERS = int(os.environ.get('ODD_PARAMETERS', '160'))
SEED = os.environ.get('ODD_SEED') or str(time.time_ns())
VISITORS = ('anonymous', 'user', 'staff', 'superuser')
CONTEXTS = [
    (visitor, strategy, permissions_only)
    for visitor in VISITORS
    for strategy in ('READ_ONLY', 'LOCKED')
    for permissions_only in (True, False)
]
LONGEST, BIGGEST = 0.3, 200_000  # seconds, bytes
TRIES = 8  # of an answer that takes long: this machine has other things to do
#: Parameters that ask for something: the odd ones mostly end as errors.
USEFUL = (
    '2', '40', '400', '9', 'failed', 'ok', 'ended', 'LCO', 'SOAR', 'updatedata', '-failures', 'failing_since',
    'record', 'facility', '-started', 'status', '-job', 'next_check', 'M 1', '1', 'true', 'json', 'csv',
    'M 899', '100000', '199990', (timezone.now() - timedelta(days=40)).date().isoformat(),
)  # fmt: skip


@pytest.fixture(scope='module')
def big(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    """Made once for all tests of this file, each of which is a transaction on top of it."""
    with django_db_blocker.unblock():
        begun = time.monotonic()
        big_tom.make()
        print(f'the big TOM was made in {time.monotonic() - begun:.1f} s')  # noqa: T201
    yield
    with django_db_blocker.unblock():
        big_tom.unmake()


@dataclass
class Processes:
    """How many processes this one has started."""

    started: int = 0
    is_watched: bool = False

    def hear(self, event: str, details: tuple) -> None:
        if self.is_watched and event in (
            'subprocess.Popen',
            'os.fork',
            'os.posix_spawn',
            'os.system',
        ):
            self.started += 1


@pytest.fixture(scope='module')
def every_process() -> Processes:
    watch = Processes()
    sys.addaudithook(watch.hear)
    return watch


@pytest.fixture
def processes(every_process: Processes) -> Iterator[Processes]:
    every_process.started, every_process.is_watched = 0, True
    yield every_process
    every_process.is_watched = False


def word(chance: random.Random) -> str:
    """What might stand in a parameter."""
    some = chr(chance.choice((chance.randrange(1, 128), chance.randrange(160, 0xD7FF))))
    kinds = (
        lambda: chance.choice(USEFUL),
        lambda: chance.choice(USEFUL),
        lambda: chance.choice(VALUES),
        lambda: str(
            chance.randrange(-(10 ** chance.randrange(1, 40)), 10 ** chance.randrange(1, 40))
        ),
        lambda: some * chance.randrange(1, 120),
        lambda: ''.join(chr(chance.randrange(1, 0x2FF)) for _ in range(chance.randrange(1, 60))),
    )
    return chance.choice(kinds)()


#: What stands in the place of a part of an address as it is usually asked for.
ORDINARY = {'key': ('1', str(big_tom.RUNS)), 'slug': ('updatedata',), 'path': ('a/7.fits',)}


def filled(route: str, pattern: URLPattern, part: Callable[[str], str]) -> str:
    """The path of that route, with a `part` for each kind of converter in it."""
    path = f'/{route}'
    for name, converter in pattern.pattern.converters.items():
        kind = type(converter).__name__.removesuffix('Converter').lower()
        path = path.replace(f'<{kind}:{name}>', part(kind))
    return path


def address(route: str, pattern: URLPattern, chance: random.Random) -> str:
    """An address of that route, with odd parts, names and values, or ordinary ones."""

    def part(kind: str) -> str:
        ordinary = chance.choice(ORDINARY[kind])
        odd = (chance.choice(PARTS[kind]).format(1), quote(word(chance)[:300], safe=''))
        return chance.choice((ordinary, ordinary, chance.choice(odd)))

    path, names = filled(route, pattern, part), chance.sample(NAMES, chance.randrange(5))
    asked = [(name, word(chance)) for name in names for _ in range(chance.choice((1, 1, 1, 2)))]
    return f'{path}?{urlencode(asked)}'


@pytest.mark.parametrize(('visitor', 'strategy', 'permissions_only'), CONTEXTS)
def test_no_address_is_slow_big_or_broken(
    big: None,
    processes: Processes,
    settings: object,
    visitor: str,
    strategy: str,
    permissions_only: bool,
) -> None:
    settings.AUTH_STRATEGY, settings.TARGET_PERMISSIONS_ONLY = strategy, permissions_only
    client = Client(raise_request_exception=False)
    if visitor != 'anonymous':
        client.force_login(User.objects.get(username=visitor))
    client.get('/automation/')  # the first in a process reads all templates
    seed = f'{SEED} {visitor} {strategy} {permissions_only}'
    chance, routes = random.Random(seed), list(of_library().items())
    wrong = []
    for route, pattern in routes:
        for number in (0, -1):
            wrong += faults(client, filled(route, pattern, lambda kind: ORDINARY[kind][number]))  # noqa: B023
    for number in range(ODD_PARAMETERS // len(CONTEXTS)):
        asked = address(*routes[number % len(routes)], chance)
        wrong += faults(client, asked)
    assert wrong == [], seed
    assert processes.started == 0, seed


def faults(client: Client, asked: str) -> list[str]:
    """What is wrong with the answer to a GET."""
    took, size, status = [], 0, 0
    while not took or (min(took) > LONGEST and len(took) < TRIES):
        begun = seconds_used()
        answer = client.get(asked)
        size = sum(map(len, answer.streaming_content)) if answer.streaming else len(answer.content)
        took.append(seconds_used() - begun)
        status = answer.status_code
    found = {
        f'status {status}': status >= 500,
        f'{min(took) * 1000:.0f} ms': not within(min(took), LONGEST),
        f'{size} bytes': size > BIGGEST,
    }
    return [f'{asked[:200]}: {what}' for what, is_wrong in found.items() if is_wrong]


@pytest.mark.parametrize('monitored', [False, True])
@pytest.mark.parametrize('permissions_only', [True, False])
@pytest.mark.parametrize('visitor', VISITORS)
def test_no_line_on_another_page_is_slow(
    big: None, settings: object, visitor: str, permissions_only: bool, monitored: bool
) -> None:
    """Also where one target has a fifth of all records and frames."""
    settings.TARGET_PERMISSIONS_ONLY = permissions_only
    if monitored:
        for model in (ObservationRecord, DataProduct, Arrival):
            model.objects.filter(pk__lte=big_tom.RECORDS // 5).update(target_id=1)
    user = User.objects.filter(username=visitor).first() or AnonymousUser()
    record, target = ObservationRecord.objects.get(pk=1), Target.objects.get(pk=1)
    known = {'user': user, 'record': record, 'target': target}
    for tags in ('home_line', 'newest_frames'), ('record_line record',), ('target_line target',):
        page = Template('{% load automation %}' + ''.join(f'{{% {tag} %}}' for tag in tags))
        took = []
        while not took or (min(took) > LONGEST and len(took) < TRIES):
            begun = seconds_used()
            page.render(Context(known))
            took.append(seconds_used() - begun)
        print(f'{visitor} {tags}: {min(took) * 1000:.0f} ms')  # noqa: T201
        assert within(min(took), LONGEST), tags
