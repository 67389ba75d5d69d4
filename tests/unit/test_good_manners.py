"""The observatory and the machine are not a nuisance's victims: D2 to D6, D9, D10 of faults-found.

What the classes of these tests do they note in files, as they are asked in processes of their own.
"""

import asyncio
import signal
import socket
import sqlite3
import threading
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.utils import timezone
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.models import ObservationRecord

import faults
from tom_auto.models import RecordSync

from .facility_classes import Robotic
from .own_classes import Lists, install, product_of
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def note(facility: str, word: str) -> None:
    """Write down that something was done."""
    with Path(django_settings.FACILITIES[facility]['noted']).open('a') as file:
        file.write(f'{word}\n')


@pytest.fixture
def noted(settings, tmp_path) -> Callable[..., Callable[[], list[str]]]:
    """Installs a class; gives what it will have noted."""

    def add(facility: type, **own: object) -> Callable[[], list[str]]:
        file = tmp_path / f'noted by {facility.name}'
        file.touch()
        install(settings, facility, noted=str(file), **own)
        return lambda: file.read_text().split()

    return add


# --- D2: finished records without usable products ---


class NoProducts(Robotic):
    """Says how observations stand, and has no products: GOATS, a telescope with its own archive."""

    name = 'NoProducts'
    state = 'DONE'

    def get_observation_status(self, observation_id):
        note(self.name, observation_id)
        return django_settings.FACILITIES[self.name]['state']

    def data_products(self, observation_id, product_id=None):
        raise NotImplementedError


def test_a_finished_record_of_a_class_without_products_settles(noted, add_record, settings):
    """D2: it was asked at every run, for ever."""
    asked = noted(NoProducts, state='OBSERVING')
    record = add_record('NoProducts', status='')
    for times in (1, 2):
        status, report = updatedata()
        assert (status, report['unsupported']) == (0, 1)
        assert asked() == [record.observation_id] * times, 'its status is still awaited'

    settings.FACILITIES['NoProducts']['state'] = 'DONE'
    updatedata()
    assert RecordSync.objects.get(record=record).is_settled
    for _ in range(2):
        assert updatedata()[1]['due'] == 0
    assert len(asked()) == 3

    ObservationRecord.objects.filter(pk=record.pk).update(status='OBSERVING')  # on a page, say
    assert updatedata()[1]['due'] == 1


# --- D3: logins that are refused ---


class RefusesLogins(Lists):
    """Logs in when it is given a user."""

    name = 'RefusesLogins'

    def set_user(self, user):
        super().set_user(user)
        note(self.name, 'login')
        if user.username == 'bad':
            HOW_TO_REFUSE[self.own['how']](self.own['url'])


class RefusesQuestions(RefusesLogins):
    """Logs in for every question."""

    name = 'RefusesQuestions'

    def set_user(self, user):
        Lists.set_user(self, user)

    def get_observation_status(self, observation_id):
        RefusesLogins.set_user(self, self.user)
        return super().get_observation_status(observation_id)


def by_tomtoolkit(url: str) -> None:
    raise ImproperCredentialsException('wrong password')


def by_status(url: str) -> None:
    requests.post(url).raise_for_status()


def by_urllib(url: str) -> None:
    urllib.request.urlopen(url)


def in_words(url: str) -> None:
    raise RuntimeError('Login failed')


def in_its_own_words(url: str) -> None:
    try:
        requests.get(url).raise_for_status()
    except requests.HTTPError as error:
        raise RuntimeError('Login failed') from error


HOW_TO_REFUSE = {
    each.__name__: each
    for each in (by_tomtoolkit, by_status, by_urllib, in_words, in_its_own_words)
}


@pytest.mark.parametrize('status', [401, 403])
@pytest.mark.parametrize('how', HOW_TO_REFUSE)
@pytest.mark.parametrize(('facility', 'most'), [(RefusesLogins, 1), (RefusesQuestions, 6)])
def test_a_login_that_is_refused_is_not_tried_for_each_record(
    sky, noted, add_record, facility, most, how, status
):
    """D3: 40 records were 40 refused logins in one run, and accounts get locked."""
    if how in ('in_words', 'by_tomtoolkit') and status == 403:
        return  # there is no status
    sky.break_('/login', faults.status(status))
    logins = noted(facility, how=how, url=f'{sky.url}/login')
    bad = User.objects.create(username='bad')
    for _ in range(40):
        add_record(facility.name, user=bad)

    code, report = updatedata()

    assert code == 1
    assert len(logins()) <= most
    assert report['failed'] + report['set_aside'] >= 40
    assert report['checked'] == 0
    named = {failure['error'] for failure in report['failures']}
    assert any('login of bad' in error or 'refuse' in error or 'Login' in error for error in named)


