"""Runs end, tell the truth, and leave nobody waiting: C1 to C3, C5 to C7, C9 to C13, C15.

Rows of faults-found. C4 is here as well; C8 and C14 are in `test_downloads`.
"""

import fcntl
import logging
import logging.config
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from multiprocessing import active_children, get_context
from pathlib import Path
from time import monotonic, sleep

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import faults
import forked
from databases import only_on, where
from tom_auto import db_retry
from tom_auto.doctor import checks as doctor
from tom_auto.files import storage, storage_id
from tom_auto.health import FAILING, healths, schedule_site
from tom_auto.jobs import jobs
from tom_auto.log_config import logging_for
from tom_auto.management import run_command
from tom_auto.management.terminal import result
from tom_auto.models import RecordSync, RunFailure, UpdateRun
from tom_auto.running import recorded_run, runs
from tom_auto.running.outcomes import Ending, Outcome, Report
from tom_auto.sync import check_due

from .facility_classes import Robotic
from .own_classes import Lists, install
from .page import failing, ran, text
from .running import updatedata
from .schedule_project import make_project

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def printed(tmp_path) -> Iterator[Path]:
    """Where processes of a test print to; none of them outlives it."""
    yield tmp_path / 'printed'
    forked.kill_all()


def ends(child: object, seconds: float) -> int:
    """Wait for the end of a process, but no longer than so: its exit status."""
    child.join(seconds)
    assert child.exitcode is not None, f'the process has not ended in {seconds} s'
    return child.exitcode


def adds_up(report: dict) -> None:
    """Rule 16: each due record went somewhere, once."""
    assert report['due'] == sum(report[ending] for ending in Ending) - shared(report)


def shared(report: dict) -> int:
    return sum(failure['record'] is None for failure in report['failures'])


# --- C1: somebody else in the database ---

SOMEBODY = """
import psycopg, sys, time
somebody = psycopg.connect(sys.argv[1])
somebody.execute(sys.argv[2])
print('there', flush=True)
time.sleep(600)
"""


@contextmanager
def somebody(statement: str) -> Iterator[None]:
    """Another program has done this, and has left its transaction open: for ten minutes, say."""
    command = [sys.executable, '-c', SOMEBODY, where(), statement]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == 'there\n'
            yield
        finally:
            process.kill()


LEFT_OPEN = {
    'the status': "UPDATE tom_observations_observationrecord SET status = 'MINE' WHERE id = {}",
    'the row': 'SELECT 1 FROM tom_observations_observationrecord WHERE id = {} FOR UPDATE',
    'its state': "UPDATE tom_auto_recordsync SET error = 'x' WHERE record_id = {}",
}


@only_on('postgresql')
@pytest.mark.parametrize('what', LEFT_OPEN)
def test_a_record_that_somebody_keeps_does_not_hold_up_the_run(observed, monkeypatch, what):
    """C1: the run hung beyond any deadline, and every later run with it, exit 75."""
    monkeypatch.setitem(db_retry.LONGEST_WAITS, 'lock_timeout', 2000)
    records = [observed(status='') for _ in range(5)]
    updatedata('--facility', 'SOAR')  # each has its state
    held, deadline = records[2], 40
    with somebody(LEFT_OPEN[what].format(held.pk)):
        begun = monotonic()
        status, report = updatedata('--deadline', str(deadline))
        assert monotonic() - begun < deadline + 30
        assert status == 1
        assert [failure['record'] for failure in report['failures']] == [held.pk]
        assert (report['checked'], report['saved']) == (4, 8)
        adds_up(report)

        begun = monotonic()
        status, report = updatedata('--deadline', str(deadline))  # not 75
        assert monotonic() - begun < deadline + 30
        assert report['due'] >= 1
    RecordSync.objects.update(next_check=timezone.now())
    status, report = updatedata()
    assert (status, report['failures']) == (0, [])
    assert ObservationRecord.objects.filter(status='COMPLETED').count() == 5


@only_on('postgresql')
@pytest.mark.parametrize('table', ['tom_auto_recordsync', 'tom_auto_updaterun'])
def test_a_table_that_somebody_keeps_ends_the_run(observed, table, monkeypatch, printed):
    """C1: what no record is to blame for ends the run by the watchdog, at the latest."""
    monkeypatch.setattr(recorded_run, 'HELD_UP', 2)
    observed()
    with somebody(f'LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE'):
        begun = monotonic()
        child = forked.updatedata(printed, '--deadline', '3')
        assert ends(child, 30) == 1
        assert monotonic() - begun < 15
    updatedata()
    assert ObservationRecord.objects.get().status == 'COMPLETED'


