"""Who else works for a run: others may run its hooks, and check a part of its records.

Here nobody does. `celery_tasks` has workers do it.
"""

from collections import deque
from collections.abc import Callable, Collection

from ..files import storage
from ..models import UpdateRun
from .heartbeat import Heartbeat
from .outcomes import Report


class HandOut:
    """Hands the hooks of products to other processes. This one hands out nothing: the run calls them."""

    def __call__(self, products: Collection[int]) -> bool:
        """Whether others run the hooks of these, now or later."""
        return False

    def look_after(self) -> None:
        """Called again and again: tell others of what has waited."""

    def end(self) -> None:
        """Nothing more will come. Called however the run ends; raises nothing."""


#: Takes records out of those that are due, and has others check them, until the deadline. Removes the
#: parts of files that runs which were killed have left, as soon as nobody is at work for one of these.
Share = Callable[
    [UpdateRun, dict[str, deque[int]], Report, float, Heartbeat, Callable[[Report], None]], None
]


nobody = HandOut()


def keep_all(*run: object) -> None:
    """The run itself checks all records, and nobody else stores anything."""
    storage.empty_parts()