def test_a_key_that_is_refused_is_not_shown_for_each_record(sky, observed, settings):
    """D3: the same of stock classes, whose key is one for all."""
    settings.FACILITIES['LCO']['api_key'] = 'revoked'
    for _ in range(40):
        observed(status='')
    status, report = updatedata('--workers', '2')
    assert status == 1
    assert len(sky.requests_seen) <= 12
    assert report['set_aside'] >= 28
    assert ObservationRecord.objects.exclude(status='').count() == 0


# --- D4: a portal that answers 500 ---


@pytest.mark.parametrize('code', [500, 502, 503])
def test_an_unbroken_row_of_server_errors_is_down(sky, observed, code):
    """D4: three requests a record, at every run."""
    for _ in range(40):
        observed()
    sky.break_('/api/', faults.status(code))
    status, report = updatedata('--workers', '2')
    assert status == 1
    assert len(sky.requests_seen) < 40, 'of 120'
    assert report['set_aside'] >= 28
    assert any('5 times in a row' in failure['error'] for failure in report['failures'])

    sky.mend()
    assert updatedata()[1]['checked'] == 40


def test_server_errors_now_and_then_are_those_of_their_records(sky, observed):
    """D4: the portal stumbles over some requests, and answers for all others."""
    records = [observed(frames=1) for _ in range(20)]
    odd = '|'.join(record.observation_id for record in records[::2])
    sky.break_('/api/requestgroups/', faults.status(404))
    sky.break_(f'/api/requests/({odd})', faults.status(500))
    _, report = updatedata('--workers', '1')
    assert (report['failed'], report['checked'], report['set_aside']) == (10, 10, 0)


# --- D5: errors of connecting, in whatever dress ---


class VendorError(Exception):
    """A client's own exception, as httpx and aiohttp have theirs."""


def connect() -> None:
    """To where nobody listens."""
    socket.create_connection(('127.0.0.1', 9), timeout=2)


def plainly() -> None:
    connect()


def from_it() -> None:
    """httpx: ConnectError from httpcore.ConnectError from OSError."""
    try:
        try:
            connect()
        except OSError as error:
            raise VendorError('All connection attempts failed') from error
    except VendorError as error:
        raise VendorError('All connection attempts failed') from error


def while_handling_it() -> None:
    try:
        connect()
    except OSError:
        raise VendorError('no luck')  # noqa: B904


def without_a_trace() -> None:
    try:
        connect()
    except OSError:
        raise VendorError('no luck') from None


def with_urllib() -> None:
    urllib.request.urlopen('http://127.0.0.1:9/')


def with_asyncio() -> None:
    asyncio.run(asyncio.open_connection('127.0.0.1', 9))


def in_a_group() -> None:
    """asyncio.TaskGroup, anyio."""

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.open_connection('127.0.0.1', 9))

    asyncio.run(work())


def by_name() -> None:
    socket.getaddrinfo('nowhere.invalid', 80)


def timed_out() -> None:
    raise VendorError('slow') from TimeoutError('timed out')


DRESSES = {
    each.__name__: each
    for each in (
        plainly, from_it, while_handling_it, without_a_trace, with_urllib, with_asyncio, in_a_group,
        by_name, timed_out,
    )
}  # fmt: skip


class IsAway(Robotic):
    """Cannot be reached, and says so in a way of its own."""

    name = 'IsAway'

    def get_observation_status(self, observation_id):
        note(self.name, observation_id)
        DRESSES[django_settings.FACILITIES[self.name]['dress']]()


@pytest.mark.parametrize('dress', DRESSES)
def test_who_cannot_be_reached_is_set_aside_whatever_the_exception(
    noted, add_record, observed, dress
):
    """D5: of a class's own exception, or of httpx and aiohttp, 30 of 30 were asked."""
    asked = noted(IsAway, dress=dress)
    for _ in range(30):
        add_record('IsAway')
    observed('LCO')

    status, report = updatedata()

    assert status == 1
    assert 5 <= len(asked()) <= 7
    assert report['set_aside'] == 30 - len(asked())
    assert (report['checked'], report['saved']) == (1, 2)
    if dress != 'without_a_trace':
        assert any('IsAway does not answer' in failure['error'] for failure in report['failures'])
        assert RecordSync.objects.filter(error_kind='no answer').exists()


# --- D6: threads and connections ---

most_threads = [0]


def count_threads(*arguments: object) -> None:
    """A hook: called in the middle of the run."""
    most_threads[0] = max(most_threads[0], threading.active_count())


