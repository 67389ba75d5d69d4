"""`manage.py updatedata`: checks observation requests and downloads their data."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from ...alerts import send_alerts
from ...channels import DeadMansSwitch, ping
from ...conf import Automation, automation, manage
from ...health import FAILING, healths
from ...interrupt import ended_after, ending_for_good, terminable
from ...jobs import main_job
from ...redact import overheard
from ...sync.due import Selection, records_due
from ...sync.engine import update
from ...sync.errors import Paused
from ...sync.facilities import facility_classes
from ...sync.outcomes import Report
from ...sync.runs import started_by
from ..endings import WRONG_USAGE, explained_endings
from ..terminal import ProgressLine, result

ALL_THE_REST = 120  # seconds that a program may take beside the run: questions before, mails after
LEFT_BEHIND = 10  # seconds that the threads of others may take when all is done


class Command(BaseCommand):
    help = (
        'Checks each observation request that is due at its observatory, and downloads the data. '
        'Exit status: 0 everything that was due was checked, 1 something failed and is named, '
        '2 wrong usage, 75 another run is in progress.'
    )
    # Cron runs this every hour. The system checks load every page, which doubles the start-up time.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--target_id', type=int, action='append', metavar='ID', help='only this target')
        add('--target', action='append', metavar='NAME', help='the same by name or alias')
        add('--facility', action='append', metavar='NAME', help='only this facility')
        add('--username', metavar='NAME', help='act as this user where each user has credentials')
        add(
            '--recheck',
            action='store_true',
            help='also check records that are settled or backing off',
        )
        add(
            '--dry-run', action='store_true', help='list what is due; contact nobody, write nothing'
        )
        add('--workers', type=positive, metavar='N', help='requests in flight to one facility')
        add('--deadline', type=positive, metavar='SECONDS', help='start no new work after this')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def run_from_argv(self, argv: list[str]) -> None:
        with ending_for_good(LEFT_BEHIND):
            super().run_from_argv(argv)

    def handle(self, **options: object) -> None:
        # Everything that is printed on purpose goes through self.stdout and self.stderr.
        with overheard(), terminable():
            self.update(options)

    def update(self, options: dict) -> None:
        """Run with `options`, and print the result."""
        with explained_endings():
            limits = chosen_limits(options)
            with ended_after(limits.DEADLINE + ALL_THE_REST):
                selection = chosen_selection(options)
                user = chosen_user(options['username'])
                if options['dry_run']:
                    self.say_what_is_due(selection, options['json'])
                    return
                try:
                    report = self.watched_update(selection, limits, user)
                except Paused as pause:
                    told = json.dumps({'status': 'paused', 'reason': str(pause)})
                    self.stdout.write(told if options['json'] else str(pause))
                    return
        self.say(report, options['json'])
        if report.failed:
            raise SystemExit(1)

    def watched_update(self, selection: Selection, limits: Automation, user: User | None) -> Report:
        """Run the update, call the dead-man's switch, and send alerts."""
        switch = DeadMansSwitch(watched=not started_by() and not selection.words())
        try:
            with ProgressLine(self.stderr).above_others() as line:
                report = update(selection, limits, user, line.show, switch.begin, main_job().name)
            switch.well = not any(state.state == FAILING for state in healths() if state.main)
        except Paused:
            if not selection.words():
                ping()  # the switch watches whether the schedule is alive, and it is
            raise
        finally:
            switch.end()
            send_alerts()
        return report

    def say(self, report: Report, as_json: bool) -> None:
        """Print the result: as JSON, in words on a terminal, or as one line for a log."""
        if as_json:
            self.stdout.write(json.dumps(report.as_dict()))
        elif self.stdout.isatty():
            for line in result(report, manage('doctor')):
                self.stdout.write(line)
            if not ObservationRecord.objects.exists():
                self.stdout.write(
                    'This TOM has no observations yet. Add one on the page of a target.'
                )
        else:
            self.stdout.write(f'{timezone.now():%Y-%m-%d %H:%M:%S} UTC {report.sentence()}')

    def say_what_is_due(self, selection: Selection, as_json: bool) -> None:
        """Print the records that a run would check now, without contacting an observatory."""
        due = [
            {'record': pk, 'facility': facility, 'observation_id': observation_id, 'status': status}
            for pk, facility, observation_id, status in records_due(timezone.now(), selection)
            .order_by('facility', 'pk')
            .values_list('pk', 'facility', 'observation_id', 'status')
        ]
        if as_json:
            self.stdout.write(json.dumps({'dry_run': True, 'due': len(due), 'records': due}))
            return
        for entry in due:
            self.stdout.write('{facility} {observation_id} ({status})'.format(**entry))
        self.stdout.write(
            f'{len(due)} records are due. A run would check the status and the frames of each.'
        )


def positive(text: str) -> int:
    """A whole number above zero, as an argument of the command line."""
    if not text.isdigit() or not int(text):
        raise ArgumentTypeError(f'{text!r} is not a whole number above zero')
    return int(text)


def chosen_limits(options: dict) -> Automation:
    """The options in the settings, overridden by those of the command line."""
    chosen = {'WORKERS': options['workers'], 'DEADLINE': options['deadline']}
    return replace(automation(), **{name: value for name, value in chosen.items() if value})


def chosen_selection(options: dict) -> Selection:
    """The targets and facilities of the command line. CommandError if one does not exist."""
    targets = [target_by_id(pk) for pk in options['target_id'] or ()]
    for name in options['target'] or ():
        targets += targets_by_name(name)
    facilities = [known_facility(name) for name in options['facility'] or ()]
    return Selection(targets, facilities, options['recheck'])


def target_by_id(pk: int) -> int:
    """`pk`, if there is such a target."""
    if not Target.objects.filter(pk=pk).exists():
        raise wrong(f'There is no target {pk}. The page /targets/ lists all targets.')
    return pk


def targets_by_name(name: str) -> list[int]:
    """The targets with this name or alias, ignoring case."""
    named = Q(name__iexact=name) | Q(aliases__name__iexact=name)
    found = list(Target.objects.filter(named).values_list('pk', flat=True).distinct())
    if not found:
        raise wrong(f'No target is called {name!r}. The page /targets/ lists all targets.')
    return found


def known_facility(name: str) -> str:
    """`name`, if there is such a facility class or record."""
    installed, _ = facility_classes()
    if name not in installed and not ObservationRecord.objects.filter(facility=name).exists():
        raise wrong(f'There is no facility {name!r}. The facilities are: {", ".join(installed)}.')
    return name


def chosen_user(username: str | None) -> User | None:
    """The user of that name. CommandError if there is none."""
    if username is None:
        return None
    user = User.objects.filter(username=username).first()
    if user is None:
        raise wrong(f'There is no user {username!r}. The page /users/ lists all users.')
    return user


def wrong(message: str) -> CommandError:
    """A usage error."""
    return CommandError(message, returncode=WRONG_USAGE)
