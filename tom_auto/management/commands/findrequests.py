"""`manage.py findrequests`: requests that were made elsewhere, and become records on demand."""

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from datetime import timedelta
from functools import partial

from ...channels import DeadMansSwitch
from ...conf import Automation, automation
from ...jobs import name_of
from ...running.outcomes import Report
from ...targets.find_requests import COMMAND, Search, find_requests
from ...targets.portals import with_lists
from ..run_command import RunCommand, positive, wrong

MOST_DAYS = 36525


class Command(RunCommand):
    help = (
        'Lists the requests of your proposals that no observation record has: they were made on '
        "the observatory's own page, or by a script. With --add, those that point at a target of "
        'this TOM become records. Exit status: 0 everything went well, 1 something failed and is '
        'named, 2 wrong usage, 75 another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--proposal', action='append', metavar='NAME', help='only this proposal')
        add('--facility', action='append', metavar='NAME', help='only the accounts of this one')
        add('--days', type=days, metavar='N', help='only requests made in the last N days')
        add('--limit', type=positive, metavar='N', help='list or add at most N requests')
        add('--add', action='store_true', help='make their records; needs --proposal')
        add('--deadline', type=positive, metavar='SECONDS', help='read no more after this time')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        chosen = {'DEADLINE': options['deadline']} if options['deadline'] else {}
        return replace(automation(), **chosen)

    def act(self, options: dict, limits: Automation) -> Report | None:
        search = chosen_search(options)
        if search.add:
            # The dead-man's switch waits for runs of updatedata.
            run = partial(find_requests, search, limits, job=name_of(COMMAND))
            return self.watched(run, DeadMansSwitch(watched=False), shows_progress=False)
        report = find_requests(search, limits)
        if not options['json']:
            for one in report.requests:
                self.stdout.write(line(one))
        return report


def days(text: str) -> int:
    """A number of days that a date can lie back."""
    if (number := positive(text)) > MOST_DAYS:
        raise ArgumentTypeError(f'{text!r} is more than {MOST_DAYS}, a hundred years')
    return number


def chosen_search(options: dict) -> Search:
    """What the command line asks for. CommandError if it cannot be done."""
    facilities, known = tuple(options['facility'] or ()), with_lists()
    for name in facilities:
        if name not in known:
            choice = ', '.join(known) or 'none'
            raise wrong(f'{name!r} has no list of requests. Those that have one are: {choice}.')
    if options['add'] and not options['proposal']:
        raise wrong(
            '--add needs a --proposal: say whose requests become records of this TOM. '
            'Without --add this command lists them, by proposal.'
        )
    since = timedelta(days=options['days']) if options['days'] else None
    proposals = tuple(options['proposal'] or ())
    return Search(proposals, facilities, since, options['limit'], options['add'])


def line(one: dict) -> str:
    """One request, in words."""
    points_at = ', '.join(one['points_at'])
    target = f'{one["target_name"]} (target {one["target"]}, by {one["by"]})'
    return (
        f'{one["facility"]} {one["request"]} {one["proposal"]} {one["created"][:10]} '
        f'{one["state"]} {points_at!r}: {target if one["target"] else one["by"]}'
    )
