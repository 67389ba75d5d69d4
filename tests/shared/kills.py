"""Where a run is killed: at so many of its steps, spread evenly from the first to the last.

`KILLS=200 make unit ARGS=…` kills it 200 times, at every step if there are that many.
"""

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

FEW = 9  # kills of a test, unless KILLS says otherwise: each costs two or three runs
NEVER = -1


def kills() -> int:
    """How often a run is to be killed."""
    return int(os.environ.get('KILLS', FEW))


def spread(steps: int) -> list[int]:
    """The steps at which a run that has so many is killed; all, and again, where that is less."""
    number = kills()
    if number >= steps:
        return [one % steps for one in range(number)]
    return [one * steps // number for one in range(number)]


def killing(at: int, log: Path, only: int | None = None) -> Callable[[], None]:
    """What a process calls between its steps: at the step `at` it is killed.

    `log` gets a letter for each step. `only`: the process that counts; None: whichever calls.
    """
    steps = count()

    def step() -> None:
        if only not in (None, os.getpid()):
            return
        with log.open('a') as file:
            file.write('.')
        if next(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return step
