"""`manage.py updatedata`: checks observation requests and downloads their data."""

import json
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from ...adoption import adoption
from ...celery_tasks import setup
from ...channels import DeadMansSwitch
from ...conf import Automation, automation, manage
from ...jobs import main_job
from ...observatories.facilities import facility_classes
from ...running.outcomes import Report
from ...running.runs import started_by
from ...sync.due import Selection, records_due
from ...sync.engine import update
from ..following import follow
from ..run_command import RunCommand, positive, wrong
from ..terminal import ProgressLine, result


class Command(RunCommand):
    help = (
        'Checks each observation request that is due at its observatory, and downloads the data. '
        'Exit status: 0 everything that was due was checked, 1 something failed and is named, '
        '2 wrong usage, 75 another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--target_id', type=int, action='append', metavar='ID', help='only this target')
        add('--target', action='append', metavar='NAME', help='the same by name or alias')
        add('--facility', action='append', metavar='NAME', help='only this facility')
        add(
            '--username',
            metavar='NAME',
            help='use the credentials of this user, where each user has their own',
        )
        add(
            '--recheck',
            action='store_true',
            help='also check records that are finished, or that wait after a failure',
        )
        add(
            '--dry-run', action='store_true', help='list what is due; contact nobody, write nothing'
        )
        add(
            '--report',
            action='store_true',
            help='say what older commands had lost or damaged, and what was downloaded again; do nothing',
        )
        add(
            '--workers', type=positive, metavar='N', help='at most N requests at a time to one host'
        )
        add('--deadline', type=positive, metavar='SECONDS', help='start no new work after this')
        add(
            '--wait',
            action='store_true',
            help='follow the run in progress, or start one and follow it',
        )
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        return chosen_limits(options)

    def watchdog(self, options: dict, limits: Automation) -> AbstractContextManager[None]:
        """None with --wait: the run that is followed has a deadline of its own, and its heartbeat tells."""
        return nullcontext() if options['wait'] else super().watchdog(options, limits)

    def act(self, options: dict, limits: Automation) -> Report | None:
        """Check what is due and bring home its data, or list what is due."""
        if options['report']:
            self.say_what_was_found(options['json'])
            return None
        selection = chosen_selection(options)
        user = chosen_user(options['username'])
        if options['dry_run']:
            self.say_what_is_due(selection, options['json'])
            return None
        if options['wait']:
            with ProgressLine(self.stderr).above_others() as line:
                return follow('updatedata', words_of(options), line.show, self.say_now)
        setup.insist()
        hand_out = setup.who_runs_hooks(limits)
        share = setup.who_shares(limits, user)
        run = partial(
            update, selection, limits, user, job=main_job().name, hand_out=hand_out, share=share
        )
        switch = DeadMansSwitch(watched=not started_by() and not selection.words())
        return self.watched(run, switch)

    def say_now(self, line: str) -> None:
        """Say something that is no part of the result."""
        self.stderr.write(line, style_func=str)
        self.stderr.flush()

    def words(self, report: Report) -> list[str]:
        lines = list(result(report, manage('doctor')))
        if not ObservationRecord.objects.exists():
            lines.append('This TOM has no observations yet. Add one on the page of a target.')
        return lines

    def say_what_was_found(self, as_json: bool) -> None:
        """Print what older commands had lost or damaged, and what has come of it."""
        found = adoption()
        if as_json:
            self.stdout.write(json.dumps(asdict(found), default=str))
            return
        for line in found.sentences():
            self.stdout.write(line)

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
            status = f' ({entry["status"]})' if entry['status'] else ''
            self.stdout.write(f'{entry["facility"]} {entry["observation_id"]}{status}')
        self.stdout.write(
            f'{len(due)} records are due. A run would check the status and the frames of each.'
        )


def chosen_limits(options: dict) -> Automation:
    """The options in the settings, overridden by those of the command line."""
    chosen = {'WORKERS': options['workers'], 'DEADLINE': options['deadline']}
    return replace(automation(), **{name: value for name, value in chosen.items() if value})


def words_of(options: dict) -> list[str]:
    """What to type for a run with these options."""
    one = {name: [options[name]] for name in ('username', 'workers', 'deadline') if options[name]}
    many = {name: options[name] or [] for name in ('target_id', 'target', 'facility')}
    words = [f'--{name}={value}' for name, values in (one | many).items() for value in values]
    return [*words, '--recheck'] if options['recheck'] else words


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
