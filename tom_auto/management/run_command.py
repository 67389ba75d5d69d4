"""What the commands that do a recorded run have in common: signals, pauses, exit statuses."""

import json
from abc import ABC, abstractmethod
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.core.management.base import CommandError
from django.utils import timezone

from ..alerts import send_alerts
from ..arrivals.telling import tell_of_arrivals
from ..channels import DeadMansSwitch
from ..conf import Automation, advice
from ..errors import Paused
from ..health import FAILING, healths
from ..interrupt import ended_after, ending_for_good, terminable
from ..redact import overheard
from ..running.outcomes import Report
from ..running.runs import is_given
from .command import LibraryCommand
from .endings import WRONG_USAGE, explained_endings
from .terminal import ProgressLine

#: Seconds that a program may take beside the run: questions before, mails after.
ALL_THE_REST = 300
DIGITS = 9  # of a number: neither an id nor a time has more, and no column holds any number
LEFT_BEHIND = 10  # seconds that the threads of others may take when all is done


class RunCommand(LibraryCommand, ABC):
    """A command that does one run of a job, recorded in the history.

    Subclasses say what `limits` it has, and do it in `act`.
    """

    @abstractmethod
    def limits(self, options: dict) -> Automation:
        """The options in force. May raise ImproperlyConfigured."""

    @abstractmethod
    def act(self, options: dict, limits: Automation) -> Report | None:
        """Do what `options` say; None if that was no run."""

    def watchdog(self, options: dict, limits: Automation) -> AbstractContextManager[None]:
        """What ends this program if it is held up."""
        return ended_after(limits.DEADLINE + ALL_THE_REST)

    def run_from_argv(self, argv: list[str]) -> None:
        with ending_for_good(LEFT_BEHIND):
            super().run_from_argv(argv)

    def handle(self, **options: object) -> None:
        # Everything that is printed on purpose goes through self.stdout and self.stderr.
        with overheard(), terminable():
            report = self._acted(options)
        if report is not None:
            self.say(report, options['json'])
            if report.failed:
                raise SystemExit(1)

    def _acted(self, options: dict) -> Report | None:
        with explained_endings():
            limits = self.limits(options)
            with self.watchdog(options, limits):
                try:
                    return self.act(options, limits)
                except Paused as pause:
                    told = json.dumps({'status': 'paused', 'reason': str(pause)})
                    self.stdout.write(told if options['json'] else str(pause))
                    return None

    def watched(
        self, run: Callable[..., Report], switch: DeadMansSwitch, shows_progress: bool = True
    ) -> Report:
        """Do the `run`, which is given what shows progress and what it calls once it has begun.

        Calls the dead-man's switch. Sends alerts and tells of new frames, unless `run_job` does that
        when this has ended: then it does not count against the job's timeout.
        """
        alone = not is_given()
        line = ProgressLine(self.stderr).above_others() if shows_progress else nullcontext()
        try:
            with line as shown:
                report = run(shown.show if shown else lambda report: None, switch.begin)
            switch.well = not any(state.state == FAILING for state in healths() if state.main)
        except Paused:
            switch.paused()
            raise
        finally:
            switch.end()
            if alone:
                send_alerts()
                tell_of_arrivals()
        return report

    def say(self, report: Report, as_json: bool) -> None:
        """Print the result: as JSON, in words on a terminal, or as one line for a log."""
        if as_json:
            self.stdout.write(json.dumps(report.as_dict()))
        elif self.stdout.isatty():
            for line in self.words(report):
                self.stdout.write(line)
        else:
            self.stdout.write(f'{timezone.now():%Y-%m-%d %H:%M:%S} UTC {report.sentence()}')

    def words(self, report: Report) -> list[str]:
        """The result for a person at a terminal."""
        advised = dict.fromkeys(f'    -> {advice(alike[0].kind)}' for alike in report.reasons())
        return [report.sentence(), *advised]


def positive(text: str) -> int:
    """A whole number above zero, as an argument of the command line."""
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f'{text!r} is not a whole number above zero')
    if len(text) > DIGITS:
        raise ArgumentTypeError(f'{text!r} has more than {DIGITS} digits')
    return int(text)


def wrong(message: str) -> CommandError:
    """A usage error."""
    return CommandError(message, returncode=WRONG_USAGE)
