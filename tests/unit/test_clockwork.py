"""A month of clockwork: who is on time is never called overdue, who stops is, within the grace.

The starter is a cron of the test's own, which looks at its clock every minute. The watcher is what
page, mails and doctor ask. In containers they have different paths and clocks: F1, J1, J2.
"""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tom_auto.environment import make_env_file
from tom_auto.scheduling import zone
from tom_auto.scheduling.cron_expression import WORDS, numbers_of
from tom_auto.scheduling.definition import ScheduleError, read_schedule
from tom_auto.scheduling.next_times import A_MINUTE, LATE_AFTER, late_since, next_run

ZONEINFO = Path('/usr/share/zoneinfo')
#: In this month the clocks change in Berlin, and by half an hour on Lord Howe Island.
BEGIN, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
SOME = ('Etc/UTC', 'Europe/Berlin', 'America/Lima', 'Asia/Kathmandu', 'Australia/Lord_Howe')


def one_of_each_kind() -> list[str]:
    """Of all zones whose clocks show the same at every hour of the month, one."""
    hours = [
        BEGIN + timedelta(hours=hour) for hour in range(int((END - BEGIN) / timedelta(hours=1)))
    ]
    kinds = {
        tuple(hour.astimezone(ZoneInfo(name)).utcoffset() for hour in hours): name
        for name in sorted(available_timezones() - {'localtime', 'Factory'})
    }
    return sorted(kinds.values())


#: Set EVERY_ZONE=1 to test one zone of every kind.
ZONES = one_of_each_kind() if os.environ.get('EVERY_ZONE') == '1' else SOME
#: Where the jobs are started: on the host, or in a container of it.
STARTERS = ('virtualenv', 'conda', 'system', 'docker', 'docker, its scheduler', 'kubernetes')

pytestmark = pytest.mark.skipif(not ZONEINFO.is_dir(), reason='this machine has no time zones')


@cache
def ticks(expression: str, name: str) -> list[datetime]:
    """Every minute of the month at which a clock in that zone shows what the fields say.

    Where clocks go back, cron(8) of Debian starts what has a fixed hour only the first time.
    """
    minutes, hours, days, months, weekdays = numbers_of(expression)
    assert days is months is weekdays is None
    here, minute, found, shown = ZoneInfo(name), BEGIN, [], set()
    while minute < END:
        local = minute.astimezone(here)
        clock = local.replace(tzinfo=None, fold=0)
        is_again = hours is not None and clock in shown
        if local.minute in minutes and (hours is None or local.hour in hours) and not is_again:
            found.append(minute)
            shown.add(clock)
        minute += A_MINUTE
    return found


def project(place: Path, when: str, environment: str) -> Path:
    """The same schedule.toml, wherever it is read."""
    place.mkdir()
    text = f'environment = "{environment}"\nid = "7f3a09c2"\n[updatedata]\nwhen = "{when}"\n'
    (place / 'schedule.toml').write_text(text)
    return place


def runs(expression: str, name: str) -> Iterator[tuple[datetime, datetime, datetime]]:
    """When some runs of the month start and end, and when the next one is due."""
    due, chance = ticks(expression, name), random.Random(1)
    for this, following in list(zip(due, due[1:], strict=False))[:: max(1, len(due) // 150)]:
        started = this + timedelta(seconds=chance.uniform(-2, 50))
        yield started, started + timedelta(seconds=chance.uniform(0.1, 800)), following


@pytest.mark.parametrize('name', ZONES)
@pytest.mark.parametrize('starter', STARTERS)
@pytest.mark.parametrize('when', WORDS)
def test_a_month(
    when: str, starter: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = starter.partition(',')[0]
    contained = environment in ('docker', 'kubernetes')
    [job] = read_schedule(project(tmp_path / 'host', when, environment)).jobs
    [watched] = read_schedule(project(tmp_path / 'tom', when, environment)).jobs
    zone_of_starter = 'Etc/UTC' if starter == 'kubernetes' else name
    monkeypatch.setattr(zone, 'LOCALTIME', Path('/none') if contained else ZONEINFO / name)
    monkeypatch.setenv(zone.VARIABLE, name if environment == 'docker' else '')
    if not contained:
        watched = job
    for started, finished, following in runs(job.when, zone_of_starter):
        latest = following + timedelta(seconds=59)
        assert late_since(watched.when, started, finished, latest) is None
        stopped = following + LATE_AFTER + A_MINUTE
        assert late_since(watched.when, started, finished, stopped) == following


def test_two_projects_do_not_call_in_the_same_minute(tmp_path: Path) -> None:
    used = set()
    for number in range(200):
        text = f'environment = "docker"\nid = "{number:08x}"\n[updatedata]\nwhen = "hourly"\n'
        (tmp_path / 'schedule.toml').write_text(text)
        used.add(read_schedule(tmp_path).jobs[0].when)
    assert len(used) > 50


@pytest.mark.parametrize('environment', ['docker', 'kubernetes'])
def test_a_container_without_an_id_is_told_what_to_write(tmp_path: Path, environment: str) -> None:
    file = tmp_path / 'schedule.toml'
    text = f'environment = "{environment}"\n[updatedata]\nwhen = "hourly"\n'
    file.write_text(text)
    with pytest.raises(ScheduleError, match='line 3: .*For example: id = "[0-9a-f]{8}"') as told:
        read_schedule(tmp_path)
    file.write_text(str(told.value).partition('For example: ')[2] + '\n' + text)
    assert read_schedule(tmp_path).jobs


def test_an_id_that_is_none(tmp_path: Path) -> None:
    (tmp_path / 'schedule.toml').write_text('environment = "docker"\nid = "a b"\n')
    with pytest.raises(ScheduleError, match='line 2: id = "a b", but it must be letters'):
        read_schedule(tmp_path)


# --- The zone, on the host and in its containers ------------------------------------------------


def test_env_gets_the_zone_of_the_machine_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / 'localtime'
    link.symlink_to(ZONEINFO / 'America/Lima')
    monkeypatch.setattr(zone, 'LOCALTIME', link)
    example, made = tmp_path / '.env.example', tmp_path / '.env'
    example.write_text(f'{zone.VARIABLE}=\n')
    make_env_file(made, example)
    assert made.read_text() == f'{zone.VARIABLE}=America/Lima\n'
    assert zone.disagreement(tmp_path) == ''


@pytest.mark.parametrize(
    ('env', 'there', 'agrees'),
    [
        ('', 'Etc/UTC', True),
        ('SCHEDULE_ZONE=\n', 'Europe/Berlin', False),
        ('SCHEDULE_ZONE=Europe/Paris  # clocks as in Berlin\n', 'Europe/Berlin', True),
        ('SCHEDULE_ZONE=Africa/Lagos\n', 'Europe/Berlin', False),
    ],
)
def test_the_host_says_when_its_zone_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: str, there: str, agrees: bool
) -> None:
    (tmp_path / '.env').write_text(env)
    monkeypatch.setattr(zone, 'LOCALTIME', ZONEINFO / there)
    told = zone.disagreement(tmp_path)
    assert agrees == (told == ''), told
    if not agrees:
        assert 'SCHEDULE_ZONE=Europe/Berlin; then type: docker compose up' in told


def test_a_zone_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(zone.VARIABLE, 'Mars/Base')
    with pytest.raises(ScheduleError, match='Mars/Base is not a time zone'):
        next_run('17 * * * *', BEGIN)
