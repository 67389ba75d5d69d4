"""Installing and removing through crontab(1): locked, checked, and never at a guess."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tom_auto.scheduling import cron_table
from tom_auto.scheduling.cron_line import crontab_lines
from tom_auto.scheduling.definition import ScheduleError
from tom_auto.scheduling.install import install, remove
from tom_auto.scheduling.plan import Site, plan_of

from .schedule_project import FakeCrontab, fake_crontab, make_project, with_path, write_schedule

FOREIGN = b'MAILTO=""\n0 * * * * /usr/bin/backup\n'


@pytest.fixture
def cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCrontab:
    """A crontab command of the test's own, the only one on PATH."""
    fake = fake_crontab(tmp_path / 'bin')
    monkeypatch.setenv('PATH', with_path(fake.bin))
    monkeypatch.setattr(cron_table, 'LOCK', tmp_path)
    return fake


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose Python is there."""
    return make_project(tmp_path / 'my_tom')


def install_now(project: Path) -> str:
    return '\n'.join(install(plan_of(Site(project))))


def backups(project: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((project / '.cache' / 'crontab').iterdir())]


def test_install_and_remove(cron: FakeCrontab, project: Path) -> None:
    cron.table = FOREIGN
    told = install_now(project)
    line = f'17 * * * * {project}/.venv/bin/python {project}/manage.py updatedata'
    assert line in told
    assert cron.table.startswith(FOREIGN + b'# >>> tom-auto my_tom ')
    assert line.encode() in cron.table
    assert 'Removed' in remove(project)[0]
    assert cron.table == FOREIGN
    assert backups(project)[0] == FOREIGN
    assert not list(cron.bin.parent.glob('*.lock'))


def test_unchanged_means_nothing_is_written(cron: FakeCrontab, project: Path) -> None:
    assert 'Nothing to remove' in remove(project)[0]
    install_now(project)
    assert 'Nothing to do' in install_now(project)
    assert cron.calls().count('-') == 1
    assert len(backups(project)) == 1


def test_the_first_table_of_a_user(cron: FakeCrontab, project: Path) -> None:
    install_now(project)
    remove(project)
    assert cron.table == b''
    assert '-r' not in cron.calls()


def test_a_change_of_the_schedule_changes_the_line(cron: FakeCrontab, project: Path) -> None:
    cron.table = FOREIGN
    install_now(project)
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\n')
    install_now(project)
    assert b'\n5 4 * * * ' in cron.table
    assert b'17 * * * *' not in cron.table
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\nenabled = false\n')
    assert 'No job is enabled' in install_now(project)
    assert cron.table == FOREIGN


def test_a_line_that_was_copied_by_hand_is_not_installed_again(
    cron: FakeCrontab, project: Path
) -> None:
    cron.table = FOREIGN + crontab_lines(plan_of(Site(project)))[0] + b'\n'
    assert 'Nothing to do' in install_now(project)
    assert '-' not in cron.calls()


@pytest.mark.parametrize(
    'trouble',
    [
        'You (me) are not allowed to use this program (crontab)',
        'crontab: cannot connect to the directory server\nno crontab for me',
        "cannot open '/var/spool/cron/crontabs/me': Permission denied",
        'no crontab',
        '',
    ],
)
def test_a_table_that_cannot_be_read_is_not_taken_for_an_empty_one(
    cron: FakeCrontab, project: Path, trouble: str
) -> None:
    cron.table = FOREIGN
    cron.misbehave('refuse', trouble)
    for action in (lambda: install_now(project), lambda: remove(project)):
        with pytest.raises(ScheduleError, match='cannot be read; nothing was changed') as error:
            action()
        assert trouble in str(error.value)
        assert ('/etc/cron.allow' in str(error.value)) is ('not allowed' in trouble)
    assert cron.table == FOREIGN
    assert '-' not in cron.calls()


@pytest.mark.parametrize('line', [b'0 * * * * backup\\r', b"5 5 * * * printf '\\r\\n'"])
def test_a_line_that_may_hold_a_carriage_return_stops_everything(
    cron: FakeCrontab, project: Path, line: bytes
) -> None:
    """Debian's `crontab -l` shows one as a backslash and an r: to write that would change it."""
    cron.table = FOREIGN + line + b'\n'
    with pytest.raises(ScheduleError, match='Line 3 of your crontab has a carriage return'):
        install_now(project)
    assert cron.table == FOREIGN + line + b'\n'
    cron.table = FOREIGN
    install_now(project)
    cron.table += line + b'\n'
    with pytest.raises(ScheduleError, match='has a carriage return'):
        remove(project)