def endless_hook(record, previous=None):
    """A hook that never comes back, in a library that hears no signal."""
    if previous is not None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        threading.Event().wait()


def test_the_watchdog_ends_what_nothing_else_ends(observed, settings, monkeypatch, printed):
    """C1: a hook holds the main thread, as a database may that is behind a dead firewall."""
    monkeypatch.setattr(recorded_run, 'HELD_UP', 1)
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.endless_hook'}
    observed()
    begun = monotonic()
    child = forked.updatedata(printed, '--deadline', '2')
    assert ends(child, 20) == 1
    assert monotonic() - begun < 10
    assert 'held up beyond its deadline' in printed.read_text()
    settings.HOOKS = settings.HOOKS | {
        'observation_change_state': 'tom_common.hooks.observation_change_state'
    }
    status, report = updatedata()  # taken over at once
    assert (status, report['saved']) == (0, 2)


def test_it_watches_from_the_first_question_on(observed, monkeypatch, printed):
    """C1: what hangs before the run has begun hung without a limit."""
    monkeypatch.setattr(recorded_run, 'HELD_UP', 1)
    monkeypatch.setattr(runs, '_begin', lambda *arguments: threading.Event().wait())
    begun = monotonic()
    assert ends(forked.updatedata(printed, '--deadline', '1'), 20) == 1
    assert monotonic() - begun < 10


def followed(printed, monkeypatch):
    """A run in progress, and a program that follows it, which has a shorter deadline."""
    monkeypatch.setattr(run_command, 'ALL_THE_REST', 0)
    run = ran(command='updatedata', status='running', finished=None, heartbeat=timezone.now())
    child = forked.updatedata(printed, '--wait', '--deadline', '1')
    forked.wait_until(lambda: printed.exists() and 'Following' in printed.read_text())
    return run, child


def test_who_follows_a_run_does_so_to_its_end(printed, monkeypatch):
    run, child = followed(printed, monkeypatch)
    sleep(2)
    UpdateRun.objects.filter(pk=run.pk).update(status='ok', finished=timezone.now())
    assert ends(child, 20) == 0, printed.read_text()


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_stopped_ends_with_the_number_of_the_signal(printed, monkeypatch, number, status):
    run, child = followed(printed, monkeypatch)
    os.kill(child.pid, number)
    assert ends(child, 20) == status
    assert f'Stopped by {number.name}. The run continues in the background.' in printed.read_text()
    assert UpdateRun.objects.get(pk=run.pk).status == 'running'


# --- C2: a run that is suspended ---


def test_a_suspended_run_blocks_the_next_only_while_its_heart_was_heard(
    sky, observed, monkeypatch, printed
):
    """C2: Ctrl-Z, forgotten: 75 for ever on that host, as it held the lock."""
    monkeypatch.setattr(runs, 'SILENCE', timedelta(seconds=4))
    monkeypatch.setattr(runs, 'BEAT', 0.5)
    observed(frames=1)
    sky.break_('/store/', faults.hang(60), times=1)
    child = forked.updatedata(printed)
    forked.wait_until(lambda: any(seen.path.startswith('/store/') for seen in sky.requests_seen))
    os.kill(child.pid, signal.SIGSTOP)

    with pytest.raises(CommandError) as busy:
        call_command('updatedata')
    assert busy.value.returncode == 75
    sleep(5)
    status, report = updatedata()
    assert (status, report['saved']) == (0, 1)

    os.kill(child.pid, signal.SIGCONT)
    assert ends(child, 30) == 75
    assert sorted(UpdateRun.objects.values_list('status', flat=True)) == ['died', 'ok']
    assert RecordSync.objects.get().failures == 0


# --- C3, rule 16: every record goes somewhere ---


@pytest.fixture
def all_sorts(sky, observed, add_record, settings) -> None:
    """Records of every ending: well, failing, unsupported, gone, of an account that is refused."""
    install(settings, Lists)
    for number in range(8):
        observed('LCO', frames=1, status='')
        add_record('Lists', status='')
        if number % 2:
            add_record('Nobody', status='')
            add_record('LCO', status='')  # the observatory does not know it
    add_record('LCO', status='', observation_id='template')
    settings.FACILITIES['SOAR'] = settings.FACILITIES['SOAR'] | {
        'portal_url': 'http://127.0.0.1:9', 'archive_url': 'http://127.0.0.1:9'
    }  # fmt: skip
    for _ in range(12):
        add_record('SOAR', status='')


