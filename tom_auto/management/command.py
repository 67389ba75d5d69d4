"""What all commands of the library have in common."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.core.management.base import BaseCommand

from .. import versions

NOBODY_READS = 128 + signal.SIGPIPE  # as a shell has it


class LibraryCommand(BaseCommand):
    """A command of this library, and not of Django: `--version` says which version that is."""

    # Cron runs these, or a person whose TOM is broken. The checks load every page, which doubles
    # the start-up time.
    requires_system_checks = []

    def get_version(self) -> str:
        return versions.words()

    def run_from_argv(self, argv: list[str]) -> None:
        with read_to_any_line():
            super().run_from_argv(argv)


@contextmanager
def read_to_any_line() -> Iterator[None]:
    """Let a program end without a word where its reader stops, as `head` does after ten lines."""
    try:
        try:
            yield
        finally:
            _flush()
    except BrokenPipeError:
        if not _reader_is_gone():  # that of a connection
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes once more at its end
        raise SystemExit(NOBODY_READS) from None


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError, AttributeError):  # a full disk, say: Python tells that at its end
        pass


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    poll = select.poll()
    with suppress(OSError, ValueError, AttributeError):  # not a file
        poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
