"""`manage.py updatecadences`: lets the active cadences go on, and submits nothing twice."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from django.db import transaction

from ...channels import DeadMansSwitch
from ...conf import Automation, automation
from ...explain import explained
from ...jobs import name_of
from ...models import Submission
from ...running.outcomes import Report
from ...targets.cadences import COMMAND, cadences_to_run, update_cadences
from ...targets.settle import accept, reject, what_shows_it, what_speaks_against
from ..run_command import RunCommand, positive, wrong

State = Submission.State


class Command(RunCommand):
    help = (
        'Runs the active dynamic cadences. Each trigger leads to at most one submission, even '
        'after a crash. Exit status: 0 everything went well, 1 something failed or is uncertain and is '
        'named, 2 wrong usage, 75 another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--cadence', type=positive, action='append', metavar='ID', help='only this cadence')
        add('--dry-run', action='store_true', help='say what would be submitted; send nothing')
        add(
            '--submitted',
            action='append',
            metavar='ID=NUMBER',
            help='an uncertain submission was accepted, as this request (or these, with commas)',
        )
        add(
            '--not-submitted',
            type=positive,
            action='append',
            metavar='ID',
            help='an uncertain submission was not accepted: it may be sent again',
        )
        add('--deadline', type=positive, metavar='SECONDS', help='begin no cadence after this')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        chosen = {'DEADLINE': options['deadline']} if options['deadline'] else {}
        return replace(automation(), **chosen)

    #: That the cadences chosen need not be active: those of the demo never are.
    stealth_options = ('switched_off',)

    def act(self, options: dict, limits: Automation) -> Report | None:
        if options['submitted'] or options['not_submitted']:
            self.settle(options)
            return None
        switched_off = bool(options.get('switched_off'))
        only = tuple(chosen_cadence(pk, switched_off) for pk in options['cadence'] or ())
        if options['dry_run']:
            return update_cadences(limits, True, only, switched_off)
        # The dead-man's switch waits for runs of updatedata.
        run = partial(update_cadences, limits, False, only, switched_off, job=name_of(COMMAND))
        return self.watched(run, DeadMansSwitch(watched=False), shows_progress=False)

    def settle(self, options: dict) -> None:
        """Write down what a person has found out about submissions: all of it, or nothing."""
        if options['dry_run'] or options['cadence']:
            raise wrong(
                '--submitted and --not-submitted cannot be combined with --dry-run or --cadence.'
            )
        accepted = [what_was_accepted(text) for text in options['submitted'] or ()]
        # Of a recorded one somebody has deleted the records.
        states = [State.UNCERTAIN, State.RECORDED]
        refused = [open_submission(pk, states) for pk in options['not_submitted'] or ()]
        named = [intent.pk for intent in [*(intent for intent, _ in accepted), *refused]]
        if len(set(named)) < len(named):
            raise wrong('A submission is named twice. Say once what became of each.')
        every = [number for _, numbers in accepted for number in numbers]
        if len(theirs := set(every)) < len(every):
            raise wrong('A request is named twice. It was made by one submission.')
        for intent in refused:
            if reason := what_shows_it(intent, theirs):
                raise wrong(f'Submission {intent.pk} cannot be noted as not submitted: {reason}.')
        with transaction.atomic():
            for intent, numbers in accepted:
                note(intent, partial(accept, intent, numbers))
            for intent in refused:
                note(intent, partial(reject, intent, 'a person said that it was not accepted'))
        noted = {'noted': named}
        words = 'Noted. The next run goes on from there.'
        self.stdout.write(json.dumps(noted) if options['json'] else words)


def note(intent: Submission, settle: Callable[[], None]) -> None:
    """Write by `settle` what became of `intent`. CommandError if that cannot be."""
    try:
        settle()
    except (
        Exception
    ) as error:  # it, or another, was settled meanwhile, or a hook of the TOM is broken
        reason = explained(error, intent.facility)
        words = f'Nothing was noted. Submission {intent.pk} cannot be: {reason}'
        raise wrong(words) from error


def chosen_cadence(pk: int, switched_off: bool) -> int:
    """`pk`, if it is that of a cadence that can be run. CommandError otherwise."""
    if not cadences_to_run((pk,), switched_off):
        active = cadences_to_run()
        choice = ', '.join(f'{one.pk} ({one.observation_group})' for one in active) or 'none'
        raise wrong(f'There is no active cadence {pk}. Active are: {choice}.')
    return pk


def what_was_accepted(text: str) -> tuple[Submission, list[str]]:
    """The submission and its requests that `text` names. CommandError if that cannot be."""
    pk, _, numbers = text.partition('=')
    found = list(dict.fromkeys(one.strip() for one in numbers.split(',') if one.strip()))
    try:
        number = positive(pk)
    except ArgumentTypeError:
        number = 0
    if not number or not found:
        raise wrong('--submitted takes a submission and its request, such as 12=1234567')
    intent = open_submission(number, [State.UNCERTAIN])
    if reason := what_speaks_against(intent, found):
        raise wrong(f'{text!r} cannot be noted: {reason}')
    return intent, found


def open_submission(pk: int, states: list[str]) -> Submission:
    """The submission `pk`. CommandError if it is not in one of `states`."""
    rows = Submission.objects.filter(state__in=states)
    if (found := rows.filter(pk=pk).first()) is None:
        uncertain = Submission.objects.filter(state=State.UNCERTAIN)
        choice = ', '.join(f'{one.pk} ({one.facility} {one.name})' for one in uncertain) or 'none'
        raise wrong(f'There is no submission {pk} to settle. Uncertain are: {choice}.')
    return found
