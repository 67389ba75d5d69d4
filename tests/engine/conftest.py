"""The engine under load and under fire: run in a baked project, with its own fixtures.

`tests/test_engine.py` bakes a project and runs these in it, on SQLite and on PostgreSQL. By
hand, in a baked project: `python -m pytest -c pytest.ini path/to/tests/engine`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forked
from stage import Stage
from tom_auto.observatory import Observatory
from unit.conftest import *  # noqa: F403


@pytest.fixture
def stage(
    sky: Observatory, add_record: Callable, settings: object, tmp_path: Path
) -> Iterator[Stage]:
    """A TOM and an observatory on which runs can be played; none outlives the test."""
    yield Stage(sky, add_record, settings, tmp_path)
    forked.kill_all()
