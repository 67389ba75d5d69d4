"""What a test needs of the machine: without it the test is skipped, or fails where all must run."""

import os

import pytest


def need(condition: object, reason: str) -> None:
    """Skip the test with `reason` unless `condition` holds; with REQUIRE_ALL=1, fail instead."""
    if condition:
        return
    if os.environ.get('REQUIRE_ALL', '0') not in ('', '0'):
        pytest.fail(f'REQUIRE_ALL is set, but this machine lacks something: {reason}')
    pytest.skip(reason)
