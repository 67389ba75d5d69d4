"""`celery beat` starts the jobs of schedule.toml: one at a time, wherever and however often it runs."""

import shutil
from datetime import timedelta

import pytest
from django.utils import timezone

from celery_programs import LEASE, CeleryProgram, Worker, wait_until
from databases import only_on
from program import PROJECT
from tom_auto import jobs
from tom_auto.celery_tasks import leases
from tom_auto.doctor.workers import workers
from tom_auto.models import UpdateRun
from tom_auto.scheduling import cli
from unit.page import ran

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def overdue(hourly, tmp_path):
    """A schedule whose job has not run for hours."""
    shutil.copy(PROJECT / 'manage.py', tmp_path)
    ran(timedelta(hours=3))


def whole_runs() -> list[str]:
    """How the runs ended that the schedule began since the test did."""
    late = UpdateRun.objects.filter(started__gt=timezone.now() - timedelta(hours=2), started_by='')
    return list(late.exclude(status='running').values_list('status', flat=True))


@only_on('postgresql')
def test_the_jobs_run_in_workers_whichever_beat_lives_and_no_message_need_arrive(
    celery_tom, begin, redis, overdue, sky
):
    first = begin(CeleryProgram, 'beat1', 'beat')
    wait_until(lambda: redis.client.llen('project.jobs'), first.printed)
    redis.client.flushall()  # the message is lost
    second = begin(CeleryProgram, 'beat2', 'beat')
    wait_until(lambda: 'Another beat is at work' in second.printed(), second.printed)
    assert 'This one waits, and takes over when that ends' in second.printed()
    at_work = leases.holder_of(leases.BEAT).holder
    assert f'process {first.process.pid}' in at_work

    first.kill()
    wait_until(lambda: holder() not in ('', at_work), second.printed, 2 * LEASE + 5)
    assert f'process {second.process.pid}' in holder()
    worker = begin(Worker, 1).ready()
    wait_until(whole_runs, worker.printed)
    assert whole_runs() == ['ok']

    code, lines = cli.state(jobs.site())
    assert (code, lines) == (0, [f'Beat starts the jobs ({holder()}, since {since()}).'])
    found = {state: words for state, words, *_ in workers()}
    assert set(found) == {'ok'}
    second.stop()
    assert leases.holder_of(leases.BEAT) is None
    code, lines = cli.state(jobs.site())
    assert code == 1
    assert lines[-1].endswith('has ended. To have beat start the jobs: celery -A project beat')
    assert worker.stop() == 0


def holder() -> str:
    found = leases.holder_of(leases.BEAT)
    return found.holder if found else ''


def since() -> str:
    return f'{leases.holder_of(leases.BEAT).since:%Y-%m-%d %H:%M} UTC'


@only_on('postgresql')
def test_beat_does_not_start_where_it_cannot_work(celery_tom, begin, hourly, settings):
    hourly.write_text('environment = "nowhere"')
    wrong = begin(CeleryProgram, 'beat', 'beat')
    assert wrong.process.wait(60) == 1
    assert 'Beat does not start.' in wrong.printed()
    assert 'line 1: environment = "nowhere"' in wrong.printed()
    assert 'Traceback' not in wrong.printed()
