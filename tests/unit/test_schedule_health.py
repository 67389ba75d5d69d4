"""`schedule status` in each state: 0 well, 1 not installed, 2 stale, overdue or failing."""

import io
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from tom_auto import health
from tom_auto.models import UpdateRun
from tom_auto.scheduling import cli, zone
from tom_auto.scheduling import install as install_module
from tom_auto.scheduling.cron_expression import BadExpression, five_fields
from tom_auto.scheduling.moved import NOTE, note_removal
from tom_auto.scheduling.next_times import next_run, sentence
from tom_auto.scheduling.obstacles import machine_warnings

from .page import failing
from .schedule_project import FakeCrontab, make_project, write_schedule

pytestmark = pytest.mark.django_db

Status = UpdateRun.Status
ENDED = {'status': Status.OK}


@pytest.fixture
def project(tmp_path: Path, cron: FakeCrontab, settings: object) -> Path:
    """The project that the command works on, installed."""
    project = make_project(tmp_path / 'my_tom')
    settings.BASE_DIR = project
    schedule('install')
    return project


def schedule(*arguments: str) -> tuple[int, str]:
    """The exit status of `manage.py schedule`, and what it printed."""
    out, status = io.StringIO(), 0
    try:
        call_command('schedule', *arguments, stdout=out, stderr=out, no_color=True)
    except SystemExit as end:
        status = end.code
    return status, out.getvalue()


@pytest.fixture
def ran() -> Callable[..., UpdateRun]:
    """Records a run of updatedata, begun some time ago."""

    def record(ago: timedelta = timedelta(minutes=5), **fields: object) -> UpdateRun:
        began = timezone.now() - ago
        values = {'job': 'updatedata', 'host': 'here', 'pid': 1, 'heartbeat': began} | fields
        return UpdateRun.objects.create(started=began, **values)

    return record


def test_absent(project: Path) -> None:
    schedule('remove')
    status, told = schedule('status')
    assert (status, 'Not installed' in told) == (1, True)


def test_after_a_removal_nothing_is_expected_until_something_starts_it(
    project: Path, ran: Callable
) -> None:
    def expected() -> bool:
        return health.healths()[0].next is not None

    ran(**ENDED)
    assert expected()
    schedule('remove')
    assert not expected()
    ran(timedelta(0), **ENDED)  # by a scheduler that this one knows nothing of
    assert expected()
    UpdateRun.objects.all().delete()
    assert not expected()
    schedule('install')
    assert expected()
    note_removal(project)  # and somebody has put the lines back
    assert not expected()
    schedule('install')
    assert expected()


def test_current_before_and_after_its_first_run(project: Path, ran: Callable) -> None:
    assert schedule('status')[0] == 0
    ran(**ENDED)
    status, told = schedule('status')
    assert status == 0
    assert 'updatedata has been working since' in told
    assert 'updatedata runs next at' in told


def test_a_path_that_is_gone(project: Path, settings: object) -> None:
    moved = project.rename(project.parent / 'moved')
    settings.BASE_DIR = moved
    status, told = schedule('status')
    assert (status, f'for {project}' in told) == (2, True)
    assert schedule('install')[0] == 0
    assert schedule('status')[0] == 0


def test_edited_by_hand(project: Path, cron: FakeCrontab) -> None:
    cron.table = cron.table.replace(b'17 * * * *', b'*/2 * * * *')
    assert schedule('status')[0] == 2
    schedule('install')
    assert schedule('status')[0] == 0


def test_no_daemon(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_module, 'cron_daemon_runs', lambda: False)
    status, told = schedule('status')
    assert (status, 'no cron daemon seems to run' in told) == (2, True)
    schedule('remove')
    _, told = schedule('install')
    assert 'no cron daemon seems to run' in told
    assert 'up to date' not in told, 'H7: both were said'


def test_the_last_run_failed(project: Path, ran: Callable, add_record: Callable) -> None:
    ran(timedelta(minutes=90), **ENDED)
    ran(status=Status.FAILED, failed=1)
    failing(add_record(), 'answered 500')
    status, told = schedule('status')
    assert status == 2
    assert 'updatedata has been failing since' in told


@pytest.mark.parametrize('fields', [{'status': Status.DIED}, {'status': Status.RUNNING}])
def test_a_run_that_died(project: Path, ran: Callable, fields: dict) -> None:
    """Told as dead, or with a heart that has not beaten for minutes."""
    ran(**fields)
    status, told = schedule('status')
    assert (status, 'the last run was cut short' in told) == (2, True)


def test_a_run_at_work(project: Path, ran: Callable) -> None:
    ran(timedelta(hours=3), status=Status.RUNNING, heartbeat=timezone.now())
    status, told = schedule('status')
    assert (status, 'has been running' in told) == (0, True)


