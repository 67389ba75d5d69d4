"""The command line: `manage.py schedule` and `python -m tom_auto.scheduling` say and return the same."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tom_auto.scheduling import cli
from tom_auto.scheduling.obstacles import cron_daemon_runs

from .schedule_project import FakeCrontab, make_project, write_schedule


@pytest.fixture
def project(tmp_path: Path, settings: object) -> Path:
    """The project that the command works on."""
    project = make_project(tmp_path / 'my_tom')
    settings.BASE_DIR = project
    return project


def with_django(action: str) -> tuple[int, str, str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command('schedule', action, stdout=out, stderr=err, no_color=True)
    except SystemExit as end:
        status = end.code
    return status, out.getvalue(), err.getvalue()


def without_django(project: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        # -S: no site-packages, so that an import of anything that is not Python's fails
        [sys.executable, '-B', '-S', '-m', 'tom_auto.scheduling', *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        errors='surrogateescape',
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.django_db
def test_both_ways_to_the_same_actions(cron: FakeCrontab, project: Path) -> None:
    for action, status in [
        ('show', 0),
        ('status', 1),
        ('install', 0),
        ('install', 0),
        ('status', 0),  # as the `cron` of these tests has a daemon
    ]:
        assert with_django(action)[0] == status
    table = cron.table
    well = 2 if cron_daemon_runs() is False else 0  # on the machine of whoever tests
    for action, status in [('status', well), ('remove', 0), ('remove', 0), ('status', 1)]:
        assert without_django(project, action)[0] == status
    assert without_django(project, 'install')[0] == 0
    assert cron.table == table
    assert with_django('show') == without_django(project, 'show')


def test_show_prints_the_line_and_nothing_else(project: Path) -> None:
    line = f'17 * * * * {project}/.venv/bin/python {project}/manage.py schedule run updatedata'
    assert without_django(project, 'show') == (0, f'{line} >> {project}/logs/cron.log 2>&1\n', '')


def test_a_path_that_is_no_text_is_shown_as_it_is(tmp_path: Path) -> None:
    project = make_project(tmp_path / 'caf\udce9')
    assert f'{tmp_path}/caf\udce9/manage.py' in without_django(project, 'show')[1]


@pytest.mark.parametrize('arguments', [[], ['reinstall'], ['show', 'more'], ['--install']])
def test_wrong_usage(project: Path, arguments: list[str]) -> None:
    status, out, err = without_django(project, *arguments)
    assert (status, out) == (2, '')
    assert 'usage' in err


def test_a_mistake_in_the_schedule(cron: FakeCrontab, project: Path) -> None:
    cron.table = b'# mine\n'
    with_django('install')
    write_schedule(project, '[updatedata]\nwhen = "*/90 * * * *"\n')
    for action, code in {'show': 1, 'install': 1, 'status': 2}.items():
        status, out, err = with_django(action)
        assert (status, out) == (code, '')
        assert str(project / 'schedule.toml') in err
    assert with_django('remove')[0] == 0  # needs no schedule
    assert cron.table == b'# mine\n'


@pytest.mark.parametrize('count', ['-1', 'x', '99999'])
def test_a_count_that_is_none(count: str) -> None:
    with pytest.raises(CommandError, match='is not a number from 0'):
        call_command('schedule', 'next', '--count', count)


def test_a_command_that_does_not_exist(cron: FakeCrontab, project: Path) -> None:
    write_schedule(project, '[updatedatas]\nwhen = "hourly"\n')
    status, _, err = with_django('install')
    assert status == 1
    assert '[updatedatas] runs updatedatas, which is not a command of this TOM' in err
    assert cron.table is None


def test_no_job_to_show(project: Path) -> None:
    write_schedule(project, '[updatedata]\nwhen = "hourly"\nenabled = false\n')
    status, out, err = without_django(project, 'show')
    assert (status, out) == (1, '')
    assert 'No job is enabled' in err


#: These need packages of the TOM, so that nothing else of the package may import them.
WITH_PACKAGES = {'runner', 'next_times'}


def test_nothing_but_pythons_own_modules_is_imported() -> None:
    for file in Path(cli.__file__).parent.glob('*.py'):
        if file.stem in WITH_PACKAGES:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module not in WITH_PACKAGES, file
            for name in names:
                assert name.partition('.')[0] in sys.stdlib_module_names, f'{file}: {name}'
