"""`manage.py updatecadences`: lets the active cadences go on, and submits nothing twice."""

from argparse import ArgumentParser
from dataclasses import replace
from functools import partial

from ...channels import DeadMansSwitch
from ...conf import Automation, automation
from ...jobs import name_of
from ...models import Submission
from ...sync.outcomes import Report
from ...targets.cadences import COMMAND, update_cadences
from ...targets.settle import accept, reject
from ..run_command import RunCommand, positive, wrong


class Command(RunCommand):
    help = (
        'Runs the active dynamic cadences. For one trigger there is one submission, whatever '
        'happens. Exit status: 0 everything went well, 1 something failed or is uncertain and is '
        'named, 2 wrong usage, 75 another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--dry-run', action='store_true', help='say what would be submitted; send nothing')
        add(
            '--submitted',
            metavar='ID=NUMBER',
            help='an uncertain submission was accepted, as this request (or these, with commas)',
        )
        add(
            '--not-submitted',
            type=positive,
            metavar='ID',
            help='an uncertain submission was not accepted: it may be sent again',
        )
        add('--deadline', type=positive, metavar='SECONDS', help='begin no cadence after this')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        chosen = {'DEADLINE': options['deadline']} if options['deadline'] else {}
        return replace(automation(), **chosen)

    def act(self, options: dict, limits: Automation) -> Report | None:
        if options['submitted'] or options['not_submitted']:
            self.settle(options)
            return None
        if options['dry_run']:
            return update_cadences(limits, dry_run=True)
        # The dead-man's switch waits for runs of updatedata.
        run = partial(update_cadences, limits, False, job=name_of(COMMAND))
        return self.watched(run, DeadMansSwitch(watched=False), shows_progress=False)

    def settle(self, options: dict) -> None:
        """Write down what a person has found out about a submission."""
        if options['submitted']:
            pk, _, numbers = options['submitted'].partition('=')
            found = [number.strip() for number in numbers.split(',') if number.strip()]
            if not pk.isdecimal() or not found:
                raise wrong('--submitted takes a submission and its request, such as 12=1234567')
            accept(open_submission(int(pk), ['uncertain']), found)
        else:
            # Of a recorded one somebody has deleted the records.
            intent = open_submission(options['not_submitted'], ['uncertain', 'recorded'])
            reject(intent, 'a person said that it was not accepted')
        self.stdout.write('Noted. The next run goes on from there.')


def open_submission(pk: int, states: list[str]) -> Submission:
    """The submission `pk`. CommandError if it is not in one of `states`."""
    rows = Submission.objects.filter(state__in=states)
    if (found := rows.filter(pk=pk).first()) is None:
        uncertain = Submission.objects.filter(state=Submission.State.UNCERTAIN)
        choice = ', '.join(f'{one.pk} ({one.facility} {one.name})' for one in uncertain) or 'none'
        raise wrong(f'There is no submission {pk} to settle. Uncertain are: {choice}.')
    return found
