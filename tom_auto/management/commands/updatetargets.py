"""`manage.py updatetargets`: candidates of saved queries become targets, and get their data."""

from argparse import ArgumentParser
from dataclasses import replace
from functools import partial

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from ...channels import DeadMansSwitch
from ...conf import Automation, automation
from ...jobs import name_of
from ...running.outcomes import Report
from ..run_command import RunCommand, positive, wrong

MOST_LISTED = 20  # queries in a message


class Command(RunCommand):
    help = (
        'Runs the saved data-service queries. New candidates become targets, known ones are '
        'refreshed, and the services are asked for their reduced data. Exit status: 0 everything '
        'went well, 1 something failed and is named, 2 wrong usage, 75 another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--query', action='append', metavar='ID|NAME', help='only this saved query')
        add('--service', action='append', metavar='NAME', help='only this data service')
        add('--limit', type=positive, metavar='N', help='make at most N new targets per query')
        add(
            '--dry-run',
            action='store_true',
            help='ask the services, say what would be new and what is known; write nothing',
        )
        add('--deadline', type=positive, metavar='SECONDS', help='start no new work after this')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        if not apps.is_installed('tom_dataservices'):
            raise ImproperlyConfigured("Add 'tom_dataservices' to INSTALLED_APPS: it has queries.")
        chosen = {'DEADLINE': options['deadline']} if options['deadline'] else {}
        return replace(automation(), **chosen)

    def act(self, options: dict, limits: Automation) -> Report | None:
        # Not before the app is known to be there: its models are in these.
        from ...targets.run import update_targets
        from ...targets.selection import Selection

        queries = [chosen_query(text) for text in options['query'] or ()]
        services = [known_service(name) for name in options['service'] or ()]
        refuse_what_excludes_each_other(queries, services)
        selection = Selection(tuple(queries), tuple(services), options['limit'])
        if options['dry_run']:
            report = update_targets(selection, limits, dry_run=True)
            if not options['json']:
                self.list_candidates(report.candidates)
            return report
        # The dead-man's switch waits for runs of updatedata.
        run = partial(update_targets, selection, limits, False, job=name_of('updatetargets'))
        return self.watched(run, DeadMansSwitch(watched=False), shows_progress=False)

    def list_candidates(self, candidates: list[dict]) -> None:
        """Print what a dry run has found."""
        for one in candidates:
            known = f'known as {one["target"]}' if one['target'] else 'would be new'
            self.stdout.write(f'{one["service"]}: {one["name"]}: {known}')


def chosen_query(text: str) -> int:
    """The saved query of that id or name. CommandError if there is none, or more than one."""
    from tom_dataservices.models import DataServiceQuery

    rows = DataServiceQuery.objects.order_by('pk')
    pk = int(text) if text.isdecimal() and len(text) < 10 else 0
    found = rows.filter(Q(name=text) | Q(pk=pk))
    if len(found) == 1:
        return found[0].pk
    if found.filter(pk=pk).exclude(name=text).exists():
        raise wrong(
            f'{text} is the id of one query, and the name of another: {listed(found)}. Choose the '
            'first by its name, or the other by its id; or give one of them another name.'
        )
    if found:
        raise wrong(f'{len(found)} queries are called {text!r}. Choose by id: {listed(found)}.')
    choice = listed(rows)
    raise wrong(f'There is no query {text!r}. The queries are: {choice or "none"}.')


def refuse_what_excludes_each_other(queries: list[int], services: list[str]) -> None:
    """Raise CommandError for a query that is of none of the services that were named."""
    from tom_dataservices.models import DataServiceQuery

    rows = DataServiceQuery.objects.filter(pk__in=queries).order_by('pk')
    if services and (others := rows.exclude(data_service__in=services)):
        raise wrong(
            f'--query and --service exclude each other: {listed(others)} would not be asked. '
            'Leave one of them out.'
        )


def listed(queries: object) -> str:
    """Some queries, by id, name and service."""
    shown = [f'{query.pk} ({query.name}, {query.data_service})' for query in queries[:MOST_LISTED]]
    return ', '.join(shown) + (', …' if len(queries) > MOST_LISTED else '')


def known_service(name: str) -> str:
    """`name`, if there is such a data service."""
    from tom_dataservices.dataservices import get_data_service_classes

    installed = get_data_service_classes()
    if name not in installed:
        choice = ', '.join(sorted(installed)) or 'none'
        raise wrong(f'There is no data service {name!r}. The data services are: {choice}.')
    return name
