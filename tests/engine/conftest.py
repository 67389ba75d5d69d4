"""The engine under load and under fire, in the TOM of tests/project. Run by: make engine"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tom_targets.models import Target

import forked
from celery_programs import begin, celery_tom, redis  # noqa: F401
from databases import elsewhere, where
from postgres import Server, server
from simulated import Observatory
from stage import Stage
from unit.conftest import *  # noqa: F403


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """pytest-xdist cannot send half of a surrogate pair, which some tests put into all they touch."""
    report = yield
    if report.failed:
        report.longrepr = str(report.longrepr).encode(errors='backslashreplace').decode()
        report.sections = [
            (title, text.encode(errors='backslashreplace').decode())
            for title, text in report.sections
        ]
    return report


@pytest.fixture
def stage(sky: Observatory, target: Target, settings: object, tmp_path: Path) -> Iterator[Stage]:
    """A TOM and an observatory on which runs can be played; none outlives the test."""
    yield Stage(sky, target, settings, tmp_path)
    forked.kill_all()


@pytest.fixture
def own_server(transactional_db: None) -> Iterator[Server]:
    """The TOM's database, on a PostgreSQL server that nobody else needs."""
    with server() as own:
        own.copy(where())
        with elsewhere(
            HOST='127.0.0.1', PORT=own.port, NAME='postgres', USER=own.user, PASSWORD=''
        ):
            yield own