@pytest.mark.parametrize('facilities', [1, 4])
def test_threads_do_not_grow_with_facilities(observed, settings, automation, noted, facilities):
    """D6: four facilities were 60 threads, with a connection to the database each."""
    noted(Lists)
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.count_threads'}
    names = ('LCO', 'SOAR', 'BLANCO', 'Lists')[:facilities]
    for name in names:
        for _ in range(6):
            observed(name, frames=1, status='')
    most_threads[0], before = 0, threading.active_count()

    status, report = updatedata()

    assert (status, report['checked']) == (0, 6 * facilities)
    ours = most_threads[0] - before
    # the pool, heart and watchdog; and a thread of the simulated server for each of ours
    assert 0 < ours <= 2 * (2 * automation['WORKERS']) + 6


# --- D9: classes that want the main thread ---


class WantsALoop(Robotic):
    """Uses the event loop that there is, as pyvo's and vendors' asynchronous clients do."""

    name = 'WantsALoop'

    def get_observation_status(self, observation_id):
        loop = asyncio.get_event_loop()
        return loop.run_until_complete(asyncio.sleep(0, {'state': 'DONE'}))


class WantsAnAlarm(Robotic):
    """Limits its own calls by SIGALRM."""

    name = 'WantsAnAlarm'

    def get_observation_status(self, observation_id):
        signal.signal(signal.SIGALRM, lambda *arguments: None)
        signal.alarm(5)
        signal.alarm(0)
        return {'state': 'DONE'}


class WantsItsThread(Robotic):
    """Keeps an object that only the thread may use that has made it."""

    name = 'WantsItsThread'

    def __init__(self):
        super().__init__()
        self.cache = sqlite3.connect(':memory:')

    def get_observation_status(self, observation_id):
        self.cache.execute('SELECT 1')
        return {'state': 'DONE'}

    def data_products(self, observation_id, product_id=None):
        self.cache.execute('SELECT 1')
        return []


@pytest.mark.filterwarnings('ignore:There is no current event loop')
@pytest.mark.parametrize('workers', ['1', '8'])
@pytest.mark.parametrize('facility', [WantsALoop, WantsAnAlarm, WantsItsThread])
def test_classes_are_asked_where_tomtoolkit_asks_them(noted, add_record, facility, workers):
    """D9: in worker threads they failed, also with `--workers 1`."""
    noted(facility)
    for _ in range(4):
        add_record(facility.name)
    status, report = updatedata('--workers', workers)
    assert (status, report['failures'], report['checked']) == (0, [], 4)
    assert set(ObservationRecord.objects.values_list('status', flat=True)) == {'DONE'}


# --- D10: a new version that never comes ---


def test_a_version_that_is_listed_no_more_is_awaited_no_more(sky, add_record):
    """D10: the settled record was due at every second run."""
    record = add_record()
    number, then = int(record.observation_id), timezone.now() - timedelta(days=40)
    sky.add_request(number)
    sky.observe(number, then)
    frame = sky.add_frame(number, pixels=32, observed_at=then)
    assert updatedata()[1]['saved'] == 1
    sync = RecordSync.objects.get(record=record)
    assert sync.is_settled

    sky.reprocess(frame, content=b'SIMPLE  = never to be had')
    sky.break_('/store/', faults.status(404))
    assert updatedata('--recheck')[0] == 1
    sync.refresh_from_db()
    assert not sync.is_settled

    sky.mend()
    sky.frames_of[number].clear()
    del sky.frames[frame.id]
    for _ in range(2):
        status, report = updatedata('--recheck')
        assert status == 0
    sync.refresh_from_db()
    assert sync.is_settled
    for _ in range(4):
        assert updatedata()[1]['due'] == 0


def test_a_file_of_a_class_that_is_offered_no_more_is_awaited_no_more(
    sky, noted, add_record, settings
):
    """D10: the same of a class that lists its products itself."""
    noted(Lists)
    record = add_record('Lists')
    sky.add_request(1)
    frame = sky.add_frame(1, filename='a.csv', content=b'time,flux\n')
    offered = {record.observation_id: [product_of(sky, frame)]}
    settings.FACILITIES['Lists']['products'] = offered
    assert updatedata()[1]['saved'] == 1
    offered.clear()
    old = timezone.now() - timedelta(days=9)
    RecordSync.objects.update(terminal_since=old, asked_at=old, checked_at=old, next_check=old)
    for _ in range(2):
        updatedata()
    RecordSync.objects.update(terminal_since=old)
    updatedata('--recheck')
    assert RecordSync.objects.get(record=record).is_settled
    assert updatedata()[1]['due'] == 0


def test_whose_requests_these_are_can_be_told(sky, observed):
    agents = set()

    def note_agent(call, reply):
        agents.add(call.headers.get('User-Agent', '').split('/')[0])
        return reply

    sky.break_('/', note_agent)
    observed('LCO')
    assert updatedata()[0] == 0
    assert agents == {'tom-auto'}
