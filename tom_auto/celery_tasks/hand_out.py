"""Has workers run the hooks for what a run saves, or says that none can be told."""

from collections.abc import Collection

from ..conf import Automation
from . import sending

INSTEAD = {
    'work': 'Until it is back, this run runs the hooks by itself.',
    'wait': 'The hooks wait until it is back.',
}


class ToWorkers:
    """Tells workers of the hooks that are owed, those of before as well."""

    def __init__(self, limits: Automation) -> None:
        self._instead = limits.BROKER_AWAY
        self._broker = sending.Broker(INSTEAD[self._instead])
        self._broker.told(sending.sweep)

    def __call__(self, products: Collection[int]) -> bool:
        """Whether somebody else runs the hooks for these products, now or later."""
        told = self._broker.told(lambda: sending.wake(len(products)))
        return told or self._instead == 'wait'
