"""Every job has a history of its own, whatever its command: F7."""

import errno
import os
import re
import signal
import sys
import time
from datetime import timedelta
from io import StringIO
from multiprocessing import active_children
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Timer

import pytest
from django.core import management
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from django.utils import timezone

import forked
from tom_auto import run_job
from tom_auto.health import healths
from tom_auto.jobs import job_named
from tom_auto.models import JobPause, UpdateRun
from tom_auto.running.runs import ASKED_BY

from .page import ran, text
from .receiving import mail_server, web_server

pytestmark = pytest.mark.django_db(transaction=True)

SCHEDULE = """environment = "virtualenv"
[updatedata]
when = "hourly"
[report]
when = "hourly"
[weekly]
when = "hourly"
command = ["report", "--fail", "3"]
[slow]
when = "hourly"
command = ["report", "--sleep", "60"]
timeout = 1
[lco]
when = "hourly"
command = ["updatedata", "--facility", "LCO"]
[slow_one]
when = "hourly"
command = ["report", "--sleep", "60"]
"""


class Report(BaseCommand):
    """A command of the user's own."""

    def add_arguments(self, parser):
        parser.add_argument('--fail', type=int, default=0)
        parser.add_argument('--sleep', type=int, default=0)
        parser.add_argument('--stubborn', action='store_true')
        parser.add_argument('--obedient', action='store_true')
        parser.add_argument('--fork', action='store_true')

    def run_from_argv(self, argv):
        self.__init__()  # this one was made in the test's process, with its streams
        super().run_from_argv(argv)

    def handle(self, **options):
        self.stdout.write('a report')
        sys.stderr.write('on stderr \0\n')
        os.system('echo from a program')
        if options['stubborn']:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.system('sleep 99 & echo child $!')
        if options['obedient']:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if options['fork'] and not os.fork():
            while True:
                self.stdout.write(f'left behind: {os.getpid()}')
                time.sleep(0.2)
        self.stdout.write(f'I am {os.getpid()}')
        time.sleep(options['sleep'])
        if options['fail'] == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        if options['fail']:
            raise CommandError('no data', returncode=options['fail'])


@pytest.fixture(autouse=True)
def own_jobs(hourly, monkeypatch):
    """A schedule with jobs of the user's own."""
    hourly.write_text(SCHEDULE)
    commands = management.get_commands() | {'report': Report()}
    monkeypatch.setattr(management, 'get_commands', lambda: commands)


def run(job):
    """The exit status of `schedule run`, what it printed, and the run that it recorded."""
    output, status = StringIO(), 0
    try:
        call_command('schedule', 'run', job, stdout=output)
    except SystemExit as end:
        status = end.code
    return status, output.getvalue(), UpdateRun.objects.filter(job=job).first()


def states():
    return {health.job: (health.state, health.reason) for health in healths()}


def test_a_job_of_ones_own_is_recorded_with_all_that_it_printed():
    status, printed, noted = run('report')
    assert (status, noted.status, noted.exit_status) == (0, 'ok', 0)
    assert noted.finished
    for line in ('a report', 'on stderr', 'from a program'):
        assert line in printed
        assert line in noted.output
    assert states()['report'] == ('working', '')
    assert states()['updatedata'] == ('never', '')


def test_people_are_told_when_it_fails_and_when_it_works_again(settings, hourly):
    with mail_server(settings) as mails:
        assert run('weekly')[0] == 3
        assert states()['weekly'] == ('failing', 'the last run ended with exit status 3')
        assert states()['report'][0] == 'never', 'another job of that command has its own history'
        assert [subject.split('] ')[1] for subject in mails.subjects()] == ['weekly is failing']
        assert 'no data' in mails.text()
        hourly.write_text(SCHEDULE.replace('"3"', '"0"'))
        assert run('weekly')[0] == 0
        assert 'weekly is working again' in mails.subjects()[1]


@pytest.mark.parametrize(
    ('job', 'kind', 'status', 'said'),
    [('slow', '"60"', 128 + signal.SIGTERM, 'its timeout of 1 s'), ('weekly', '"9"', 137, '')],
)
def test_one_that_is_killed(hourly, job, kind, status, said):
    hourly.write_text(SCHEDULE.replace('"3"', '"9"'))
    began = time.monotonic()
    ended, printed, noted = run(job)
    assert time.monotonic() - began < 30
    assert (ended, noted.status, noted.exit_status) == (status, 'died', 128 - status)
    assert said in printed
    assert said in noted.output
    assert states()[job] == ('failing', 'the last run was cut short')


