"""Prolongs a lease for as long as the work that it is for goes on."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from django.db import connection

from .db_retry import no_fork


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
            with no_fork:
                with suppress(Exception):  # the database is away: it may be back before the end
                    self.lost = not self._prolong()
                with suppress(Exception):
                    connection.close()
