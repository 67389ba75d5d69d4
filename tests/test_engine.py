"""The engine of a generated TOM under load and under fire, on SQLite and on PostgreSQL.

The tests in `tests/engine` run inside a baked project, with the Python of a TOM. On PostgreSQL
the project's own tests run as well, all of them: on SQLite `test_bake_quality` runs them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from baking import TEMPLATE
from postgres import server
from running import run, tom_python

ENGINE = TEMPLATE / 'tests' / 'engine'
SECONDS = 1500  # for all of it, on a machine that does other things as well


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a database, in a server that runs for this test."""
    with server() as own:
        yield own.url


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.xdist_group('engine-sqlite')
def test_on_sqlite(project: Path) -> None:
    run_engine_tests(project)


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.xdist_group('engine-postgresql')
def test_on_postgresql(project: Path, postgresql: str) -> None:
    run_engine_tests(project, 'app', DATABASE_URL=postgresql)


def run_engine_tests(project: Path, *more: str, **variables: str) -> None:
    """Run them in `project`, and print what they print where one fails."""
    done = run(
        project,
        tom_python(),
        *('-m', 'pytest', '-c', 'pytest.ini', '-q', '-ra', '-p', 'no:cacheprovider'),
        *('--show-capture=no', '--durations=10', str(ENGINE), *more),
        timeout=SECONDS,
        PYTHONPATH=str(ENGINE.parent),
        REQUIRE_ALL=os.environ.get('REQUIRE_ALL', '0'),
        **variables,
    )
    print(done.stdout)  # noqa: T201  (pytest shows it where this fails)
    assert done.returncode == 0, done.stdout[-3000:]
