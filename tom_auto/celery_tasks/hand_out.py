"""Has workers run the hooks for what a run saves, or says that none can be told."""

from collections.abc import Collection
from contextlib import suppress
from time import monotonic

from ..conf import Automation
from ..running.sharing import HandOut
from . import sending

INSTEAD = {
    'work': 'Until it is back, this run runs the hooks by itself.',
    'wait': 'The hooks wait until it is back.',
}


EVERY = 0.1  # seconds between two messages: each costs a worker a connection to the database


class ToWorkers(HandOut):
    """Tells workers of the hooks that are owed, those of before as well."""

    def __init__(self, limits: Automation) -> None:
        self._instead = limits.BROKER_AWAY
        self._broker = sending.Broker(INSTEAD[self._instead])
        self._broker.told(sending.sweep)
        self._untold, self._told_at = 0, 0.0

    def __call__(self, products: Collection[int]) -> bool:
        """Whether others run the hooks of these, now or later. They are told at once, or with the next.

        Where the broker goes away before that, the next sweep finds them: the database has them.
        """
        self._untold += len(products)
        is_told = not self._broker.is_away
        if monotonic() > self._told_at + EVERY:
            is_told = self._tell()
        return is_told or self._instead == 'wait'

    def look_after(self) -> None:
        if self._untold and monotonic() > self._told_at + EVERY:
            self._tell()

    def end(self) -> None:
        if self._untold and not self._broker.is_away:
            with suppress(sending.BrokerAway):  # the next sweep finds them
                sending.wake(self._untold)

    def _tell(self) -> bool:
        untold, self._untold, self._told_at = self._untold, 0, monotonic()
        return self._broker.told(lambda: sending.wake(untold))
