"""Who has started a run: the schedule, or a person."""

import contextlib
import os
import sys
from getpass import getuser

#: The variable by which the page tells the run that it starts who has asked for it.
ASKED_BY = 'TOM_RUN_ASKED_BY'


def started_by() -> str:
    """The name of the person who starts this run, on the page or at a terminal.

    Empty for the schedule: cron, systemd and containers give a command no terminal.
    """
    if asked := os.environ.get(ASKED_BY):
        return asked[:150]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # none, or closed
        if sys.stdin.isatty():
            return _name()
    return ''


def _name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f'user {os.getuid()}'
