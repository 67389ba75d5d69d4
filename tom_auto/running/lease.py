"""Prolongs a lease for as long as the work that it is for goes on."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from ..db_retry import brief_connection


class Prolonged:
    """While this lasts, a thread prolongs a lease, three times in each.

    `prolong` gives how many rows it has written: none where the lease is another's by now.
    """

    def __init__(self, prolong: Callable[[], int], lease: float) -> None:
        self.lost = False
        self._prolong, self._every = prolong, lease / 3
        self._ended = Event()

    def __enter__(self) -> 'Prolonged':
        Thread(target=self._work, daemon=True, name='lease').start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(self._every):
            # The database may be away, and back before the end.
            with suppress(Exception), brief_connection():
                self.lost = not self._prolong()
