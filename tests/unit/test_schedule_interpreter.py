"""Whose Python runs the jobs."""

import sys
from pathlib import Path

import pytest

from tom_auto.scheduling.definition import Schedule, ScheduleError
from tom_auto.scheduling.interpreter import command_start, refuse_unusable

from .schedule_project import write_program


def schedule(environment: str, python: str | None = None) -> Schedule:
    return Schedule(environment, python, ())


def environment_in(prefix: Path, conda: bool = False) -> Path:
    """An environment in the directory `prefix`; returns its Python."""
    (prefix / 'bin').mkdir(parents=True)
    write_program(prefix / 'bin' / 'python', '#!/bin/sh\n')
    if conda:
        (prefix / 'conda-meta').mkdir()
    return prefix / 'bin' / 'python'


def activation_script(prefix: Path) -> None:
    scripts = prefix / 'etc' / 'conda' / 'activate.d'
    scripts.mkdir(parents=True)
    (scripts / 'proj4-activate.sh').touch()


@pytest.mark.parametrize(('environment', 'own'), [('virtualenv', '.venv'), ('conda', '.conda')])
def test_before_anything_is_made_it_is_the_one_to_come(
    tmp_path: Path, environment: str, own: str
) -> None:
    expected = [str(tmp_path / own / 'bin' / 'python')]
    assert command_start(schedule(environment), tmp_path, None) == expected


def test_the_projects_own_wins_over_the_one_at_work(tmp_path: Path) -> None:
    own = environment_in(tmp_path / '.venv')
    assert command_start(schedule('virtualenv'), tmp_path, Path(sys.executable)) == [str(own)]


def test_a_virtual_environment_is_used_by_its_own_path(tmp_path: Path) -> None:
    base = environment_in(tmp_path / 'base')
    (tmp_path / '.venv' / 'bin').mkdir(parents=True)
    own = tmp_path / '.venv' / 'bin' / 'python'
    own.symlink_to(base)
    assert command_start(schedule('virtualenv'), tmp_path, None) == [str(own)]


@pytest.mark.parametrize('environment', ['virtualenv', 'conda'])
def test_without_its_own_it_is_the_one_at_work(tmp_path: Path, environment: str) -> None:
    at_work = environment_in(tmp_path / 'elsewhere')
    assert command_start(schedule(environment), tmp_path, at_work) == [str(at_work)]


def test_system_is_the_one_at_work(tmp_path: Path) -> None:
    at_work = environment_in(tmp_path / 'module' / 'python')
    environment_in(tmp_path / '.venv')
    assert command_start(schedule('system'), tmp_path, at_work) == [str(at_work)]
    assert command_start(schedule('system'), tmp_path, None) == [sys.executable]


def test_schedule_toml_wins_over_everything(tmp_path: Path) -> None:
    environment_in(tmp_path / '.venv')
    chosen = schedule('virtualenv', python='/opt/tom/bin/python')
    assert command_start(chosen, tmp_path, Path(sys.executable)) == ['/opt/tom/bin/python']


def test_conda_without_activation_scripts_needs_no_conda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CONDA_EXE', raising=False)
    own = environment_in(tmp_path / '.conda', conda=True)
    (tmp_path / '.conda' / 'etc' / 'conda' / 'activate.d').mkdir(parents=True)
    assert command_start(schedule('conda'), tmp_path, None) == [str(own)]


@pytest.mark.parametrize('by', ['CONDA_EXE', 'PATH'])
@pytest.mark.parametrize('named', [False, True], ids=['own', 'named'])
def test_conda_with_activation_scripts_goes_through_conda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, named: bool
) -> None:
    prefix = tmp_path / ('envs/tom' if named else '.conda')
    python = environment_in(prefix, conda=True)
    activation_script(prefix)
    conda = tmp_path / 'miniforge' / 'conda'
    conda.parent.mkdir()
    write_program(conda, '#!/bin/sh\n')
    monkeypatch.delenv('CONDA_EXE', raising=False)
    monkeypatch.setenv(by, str(conda if by == 'CONDA_EXE' else conda.parent))
    # A named environment is used under any answer: what counts is what runs the TOM.
    start = command_start(schedule('virtualenv' if named else 'conda'), tmp_path, python)
    expected = [str(conda), 'run', '--no-capture-output', '-p', str(prefix), str(python)]
    assert start == expected
    refuse_unusable(start, tmp_path)


def test_conda_that_is_needed_and_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('CONDA_EXE', str(tmp_path / 'gone'))
    environment_in(tmp_path / '.conda', conda=True)
    activation_script(tmp_path / '.conda')
    with pytest.raises(ScheduleError, match='conda was not found'):
        command_start(schedule('conda'), tmp_path, None)


def test_a_python_that_cannot_run_the_job_is_refused(tmp_path: Path) -> None:
    python = tmp_path / '.venv' / 'bin' / 'python'
    with pytest.raises(ScheduleError, match='is missing, or is not a program'):
        refuse_unusable([str(python)], tmp_path)
    environment_in(tmp_path / '.venv')
    refuse_unusable([str(python)], tmp_path)
    python.chmod(0o644)
    with pytest.raises(ScheduleError, match='is missing, or is not a program'):
        refuse_unusable([str(python)], tmp_path)


def test_a_python_in_a_cache_is_refused(tmp_path: Path) -> None:
    python = environment_in(tmp_path / '.cache' / 'uv' / 'archive-v0' / 'x')
    with pytest.raises(ScheduleError, match='in a cache'):
        refuse_unusable([str(python)], tmp_path / 'my_tom')
    own = environment_in(tmp_path / '.cache' / 'my_tom' / '.venv')
    refuse_unusable([str(own)], tmp_path / '.cache' / 'my_tom')
