"""Units of systemd for this user: installed, brought up to date, and taken away again."""

from pathlib import Path

import pytest

from tom_auto.scheduling.cli import act
from tom_auto.scheduling.plan import Site

from .schedule_project import FakeCrontab, make_project, with_path, write_program, write_schedule

SYSTEMCTL = """#!/bin/sh
echo "$*" >> '{here}/calls'
if [ -e '{here}/refuse' ]; then echo 'Failed to connect to bus' >&2; exit 1; fi
if [ "$2" = is-active ]; then exec cat '{here}/active'; fi
"""


@pytest.fixture
def systemd(tmp_path: Path, cron: FakeCrontab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a `systemctl` that notes what is asked of it."""
    here = tmp_path / 'tools'
    here.mkdir()
    write_program(here / 'systemctl', SYSTEMCTL.replace('{here}', str(here)))
    write_program(here / 'loginctl', '#!/bin/sh\necho Linger=no\n')
    (here / 'active').touch()
    monkeypatch.setenv('PATH', with_path(here))
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    return here


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project that the command works on."""
    return use(make_project(tmp_path / 'my_tom'), monkeypatch)


def use(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def do(action: str, dry_run: bool = False, scheduler: str | None = 'systemd') -> tuple[int, str]:
    told: list[str] = []
    options = {'action': action, 'format': scheduler, 'dry_run': dry_run, 'image': None}
    return act(options, told.append, told.append, Site(project=Path.cwd())), '\n'.join(told)


def units(systemd: Path) -> list[str]:
    return sorted(file.name for file in systemd.parent.glob('config/systemd/user/*'))


def calls(systemd: Path) -> str:
    return (systemd / 'calls').read_text() if (systemd / 'calls').exists() else ''


def test_install_status_remove(systemd: Path, project: Path) -> None:
    assert do('status')[0] == 1
    assert do('install', dry_run=True)[0] == 0
    assert units(systemd) == []
    status, told = do('install')
    assert status == 0
    assert 'loginctl enable-linger' in told
    service, timer = units(systemd)
    assert service.endswith('-updatedata.service')
    assert timer.endswith('-updatedata.timer')
    assert f'enable {timer}' in calls(systemd)
    assert f'restart {timer}' in calls(systemd)
    assert do('status')[0] == 0
    assert do('remove')[0] == 0
    assert f'disable --now {timer}' in calls(systemd)
    assert units(systemd) == []
    assert 'Nothing to remove' in do('remove')[1]


def test_a_change_is_seen_and_mended(systemd: Path, project: Path) -> None:
    do('install')
    write_schedule(project, '[updatetargets]\nwhen = "5 4 * * *"\n')
    assert do('status')[0] == 2
    do('install')
    assert do('status')[0] == 0
    assert all('updatetargets' in name for name in units(systemd))
    write_schedule(project, '[updatetargets]\nwhen = "5 4 * * *"\nenabled = false\n')
    do('install')
    assert units(systemd) == []


def test_a_dry_run_shows_the_difference(systemd: Path, project: Path) -> None:
    told = do('install', dry_run=True)[1]
    assert f' {project}/.venv/bin/python {project}/manage.py schedule run updatedata' in told
    assert '+OnCalendar=*-*-* *:17:00' in told
    assert told.endswith('\nNothing was changed.')
    assert (units(systemd), calls(systemd)) == ([], '')
    do('install')
    assert 'Nothing to do' in do('install', dry_run=True)[1]
    before = units(systemd)
    write_schedule(project, '[updatetargets]\nwhen = "5 4 * * *"\n')
    told = do('install', dry_run=True)[1]
    assert '-OnCalendar=*-*-* *:17:00' in told
    assert '+OnCalendar=*-*-* 04:05:00' in told
    assert units(systemd) == before


def test_status_finds_the_timers_by_itself_and_tells_of_a_second_start(
    systemd: Path, project: Path
) -> None:
    do('install')
    assert do('status', scheduler=None)[0] == 0
    assert 'systemd starts the same jobs a second time' in do('install', scheduler=None)[1]
    assert 'crontab starts the same jobs a second time' in do('status')[1]
    assert 'crontab starts the same jobs a second time' in do('install')[1]
    do('remove')
    status, told = do('status', scheduler=None)
    assert (status, 'a second time' in told) == (0, False)


def test_a_machine_without_cron_has_its_timers(
    systemd: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (systemd / 'cat').symlink_to('/bin/cat')
    monkeypatch.setenv('PATH', str(systemd))
    assert 'For systemd instead: ' in do('install', scheduler=None)[1]
    assert do('install')[0] == 0
    assert do('status', scheduler=None)[0] == 0


def test_a_timer_that_is_stopped(systemd: Path, project: Path) -> None:
    do('install')
    (systemd / 'active').unlink()
    status, told = do('status')
    assert (status, 'is not active' in told) == (2, True)


def test_a_moved_project_takes_its_units_along_and_a_copy_leaves_them(
    systemd: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do('install')
    first = units(systemd)
    use(make_project(project.parent / 'copy'), monkeypatch)
    assert do('status')[0] == 1
    do('install')
    assert len(units(systemd)) == 4
    assert set(first) < set(units(systemd))
    project.rename(project.parent / 'moved')
    use(project.parent / 'moved', monkeypatch)
    assert do('status')[0] == 2
    do('install')
    assert do('status')[0] == 0
    assert len(units(systemd)) == 4
    assert not set(first) & set(units(systemd))


def test_a_drop_in_hides_no_unit(systemd: Path, project: Path) -> None:
    """`systemctl --user edit` puts what it writes into a directory beside the unit."""
    write_schedule(project, '[backup]\nwhen = "daily"\n[updatedata]\nwhen = "hourly"\n')
    do('install')
    first, *others = units(systemd)
    assert len(others) == 3
    drop_in = systemd.parent / 'config/systemd/user' / f'{first}.d'
    drop_in.mkdir()
    assert do('status')[0] == 0
    assert do('remove')[0] == 0
    assert units(systemd) == [drop_in.name]


def test_units_that_cannot_be_written(systemd: Path, project: Path) -> None:
    (systemd.parent / 'config').touch()
    assert do('status')[0] == 1
    status, told = do('install')
    assert (status, 'The units cannot be written' in told) == (1, True)


def test_where_there_is_no_systemd(systemd: Path, project: Path) -> None:
    (systemd / 'refuse').touch()
    status, told = do('install')
    assert (status, units(systemd)) == (1, [])
    assert 'Failed to connect to bus' in told
    assert 'For cron instead' in told
