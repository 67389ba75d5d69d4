"""The actions of `manage.py schedule` and of `python -m app.scheduling`."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .definition import FILE, ScheduleError
from .install import install, remove, wanted
from .status import status, warnings

PROJECT = Path(__file__).resolve().parents[2]
ACTIONS = {
    'show': 'print the line for cron, and change nothing',
    'install': 'put the line into your crontab, or bring it up to date; every other line stays',
    'remove': 'take the line out of your crontab; every other line stays',
    'status': 'exit 0: installed and current; 1: not installed; 2: installed but out of date',
}


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take one of ACTIONS, as `action`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='|'.join(ACTIONS))
    for name, purpose in ACTIONS.items():
        actions.add_parser(name, help=purpose, description=purpose)


def act(
    action: str,
    say: Callable[[str], object],
    complain: Callable[[str], object],
    at_work: Path | None = None,
    commands: set[str] | None = None,
) -> int:
    """Do one of ACTIONS for this project, tell the user, and return the exit status.

    `at_work` is the Python that runs manage.py, and `commands` the names that it knows.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='surrogateescape')  # paths are bytes, and are told as such
    try:
        if action == 'remove':  # works without a schedule that can be read
            code, told = 0, remove(PROJECT)
        else:
            code, told = _about_the_schedule(action, at_work, commands)
    except ScheduleError as error:
        complain(str(error))
        return 1
    for line in told:
        say(line)
    return code


def _about_the_schedule(
    action: str, at_work: Path | None, commands: set[str] | None
) -> tuple[int, list[str]]:
    want = wanted(PROJECT, at_work, commands)
    if action == 'status':
        return status(want)
    if action == 'install':
        return 0, [*install(want), *warnings(want)]
    if not want.lines:
        raise ScheduleError(f'No job is enabled in {PROJECT / FILE}, so there is no line to show.')
    return 0, [os.fsdecode(line) for line in want.lines]
