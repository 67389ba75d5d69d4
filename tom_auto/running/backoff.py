"""How long to wait after failures."""

from datetime import timedelta

FIRST = timedelta(minutes=30)
LONGEST = timedelta(days=1)
# Runs do not start on the dot: what is due within a few minutes of the run after next must
# not be put off by a whole period.
SLACK = 0.9


def backoff(failures: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    if failures <= 1:
        return timedelta(0)
    doublings = min(failures - 2, 10)  # beyond that the longest is reached anyway
    return min(FIRST * 2**doublings, LONGEST) * SLACK