def test_every_ending_is_counted(all_sorts):
    """C3: "due 2 checked 1 failed 0", exit 0."""
    status, report = updatedata('--workers', '2')
    adds_up(report)
    assert status == 1
    assert report['checked'] == 16
    assert report['unsupported'] == 5
    assert report['set_aside'] > 0
    assert report['failed'] - shared(report) == 4 + 12 - report['set_aside']


@pytest.mark.parametrize('seconds', [0.05, 0.3, 0.6, 1.0, 1.5])
def test_at_the_deadline_as_well(all_sorts, sky, seconds, settings, monkeypatch):
    """C3: an outcome that came while others were written at the deadline was lost."""
    sky.latency = 0.1
    monkeypatch.setattr(check_due, 'LAST_SECONDS', 0.2)
    monkeypatch.setattr(check_due, 'TICK', 0.02)
    settings.TOM_AUTO['DEADLINE'] = seconds
    status, report = updatedata('--workers', '2')
    adds_up(report)
    assert status == 1
    run = UpdateRun.objects.get(pk=report['run'])
    assert {name: count for name, count in run.counts() if count} == {
        name: report[name] for name, _ in run.counts() if report[name]
    }
    sky.latency = 0
    settings.TOM_AUTO['DEADLINE'] = 60
    adds_up(updatedata('--recheck')[1])
    assert ObservationRecord.objects.filter(status='COMPLETED').count() == 8


def delete_another(record, previous=None):
    """A hook, or a person, deletes a record that the run has not come to."""
    if previous is not None:
        ObservationRecord.objects.exclude(pk=record.pk).filter(status='').delete()


def delete_the_last(record, previous=None):
    """The same with one that the run has in hand."""
    if previous is not None:
        ObservationRecord.objects.exclude(pk=record.pk).order_by('pk').last().delete()


@pytest.mark.parametrize('deed', [delete_another, delete_the_last])
def test_a_record_that_is_deleted_meanwhile_is_gone(observed, settings, deed):
    for _ in range(40):
        observed(frames=0, status='')
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.{deed.__name__}'}
    status, report = updatedata('--workers', '1')
    adds_up(report)
    assert report['gone'] > 0
    assert report['checked'] + report['gone'] == 40
    assert status == 0


def test_a_sum_that_does_not_add_up_is_a_failure(observed, monkeypatch):
    """C3: should a record be lost all the same, the run does not say "Success!"."""
    for _ in range(3):
        observed(frames=0)
    add, lost = Report.add, []

    def forgetful(report, outcome):
        if outcome.record is not None and not lost:
            lost.append(outcome)
        else:
            add(report, outcome)

    monkeypatch.setattr(Report, 'add', forgetful)
    status, report = updatedata()
    assert (status, report['checked']) == (1, 2)
    assert '1 due records are not accounted for' in report['failures'][-1]['error']
    assert UpdateRun.objects.get().status == 'failed'


# --- C4: no more threads, no more processes ---


@pytest.mark.parametrize('most', [1, 3])
def test_fewer_threads_than_wanted_do_the_work(observed, monkeypatch, most):
    """C4: with `ulimit -u` an outcome was lost, and the run waited for its deadline.

    That limit is not for root, so the threads are refused here.
    """
    start, started = threading.Thread.start, []

    def limited(thread):
        if thread.name.startswith('worker-'):
            if len(started) == most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, 'start', limited)
    for _ in range(4):
        observed()
    begun = monotonic()
    status, report = updatedata()
    assert (status, report['checked'], report['saved']) == (0, 4, 8)
    assert monotonic() - begun < 20


def test_without_any_thread_it_fails_at_once_and_takes_nothing_along(observed, monkeypatch):
    start = threading.Thread.start

    def refused(thread):
        if thread.name.startswith('worker-'):
            raise RuntimeError("can't start new thread")
        start(thread)

    observed()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', refused)
        with pytest.raises(RuntimeError, match='new thread'):
            updatedata()
    assert UpdateRun.objects.get().status == 'died'
    assert updatedata()[1]['saved'] == 2


