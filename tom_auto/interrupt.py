"""Lets a run that is told to stop end in order, and ends one that something holds: rule 11."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from threading import Thread, Timer, current_thread, main_thread
from time import monotonic

from django.db import connections

logger = logging.getLogger(__name__)

_ends: list[float] = []  # when watchdogs will end this process, in the seconds of `monotonic()`
WITHIN = 'work with an end'  # the name of its threads
LAST_WORDS = 2  # seconds for what is still to be written: a log may be what holds the run


#: systemd, Kubernetes and `kill` send the one; the other comes when a terminal is closed.
STOPS = signal.SIGTERM, signal.SIGHUP


class Terminated(KeyboardInterrupt):
    """Someone sent one of STOPS: to be taken like Ctrl-C."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = signal.Signals(number)


@contextmanager
def terminable() -> Iterator[None]:
    """While this lasts, STOPS raise Terminated in the main thread, and do not just kill.

    What is ignored stays so: `nohup` ignores that the terminal is closed.
    """
    if current_thread() is not main_thread():
        yield  # only the main thread is told of signals
        return

    def end(number: int, frame: object) -> None:
        raise Terminated(number)

    heeded = [stop for stop in STOPS if signal.getsignal(stop) != signal.SIG_IGN]
    before = {stop: signal.signal(stop, end) for stop in heeded}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler or signal.SIG_DFL)


def stopped_at_once() -> None:
    """Let STOPS end this process, which was forked where they raise Terminated, as they come."""
    for stop in STOPS:
        if signal.getsignal(stop) != signal.SIG_IGN:
            signal.signal(stop, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """What would stop the run does so when this is over. Yields the numbers of the signals that have come.

    Python ignores what a signal raises in the middle of a fork, where logging holds its lock: the
    signal would be lost, and whoever logs next would wait for ever.
    """
    came: list[int] = []
    if current_thread() is not main_thread():
        yield came
        return
    heeded = [stop for stop in (*STOPS, signal.SIGINT) if signal.getsignal(stop) != signal.SIG_IGN]
    before = {
        stop: signal.signal(stop, lambda number, frame: came.append(number)) for stop in heeded
    }
    try:
        yield came
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler or signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End this process when this lasts for longer, whatever holds it: a database, a hook, a log."""
    watchdog = _end_after(seconds, status=1)
    _ends.append(monotonic() + seconds)
    try:
        yield
    finally:
        _ends.pop()
        watchdog.cancel()


def seconds_left() -> float:
    """The seconds until this process is ended, whatever it does; infinite if nothing will."""
    return min(_ends, default=inf) - monotonic()


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


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do `work`, and raise what it raises; TimeoutError if it takes longer than that.

    Then it is left to itself. A server that answers a byte every second keeps each timeout of a
    client, and never comes to an end.
    """
    raised: list[Exception] = []

    def done() -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()  # those of this thread

    thread = Thread(target=done, daemon=True, name=WITHIN)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f'it was given up after {seconds:g} s')
    if raised:
        raise raised[0]


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