def test_overdue(project: Path, ran: Callable) -> None:
    ran(timedelta(hours=3), **ENDED)
    status, told = schedule('status')
    assert (status, 'updatedata has been overdue since' in told) == (2, True)
    ran(**ENDED)
    assert schedule('status')[0] == 0


def test_never_ran_although_it_was_installed_long_ago(project: Path) -> None:
    hours_ago = time.time() - 3 * 3600
    os.utime(project / NOTE, (hours_ago, hours_ago))
    schedule('install')  # changes nothing
    status, told = schedule('status')
    assert (status, 'no run has started since the schedule was installed' in told) == (2, True)
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\n')
    schedule('install')
    assert schedule('status')[0] == 0


def test_a_database_that_cannot_be_asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OperationalError('connection refused')

    monkeypatch.setattr(health, 'healths', refuse)
    status, told = schedule('status')
    assert (status, 'history of runs cannot be read: connection refused' in told) == (2, True)


@pytest.mark.parametrize('environment', ['docker', 'kubernetes'])
def test_in_a_container_the_runs_alone_tell(project: Path, ran: Callable, environment: str) -> None:
    write_schedule(project, '[updatedata]\nwhen = "hourly"\n', environment=environment)
    assert cli.state(health.schedule_site())[0] == schedule('status')[0] == 0
    ran(timedelta(hours=4), **ENDED)
    assert cli.state(health.schedule_site())[0] == schedule('status')[0] == 2


def test_in_a_pod_there_is_nothing_to_install(project: Path) -> None:
    """deploy/, which the image has not; test_kubernetes.py has what happens where it is."""
    write_schedule(project, '[updatedata]\nwhen = "hourly"\n', environment='kubernetes')
    assert 'The cluster starts the jobs.' in schedule('status')[1]
    status, told = schedule('install')
    assert (status, 'outside of the containers' in told) == (1, True)
    assert schedule('show')[1].startswith('# From schedule.toml')


@pytest.mark.parametrize('action', ['show', 'install', 'remove', 'status'])
def test_in_a_container_no_line_is_for_its_own_crontab(project: Path, action: str) -> None:
    """compose.yaml, which the image has not, is what tells the host from the inside."""
    write_schedule(project, '[updatedata]\nwhen = "hourly"\n', environment='docker')
    status, told = schedule(action)
    assert status == (0 if action == 'status' else 1)
    assert 'crontab of the machine that runs the containers' in told
    assert 'SCHEDULER=1' in told
    (project / 'compose.yaml').touch()
    assert 'the inside of a container' not in schedule(action)[1]


# --- When is it due -----------------------------------------------------------------------------

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(('minutes', 'overdue'), [(1, False), (29, False), (31, True)])
def test_a_job_may_be_a_little_late(
    project: Path, ran: Callable, minutes: int, overdue: bool
) -> None:
    due = timezone.now() - timedelta(minutes=minutes)
    write_schedule(project, f'[updatedata]\nwhen = "{due.minute} * * * *"\n')
    began = timedelta(minutes=minutes + 10)
    ran(began, finished=timezone.now() - began, **ENDED)
    assert ('has been overdue' in schedule('status')[1]) is overdue


def test_times_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Over the change of clocks: 02:30 does not exist, and Debian's cron runs it at 03:00."""
    berlin = Path('/usr/share/zoneinfo/Europe/Berlin')
    if not berlin.exists():
        import tzdata

        berlin = Path(tzdata.__file__).parent / 'zoneinfo/Europe/Berlin'
    monkeypatch.setattr(zone, 'LOCALTIME', berlin)
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    due = next_run('30 2 * * *', before)
    assert due == datetime(2026, 3, 29, 3, 0, tzinfo=ZoneInfo('Europe/Berlin'))
    assert next_run('17 * * * *', before).utcoffset() == timedelta(hours=1)


def test_whatever_is_taken_runs_some_day() -> None:
    """cronsim and the stricter parser, which the hook has alone, agree."""
    for month in range(1, 13):
        for day in range(1, 32):
            expression = f'0 0 {day} {month} *'
            try:
                five_fields(expression, 'x', 'x')
            except BadExpression:
                assert (day, month) in {(30, 2), *((31, month) for month in (2, 4, 6, 9, 11))}
            else:
                due = next_run(expression, NOW)
                assert (due.day, due.month) == (day, month)


@pytest.mark.parametrize('expression', ['0 0 */2 * 1', '0 0 1 * */2'])
def test_days_that_schedulers_read_in_two_ways(expression: str) -> None:
    with pytest.raises(BadExpression, match='schedulers disagree'):
        five_fields(expression, 'x', 'x')


