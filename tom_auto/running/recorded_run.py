"""What surrounds the work of a run: its row, its deadline, its limits on requests and the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic

from ..conf import Automation
from ..db_retry import limited_waits, nothing_logged
from ..interrupt import ended_after
from ..models import UpdateRun
from ..observatories.http import limited_requests
from . import runs
from .outcomes import Report

HELD_UP = 25  # seconds after the deadline: a run that something holds is ended, whatever it is


@contextmanager
def limited_part(limits: Automation) -> Iterator[float]:
    """The deadline of a part of a run that another process has recorded, with the same limits."""
    deadline = monotonic() + limits.DEADLINE
    held_up = ended_after(limits.DEADLINE + HELD_UP)
    with held_up, nothing_logged(), limited_waits(), limited_requests(limits, deadline):
        yield deadline


@contextmanager
def recorded_run(
    job: str,
    command: str,
    report: Report,
    limits: Automation,
    only: str = '',
    begun: Callable[[], None] = lambda: None,
    dry_run: bool = False,
) -> Iterator[tuple[UpdateRun | None, float]]:
    """The one run of `command` at work, and its deadline, in the seconds of `monotonic()`.

    `only`: what it is limited to. `begun` is called when this is known to be the only run. Where
    the work ends without an exception, `report` is written into the row. A dry run has no row.
    Raises Paused, and AnotherRun where a run is in progress already.
    """
    start = monotonic()
    deadline = start + limits.DEADLINE
    begin = nullcontext() if dry_run else runs.the_only_run(job, command, limits, only)
    held_up, requests = (
        ended_after(limits.DEADLINE + HELD_UP),
        limited_requests(limits, deadline),
    )
    with held_up, nothing_logged(), limited_waits(), begin as run, requests:
        begun()
        yield run, deadline
        report.seconds = round(monotonic() - start, 3)
        if run is not None:
            runs.close(run, report)
