"""`schedule status`: 0 installed and current, 1 not installed, 2 out of date; and warnings."""

from pathlib import Path

import pytest

from tom_auto.scheduling import install as install_module
from tom_auto.scheduling.cron_line import crontab_lines
from tom_auto.scheduling.install import install, status
from tom_auto.scheduling.obstacles import cron_daemon_runs
from tom_auto.scheduling.plan import Site, plan_of

from .schedule_project import FakeCrontab, make_project, write_program, write_schedule


@pytest.fixture
def project(tmp_path: Path, cron: FakeCrontab) -> Path:
    """A project whose line is installed."""
    project = make_project(tmp_path / 'my_tom')
    install(plan_of(Site(project)))
    return project


def status_of(project: Path) -> tuple[int, str]:
    code, told = status(plan_of(Site(project)))
    return code, '\n'.join(told)


def test_not_installed(cron: FakeCrontab, tmp_path: Path) -> None:
    project = make_project(tmp_path / 'my_tom')
    assert status_of(project) == (
        1,
        'Not installed.\nTo install: .venv/bin/python manage.py schedule install',
    )
    write_schedule(project, '[updatedata]\nwhen = "daily"\nenabled = false\n')
    code, told = status_of(project)
    assert (code, 'No job is enabled' in told, 'Take out "enabled = false"' in told) == (
        1,
        True,
        True,
    )


def test_installed_and_current(project: Path) -> None:
    code, told = status_of(project)
    assert code == 0
    assert told.startswith('Installed and current:')
    assert f'17 * * * * {project}/.venv/bin/python' in told
    assert 'Warning' not in told


def test_installed_by_hand(cron: FakeCrontab, project: Path) -> None:
    cron.table = crontab_lines(plan_of(Site(project)))[0] + b'\n'
    assert status_of(project)[0] == 0


def test_edited_by_hand(cron: FakeCrontab, project: Path) -> None:
    cron.table = cron.table.replace(b'17 * * * *', b'18 * * * *')
    code, told = status_of(project)
    assert (code, 'out of date' in told, 'schedule install' in told) == (2, True, True)


def test_damaged_by_hand(cron: FakeCrontab, project: Path) -> None:
    cron.table = cron.table[: cron.table.index(b'# <<<')]
    code, told = status_of(project)
    assert (code, 'damaged' in told) == (2, True)


def test_the_schedule_changed(project: Path) -> None:
    write_schedule(project, '[updatedata]\nwhen = "18 * * * *"\n')
    assert status_of(project)[0] == 2
    write_schedule(project, '[updatedata]\nwhen = "hourly"\nenabled = false\n')
    assert status_of(project)[0] == 2


def test_the_project_moved(project: Path, tmp_path: Path) -> None:
    moved = project.rename(tmp_path / 'moved')
    code, told = status_of(moved)
    assert (code, str(project) in told) == (2, True)
    # H5: `source .venv/bin/activate` leads to the old place; this can be typed.
    assert told.endswith('To bring it up to date: .venv/bin/python manage.py schedule install')
    install(plan_of(Site(moved)))
    assert status_of(moved)[0] == 0


def test_the_python_is_gone(project: Path) -> None:
    (project / '.venv' / 'bin' / 'python').unlink()
    code, told = status_of(project)
    assert (code, 'is missing, or is not a program' in told) == (2, True)


def test_the_machine_has_a_newer_python(project: Path) -> None:
    """As a new release of the system brings it, for a TOM that uses the system's."""
    write_schedule(project, '[updatedata]\nwhen = "17 * * * *"\n', environment='system')
    old, new = project.parent / 'python3.11', project.parent / 'python3.12'
    for python in (old, new):
        write_program(python, '#!/bin/sh\n')
    install(plan_of(Site(project, old)))
    assert status(plan_of(Site(project, old)))[0] == 0
    assert status(plan_of(Site(project, new)))[0] == 2
    install(plan_of(Site(project, new)))
    assert status(plan_of(Site(project, new)))[0] == 0


def test_the_log_directory_is_gone(project: Path) -> None:
    (project / 'logs').rmdir()
    code, told = status_of(project)
    assert (code, 'cannot run: its log directory' in told) == (2, True)
    install(plan_of(Site(project)))
    assert status_of(project)[0] == 0


def test_the_same_line_a_second_time(cron: FakeCrontab, project: Path) -> None:
    cron.table = (
        b'# one\n' + cron.table + b'# two\n' + crontab_lines(plan_of(Site(project)))[0] + b'\n'
    )
    code, told = status_of(project)
    assert code == 0
    assert 'Warning: line 7 of your crontab runs the same job a second time' in told


@pytest.mark.parametrize(
    ('setting', 'warned'),
    [
        (b'SHELL=/bin/tcsh', True),
        (b' SHELL = "/usr/bin/fish"', True),
        (b'SHELL=/bin/bash', False),
        (b'SHELL=/bin/tcsh\nSHELL=/bin/sh', False),
        (b"SHELL='/usr/bin/zsh'", False),
        (b'DJANGO_SETTINGS_MODULE=other.settings', True),
        (b'PYTHONPATH=/opt/lib', True),
        (b'CRON_TZ=America/Lima', True),
        (b'MAILTO=me\n\nPATH=/bin\nLANG=C.UTF-8', False),
    ],
)
def test_settings_that_do_harm(
    cron: FakeCrontab, project: Path, setting: bytes, warned: bool
) -> None:
    cron.table = setting + b'\n' + cron.table
    code, told = status_of(project)
    assert (code, 'Move the block above that line' in told) == (0, warned)
    cron.table = cron.table.removeprefix(setting + b'\n') + setting + b'\n'
    assert 'Move the block' not in status_of(project)[1]


def test_the_block_of_a_project_that_is_gone(cron: FakeCrontab, project: Path) -> None:
    """Deleted, or moved without what it keeps in .cache: its jobs fail, and nobody is told."""
    table = cron.table
    cron.table += table.replace(bytes(project), bytes(project) + b'-gone')
    code, told = status_of(project)
    assert code == 0
    assert f'from line 5 on, your crontab has the jobs of a TOM in {project}-gone, which' in told


@pytest.mark.parametrize('runs', [True, False, None])
def test_no_cron_daemon(project: Path, monkeypatch: pytest.MonkeyPatch, runs: bool | None) -> None:
    monkeypatch.setattr(install_module, 'cron_daemon_runs', lambda: runs)
    code, told = status_of(project)
    assert (code, 'no cron daemon seems to run' in told) == (
        2 if runs is False else 0,
        runs is False,
    )


@pytest.mark.parametrize(
    ('processes', 'runs'),
    [
        ({'1': 'systemd', '7': 'cron'}, True),
        ({'1': 'init', '7': 'crond'}, True),
        ({'7': 'cron'}, True),
        ({'1': 'systemd', '7': 'crontab', '8': 'cron-helper'}, False),
        ({'700': 'bash'}, None),
        ({}, None),
    ],
)
def test_daemons_that_are_seen(
    tmp_path: Path, processes: dict[str, str], runs: bool | None
) -> None:
    for number, name in processes.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / 'comm').write_text(name + '\n', encoding='utf-8')
    assert cron_daemon_runs(tmp_path) is runs
