"""What every test of the template may use, and what no test may do."""

import fcntl
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import real_cron
import running
from baking import Bake, bake
from page_windows import (  # noqa: F401  (fixtures, of which a session needs one each)
    chrome,
    mails,
    observatory,
    opened,
    opened_theirs,
    scene,
    tom,
    url,
)

Report = TypeVar('Report', pytest.TestReport, pytest.CollectReport)

#: What other programs of the tester's may make in a home directory at any time.
OTHERS = {'.cache', '.config', '.local', '.ssh'}

#: Set by CI, whose machine has everything: a test that is skipped there has failed.
REQUIRE_ALL = os.environ.get('REQUIRE_ALL', '0') not in ('', '0')


@pytest.fixture(scope='session')
def tom_python() -> Path:
    """A Python that has the packages of a generated TOM."""
    return running.tom_python()


@pytest.fixture(scope='session')
def default_bake(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """A TOM made with the default answers. Only look at it: other tests look at the same."""
    done = bake(tmp_path_factory.mktemp('default'))
    assert done.status == 0, done.printed
    return done


@pytest.fixture(scope='session')
def migrated(
    request: pytest.FixtureRequest, default_bake: Bake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The SQLite database of a TOM after `migrate`, for a test to copy: made once for all of them.

    `migrate` takes ten seconds. The tests that are about it run it themselves.
    """
    place = tmp_path_factory.getbasetemp()
    if hasattr(request.config, 'workerinput'):
        place = place.parent  # all workers of xdist share it
    made = place / 'migrated.sqlite3'
    with (place / 'migrated.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            project = shutil.copytree(
                default_bake.project, tmp_path_factory.mktemp('migrated') / 'my_tom'
            )
            done = running.manage(project, 'migrate', '--noinput')
            assert done.returncode == 0, done.stdout
            assert not (project / 'db.sqlite3-wal').exists(), 'not all is in the database itself'
            (project / 'db.sqlite3').rename(made)
    return made


@pytest.fixture
def cron_machine() -> None:
    """A machine that can run cron in name spaces of its own."""
    real_cron.need_cron()


@pytest.fixture
def project(default_bake: Bake, tmp_path: Path) -> Path:
    """A TOM made with the default answers, for this test alone."""
    return shutil.copytree(default_bake.project, tmp_path / 'my_tom')


@pytest.fixture(scope='session', autouse=True)
def machine_left_alone() -> Iterator[None]:
    """No test may touch the tester's crontab or leave anything in the real home directory."""
    crontab, home = crontab_of_tester(), names_in_home()
    yield
    assert crontab_of_tester() == crontab, 'a test changed the crontab of this machine'
    new = sorted(names_in_home() - home)
    assert not new, f'a test left these in the home directory: {new}'


def crontab_of_tester() -> tuple[int, bytes, bytes] | None:
    """What `crontab -l` answers: its status and what it prints."""
    if not shutil.which('crontab'):
        return None
    done = subprocess.run(['crontab', '-l'], capture_output=True, timeout=10, check=False)
    return done.returncode, done.stdout, done.stderr


def names_in_home() -> set[str]:
    """What is in the real home directory, wherever HOME points now."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return {path.name for path in home.iterdir()} - OTHERS if home.is_dir() else set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of the containers begin first: one after another, they take the longest."""
    items.sort(key=lambda item: item.path.name != 'test_containers.py')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Fail skipped tests where everything must run."""
    return no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Fail skipped files where everything must run."""
    return no_skip((yield))


def no_skip(report: Report) -> Report:
    """Turn a skip into a failure that gives its reason, where REQUIRE_ALL is set."""
    if REQUIRE_ALL and report.outcome == 'skipped' and not hasattr(report, 'wasxfail'):
        report.outcome = 'failed'
        report.longrepr = f'skipped, but REQUIRE_ALL is set: {report.longrepr}'
    return report
