"""Classes that are not of LCO's kind, each in a process of its own: none takes another along."""

import logging
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from threading import Event, Thread, Timer
from threading import enumerate as enumerate_threads
from time import sleep

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import forked
from tom_auto.errors import BrokenClass, CredentialsRefused, LocalTrouble, NoAnswer, Unsupported
from tom_auto.interrupt import Terminated, terminable
from tom_auto.models import UpdateRun
from tom_auto.observatories.facility_process import ClassProcess
from tom_auto.running import runs
from tom_auto.running.outcomes import Report

from . import facility_classes as shapes
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def process():
    """Starts the process of a class."""
    started = []

    def start(facility_class):
        started.append(ClassProcess(facility_class.name, facility_class))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.kill()
    assert not multiprocessing.active_children()


def status(process, user=None, seconds=5):
    return process.call('status', user, '1001', seconds=seconds)


def test_it_answers_one_call_after_another(process):
    own = process(shapes.NoneForProducts)
    assert status(own).state == 'DONE'
    assert own.call('frames', None, '1001', seconds=5).frames == {}
    assert own.call('terminal_states', None, seconds=5) == ('DONE',)


def test_a_class_finds_an_event_loop_and_signals(process):
    """As on the pages of a TOM; in a thread there is neither."""
    assert status(process(shapes.MainThread)).state == 'DONE'


@pytest.mark.parametrize(
    ('shape', 'error', 'text'),
    [
        (shapes.Broken, Exception, 'ZeroDivisionError: a mistake'),
        (shapes.Unconfigured, BrokenClass, "KeyError: 'portal_url'"),
        (shapes.Keck, Unsupported, 'cannot be called for one record'),
        (shapes.Exits, Exception, 'SystemExit: wrong password'),
    ],
)
def test_an_error_comes_back_as_what_it_is_and_the_process_goes_on(process, shape, error, text):
    own = process(shape)
    for _ in range(2):
        with pytest.raises(error, match=text):
            status(own)
    assert not own.is_dead


def test_one_that_crashes_is_started_again(process):
    own = process(shapes.Crashes)
    with pytest.raises(BrokenClass, match='ended its process'):
        status(own)
    assert own.is_dead
    own.start()
    with pytest.raises(BrokenClass, match='ended its process'):
        status(own)


def test_a_signal_in_the_middle_of_its_start_is_heard_after_it(tmp_path):
    """It was lost, and left logging's lock held: the next line of the log waited for ever."""

    def work():
        os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
        own = ClassProcess('Exits', shapes.Exits)
        try:
            with terminable():
                own.start()
        except Terminated:
            logging.getLogger(__name__).error('it came')
            own.kill()
            os._exit(7)

    assert forked.ended(forked.start(tmp_path / 'printed', work)) == 7


@pytest.mark.parametrize(('before', 'exits'), [(signal.SIG_DFL, 129), (signal.SIG_IGN, 0)])
def test_a_terminal_that_is_closed_ends_a_program_in_order_unless_nohup_started_it(
    tmp_path, before, exits
):
    def work():
        signal.signal(signal.SIGHUP, before)
        try:
            with terminable():
                os.kill(os.getpid(), signal.SIGHUP)
        except Terminated as stop:
            sys.exit(128 + stop.number)

    assert forked.ended(forked.start(tmp_path / 'printed', work)) == exits


def test_one_that_hangs_is_ended(process):
    own = process(shapes.Hangs)
    with pytest.raises(NoAnswer, match='has not ended after 1 s'):
        status(own, seconds=1)
    assert own.is_dead


class Writes:
    """At work with a class, it writes to the database."""

    def __init__(self, name, own):
        pass

    def status(self, user, number):
        return User.objects.filter(username='ann').update(first_name='x')


class Begins(Writes):
    """The same, but the database is locked as it begins."""

    def __init__(self, name, own):
        if not User.objects.filter(username='ann').exists():
            raise OperationalError('database is locked')