def test_a_process_that_cannot_be_started_is_its_class_s_trouble(
    observed, add_record, settings, automation, monkeypatch
):
    """C4: the same limit counts processes."""
    install(settings, Lists)
    automation['TRANSFER_TIMEOUT'] = 1
    add_record('Lists')
    observed('LCO')

    def refused(process):
        raise BlockingIOError(11, 'Resource temporarily unavailable')

    with monkeypatch.context() as patch:
        patch.setattr(get_context('fork').Process, 'start', refused)
        status, report = updatedata()
    assert (status, report['saved'], report['failed']) == (1, 2, 1)
    assert report['failures'][0]['facility'] == 'Lists'
    assert updatedata()[0] == 0


# --- C5: threads of others ---


class OwnPool(Robotic):
    """Asks in a thread pool of its own, for which Python waits at the end."""

    name = 'OwnPool'

    def get_observation_status(self, observation_id):
        pool = ThreadPoolExecutor(2)
        pool.submit(threading.Event().wait)
        return pool.submit(threading.Event().wait).result()


def hook_with_a_thread(record, previous=None):
    """A hook that leaves something behind."""
    if previous is not None:
        threading.Thread(target=threading.Event().wait).start()


def test_a_class_with_threads_that_hang_does_not_outlive_the_deadline(
    observed, add_record, settings, printed
):
    """C5: the process outlived the deadline."""
    install(settings, OwnPool)
    add_record('OwnPool')
    observed('LCO')
    begun = monotonic()
    child = forked.updatedata(printed, '--deadline', '2', '--json')
    assert ends(child, 30) == 1
    assert monotonic() - begun < 12
    assert UpdateRun.objects.get().status == 'failed'
    assert RunFailure.objects.get().facility == 'OwnPool'
    assert not active_children()


@pytest.mark.parametrize(('fault', 'exits'), [(None, 0), (faults.status(404), 1)])
def test_nor_does_a_hook_that_leaves_a_thread(
    sky, observed, settings, monkeypatch, printed, fault, exits
):
    """C5: in the run's own process, and after it has ended."""
    monkeypatch.setattr('tom_auto.management.run_command.LEFT_BEHIND', 1)
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.hook_with_a_thread'}
    observed('LCO')
    if fault:
        sky.break_('/store/', fault)
    child = forked.updatedata(printed, '--json')
    assert ends(child, 20) == exits
    assert '"due": 1' in printed.read_text()
    assert UpdateRun.objects.get().status == ('failed' if fault else 'ok')


# --- C6: a log that somebody holds ---


def log_something(directory: Path) -> None:
    logging.config.dictConfig(logging_for(directory))
    for number in range(100):
        logging.getLogger('tom_auto').info('line %d', number)


def test_a_log_that_somebody_holds_stops_nothing(tmp_path):
    """C6: another process held `logs/.__tom.lock`, and run and web pages stopped for ever."""
    logs = tmp_path / 'logs'
    held = [(logs / name).open('a') for name in ('.__tom.lock', '.tom.lock', 'tom.log')]
    for file in held:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
    child = get_context('fork').Process(target=log_something, args=(logs,))
    child.start()
    assert ends(child, 20) == 0
    assert len((logs / 'tom.log').read_text().splitlines()) == 100
    for file in held:
        file.close()


# --- C7: a store that does not answer ---


@pytest.mark.parametrize(
    ('module', 'name'), [(storage, 'empty_parts'), (storage_id, 'insist_on_storage')]
)
def test_a_store_that_does_not_answer_does_not_stop_the_heart(
    observed, monkeypatch, printed, module, name
):
    """C7: leftovers were swept before the heart beat, and without a deadline."""
    monkeypatch.setattr(recorded_run, 'HELD_UP', 1)
    monkeypatch.setattr(runs, 'BEAT', 0.2)
    monkeypatch.setattr(module, name, lambda: threading.Event().wait())
    observed()
    child = forked.updatedata(printed, '--deadline', '3')
    forked.wait_until(UpdateRun.objects.exists)
    first = UpdateRun.objects.get().heartbeat
    forked.wait_until(lambda: UpdateRun.objects.get().heartbeat > first)
    assert ends(child, 20) == 1


# --- C9: a facility that is gone ---


@pytest.fixture
def job(hourly):
    """The job, as its schedule has it."""
    return jobs().jobs[0]


