"""The threads of a run: how many ask whom at a time, and what is set aside."""

from collections import Counter
from functools import partial
from threading import Event, Lock
from threading import enumerate as enumerate_threads
from time import monotonic, sleep

import pytest
import requests

from tom_auto.errors import (
    AccessRefused,
    BadAnswer,
    BrokenClass,
    CredentialsRefused,
    LocalTrouble,
    NoAnswer,
    NoRoom,
    OutOfTime,
    ServerError,
    SetAside,
    StorageAway,
)
from tom_auto.observatories.turns import let_others_ask
from tom_auto.running.threads import DISK, ROOM, Job, Pool

PORTAL, FILES = ('host', 'portal'), ('host', 'files')
ACCOUNT, CLASS = ('account', 'portal', 'key'), ('class', 'Own')


@pytest.fixture
def pool():
    pool = Pool(8, monotonic() + 30)
    yield pool
    pool.stop()


def job(work, *keys, most=2):
    """A job that needs `keys`, of which only so many may use the first at a time."""
    return Job(work, 'a test', 'LCO', keys, ((keys[0], most),) if keys else ())


def failing(error, *keys):
    def work():
        raise error

    return job(work, *keys)


def test_the_threads_end_with_the_run():
    """A process that does many runs kept all of their threads; what waits is not begun any more."""
    before, held, begun = set(enumerate_threads()), Event(), []
    pool = Pool(4, monotonic() + 30)
    pool.submit(job(held.wait, PORTAL, most=1), 0)
    pool.submit(job(lambda: begun.append(1), PORTAL, most=1), 1)
    assert pool.finished(0.1) == []
    pool.stop()
    held.set()
    for thread in set(enumerate_threads()) - before:
        thread.join(10)
    assert set(enumerate_threads()) <= before
    assert begun == []


def results(pool, count):
    """What so many jobs gave, by tag."""
    found = {}
    while len(found) < count:
        found.update({tag: (result, error) for tag, result, error in pool.finished(10)})
    return found


def one_after_another(pool, *jobs):
    """The errors of jobs, each of which is begun when the one before has ended."""
    errors = []
    for number, each in enumerate(jobs):
        pool.submit(each, number)
        errors.append(results(pool, 1)[number][1])
    return errors


def test_results_come_back_with_their_tags(pool):
    for number in range(20):
        pool.submit(job(lambda number=number: number**2, PORTAL), ('tag', number))
    assert results(pool, 20) == {('tag', number): (number**2, None) for number in range(20)}


@pytest.mark.parametrize(
    ('raised', 'kind'),
    [
        (requests.ConnectTimeout(), NoAnswer),
        (BadAnswer('x'), BadAnswer),
        (SystemExit('x'), Exception),
        (KeyError('state'), BrokenClass),
    ],
)
def test_errors_come_back_explained(pool, raised, kind):
    [error] = one_after_another(pool, failing(raised, PORTAL))
    assert isinstance(error, kind)


def test_one_host_is_asked_by_so_many_at_a_time_and_holds_up_no_other(pool):
    busy, lock, release = Counter(), Lock(), Event()

    def ask():
        with lock:
            busy['now'] += 1
            busy['most'] = max(busy['most'], busy['now'])
        release.wait(10)
        with lock:
            busy['now'] -= 1

    for number in range(20):
        pool.submit(job(ask, PORTAL), number)
    pool.submit(job(lambda: 'here', FILES), 'other')
    assert results(pool, 1) == {'other': ('here', None)}
    while busy['now'] < 2:
        assert pool.finished(0.05) == []
    assert pool.finished(0.2) == []
    release.set()
    assert len(results(pool, 20)) == 20
    assert busy['most'] == 2


@pytest.mark.parametrize(
    ('seconds', 'rounds', 'least', 'most'), [(0, 0, 1, 3), (0, 50_000, 1, 3), (0.05, 0, 8, 8)]
)
def test_as_many_begin_at_a_time_as_keep_the_cpu_at_work(seconds, rounds, least, most):
    """Those that do not wait for anything would only keep Python from each other."""
    pool, busy, lock = Pool(16, monotonic() + 30), Counter(), Lock()

    def ask():
        with lock:
            busy['now'] += 1
            busy['most'] = max(busy['most'], busy['now'])
        sum(range(rounds))
        sleep(seconds)
        with lock:
            busy['now'] -= 1

    for number in range(100):
        pool.submit(job(ask, PORTAL, most=8), number)
    assert len(results(pool, 100)) == 100
    pool.stop()
    assert least <= busy['most'] <= most