def test_a_timeout_ends_all_that_the_job_started(hourly, monkeypatch):
    monkeypatch.setattr(run_job, 'STOP_SECONDS', 0.2)
    hourly.write_text(SCHEDULE.replace('"60"', '"60", "--stubborn"'))
    status, printed, _ = run('slow')
    assert status == 128 + signal.SIGKILL
    [child] = re.findall(r'child (\d+)', printed)
    assert_gone(int(child))


def assert_gone(pid):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        state = Path(f'/proc/{pid}/stat')
        try:
            os.kill(pid, 0)
            if state.exists() and state.read_text().split(') ')[1][0] == 'Z':
                return
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f'process {pid} is still there')


def test_stopped_by_someone_it_stops_the_job_as_well(hourly):
    hourly.write_text(SCHEDULE.replace('timeout = 1\n', ''))
    Timer(2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    began = time.monotonic()
    with pytest.raises(CommandError, match='Stopped by SIGTERM') as stopped:
        run('slow')
    assert stopped.value.returncode == 143
    assert time.monotonic() - began < 30
    noted = UpdateRun.objects.get()
    assert (noted.status, 'a report' in noted.output) == ('died', True)


def test_stopped_as_it_starts_it_leaves_no_job_behind(hourly, monkeypatch):
    plain = ForkProcess.start

    def start(process):
        plain(process)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ForkProcess, 'start', start)
    monkeypatch.setattr(run_job, 'STOP_SECONDS', 0.5)
    with pytest.raises(CommandError, match='Stopped by SIGTERM'):
        run('slow_one')
    assert active_children() == []
    assert UpdateRun.objects.get().status == 'died'


def test_a_job_ends_with_its_process_whatever_that_leaves_behind(hourly):
    """What it forked holds its pipes open: the job counted as at work until that ended."""
    hourly.write_text(SCHEDULE.replace('"--fail", "3"', '"--fork", "--sleep", "1"'))
    began = time.monotonic()
    status, printed, noted = run('weekly')
    os.kill(int(re.search(r'left behind: (\d+)', printed).group(1)), signal.SIGKILL)
    assert time.monotonic() - began < 20
    assert (status, noted.status) == (0, 'ok')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO, errno.EPIPE])
def test_a_job_goes_on_where_nothing_can_be_printed(hourly, number):
    """The disk with cron.log is full, or a terminal is gone."""
    hourly.write_text(SCHEDULE.replace('"--fail", "3"', '"--sleep", "1"'))

    def say(text):
        raise OSError(number, os.strerror(number))

    assert run_job.run_job(job_named('weekly'), say) == 0
    noted = UpdateRun.objects.get()
    assert (noted.status, 'a report' in noted.output) == ('ok', True)


def test_a_command_that_cannot_be_found(hourly):
    hourly.write_text(SCHEDULE.replace('"report", "--fail"', '"no-such", "--fail"'))
    status, printed, noted = run('weekly')
    assert (status, noted.status) == (1, 'failed')
    assert "Unknown command: 'no-such'" in printed


def test_a_name_that_no_job_has():
    with pytest.raises(CommandError, match="no job 'x'. The jobs are: updatedata, report"):
        run('x')


# --- updatedata, which records more than its end --------------------------------------------------


def test_updatedata_has_one_row_with_its_counts(sky, observed):
    observed()
    status, printed, noted = run('updatedata')
    assert status == 0, printed
    assert (noted.status, noted.exit_status, noted.checked, noted.saved) == ('ok', 0, 1, 2)
    assert '1 checked' in noted.output.replace('checked 1', '1 checked'), noted.output
    assert UpdateRun.objects.count() == 1


def test_two_jobs_of_updatedata_have_a_history_and_a_pause_each(observed):
    observed()
    assert run('lco')[0] == 0
    noted = UpdateRun.objects.get()
    assert (noted.job, noted.command, noted.only, noted.checked) == ('lco', 'updatedata', '', 1)
    assert states()['lco'][0] == 'working'
    assert states()['updatedata'] == ('never', '')
    JobPause.objects.create(job='lco', by='ada', since=timezone.now())
    status, printed, _ = run('lco')
    assert (status, 'lco is paused by ada since 20' in printed) == (0, True)
    assert run('updatedata')[2].status == 'ok'
    assert UpdateRun.objects.count() == 2


def test_the_job_called_updatedata_may_be_limited(observed, hourly):
    hourly.write_text(
        'environment = "virtualenv"\n[updatedata]\nwhen = "hourly"\ntimeout = 600\n'
        'command = ["updatedata", "--facility", "SOAR"]\n'
    )
    observed()  # of LCO
    status, printed, noted = run('updatedata')
    assert (status, noted.job, noted.due) == (0, 'updatedata', 0), printed
    assert [state.job for state in healths()] == ['updatedata']