def test_a_class_that_was_removed_after_a_failure_is_failing_no_more(sky, observed, settings, job):
    """C9: "failing" for ever, a mail a day, and runs exit 0."""
    record = observed('SOAR', status='')
    observed('LCO')
    sky.break_('/api/requests/', faults.status(500))
    assert updatedata()[0] == 1
    assert healths()[0].reasons
    sky.mend()

    settings.TOM_FACILITY_CLASSES = [
        path for path in settings.TOM_FACILITY_CLASSES if 'soar' not in path
    ]
    RecordSync.objects.update(next_check=timezone.now())
    status, report = updatedata()

    assert (status, report['unsupported']) == (0, 1)
    assert 'no facility SOAR is installed' in report['unsupported_facilities']['SOAR']
    assert healths()[0].reasons == ()
    sync = RecordSync.objects.get(record=record)
    assert (sync.failures, sync.failing_since, sync.is_settled) == (0, None, False)

    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, 'tom_observations.facilities.soar.SOARFacility'
    ]  # fmt: skip
    assert updatedata()[1]['saved'] == 2


# --- C10: what was given up is named ---


def test_a_record_that_is_given_up_at_the_deadline_is_named(
    sky, observed, monkeypatch, automation, client, django_user_model, capsys
):
    """C10: summary and page named the facility, and not the record."""
    monkeypatch.setattr(check_due, 'LAST_SECONDS', 0.5)
    automation['READ_TIMEOUT'] = 30
    record = observed(frames=1, observation_id='8675309')
    sky.break_('/store/', faults.hang(30))
    try:
        with pytest.raises(SystemExit):
            call_command('updatedata', '--deadline', '1')
    finally:
        sky.stop()
    summary = capsys.readouterr().out
    assert 'LCO 8675309: given up at the deadline: the download of ' in summary
    failure = RunFailure.objects.get()
    assert (failure.record, failure.observation_id) == (record, '8675309')
    client.force_login(django_user_model.objects.create_superuser('boss'))
    for page in ('/automation/', f'/automation/runs/{failure.run_id}/'):
        assert '8675309' in text(client, page)


def test_the_table_on_a_terminal_names_it_as_well(observed, sky):
    report = Report(due=1)
    report.add(Outcome('LCO', 1, '8675309', Ending.FAILED, error='gave up', kind='no answer'))
    assert 'Failed: LCO 8675309: gave up' in list(result(report, 'doctor'))


# --- C11: one answer to one question ---


def test_a_run_for_one_target_does_not_make_the_rest_well(
    sky, observed, target, client, django_user_model, settings, tmp_path, cron
):
    """C11: a click on "update" for one target, and `schedule status` said that all is well."""
    other = Target.objects.create(name='M 32', type='SIDEREAL', ra=10, dec=41)
    sky.break_('/api/', faults.status(404))
    for _ in range(4):
        observed(frames=0)
    updatedata()
    sky.mend()
    observed(frames=1, target=other)
    assert updatedata('--target_id', str(other.pk))[0] == 0

    settings.BASE_DIR = make_project(tmp_path / 'my_tom')
    call_command('schedule', 'install', stdout=StringIO())
    state = healths()[0]
    assert '4 observations could not be checked' in state.reason
    well, wrong = schedule_site().health()
    assert state.sentence() in [*well, *wrong]
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command('schedule', 'status', stdout=output, stderr=output)
    said = ' '.join(output.getvalue().split())
    assert '4 observations could not be checked' in said
    client.force_login(django_user_model.objects.create_superuser('boss'))
    assert '4 observations could not be checked' in text(client)
    told = client.get('/automation/status.json').json()
    assert '4 observations could not be checked' in str(told)


def test_command_and_page_give_the_same_answer(add_record, job, admin_client):
    """C11: they disagreed in other cases too, as two pieces of code answered one question."""
    scenes: list[Callable[[], object]] = [
        lambda: ran(),
        lambda: ran(status='failed'),
        lambda: ran(status='died'),
        lambda: ran(only='target 1'),
        lambda: ran(started_by='ada'),
        lambda: failing(add_record(status='')),
        lambda: ran(timedelta(days=3)),
    ]
    for scene in scenes:
        UpdateRun.objects.all().delete()
        scene()
        [state] = [one for one in healths() if one.main]
        well, wrong = schedule_site().health()
        assert (state.sentence() in wrong) == state.is_trouble
        assert (state.sentence() in well) != state.is_trouble
        page = text(admin_client)
        assert state.words in page or state.words_since in page
    assert state.state != FAILING or state.reasons


# --- C12: what cannot be asked is named ---


class Deaf(Robotic):
    """Reports no status, as classes do whose observatory has no interface for it."""

    name = 'Deaf'

    def get_observation_status(self, observation_id):
        return None


