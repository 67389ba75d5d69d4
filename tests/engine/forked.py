"""Real processes, forked from this one, in which Django is loaded already.

Starting Python and Django takes seconds, forking takes hundredths of one: that is what makes
hundreds of runs affordable. A child has connections and a log of its own.
"""

import logging
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep

from django.db import connections
from PIL import Image

from tom_auto.management.commands.updatedata import Command

PATIENCE = 60  # seconds: nothing here takes so long
fork = get_context('fork')

Image.preinit()  # or each child would load PIL's formats again, for each preview

_children: list[BaseProcess] = []


def nothing() -> None:
    """What most processes have to do before they begin."""


def updatedata(
    printed: Path, *arguments: str, first: Callable[[], object] = nothing
) -> BaseProcess:
    """Start `manage.py updatedata` with `arguments`; what it prints is appended to `printed`.

    `first` is called in the child before the command.
    """
    return start(printed, _updatedata, first, arguments)


def _updatedata(first: Callable[[], object], arguments: tuple[str, ...]) -> None:
    first()
    Command().run_from_argv(['manage.py', 'updatedata', *arguments])


def start(printed: Path, work: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a child that calls `work` with `arguments`, and ends as a program would."""
    connections.close_all()  # a connection that parent and child share serves neither
    child = fork.Process(target=_child, args=(printed, work, *arguments))
    child.start()
    _children.append(child)
    return child


def _child(printed: Path, work: Callable[..., object], *arguments: object) -> None:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored, if the tests run in the background
    sys.stdout = sys.stderr = printed.open('a', buffering=1)
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, force=True)
    work(*arguments)


def ended(child: BaseProcess) -> int:
    """Wait for the end of `child`: its exit status, or -9 where SIGKILL ended it."""
    child.join(PATIENCE)
    assert child.exitcode is not None, f'process {child.pid} has not ended in {PATIENCE} s'
    return child.exitcode


def kill_all() -> None:
    """End every child that is left, even one that is suspended."""
    for child in _children:
        child.kill()
        child.join()
    _children.clear()


def wait_until(happened: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    end = monotonic() + PATIENCE
    while not happened():
        assert monotonic() < end, f'waited in vain for {PATIENCE} s'
        sleep(0.005)
