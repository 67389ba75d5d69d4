"""Quicker commands: the garbage collector leaves alone what a TOM creates while it starts.

These objects live as long as the process. Scanning them again and again as they are made, and once more at
the end, took a short command a third of its time. A file that is opened during the start should be
closed there: at the end, what was written to it may not be flushed.
"""

import gc

#: How many objects a start may make before the collector looks for garbage. It makes 300,000.
MANY = 1_000_000

_before: list[tuple[int, int, int]] = []


def begins() -> None:
    """Put collections off. They are not switched off, in case nothing calls `has_ended`."""
    if not _before:
        _before.append(gc.get_threshold())
        gc.set_threshold(MANY)


def has_ended() -> None:
    """Take what is there now out of the collector's sight, and let it work as before."""
    gc.freeze()
    if _before:
        gc.set_threshold(*_before.pop())
