"""Says that a process is alive, in a thread of its own, for as long as its work goes on."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from ..db_retry import brief_connection
from ..errors import AnotherRun

TAKEN_OVER = 'This run was taken for dead, and another has taken over.'


class Heartbeat:
    """While this lasts, a thread calls `beat` every so many seconds.

    `beat` writes into the database that this process is alive, and gives how many rows it has
    written: none where the work is another's by now.
    """

    def __init__(self, beat: Callable[[], int], every: float) -> None:
        self.lost = False
        self._beat, self._every = beat, every
        self._ended = Event()

    def __enter__(self) -> 'Heartbeat':
        Thread(target=self._go_on, daemon=True, name='heart').start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def insist(self) -> None:
        """Raise AnotherRun where this process has lost its work to another."""
        if self.lost:
            raise AnotherRun(TAKEN_OVER)

    def _go_on(self) -> None:
        while not self._ended.wait(self._every):
            # The database may be away: the work will say so, or it is back before the end.
            with suppress(Exception), brief_connection():
                self.lost = not self._beat()