def test_whoever_has_been_answered_lets_others_ask(pool):
    """A disk that is slow keeps no server waiting."""
    asked, release = Counter(), Event()

    def fetch():
        asked['now'] += 1
        let_others_ask()
        release.wait(10)

    for number in range(4):
        pool.submit(job(fetch, FILES, most=1), number)
    while asked['now'] < 2:  # of which each holds the only place, until it is answered
        assert pool.finished(0.05) == []
    release.set()
    assert len(results(pool, 4)) == 4


def test_nothing_is_begun_after_the_deadline():
    pool = Pool(2, monotonic() + 0.2)
    pool.submit(job(lambda: sleep(0.5), PORTAL, most=1), 'begun')
    assert pool.finished(0) == []
    assert [job.doing for job, _ in pool.in_hand.values()] == ['a test']
    sleep(0.3)
    pool.submit(job(lambda: 1, PORTAL), 'too late')
    found = results(pool, 2)
    assert found['begun'] == (None, None)
    assert isinstance(found['too late'][1], OutOfTime)


@pytest.mark.parametrize(
    ('error', 'keys', 'most'),
    [
        (NoAnswer('silent'), (PORTAL,), 5),
        (ServerError('500'), (PORTAL,), 5),
        (NoAnswer('silent'), (CLASS,), 5),
        (BrokenClass('broken'), (CLASS,), 5),
        (AccessRefused('401'), (PORTAL, ACCOUNT), 3),
        (CredentialsRefused('the login failed'), (CLASS, ACCOUNT), 1),
        (NoRoom('the disk is full'), (DISK, ROOM, FILES), 1),
        (StorageAway('the store is down'), (DISK, ROOM, FILES), 5),
    ],
)
def test_what_fails_so_often_in_a_row_is_set_aside_once(pool, error, keys, most):
    jobs = [failing(error, *keys)] * (most + 3)
    errors = one_after_another(pool, *jobs)
    assert [type(each) for each in errors] == [type(error)] * most + [SetAside] * 3
    [(facility, reason, kind)] = pool.news
    assert (facility, kind) == ('LCO', error.kind)
    assert str(error) in reason


@pytest.mark.parametrize(
    ('error', 'keys'),
    [
        (BadAnswer('404'), (PORTAL, ACCOUNT)),
        (BrokenClass('broken'), (PORTAL, ACCOUNT)),
        (NoAnswer('silent'), (DISK,)),
        (LocalTrouble('one folder is read-only'), (DISK, FILES)),
    ],
)
def test_what_is_the_trouble_of_one_record_sets_nothing_aside(pool, error, keys):
    errors = one_after_another(pool, *[failing(error, *keys)] * 10)
    assert {type(each) for each in errors} == {type(error)}
    assert not pool.news


def test_one_success_in_between_is_enough(pool):
    bad, good = failing(NoAnswer('silent'), PORTAL), job(lambda: 1, PORTAL)
    one_after_another(pool, *[bad] * 4, good, *[bad] * 4, good)
    assert not pool.news


def test_a_file_server_that_is_away_does_not_stop_statuses(pool):
    one_after_another(pool, *[failing(NoAnswer('silent'), DISK, FILES)] * 5)
    assert one_after_another(pool, job(lambda: 1, PORTAL), job(lambda: 1, DISK, FILES))[0] is None
    assert list(pool.set_aside) == [FILES]


def test_one_account_that_is_refused_does_not_stop_another(pool):
    other = 'account', 'portal', 'another key'
    one_after_another(pool, *[failing(AccessRefused('401'), PORTAL, ACCOUNT)] * 3)
    first, second = one_after_another(
        pool, job(lambda: 1, PORTAL, ACCOUNT), job(lambda: 1, PORTAL, other)
    )
    assert (type(first), second) == (SetAside, None)


def test_who_waits_for_one_key_holds_up_nobody_at_another(pool):
    """A class hangs, another job of it waits; a third class needs only the key that all share."""
    let_go, both = Event(), ((('class', 'A'), 1), ('all', 2))
    pool.submit(Job(let_go.wait, 'hangs', 'A', limits=both), 1)
    pool.submit(Job(let_go.wait, 'waits', 'A', limits=both), 2)
    pool.finished(0.1)
    pool.submit(Job(lambda: 'done', 'works', 'B', limits=((('class', 'B'), 1), ('all', 2))), 3)
    try:
        assert (3, 'done', None) in pool.finished(5)
    finally:
        let_go.set()


def test_jobs_begin_in_the_order_in_which_they_came(pool):
    early, over, many = [], [], 200

    def work(number):
        # Two at a time: all before it are over but one, whichever of the two threads is slow.
        if len(over) < number - 1:
            early.append((number, len(over)))
        sleep(0.002)
        over.append(number)

    for number in range(many):
        limits = (('host', 2),)
        pool.submit(Job(partial(work, number), 'its turn', 'A', limits=limits), number)
    ended = 0
    while ended < many:
        ended += len(pool.finished(5))
    assert not early
