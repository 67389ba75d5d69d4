"""Has `updatedata` fetch what the archive still has of the files that are not as they were.

The audit only says which files are not to be trusted. All else is the way of every download.
"""

from collections import defaultdict
from collections.abc import Iterable

from ..celery_tasks import setup
from ..conf import Automation
from ..errors import AnotherRun, Paused
from ..models import StoredFrame
from ..sync.due import Selection
from ..sync.engine import update
from .look import Found

SPOILED = (StoredFrame.State.ROTTED, StoredFrame.State.CUT)


def repair(bad: Iterable[Found], limits: Automation, job: str) -> str:
    """Fetch them anew, where an archive has them. Returns why that could not be tried, if so.

    `job`: the job of `updatedata` whose run it is.
    """
    products: dict[str, list[int]] = defaultdict(list)
    records = set()
    for found in bad:
        if found.state and found.known.record is not None:
            products[found.state].append(found.known.product)
            records.add(found.known.record)
    if not records:
        return ''
    marked = []
    for state, keys in products.items():
        marked += keys
        frames = StoredFrame.objects.filter(product__in=keys, state=StoredFrame.State.STORED)
        frames.update(state=state)
    try:
        update(
            Selection(observations=records, recheck=True), limits, job=job,
            hand_out=setup.who_runs_hooks(limits), share=setup.who_shares(limits, None),
        )  # fmt: skip
    except (AnotherRun, Paused) as not_now:
        return str(not_now)
    finally:
        # Those that no archive lists any more are as they were.
        left = StoredFrame.objects.filter(product__in=marked, state__in=SPOILED)
        left.update(state=StoredFrame.State.STORED)
    return ''