def test_a_job_that_ends_well_when_its_time_is_up_has_failed(hourly):
    hourly.write_text(
        'environment = "virtualenv"\n[report]\nwhen = "hourly"\ntimeout = 1\n'
        'command = ["report", "--obedient", "--sleep", "60"]\n'
    )
    status, printed, noted = run('report')
    assert (status, noted.status, noted.exit_status) == (124, 'failed', 124)


def test_a_job_dies_with_what_started_it(tmp_path):
    """Nobody would record how it ended, and the next run would start beside it."""
    (tmp_path / 'printed').touch()
    parent = forked.start(tmp_path / 'printed', call_command, 'schedule', 'run', 'slow_one')
    end = time.monotonic() + 20
    while not (found := re.search(r'I am (\d+)', (tmp_path / 'printed').read_text())):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.kill(parent.pid, signal.SIGKILL)
    while Path(f'/proc/{found.group(1)}').exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    parent.join(10)


@pytest.fixture
def another(monkeypatch):
    """Makes a run of a job of updatedata, which is in progress."""
    monkeypatch.setattr(run_job, 'LOOK_EVERY', 0.1)

    def make(job):
        later = timezone.now() + timedelta(minutes=1)
        return ran(job=job, status='running', finished=None, host='x', heartbeat=later)

    return make


def test_a_job_waits_for_another_of_its_command_and_not_for_others(another):
    """Due at the same minute, the second ended with 75 every time, and was called overdue."""
    other = another('lco')

    def end():
        UpdateRun.objects.filter(pk=other.pk).update(status='ok', finished=timezone.now())
        connection.close()

    assert run('report')[0] == 0
    Timer(1, end).start()
    status, printed, noted = run('updatedata')
    assert (status, noted.status) == (0, 'ok')
    assert printed.count('updatedata waits until that has ended') == 1
    other.refresh_from_db()
    assert noted.started >= other.finished


@pytest.mark.parametrize(
    ('job', 'by', 'next_time'), [('updatedata', '', 60), ('lco', 'bob', 60), ('lco', '', -1)]
)
def test_it_waits_for_none_of_its_own_nor_by_hand_nor_beyond_its_next_time(
    another, monkeypatch, job, by, next_time
):
    another(job)
    monkeypatch.setenv(ASKED_BY, by)
    due = timezone.now() + timedelta(seconds=next_time)
    monkeypatch.setattr(run_job, 'next_run', lambda job: due)
    with pytest.raises(CommandError, match='Another updatedata is in progress') as busy:
        run('updatedata')
    assert busy.value.returncode == 75


def test_a_mistake_in_the_settings_is_told(hourly):
    """It ends before updatedata has recorded anything: nobody was told of that before."""
    hourly.write_text(SCHEDULE.replace('"LCO"', '"NO-SUCH"'))
    status, _, noted = run('lco')
    assert (status, noted.status) == (2, 'failed')
    assert "no facility 'NO-SUCH'" in noted.output
    assert states()['lco'] == ('failing', 'the last run ended with exit status 2')


def test_a_pause_reaches_the_switch(settings):
    JobPause.objects.create(job='updatedata', by='ada', since=timezone.now())
    JobPause.objects.create(job='report', by='ada', since=timezone.now())
    with web_server() as web:
        settings.TOM_AUTO |= {'PING_URL': f'{web.url}/ping'}
        run('updatedata')
        run('report')
        assert web.paths() == ['/ping'], 'the schedule is alive; other jobs are not what it watches'


def test_a_run_by_hand_is_one(monkeypatch, settings):
    monkeypatch.setenv(ASKED_BY, 'bob')
    with web_server() as web:
        settings.TOM_AUTO |= {'PING_URL': f'{web.url}/ping'}
        assert run('updatedata')[2].started_by == 'bob'
        assert web.paths() == []


# --- The page ------------------------------------------------------------------------------------


def test_the_page_has_all_jobs_and_runs_each(client, staff, started):
    ran(job='weekly', status='failed', exit_status=3, output='no data')
    page = text(client)
    assert 'the last run ended with exit status 3' in page
    assert '/automation/weekly/pause/' in page
    client.post('/automation/weekly/run/')
    client.post('/automation/weekly/pause/')
    assert started == [('staff', 'schedule', 'run', 'weekly')]
    assert [pause.job for pause in JobPause.objects.all()] == ['weekly']


def test_what_it_printed_is_for_those_who_see_everything(client, staff, login):
    run = ran(job='weekly', status='failed', exit_status=3, output='no data')
    assert 'no data' not in text(client, f'/automation/runs/{run.pk}/')
    login('chief', is_superuser=True)
    page = text(client, f'/automation/runs/{run.pk}/')
    assert 'no data' in page
    assert 'Exit status 3' in page