@pytest.mark.parametrize(
    ('expression', 'said'),
    [
        ('17 * * * *', 'At 17 minutes past the hour'),
        ('1,16,31,46 * * * *', 'At 1, 16, 31, and 46 minutes past the hour'),
        ('48 5,11,17,23 * * *', 'At 05:48, 11:48, 17:48 and 23:48'),
        ('5 14 * * *', 'At 14:05'),
        ('0 0 * * 7', 'At 00:00, only on Sunday'),
        ('5 4 13 * 5', 'At 04:05, on day 13 of the month; and also: At 04:05, only on Friday'),
    ],
)
def test_an_expression_in_words(expression: str, said: str) -> None:
    assert sentence(expression) == said


def test_next(project: Path) -> None:
    write_schedule(
        project, '[updatedata]\nwhen = "17 3 * * *"\n[updatetargets]\nwhen="daily"\nenabled=false\n'
    )
    status, told = schedule('next', '--count', '2')
    assert status == 0
    assert told.startswith('updatedata: At 03:17 (17 3 * * *)\n')
    assert told.count(' 03:17 ') == 3
    assert told.rstrip().endswith('not enabled')


# --- What else can be seen ----------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's /proc and /sys."""
    (tmp_path / 'root' / 'proc').mkdir(parents=True)
    (tmp_path / 'root' / 'sys/fs/selinux').mkdir(parents=True)
    return tmp_path / 'root'


def warned(project: Path, root: Path, daemon: bool | None = True, data: str = 'data') -> str:
    return '\n'.join(machine_warnings(project, project / data, daemon, root))


def test_a_machine_where_all_is_well(project: Path, root: Path) -> None:
    assert warned(project, root) == ''


def test_wsl_without_systemd(project: Path, root: Path) -> None:
    assert 'systemctl enable --now cron' in warned(project, root, daemon=False)
    (root / 'proc' / 'version').write_text('Linux version 5.15.90.1-microsoft-standard-WSL2')
    told = warned(project, root, daemon=False)
    assert 'sudo service cron start' in told
    assert 'systemd=true' in told
    assert warned(project, root) == ''


def test_selinux(project: Path, root: Path) -> None:
    (root / 'sys/fs/selinux/enforce').write_text('1')
    assert 'ausearch -m avc' in warned(project, root)
    (root / 'sys/fs/selinux/enforce').write_text('0')
    assert warned(project, root) == ''


def test_folders_that_macos_keeps_cron_out_of(
    project: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sys.platform', 'darwin')
    monkeypatch.setenv('HOME', str(project.parent))
    assert warned(project, root) == ''
    (project.parent / 'Documents').mkdir()
    inside = project.rename(project.parent / 'Documents' / 'my_tom')
    assert 'Full Disk Access' in warned(inside, root)


def test_someone_elses_project(project: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = project.stat().st_uid
    monkeypatch.setattr('os.getuid', lambda: owner + 12345)
    assert f'and this is the crontab of user {owner + 12345}' in warned(project, root)


def test_data_that_cannot_be_written(project: Path, root: Path) -> None:
    assert 'the directory of the data' in warned(project, root, data='gone')


def test_media_of_the_settings_is_what_counts(project: Path, settings: object) -> None:
    settings.MEDIA_ROOT = project / 'elsewhere'
    assert f'cannot write to {project}/elsewhere' in schedule('status')[1]


def test_a_dry_run_shows_the_difference(project: Path, cron: FakeCrontab) -> None:
    before = cron.table
    assert 'Nothing to do' in schedule('install', '--dry-run')[1]
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\n')
    status, told = schedule('install', '--dry-run')
    assert status == 0
    assert f'-17 * * * * {project}/.venv' in told
    assert f'+5 4 * * * {project}/.venv' in told
    assert told.endswith('Nothing was changed.\n')
    assert cron.table == before
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\nenabled = false\n')
    assert f'-# >>> tom-auto my_tom {project} >>>' in schedule('install', '--dry-run')[1]
    assert cron.table == before


def test_python_was_upgraded(project: Path) -> None:
    """Its program is there, and can import nothing of what it could before."""
    python = project / '.venv' / 'bin' / 'python'
    python.write_text('#!/bin/sh\necho "ModuleNotFoundError: django" >&2\nexit 1\n')
    status, told = schedule('status')
    assert (status, '(ModuleNotFoundError: django). Was Python upgraded' in told) == (2, True)
    assert schedule('install')[0] == 1


def test_a_python_that_needs_what_a_shell_has_set(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a cluster's modules needs LD_LIBRARY_PATH, which cron's jobs have not."""
    python = project / '.venv' / 'bin' / 'python'
    python.write_text('#!/bin/sh\n: ${LOADED?libpython3.11.so is missing}\n')
    monkeypatch.setenv('LOADED', 'yes')
    status, told = schedule('install')
    assert (status, 'libpython3.11.so is missing' in told) == (1, True)
