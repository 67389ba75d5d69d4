"""The engine under load and under fire: run in a baked project, with its own fixtures.

`tests/test_engine.py` bakes a project and runs these in it, on SQLite and on PostgreSQL. By
hand, in a baked project: `python -m pytest -c pytest.ini path/to/tests/engine`.
"""

from app.tests.conftest import *  # noqa: F403
