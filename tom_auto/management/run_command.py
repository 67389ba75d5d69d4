"""What the commands that do a recorded run have in common: signals, pauses, exit statuses."""

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import nullcontext
from signal import SIGINT, SIGTERM

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError
from django.utils import timezone

from ..alerts import DeadMansSwitch, send_alerts
from ..conf import Automation, advice, manage
from ..interrupt import Terminated, ended_after, ending_for_good, terminable
from ..models import JobPause
from ..redact import overheard, redact
from ..sync.errors import AnotherRun
from ..sync.outcomes import Report
from ..sync.runs import started_by
from .terminal import ProgressLine

WRONG_USAGE = 2
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later
ALL_THE_REST = 120  # seconds that a program may take beside the run: questions before, mails after
LEFT_BEHIND = 10  # seconds that the threads of others may take when all is done


class RunCommand(BaseCommand):
    """A command that does one run of a job, recorded in the history.

    Subclasses say what the `job` is, what `limits` it has, and do it in `act`.
    """

    job = ''
    # Cron runs these. The system checks load every page, which doubles the start-up time.
    requires_system_checks = []

    def limits(self, options: dict) -> Automation:
        """The options in force. May raise ImproperlyConfigured."""
        raise NotImplementedError

    def act(self, options: dict, limits: Automation) -> Report | None:
        """Do what `options` say; None if that was no run."""
        raise NotImplementedError

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
        try:
            limits = self.limits(options)
            with ended_after(limits.DEADLINE + ALL_THE_REST):
                return self.act(options, limits)
        except AnotherRun as busy:
            raise CommandError(str(busy), returncode=BUSY) from None
        except KeyboardInterrupt as stop:
            number = SIGTERM if isinstance(stop, Terminated) else SIGINT
            raise CommandError(
                f'Stopped by {number.name}. The next run does the rest.',
                returncode=128 + number,  # as a shell has it
            ) from None
        except ImproperlyConfigured as mistake:
            raise wrong(str(mistake)) from None
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(
                f'{redact(str(error))}\nIs the database up? If it is, run: {manage("migrate")}'
            ) from error

    def is_paused(self, as_json: bool) -> bool:
        """Whether this is a scheduled run and somebody has paused them; if so, print that."""
        pause = None if started_by() else JobPause.objects.filter(job=self.job).first()
        if pause is None:
            return False
        reason = f'{pause}. Nothing was done. To resume: press Resume on the page /automation/.'
        self.stdout.write(json.dumps({'status': 'paused', 'reason': reason}) if as_json else reason)
        return True

    def watched(
        self, run: Callable[..., Report], switch: DeadMansSwitch, shows_progress: bool = True
    ) -> Report:
        """Do the `run`, which is given what shows progress and what it calls once it has begun.

        Calls the dead-man's switch, and sends alerts.
        """
        line = ProgressLine(self.stderr).above_others() if shows_progress else nullcontext()
        try:
            with line as shown:
                report = run(shown.show if shown else lambda report: None, switch.begin)
            switch.well = not report.failed and not report.waiting_after_failures
        finally:
            switch.end()
            send_alerts()
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
    if not text.isdigit() or not int(text):
        raise ArgumentTypeError(f'{text!r} is not a whole number above zero')
    return int(text)


def wrong(message: str) -> CommandError:
    """A usage error."""
    return CommandError(message, returncode=WRONG_USAGE)