def test_a_path_with_a_backslash_and_an_r_comes_and_goes(cron: FakeCrontab, tmp_path: Path) -> None:
    project = make_project(tmp_path / 'a\\road')
    cron.table = FOREIGN
    install_now(project)
    write_schedule(project, '[updatedata]\nwhen = "5 4 * * *"\n')
    install_now(project)
    remove(project)
    assert cron.table == FOREIGN


def test_a_refused_table_leaves_the_old_one(cron: FakeCrontab, project: Path) -> None:
    cron.table = FOREIGN
    cron.misbehave('refuse-new')
    with pytest.raises(ScheduleError, match='bad minute'):
        install_now(project)
    assert cron.table == FOREIGN
    assert backups(project) == [FOREIGN]


def test_a_table_that_reads_back_differently_is_put_back(cron: FakeCrontab, project: Path) -> None:
    cron.table = FOREIGN
    cron.misbehave('mangle')
    with pytest.raises(ScheduleError, match='was put back.*crontab - < '):
        install_now(project)
    assert cron.table == FOREIGN


def test_a_machine_without_cron(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(ScheduleError, match='no `crontab` command'):
        install_now(project)


def test_a_crontab_that_hangs(
    cron: FakeCrontab, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_table, 'COMMAND_SECONDS', 0.02)
    cron.table = FOREIGN
    cron.misbehave('slow')
    with pytest.raises(ScheduleError, match='did not work'):
        install_now(project)


def test_backups_are_private_and_few(cron: FakeCrontab, project: Path) -> None:
    for minute in range(15):
        write_schedule(project, f'[updatedata]\nwhen = "{minute} * * * *"\n')
        install_now(project)
    kept = list((project / '.cache' / 'crontab').iterdir())
    assert len(kept) == cron_table.BACKUPS
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}
    assert b'\n13 * * * * ' in backups(project)[-1]


def test_without_its_python_nothing_is_installed(cron: FakeCrontab, project: Path) -> None:
    (project / '.venv' / 'bin' / 'python').unlink()
    with pytest.raises(ScheduleError, match='is missing'):
        install_now(project)
    assert cron.table is None


def test_the_directory_that_the_job_logs_into_is_made(cron: FakeCrontab, project: Path) -> None:
    (project / 'logs').rmdir()
    install_now(project)
    assert (project / 'logs').is_dir()


def test_a_log_directory_that_cannot_be(cron: FakeCrontab, project: Path) -> None:
    (project / 'logs').rmdir()
    (project / 'logs').touch()
    with pytest.raises(ScheduleError, match='logs cannot be created'):
        install_now(project)
    assert cron.table is None


def test_an_awkward_place(cron: FakeCrontab, tmp_path: Path) -> None:
    project = make_project(tmp_path / "It's 100% \\\\ mine \udcff")
    cron.table = FOREIGN
    install_now(project)
    assert b'\\%' in cron.table
    assert 'Nothing to do' in install_now(project)
    remove(project)
    assert cron.table == FOREIGN


def test_many_at_once_lose_nothing(cron: FakeCrontab, tmp_path: Path) -> None:
    """As people have several TOMs, and scripts that install them."""
    cron.table = FOREIGN
    cron.misbehave('slow')
    projects = [make_project(tmp_path / f'tom{number}') for number in range(8)]
    assert at_once('install', projects) == [0] * 8
    for project in projects:
        assert cron.table.count(bytes(project) + b' >>>') == 1
    assert at_once('remove', projects) == [0] * 8
    assert cron.table == FOREIGN


def at_once(action: str, projects: list[Path]) -> list[int]:
    """The exit status of `python -m tom_auto.scheduling` in each project, all of them together."""
    running = [
        subprocess.Popen(
            [sys.executable, '-B', '-S', '-m', 'tom_auto.scheduling', action],
            cwd=project,
            stdout=subprocess.DEVNULL,
        )
        for project in projects
    ]
    return [process.wait(timeout=60) for process in running]


def test_a_lock_that_is_held_is_waited_for_and_not_for_ever(
    cron: FakeCrontab, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_table, 'LOCK_SECONDS', 0.1)
    with cron_table._lock(), pytest.raises(ScheduleError, match='Another program'):
        install_now(project)
    install_now(project)


def test_a_lock_file_of_someone_else(
    cron: FakeCrontab, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / f'tom-auto-crontab-{os.getuid()}.lock'
    lock.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(ScheduleError, match='cannot be used'):
        install_now(project)
    lock.unlink()
    lock.touch()
    uid = os.getuid()
    monkeypatch.setattr(os, 'getuid', lambda: uid)
    monkeypatch.setattr(
        os, 'fstat', lambda _: os.stat_result((0o100600, 1, 1, 1, uid + 1, *[0] * 5))
    )
    with pytest.raises(ScheduleError, match='another user'):
        install_now(project)
    assert cron.table is None
