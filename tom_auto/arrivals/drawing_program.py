"""Runs the program that draws: starts it when it is needed, asks it, and ends it within a limit."""

import json
import os
import selectors
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic

from django.conf import settings

from ..conf import own_python

DRAWING = Path(__file__).with_name('drawing.py')  # a program: it is not imported
SLOWEST = 10  # seconds for one picture, on a busy machine
ENDING = 2  # seconds until it is gone: a disk that hangs may hold it, or a child its output
LARGEST = 400  # pixels on a side: they are for lists
#: What was used for one tile is kept for the next: asking for it anew takes a twentieth of the time.
ENVIRONMENT = {
    'OPENBLAS_NUM_THREADS': '1',
    'MALLOC_MMAP_THRESHOLD_': '1000000000',
    'MALLOC_TRIM_THRESHOLD_': '1000000000',
}


class NobodyWaits(Exception):
    """Whoever wanted the picture has ended the program meanwhile: this says nothing of the file."""


class Program:
    """The program that draws. It is started when it is needed, and again when it has died.

    `niceness`: how far it stands back behind other programs, as nice(1) says.
    """

    def __init__(self, niceness: int = 0) -> None:
        self._niceness = niceness
        self._process: subprocess.Popen | None = None
        self._has_ended = False

    def draw(self, path: str) -> dict:
        """What the program answers. A file that stops it is said to be unreadable, for now.

        Raises NobodyWaits after the end.
        """
        if self._has_ended:
            raise NobodyWaits
        if self._process is None:
            self._process = self._begin()
        process, asked = self._process, json.dumps({'path': path, 'size': size()})
        try:
            process.stdin.write(asked.encode() + b'\n')
            process.stdin.flush()
            return json.loads(_line(process.stdout.fileno()))
        except TimeoutError:
            reason = 'it takes too long'
        except (OSError, ValueError):  # it has died, and said half a line perhaps
            reason = 'it stops the program that draws it'
        if self._has_ended:
            raise NobodyWaits
        self.stop()
        return {'unreadable': reason}

    def end(self) -> None:
        """Stop it for good. A thread that was left to itself may still be using it."""
        self._has_ended = True
        self.stop()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ENDING)

    def _begin(self) -> subprocess.Popen:
        process = subprocess.Popen(
            [own_python(), '-I', '-W', 'ignore', str(DRAWING)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={'PATH': os.environ.get('PATH', ''), **ENVIRONMENT},
        )
        if self._niceness:
            with suppress(AttributeError, OSError):  # it has died; or the system has no such thing
                os.setpriority(os.PRIO_PROCESS, process.pid, self._niceness)
        return process


def _line(output: int) -> bytes:
    """The answer, or as much of it as came. Raises TimeoutError if it does not come in time."""
    end, answer = monotonic() + SLOWEST, b''
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while not answer.endswith(b'\n'):
            if not selector.select(max(0, end - monotonic())):
                raise TimeoutError
            if not (some := os.read(output, 1 << 20)):
                break
            answer += some
    return answer


def size() -> tuple[int, int]:
    """The size of a picture in pixels: that of tomtoolkit's thumbnails, which it shows itself."""
    wanted = getattr(settings, 'THUMBNAIL_DEFAULT_SIZE', (200, 200))
    return tuple(min(LARGEST, max(1, length)) for length in wanted)
