"""The engine under load and under fire, in the TOM of tests/project. Run by: make engine"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tom_targets.models import Target

import forked
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
