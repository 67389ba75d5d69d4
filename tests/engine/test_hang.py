"""A run ends, whatever the observatories do: at its deadline, or when it is told to."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
from django.contrib.auth.models import User

import faults
from forked import ended
from forked import updatedata as forked_updatedata
from hanging import headers_byte_by_byte, server, silence
from home import everything_is_home
from program import Program
from simulated import Observatory
from tom_auto.models import RecordSync, RunFailure, UpdateRun
from unit.running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

CLASSES = [f'hanging.{name}' for name in ('OwnClient', 'Headers', 'Login')]


@pytest.fixture
def hanging(sky, settings, observed):
    """Two facilities that work, and records at five that hang, each in another way."""
    settings.TOM_FACILITY_CLASSES = settings.TOM_FACILITY_CLASSES + CLASSES
    settings.TOM_AUTO = {'MIN_FREE_BYTES': 0}  # and else as it comes, with its long timeouts
    user = User.objects.create(username='observer')
    well = settings.FACILITIES
    with server(silence) as silent, server(headers_byte_by_byte) as chatty, Observatory() as slow:
        nowhere = 'http://{}:{}'.format(*silent)
        slow.add_request(1)
        slow.break_('/api/', faults.drip(0.5))
        settings.FACILITIES = well | {
            'SOAR': {'portal_url': nowhere, 'archive_url': nowhere, 'api_key': 'key-of-soar'},
            'BLANCO': slow.settings(),
            'OwnClient': {'address': silent},
            'Headers': {'url': 'http://{}:{}'.format(*chatty)},
            'Login': {'url': nowhere},
        }
        for facility in ('LCO', 'LCO', 'LCORedirect'):
            observed(facility, frames=2)
        stuck = {
            name: observed(name, frames=0, user=user)
            for name in ('SOAR', 'OwnClient', 'Headers', 'Login')
        }
        stuck['BLANCO'] = observed('BLANCO', frames=0, observation_id='1')
        yield stuck
    settings.FACILITIES = well


def test_facilities_that_hang_are_given_up_at_the_deadline(sky, hanging, tmp_path):
    """Those that work have all their frames; each call that hangs is named; the process ends."""
    status, report, seconds = Program(tmp_path, '--deadline', '20').report()

    assert seconds < 30
    assert 20 < report['seconds'] < 25
    assert status == 1
    assert (report['due'], report['checked'], report['saved']) == (8, 3, 6)
    assert sorted(files().values()) == contents(sky)
    errors = {failure['facility']: failure['error'] for failure in report['failures']}
    calls = {
        'SOAR': f'SOAR: the status of {hanging["SOAR"].observation_id}',
        'BLANCO': 'BLANCO: the status of 1',
        'OwnClient': 'OwnClient.get_observation_status',
        'Headers': 'Headers.get_observation_status',
        'Login': 'Login.get_observation_status',
    }
    assert set(errors) == set(calls)
    for facility, call in calls.items():
        assert f'given up at the deadline: {call} has not ended in 2' in errors[facility]
    run = UpdateRun.objects.get()
    assert (run.status, run.failed, RunFailure.objects.count()) == ('failed', 5, 5)
    for record in hanging.values():
        sync = RecordSync.objects.get(record=record)
        assert (sync.failures, sync.state) == (1, 'backing off')


@pytest.mark.parametrize(('number', 'exits'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_program_that_is_told_to_stop_ends_in_order(sky, observed, tmp_path, number, exits):
    """As systemd, Kubernetes and Ctrl-C tell it: in seconds, recorded as ended."""
    for _ in range(3):
        observed(frames=1)
    sky.break_('/store/', faults.drip(0.1, size=500))  # each file takes about four seconds
    program = Program(tmp_path, '--workers', '1')
    wait_until(lambda: asked_for_a_file(sky))

    program.send(number)
    status, output, errors, seconds = program.ended()

    assert (status, output) == (exits, '')
    assert seconds < 8
    assert errors.strip() == (
        f'CommandError: Stopped by {number.name}. The next run does the rest.'
    )
    run = UpdateRun.objects.get()
    assert (run.status, run.finished is not None) == ('died', True)
    sky.mend()
    assert updatedata()[0] == 0
    everything_is_home(sky)


@pytest.mark.parametrize('where', ['/api/', '/frames/', '/store/'])
def test_a_call_that_hangs_does_not_keep_a_run_from_stopping(sky, observed, tmp_path, where):
    """It gets a moment to end; what it leaves half done, the next run knows of."""
    observed(frames=2)
    sky.break_(where, faults.hang(60, after=100 if where == '/store/' else None))
    child = forked_updatedata(tmp_path / 'printed')
    wait_until(lambda: [seen for seen in sky.requests_seen if seen.path.startswith(where)])

    begun = monotonic()
    os.kill(child.pid, signal.SIGTERM)

    assert ended(child) == 143
    assert monotonic() - begun < 8
    assert UpdateRun.objects.get().status == 'died'
    sky.mend()
    assert updatedata()[0] == 0
    everything_is_home(sky)


def test_it_does_not_wait_for_a_second_signal(sky, observed, tmp_path):
    observed(frames=1)
    sky.break_('/store/', faults.hang(60))
    child = forked_updatedata(tmp_path / 'printed')
    wait_until(lambda: asked_for_a_file(sky))
    begun = monotonic()
    os.kill(child.pid, signal.SIGTERM)
    assert ended(child) == 143
    assert monotonic() - begun < 3
    assert UpdateRun.objects.get().status == 'died'


def test_a_run_that_is_told_to_stop_leaves_no_process_of_a_class(sky, hanging, tmp_path):
    child = forked_updatedata(tmp_path / 'printed')
    wait_until(lambda: len(children_of(child.pid)) == len(CLASSES))
    sleep(0.5)  # for them to be asked, and to hang
    classes = children_of(child.pid)
    os.kill(child.pid, signal.SIGTERM)
    assert ended(child) == 143
    wait_until(lambda: not any(map(is_alive, classes)), seconds=5)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and is not buried yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def asked_for_a_file(sky) -> bool:
    return any(seen.path.startswith('/store/') for seen in sky.requests_seen)


def wait_until(happened: Callable[[], object], seconds: float = 30) -> None:
    """Wait for what another process does; an error where it does not come to that."""
    end = monotonic() + seconds
    while not happened():
        assert monotonic() < end, 'that has not happened'
        sleep(0.05)
