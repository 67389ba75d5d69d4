"""One run at a time; one that died does not block the next."""

import errno
import fcntl
import socket
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import sleep

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone
from tom_observations.facilities.soar import SOARFacility

from tom_auto import interrupt
from tom_auto.models import UpdateRun
from tom_auto.running import runs
from tom_auto.running.outcomes import Report
from tom_auto.running.runs import say_alive

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def running(**fields):
    now = timezone.now()
    defaults = {'job': 'updatedata', 'host': 'elsewhere', 'pid': 1, 'started': now}
    return UpdateRun.objects.create(**(defaults | {'heartbeat': now} | fields))


def test_the_database_refuses_a_second_run():
    running()
    with pytest.raises(IntegrityError), transaction.atomic():
        running()


def test_another_host_is_at_work():
    running()
    with pytest.raises(CommandError, match='in progress on elsewhere') as raised:
        call_command('updatedata')
    assert raised.value.returncode == 75


@pytest.mark.parametrize(('silent', 'status'), [(60, 75), (100, 0)])
def test_a_run_of_this_host_that_holds_the_lock(silent, status):
    """It may be suspended: the lock that it holds proves nothing where its heart is silent."""
    heartbeat = timezone.now() - timedelta(seconds=silent)
    with (Path(settings.BASE_DIR) / 'logs' / '.updatedata.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = running(host=socket.gethostname(), heartbeat=heartbeat)
        if status:
            with pytest.raises(CommandError, match='in progress on') as raised:
                call_command('updatedata')
            assert raised.value.returncode == status
        else:
            assert updatedata()[0] == 0
    other.refresh_from_db()
    assert other.status == ('running' if status else 'died')


def test_a_lock_that_somebody_holds_without_a_run_blocks_nothing():
    with (Path(settings.BASE_DIR) / 'logs' / '.updatedata.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert updatedata()[0] == 0


def test_a_dead_run_of_this_host_is_taken_over_at_once():
    updatedata()
    dead = UpdateRun.objects.get()
    UpdateRun.objects.update(status='running', finished=None)
    assert updatedata()[0] == 0
    dead.refresh_from_db()
    assert (dead.status, dead.finished is not None) == ('died', True)


def test_a_container_of_the_same_name_is_not_taken_for_dead():
    """It has a lock of its own, of which this one knows nothing."""
    running(host=socket.gethostname(), lock='0:1')
    with pytest.raises(CommandError, match='in progress on') as raised:
        call_command('updatedata')
    assert raised.value.returncode == 75


@pytest.mark.parametrize(('silent', 'status'), [(60, 75), (100, 0)])
def test_a_silent_run_of_another_host_is_taken_over_after_a_while(silent, status):
    running(heartbeat=timezone.now() - timedelta(seconds=silent))
    if status:
        with pytest.raises(CommandError):
            call_command('updatedata')
    else:
        assert updatedata()[0] == 0


def test_a_run_that_was_taken_over_stops(observed, monkeypatch):
    """Nothing more is begun, and its row stays as the other run left it."""
    monkeypatch.setattr(runs, 'BEAT', 0.05)
    for _ in range(4):
        observed('SOAR')
    asked = []

    def slow(self, observation_id):
        asked.append(observation_id)
        sleep(0.5)
        return {'state': 'PENDING'}

    monkeypatch.setattr(SOARFacility, 'get_observation_status', slow)
    monkeypatch.setattr(
        runs, 'say_alive', lambda *args: say_alive(*args) if len(asked) < 2 else False
    )
    with pytest.raises(CommandError, match='another has taken over') as raised:
        call_command('updatedata', '--workers', '1')
    assert raised.value.returncode == 75
    assert len(asked) < 4


def test_a_run_that_is_held_up_ends_all_the_same(monkeypatch):
    """By a database or a hook, which nothing else can end."""
    ended = Event()
    monkeypatch.setattr(interrupt.os, '_exit', lambda status: ended.set())
    with interrupt.ended_after(0.1):
        assert ended.wait(5)


def test_a_run_that_is_interrupted_says_so_and_frees_the_way(observed, monkeypatch):
    observed()

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('tom_auto.sync.check_due.record_outcomes', interrupt)
        with pytest.raises(CommandError, match='Stopped by SIGINT') as raised:
            call_command('updatedata')
    assert raised.value.returncode == 130
    assert UpdateRun.objects.get().status == 'died'
    assert updatedata()[0] == 0


def test_without_a_place_for_a_lock_the_heartbeat_has_to_do(settings, tmp_path):
    settings.BASE_DIR = tmp_path / 'nowhere'
    assert updatedata()[0] == 0
    running(host=socket.gethostname())
    with pytest.raises(CommandError):
        call_command('updatedata')


def test_a_file_system_that_knows_no_locks_is_not_taken_for_another_run(monkeypatch):
    """As on clusters. Otherwise no run would ever be at work there, and nobody would notice."""

    def refuse(*args):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', refuse)
    assert updatedata()[0] == 0
    running(host=socket.gethostname())
    with pytest.raises(CommandError):
        call_command('updatedata')


def test_old_runs_are_forgotten():
    old = running(status='ok', started=timezone.now() - timedelta(days=91))
    recent = running(status='ok', started=timezone.now() - timedelta(days=89))
    updatedata()
    assert not UpdateRun.objects.filter(pk=old.pk).exists()
    assert UpdateRun.objects.filter(pk=recent.pk).exists()


def test_the_counts_of_a_run_under_way_can_be_seen():
    run = running()
    runs.say_alive(run, Report(due=10, checked=3))
    run.refresh_from_db()
    assert (run.due, run.checked) == (10, 3)
