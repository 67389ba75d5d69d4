"""`schedule run`: one job at a time, no pile-up, and an end when it is told to stop."""

import errno
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tom_auto.scheduling import job_log as log_module
from tom_auto.scheduling import runner as runner_module
from tom_auto.scheduling.definition import Job
from tom_auto.scheduling.runner import Runner

NOTE = 'import sys, time; print("hello from", *sys.argv[1:], flush=True)'


@pytest.fixture
def said() -> list[str]:
    """What the runner says."""
    return []


@pytest.fixture
def make_runner(tmp_path: Path, said: list[str]) -> Callable[[str], Runner]:
    """Makes a runner whose jobs are a line of Python."""

    def make(code: str) -> Runner:
        return Runner([sys.executable, '-c', code], tmp_path / 'cron.log', said.append)

    return make


def job(name: str = 'updatedata', **options: object) -> Job:
    return Job(name, '* * * * *', **options)


def test_what_a_job_prints_goes_to_both_places(
    make_runner: Callable, said: list[str], tmp_path: Path
) -> None:
    code = 'import sys; print("out", sys.argv[1:]); print("err \\udce9", file=sys.stderr)'
    status = make_runner(code + '; sys.exit(3)').run_once(job(command=('updatedata', '--json')))
    assert status == 3
    assert said[1] == "out ['updatedata']", 'the name, by which `schedule run` finds its command'
    assert said[0].endswith('UTC [updatedata] started')
    assert said[-1].startswith('[updatedata] ended with status 3 after ')
    logged = (tmp_path / 'cron.log').read_text(encoding='utf-8', errors='surrogateescape')
    assert logged.splitlines() == said


def test_without_a_log_it_speaks_all_the_same(said: list[str]) -> None:
    runner = Runner([sys.executable, '-c', NOTE], Path('/nowhere/logs/cron.log'), said.append)
    assert runner.run_once(job()) == 0
    assert 'hello from updatedata' in said


def test_where_nobody_can_hear_it_the_job_goes_on(tmp_path: Path) -> None:
    def say(line: str) -> None:
        raise OSError(errno.EIO, 'Input/output error')

    runner = Runner([sys.executable, '-c', NOTE], tmp_path / 'cron.log', say)
    assert runner.run_once(job()) == 0
    assert 'hello from updatedata' in (tmp_path / 'cron.log').read_text()


def test_a_job_that_cannot_be_started(said: list[str], tmp_path: Path) -> None:
    runner = Runner(['/nowhere/python'], tmp_path / 'cron.log', said.append)
    assert runner.run_once(job()) is None
    assert 'could not be started' in said[-1]


def test_the_log_rotates(
    make_runner: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, 'FULL', 10)
    runner = make_runner(NOTE)
    for _ in range(6):
        runner.run_once(job())
    assert sorted(file.name for file in tmp_path.glob('cron.log*')) == [
        'cron.log', 'cron.log.1', 'cron.log.2', 'cron.log.3',
    ]  # fmt: skip
    assert (tmp_path / 'cron.log').read_text().count('started') == 1


def soon(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Every job is due again `seconds` after the time before."""
    step = timedelta(seconds=seconds)
    monkeypatch.setattr(runner_module, 'next_run', lambda when, after: after + step)
    monkeypatch.setattr(runner_module, 'LOOK_EVERY', 0.05)


def run_for(runner: Runner, seconds: float, *jobs: Job) -> None:
    threading.Timer(seconds, runner.stop).start()
    runner.run(jobs)


def test_one_at_a_time_and_no_pile_up(
    make_runner: Callable, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch, 0.1)
    runner = make_runner('import time; time.sleep(0.7)')
    run_for(runner, 4, job('one'), job('two'))
    begins_and_ends = [line.split()[-1] == 'started' for line in said]
    assert begins_and_ends == [True, False] * (len(said) // 2), said
    assert {'one', 'two'} == {line.split('[')[1].split(']')[0] for line in said}
    assert len(said) // 2 <= 6, 'what was due meanwhile was made up for'


def test_after_a_sleep_it_runs_once(
    make_runner: Callable, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due six hundred times while the machine slept."""
    monkeypatch.setattr(runner_module, 'LOOK_EVERY', 0.05)
    before, after = (datetime(2026, 5, 1, hour, 0, 30, tzinfo=UTC) for hour in (2, 12))
    times = iter([before, before, before])
    runner = make_runner(NOTE)
    runner.clock = lambda: next(times, after)
    run_for(runner, 2, job())
    assert said.count('hello from updatedata') == 1


def test_after_the_clock_was_set_back_it_runs_as_ever(
    make_runner: Callable, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began while the clock was four days ahead."""
    monkeypatch.setattr(runner_module, 'LOOK_EVERY', 0.05)
    right = datetime(2026, 5, 1, 2, 0, 30, tzinfo=UTC)
    times = iter(
        [right + timedelta(days=4), *(right + timedelta(seconds=5 * n) for n in range(99))]
    )
    runner = make_runner(NOTE)
    runner.clock = lambda: next(times, right)
    run_for(runner, 2, job())
    assert 'hello from updatedata' in said


def test_stopped_in_the_middle_of_a_job(
    make_runner: Callable, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch, 0.1)
    began = time.monotonic()
    run_for(make_runner('import time; time.sleep(99)'), 1.5, job('one'), job('two'))
    assert time.monotonic() - began < 30
    assert sum('started' in line for line in said) == 1, 'nothing begins after the end'
    assert f'ended with status {-signal.SIGTERM}' in said[-1]


def test_without_a_job_there_is_nothing_to_wait_for(tmp_path: Path, settings: object) -> None:
    (tmp_path / 'schedule.toml').write_text(
        'environment = "docker"\nid = "7f3a09c2"\n[updatedata]\nwhen = "hourly"\nenabled = false\n'
    )
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match='No job is enabled'):
        call_command('schedule', 'run')


def test_a_health_check_can_tell_that_it_is_alive(
    make_runner: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of a job, for as long as that may take, and then to tell people."""
    note = tmp_path / 'alive'
    monkeypatch.setenv('SCHEDULER_ALIVE', str(note))
    runner = make_runner('pass')
    runner._pause(runner.clock())
    assert 0 < float(note.read_text()) - time.time() < 120
    runner.run_once(job(timeout=3600))
    assert 3600 + 170 <= float(note.read_text()) - time.time() < 3900