def test_what_is_not_supported_is_named_everywhere(
    add_record, settings, client, django_user_model, capsys
):
    """C12: "Success! 1 unsupported", without a name or a reason; the page: trouble "none"."""
    install(settings, Deaf)
    add_record('Vanished', status='')
    add_record('Deaf', status='')
    reasons = {
        'Vanished': 'no facility Vanished is installed: add its class to TOM_FACILITY_CLASSES',
        'Deaf': 'Deaf reports no status',
    }
    call_command('updatedata')
    summary = capsys.readouterr().out
    for name, reason in reasons.items():
        assert f'Not supported at {name}: {reason}.' in summary

    found = [one for one in doctor.findings() if one.check == 'Not supported']
    assert [one.state for one in found] == [doctor.WARNING] * 2
    for one, name in zip(found, sorted(reasons), strict=True):
        assert f'1 observation of {name}: {reasons[name]}' in one.found

    client.force_login(django_user_model.objects.create_superuser('boss'))
    page = text(client, '/automation/facilities/')
    for reason in reasons.values():
        assert f'not supported: {reason}' in page


def test_the_page_of_an_observation_that_is_not_supported_says_why(
    sky, add_record, client, django_user_model, own_templates
):
    """C12: it said that all is well."""
    record = add_record('LCO', status='', observation_id='template')
    updatedata()
    client.force_login(django_user_model.objects.create_superuser('boss'))
    said = text(client, f'/observations/{record.pk}/')
    assert 'Not supported: &#x27;template&#x27; is not the number of a request' in said
    assert 'Checks have failed' not in said


def test_what_is_supported_again_is_named_no_more(add_record, settings):
    install(settings, Deaf)
    add_record('Deaf', status='')
    updatedata()
    assert RecordSync.objects.get().error_kind == 'unsupported'
    install(settings, Lists)
    ObservationRecord.objects.update(facility='Lists')
    updatedata()
    assert (RecordSync.objects.get().error, RecordSync.objects.get().error_kind) == ('', '')
    assert [one.state for one in doctor.findings() if one.check == 'Not supported'] == ['ok']


# --- C13: an id that is no number ---


@pytest.mark.parametrize('name', ['template', '', '-1', '12a', ' 12', '1/../2', 'UNSUBMITTED?x=1'])
def test_an_id_that_is_no_number_is_not_asked_for(sky, add_record, name):
    """C13: groups keep placeholders such as `template`: 404, failing for ever."""
    for _ in range(2):
        add_record('LCO', status='', observation_id=name)
    for _ in range(2):
        status, report = updatedata()
        assert (status, report['unsupported'], report['failures']) == (0, 2, [])
        assert report['unsupported_facilities'] == {
            'LCO': f'{name!r} is not the number of a request'
        }
    assert sky.requests_seen == []


# --- C15: logins for nothing ---


class LogsIn(Lists):
    """tom_eso: logs in as soon as it is given a user, and answers nothing."""

    name = 'LogsIn'

    def set_user(self, user):
        super().set_user(user)
        with Path(django_settings.FACILITIES[self.name]['logins']).open('a') as file:
            file.write(f'{user}\n')

    def get_observation_status(self, observation_id):
        raise NotImplementedError

    def data_products(self, observation_id, product_id=None):
        raise NotImplementedError


class TakesNoId(LogsIn):
    """The same, and none of its methods can be asked about one observation."""

    name = 'TakesNoId'

    def get_observation_status(self):
        raise NotImplementedError

    def data_products(self):
        raise NotImplementedError

    get_terminal_observing_states = None


@pytest.mark.parametrize(('facility', 'logins'), [(LogsIn, ['ada']), (TakesNoId, [])])
def test_a_class_that_cannot_be_asked_logs_in_once_or_not_at_all(
    add_record, settings, tmp_path, facility, logins
):
    """C15: eight logins a run, for nothing."""
    file = tmp_path / 'logins'
    file.touch()
    install(settings, facility, logins=str(file))
    user = User.objects.create(username='ada')
    for _ in range(8):
        add_record(facility.name, status='', user=user)
    status, report = updatedata()
    assert (status, report['unsupported']) == (0, 8)
    assert file.read_text().split() == logins


def test_a_class_that_has_nothing_due_does_not_log_in(add_record, observed, settings, tmp_path):
    install(settings, LogsIn, logins=str(tmp_path / 'logins'))
    observed('LCO')
    assert updatedata()[0] == 0
    assert not (tmp_path / 'logins').exists()
