"""`manage.py schedule`: what runs when, for cron, systemd or Kubernetes, or without them."""

import re
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from ...conf import shared_database
from ...errors import Paused
from ...health import schedule_site
from ...interrupt import terminable
from ...jobs import job_named, jobs, site
from ...order_of_jobs import wait_for_turn
from ...run_job import run_job
from ...scheduling import cli
from ...scheduling.definition import FILE, ScheduleError, read_schedule
from ...scheduling.job_log import log_file
from ...scheduling.next_times import runs, sentence
from ...scheduling.plan import START, checked_schedule
from ...scheduling.runner import Runner
from ..command import LibraryCommand
from ..endings import explained_endings

ACTIONS = {
    'next': 'print when each job runs next, in the time of this machine',
    'run': 'run the job of that name now, and record it; without a name, start the jobs when they '
    'are due, until stopped: for machines without cron',
}


def count(text: str) -> int:
    """`text` as a number. Raises ArgumentTypeError."""
    if not re.fullmatch('[0-9]{1,4}', text):
        raise ArgumentTypeError(f'{text} is not a number from 0 to 9999')
    return int(text)


class Command(LibraryCommand):
    """Passes most actions on to tom_auto.scheduling, which works without Django as well."""

    help = 'Show, install, remove, check or run the schedule, which is defined in schedule.toml.'

    def add_arguments(self, parser: CommandParser) -> None:
        actions = cli.add_actions(parser)
        for name, purpose in ACTIONS.items():
            action = actions.add_parser(name, help=purpose, description=purpose)
            if name == 'run':
                what = 'which job of schedule.toml to run now'
                action.add_argument('job', nargs='?', metavar='NAME', help=what)
            if name == 'next':
                what = 'how many times to print for each job'
                action.add_argument('--count', type=count, default=3, metavar='N', help=what)
        actions.metavar = '|'.join([*cli.ACTIONS, *ACTIONS])

    def handle(self, **options: object) -> None:
        try:
            if options['action'] == 'next':
                self.show_next(options['count'])
                return
            if options['action'] == 'run' and options['job']:
                self.run_one(options['job'])
                return
            if options['action'] == 'run':
                self.run()
                return
        except ScheduleError as error:
            raise CommandError(str(error)) from None
        if options['action'] == 'install' and (warning := shared_database()):
            self.stderr.write(f'Warning: {warning}')
        status = cli.act(options, self.stdout.write, self.stderr.write, schedule_site())
        if status:
            sys.exit(status)

    def show_next(self, count: int) -> None:
        now = datetime.now(UTC)
        for job in read_schedule(Path(settings.BASE_DIR)).jobs:
            self.stdout.write(f'{job.name}: {sentence(job.when)} ({job.when})')
            if not job.enabled:
                self.stdout.write('    not enabled')
                continue
            for time in islice(runs(job.when, now), count):
                self.stdout.write(f'    {time:%a %Y-%m-%d %H:%M %Z}')

    def run_one(self, name: str) -> None:
        """Run one job now; end with its exit status."""
        job = job_named(name)
        if job is None:
            names = ', '.join(job.name for job in jobs().jobs)
            raise CommandError(f'There is no job {name!r}. The jobs are: {names}.', returncode=2)
        with explained_endings():
            try:
                wait_for_turn(job)
                status = run_job(job, self.pass_on)
            except Paused as pause:
                self.print_now(str(pause))
                return
        if status:
            sys.exit(status)

    def run(self) -> None:
        """Start the jobs when they are due, until SIGTERM or Ctrl-C."""
        project = Path(settings.BASE_DIR)
        jobs = checked_schedule(site()).enabled()
        if not jobs:
            raise ScheduleError(f'No job is enabled in {project / FILE}.')
        start = [sys.executable, str(project / 'manage.py'), *START]
        runner = Runner(start, log_file(project), self.print_now)
        for job in jobs:
            first = next(runs(job.when, datetime.now(UTC)))
            self.print_now(f'[{job.name}] runs next at {first:%Y-%m-%d %H:%M %Z}')
        with terminable():
            try:
                runner.run(jobs)
            except KeyboardInterrupt:  # SIGTERM as well
                self.print_now('Stopped.')

    def print_now(self, line: str) -> None:
        """Print without buffering, because another program may be reading."""
        self.stdout.write(line)
        self.stdout.flush()

    def pass_on(self, text: str) -> None:
        """Print what a job has printed, as it is."""
        self.stdout.write(text, ending='')
        self.stdout.flush()
