"""Jobs that are due in the same minute: statuses and data, then cadences, candidates, requests."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

import forked
from tom_auto import order_of_jobs
from tom_auto.celery_tasks import beat, tasks
from tom_auto.celery_tasks.app import app
from tom_auto.conf import automation
from tom_auto.models import JobPause, UpdateRun
from tom_auto.order_of_jobs import BEGINS_WITHIN, LONGEST, is_kept_waiting, wait_for_turn
from tom_auto.running.runs import ASKED_BY
from tom_auto.scheduling.definition import ORDER, Job, read_schedule
from tom_auto.scheduling.runner import Runner

pytestmark = pytest.mark.django_db(transaction=True)
TICK = timezone.now().replace(hour=12, minute=17, second=0, microsecond=0)
SECOND = timedelta(seconds=1)


@pytest.fixture
def scheduled(hourly):
    """All of them in one minute, and another job in a minute of its own."""
    names = ('findrequests', 'updatetargets', 'updatecadences', 'updatedata')
    lines = [f'[{name}]\nwhen = "17 * * * *"\n' for name in names]
    report = '[report]\nwhen = "17 * * * *"\ncommand = ["check"]\n'
    hourly.write_text('environment = "virtualenv"\n' + ''.join(lines) + report)
    return hourly


class Clock:
    """Time that passes while somebody waits, and in which things happen."""

    def __init__(self, now=TICK + 2 * SECOND):
        self.now, self.waited, self.plan = now, 0, []

    def __call__(self):
        return self.now

    def at(self, seconds, happens):
        self.plan.append((TICK + seconds * SECOND, happens))

    def pause(self, seconds):
        self.now += seconds * SECOND
        self.waited += seconds
        for moment, happens in [one for one in self.plan if one[0] <= self.now]:
            happens(self.now)
            self.plan.remove((moment, happens))


def begins(name, command='', by=''):
    return lambda now: UpdateRun.objects.create(
        job=name, command=command or name, started_by=by, host='here', pid=1, started=now,
        heartbeat=now + timedelta(hours=2),
    )  # fmt: skip


def ends(name):
    return lambda now: UpdateRun.objects.filter(job=name).update(status='ok', finished=now)


def waited(name, clock, when='17 * * * *'):
    wait_for_turn(Job(name, when), clock, clock.pause)
    return clock.waited


def test_each_waits_for_those_before_it(scheduled):
    clock = Clock()
    clock.at(4, begins('updatedata')), clock.at(600, ends('updatedata'))
    clock.at(602, begins('updatecadences')), clock.at(630, ends('updatecadences'))
    assert 627 <= waited('updatetargets', clock) <= 632
    assert UpdateRun.objects.filter(status='running').count() == 0


def test_the_first_waits_for_nobody_nor_does_a_job_of_another_kind(scheduled):
    assert waited('updatedata', Clock()) == 0
    assert waited('report', Clock()) == 0


def test_one_that_nobody_starts_is_not_waited_for_long(scheduled):
    assert waited('updatecadences', Clock()) <= BEGINS_WITHIN.seconds + 2


def test_one_that_is_paused_or_off_or_due_at_another_time_is_not_waited_for(scheduled):
    JobPause.objects.create(job='updatedata', by='ada', since=TICK)
    assert waited('updatecadences', Clock()) == 0
    JobPause.objects.all().delete()
    text = scheduled.read_text()
    for other in ('enabled = false', ''):
        before = '[updatedata]\nwhen = "17 * * * *"\n'
        after = f'[updatedata]\nwhen = "{"17" if other else "18"} * * * *"\n{other}\n'
        scheduled.write_text(text.replace(before, after))
        assert waited('updatecadences', Clock()) == 0


def test_one_that_is_at_work_since_before_is_waited_for_but_not_for_ever(scheduled, monkeypatch):
    monkeypatch.setattr(order_of_jobs, 'LOOK_EVERY', 30)
    begins('updatedata')(TICK - timedelta(minutes=30))
    assert LONGEST.seconds - 32 <= waited('updatecadences', Clock()) <= LONGEST.seconds


@pytest.mark.parametrize('names', [('lco', 'soar'), ('soar', 'lco')])
def test_two_of_one_command_are_both_waited_for(hourly, names):
    job = '[{0}]\nwhen = "17 * * * *"\ncommand = ["updatedata", "--facility", "{0}"]\n'
    lines = ''.join(map(job.format, ('lco', 'soar')))
    cadences = '[updatecadences]\nwhen = "17 * * * *"\n'
    hourly.write_text(f'environment = "virtualenv"\n{lines}{cadences}')
    clock, (first, second) = Clock(), names
    clock.at(4, begins(first, 'updatedata')), clock.at(60, ends(first))
    clock.at(65, begins(second, 'updatedata')), clock.at(120, ends(second))
    assert 116 <= waited('updatecadences', clock) <= 122


def test_what_a_person_ran_shortly_before_is_not_the_run_that_is_due(scheduled):
    begins('updatedata', by='ada')(TICK - 20 * SECOND), ends('updatedata')(TICK)
    clock = Clock()
    clock.at(8, begins('updatedata')), clock.at(100, ends('updatedata'))
    assert waited('updatecadences', clock) >= 96


def test_one_that_is_dead_is_not_waited_for(scheduled):
    run = begins('updatedata')(TICK)
    UpdateRun.objects.update(heartbeat=run.started - timedelta(hours=1))
    assert waited('updatecadences', Clock()) == 0


def test_what_a_person_starts_does_not_wait(scheduled, monkeypatch):
    monkeypatch.setenv(ASKED_BY, 'ada')
    assert waited('updatecadences', Clock()) == 0


def test_what_is_started_at_another_time_does_not_wait(scheduled):
    assert waited('updatecadences', Clock(TICK + timedelta(minutes=20))) == 0


def test_a_wait_does_not_delay_the_next_tick(scheduled):
    scheduled.write_text(scheduled.read_text().replace('17 *', '* *'))
    begins('updatedata')(TICK)
    assert waited('updatecadences', Clock(), when='* * * * *') <= 60


def test_beat_sends_them_one_after_another(scheduled):
    jobs = read_schedule(scheduled.parent).jobs
    due, later = dict.fromkeys(jobs, TICK), TICK + timedelta(hours=1)

    def free(now):
        return {job.name for job in jobs if due[job] <= now and not is_kept_waiting(job, due, now)}

    assert free(TICK) == {'updatedata', 'report'}
    run = begins('updatedata')(TICK)
    [data] = [job for job in jobs if job.name == 'updatedata']
    due |= {data: later}
    assert free(TICK + 300 * SECOND) == {'report'}
    ends('updatedata')(TICK)
    assert free(TICK + 600 * SECOND) == {'updatecadences', 'report'}
    UpdateRun.objects.filter(pk=run.pk).update(status='running')
    assert free(TICK + LONGEST + SECOND) >= {'updatecadences', 'updatetargets'}


@pytest.fixture
def sent(scheduled, monkeypatch):
    """The jobs for which beat has sent a message; the test has its clock."""
    names = []
    monkeypatch.setattr(beat, '_limits_or_exit', automation)
    monkeypatch.setattr(beat.sending, 'send', lambda task, to, name, since: names.append(name))
    monkeypatch.setattr(beat.sending, 'sweep', lambda: 0)
    return names


def test_beat_sends_them_though_its_clock_was_ahead(scheduled, sent, monkeypatch):
    """There is a run of a time to come; beat itself began then, and has sent a message then."""
    scheduled.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "17 * * * *"\n')
    clock, right = [TICK + timedelta(days=4)], TICK - SECOND
    monkeypatch.setattr(beat.timezone, 'now', lambda: clock[0])
    one = beat.FromScheduleToml(app=app, lazy=True)
    one.setup_schedule()

    def jobs_sent(now):
        clock[0] = now
        one.tick()
        for name in sent:
            begins(name)(now)
            ends(name)(now)
        return [sent.pop() for _ in tuple(sent)]

    begins('updatedata')(clock[0] - timedelta(hours=1))
    ends('updatedata')(clock[0])
    assert jobs_sent(clock[0]) == ['updatedata']
    times = [right + seconds * SECOND for seconds in (0, 2, 600, 3602)]
    assert [len(jobs_sent(now)) for now in times] == [0, 1, 0, 1]


@pytest.mark.parametrize('of_a_time_to_come', [True, False])
def test_a_worker_runs_it_though_a_clock_was_ahead(scheduled, monkeypatch, of_a_time_to_come):
    begun = []
    monkeypatch.setattr(tasks.subprocess, 'run', lambda *words, **rest: begun.append(words))
    now = timezone.now()
    begins('updatedata')(now + timedelta(days=4) if of_a_time_to_come else now)
    tasks.run_job('updatedata', (now - timedelta(minutes=1)).isoformat())
    assert bool(begun) == of_a_time_to_come


def test_hourly_is_one_minute_for_all_of_them(hourly):
    names = [*ORDER, 'report']
    lines = [f'[{name}]\nwhen = "hourly"\n' for name in names]
    hourly.write_text('environment = "virtualenv"\n' + ''.join(lines))
    *whens, other = [job.when for job in read_schedule(hourly.parent).jobs]
    assert len(set(whens)) == 1 and other != whens[0]


def test_schedule_run_takes_those_of_a_minute_in_their_order(tmp_path):
    jobs = [Job(name, '17 * * * *') for name in ('report', *reversed(ORDER))]
    runner, begun = Runner([], tmp_path / 'log', print), []

    def run_once(job):
        begun.append(job.name)
        if len(begun) == len(jobs):
            runner.stop()

    times = iter([TICK - SECOND])
    runner.clock, runner.run_once = lambda: next(times, TICK + SECOND), run_once
    runner.run(tuple(jobs))
    assert begun == [*ORDER, 'report']


def test_started_at_once_as_by_cron_they_follow_each_other(sky, scheduled, tmp_path):
    """Real processes, in an order that is not theirs."""
    this_minute = f'{timezone.now().minute} *'
    scheduled.write_text(scheduled.read_text().replace('17 *', this_minute))
    names = ('updatetargets', 'updatecadences', 'updatedata')
    children = [
        forked.start(tmp_path / 'printed', call_command, 'schedule', 'run', name) for name in names
    ]
    assert [forked.ended(child) for child in children] == [0, 0, 0], (
        tmp_path / 'printed'
    ).read_text()
    rows = UpdateRun.objects.order_by('started')
    assert [run.job for run in rows] == ['updatedata', 'updatecadences', 'updatetargets']
    for before, after in zip(rows, rows[1:], strict=False):
        # `run_job` notes the end once more when the process is gone.
        assert before.finished - SECOND < after.started
