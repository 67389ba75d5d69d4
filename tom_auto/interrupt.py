"""Lets a run that is told to stop end in order: recorded as ended, with nothing half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread


class Terminated(KeyboardInterrupt):
    """Someone sent SIGTERM, as systemd, Kubernetes and `kill` do: to be taken like Ctrl-C."""


@contextmanager
def terminable() -> Iterator[None]:
    """While this lasts, SIGTERM raises Terminated in the main thread, and does not just kill."""
    if current_thread() is not main_thread():
        yield  # only the main thread is told of signals
        return

    def end(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
