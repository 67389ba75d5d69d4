"""What a person at a terminal sees of a run: a line while it lasts, and words at its end.

The line needs two things of a terminal: to go back to its beginning, and to empty it. A package
for that, such as rich, would bring two others along.
"""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from shutil import get_terminal_size
from time import monotonic

from django.core.management.base import OutputWrapper

from ..conf import advice
from ..running.outcomes import Report

ERASE = '\r\x1b[K'
BAR = 20  # characters
PAUSE = 0.1  # seconds between two drawings: more often nobody can read


class ProgressLine:
    """A line that shows how far a run is, and leaves no trace. Nothing where there is no terminal.

    with ProgressLine(command.stderr).above_others() as line:
        line.show(report)
    """

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream, self._began, self._drawn = stream, monotonic(), 0.0
        self._is_shown = stream.isatty() and os.environ.get('TERM') != 'dumb'

    @contextmanager
    def above_others(self) -> Iterator['ProgressLine']:
        """While this lasts, what others print and log here comes above the line; then it is gone."""
        if not self._is_shown:
            yield self
            return
        handlers = [one for one in logging.getLogger().handlers if _is_on_terminal(one)]
        for handler in handlers:
            handler.addFilter(self._make_room)
        try:
            with redirect_stderr(_Above(self)):
                yield self
        finally:
            for handler in handlers:
                handler.removeFilter(self._make_room)
            self.erase()
            self._is_shown = False

    def show(self, report: Report) -> None:
        """Draw the line anew."""
        now = monotonic()
        if not self._is_shown or now < self._drawn + PAUSE:
            return
        done = report.due - report.still_open()
        filled = BAR * done // report.due if report.due else BAR
        text = (
            f'[{"#" * filled}{"." * (BAR - filled)}] {done} of {report.due} records, '
            f'{report.saved} frames saved, {now - self._began:.0f} s'
        )
        # The last column stays free: some terminals begin a new line when it is written.
        self._write(ERASE + text[: get_terminal_size().columns - 1])
        self._drawn = now

    def erase(self) -> None:
        """Empty the line. The next `show` draws it again."""
        if self._drawn:
            self._write(ERASE)
            self._drawn = 0.0

    def _make_room(self, record: logging.LogRecord) -> bool:
        self.erase()
        return True

    def _write(self, text: str) -> None:
        self._stream.write(text, style_func=str, ending='')
        self._stream.flush()


class _Above(io.TextIOBase):
    """Standard error, where the line is erased before anything else is written."""

    encoding = 'utf-8'

    def __init__(self, line: ProgressLine) -> None:
        self._line, self._below = line, sys.stderr

    def write(self, text: str) -> int:
        self._line.erase()
        return self._below.write(text)

    def flush(self) -> None:
        self._below.flush()

    def writable(self) -> bool:
        return True


def _is_on_terminal(handler: logging.Handler) -> bool:
    stream = getattr(handler, 'stream', None)
    return isinstance(handler, logging.StreamHandler) and bool(stream) and stream.isatty()


def result(report: Report, doctor: str) -> Iterator[str]:
    """The result of a run, in lines for a terminal. `doctor`: what to type to find out more."""
    if not report.due and not report.failed:
        yield report.sentence()
        return
    yield f'{_count(report.due, "record")} due: {_named(report, RECORDS)}.'
    if report.changed:
        yield f'{_count(report.changed, "status", "statuses")} changed.'
    if report.found or report.filtered:
        yield f'{_count(report.found, "frame")} found: {_named(report, FRAMES) or "all are here"}.'
    for facility, reason in report.unsupported_facilities.items():
        yield f'Not supported at {facility}: {reason}.'
    for alike in report.reasons():
        yield f'Failed: {alike.sentence()}'
        yield f'    -> {advice(alike[0].kind)}'
    if report.waiting_after_failures:
        yield f'{report.words_of_waiting()}.'
    seconds = f'({report.seconds:.1f} s)'
    if report.failed:
        yield f'Something failed; the next run tries again. To find out more: {doctor} {seconds}'
    else:
        yield f'Done. {seconds}' if report.waiting_after_failures else f'Success! {seconds}'


RECORDS = {
    'checked': 'checked', 'failed_records': 'failed', 'unsupported': 'not supported',
    'set_aside': 'set aside', 'not_reached': 'not reached', 'gone': 'gone',
}  # fmt: skip
FRAMES = {'saved': 'saved', 'repaired': 'repaired', 'filtered': 'not wanted'}


def _named(report: Report, names: dict[str, str]) -> str:
    """Those counts that are not zero."""
    counts = {words: getattr(report, name) for name, words in names.items()}
    return ', '.join(f'{count} {words}' for words, count in counts.items() if count)


def _count(number: int, one: str, many: str = '') -> str:
    return f'{number} {one if number == 1 else many or one + "s"}'