def test_a_database_that_is_locked_is_not_blamed_on_the_class():
    User.objects.create(username='ann')
    process = ClassProcess('Keck', shapes.Keck, Writes)
    process.start()
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE auth_user SET first_name = 'y'")
        with pytest.raises(LocalTrouble, match='it waited for the database of this TOM'):
            status(process, seconds=1)
        other.rollback()
        process.start()
        assert status(process) == 1
    finally:
        other.close()
        process.kill()


def test_nor_is_one_that_is_locked_as_it_begins():
    process = ClassProcess('Keck', shapes.Keck, Begins)
    process.start()
    with pytest.raises(LocalTrouble, match='the database of this TOM could not be used'):
        status(process)
    User.objects.create(username='ann')
    assert status(process) == 1
    process.kill()


@pytest.mark.parametrize('times', [2, 3])
def test_a_login_that_fails_is_not_tried_again(process, tmp_path, settings, times):
    """After a few more the account would be locked. Another user's login is another matter."""
    settings.FACILITIES = settings.FACILITIES | {'Login': {'log': str(tmp_path / 'logins')}}
    ann, bob = (User.objects.create(username=name) for name in ('ann', 'bob'))
    own = process(shapes.Login)
    for _ in range(times):
        with pytest.raises(CredentialsRefused, match='the login of bob at Login failed'):
            status(own, bob)
        assert status(own, ann).state == 'DONE'
    assert (tmp_path / 'logins').read_text() == 'bob\nann\n'


def test_one_that_takes_its_process_along_takes_no_other(settings, add_record, observed):
    classes = (shapes.Crashes, shapes.Exits, shapes.Saves)
    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, *(f'{each.__module__}.{each.__name__}' for each in classes)
    ]  # fmt: skip
    bad = [add_record(name) for name in ('Crashes', 'Exits') for _ in range(4)]
    good = [add_record('Saves'), observed('LCO')]

    _, report = updatedata()

    assert {failure['record'] for failure in report['failures']} == {each.pk for each in bad}
    counts = {name: report[name] for name in ('checked', 'found', 'saved', 'repaired', 'adopted')}
    assert counts == {'checked': 2, 'found': 3, 'saved': 3, 'repaired': 0, 'adopted': 0}
    statuses = [ObservationRecord.objects.get(pk=each.pk).status for each in good]
    assert statuses == ['DONE', 'COMPLETED']
    assert not multiprocessing.active_children()


def test_what_a_class_saves_stays_where_its_process_began_during_a_beat(
    process, add_record, settings, tmp_path, monkeypatch
):
    """A heart's connection at that moment, and SQLite loses what the process writes."""
    settings.FACILITIES = settings.FACILITIES | {'SavesInTwoSteps': {'steps': str(tmp_path)}}
    record = add_record('SavesInTwoSteps')
    has_begun, may_end = Event(), Event()

    def long_beat(run, report):
        is_there = ObservationRecord.objects.exists()
        has_begun.set()
        may_end.wait(5)
        return is_there

    monkeypatch.setattr(runs, 'say_alive', long_beat)
    monkeypatch.setattr(runs, 'BEAT', 0.01)
    with runs.heartbeat(UpdateRun(), Report()):
        assert has_begun.wait(5)
    Timer(0.5, may_end.set).start()
    own = process(shapes.SavesInTwoSteps)
    saving = Thread(target=own.call, args=('save', None, record.pk), kwargs={'seconds': 20})
    saving.start()
    forked.wait_until((tmp_path / 'saved 1').exists)
    forked.wait_until(lambda: 'heart' not in {thread.name for thread in enumerate_threads()})
    assert DataProduct.objects.count() == 1
    connection.close()  # as the run does before it starts a process again
    (tmp_path / 'go on').touch()
    saving.join()

    assert DataProduct.objects.count() == 2


def test_it_leaves_nothing_behind_where_the_run_is_killed():
    """A run that is killed cannot end its processes: they see that themselves."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        own = ClassProcess('Hangs', shapes.Hangs)
        own.start()
        os.write(write, str(own._process.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    child = int(os.read(read, 20))
    for _ in range(100):
        if not is_alive(child):
            return
        sleep(0.05)
    pytest.fail('the process is still there')


def is_alive(pid):
    """Whether that process runs; a zombie does not."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state != 'Z'
