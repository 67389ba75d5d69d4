"""`manage.py doctor`: what is well, what is wrong, and how to fix it."""

import json
from argparse import ArgumentParser

from django.core.management.base import CommandError

from ...channels import send_test
from ...doctor.checks import findings
from ...doctor.finding import FAILED, OK, WARNING, Finding, place_of_settings
from ...files.storage_id import accept_storage
from ...redact import overheard
from ...running.runs import started_by
from ..command import LibraryCommand


class Command(LibraryCommand):
    help = (
        'Checks everything that the automation needs, and says how to fix what is wrong. '
        'Changes nothing unless you give --accept-storage. Exit status: 0 nothing failed, 1 something failed.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument('--json', action='store_true', help='print one JSON object')
        parser.add_argument(
            '--send-test', action='store_true', help='send a test message to all who get alerts'
        )
        parser.add_argument(
            '--accept-storage',
            action='store_true',
            help='the storage of the data is the right one: give it the id that the database knows',
        )

    def handle(self, **options: object) -> None:
        if options['send_test']:
            self.send_test()
            return
        if options['accept_storage']:
            accept_storage()
        with overheard():
            found = []
            for finding in findings():
                found.append(finding)
                if not options['json']:
                    self.show(finding)
        failed = any(finding.state == FAILED for finding in found)
        if options['json']:
            checks = [finding._asdict() for finding in found]
            self.stdout.write(json.dumps({'well': not failed, 'checks': checks}))
        if failed:
            raise SystemExit(1)

    def send_test(self) -> None:
        """Send a test message by each channel, and say whether it was taken."""
        sent = send_test(started_by() or 'manage.py doctor')
        if not sent:
            place = place_of_settings()
            raise CommandError(f'Nobody gets alerts: set ADMINS or ALERT_WEBHOOK_URL in {place}.')
        for channel, error in sent:
            self.stdout.write(f'{channel}: {error or "sent"}')
        if any(error for _, error in sent):
            raise SystemExit(1)

    def show(self, finding: Finding) -> None:
        """Print one line, and another with the fix if there is one."""
        styles = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, FAILED: self.style.ERROR}
        mark = styles[finding.state](f'{finding.state:8}')
        found = finding.found.replace('\n', f'\n{"":23}')  # an example of a file has several lines
        self.stdout.write(f'{mark}{finding.check:14} {found}')
        if finding.fix:
            self.stdout.write(f'{"":8}{"":14}   -> {finding.fix}')
