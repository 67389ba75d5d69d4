"""Lets a run that is told to stop end in order, and ends one that something holds: rule 11."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread, Timer, current_thread, main_thread

logger = logging.getLogger(__name__)

LAST_WORDS = 2  # seconds for what is still to be written: a log may be what holds the run


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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What would stop the run does so when this is over.

    Python ignores what a signal raises in the middle of a fork, where logging holds its lock: the
    signal would be lost, and whoever logs next would wait for ever.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    stops = signal.SIGTERM, signal.SIGINT
    before = {
        stop: signal.signal(stop, lambda number, frame: came.append(number)) for stop in stops
    }
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler or signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End this process when this lasts for longer, whatever holds it: a database, a hook, a log."""
    watchdog = _end_after(seconds, status=1)
    try:
        yield
    finally:
        watchdog.cancel()


def _end_after(seconds: float, status: int) -> Timer:
    def last_words() -> None:
        if status:
            logger.error('The run is held up beyond its deadline, and ends now')
        with suppress(Exception):
            sys.stdout.flush()

    def end() -> None:
        words = Thread(target=last_words, daemon=True)
        words.start()
        words.join(LAST_WORDS)
        os._exit(status)

    watchdog = Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()
    return watchdog


@contextmanager
def ending_for_good(seconds: float) -> Iterator[None]:
    """Let a program end that comes to its end in this, whatever threads others have left.

    Python waits for each of them, and a hook or a driver may have left one that waits for ever.
    """
    status = 1
    try:
        yield
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        raise
    finally:
        _end_after(seconds, status)
