"""`manage.py doctor`: what is well, what is wrong, and how to fix it."""

import json
from argparse import ArgumentParser

from django.core.management.base import CommandError

from ...channels import send_test
from ...doctor.checks import findings
from ...doctor.finding import FAILED, OK, WARNING, Finding, place_of_settings
from ...errors import SyncError
from ...files.storage_id import accept_storage
from ...redact import overheard
from ...running.runs import started_by
from ..command import LibraryCommand
from ..run_command import wrong


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
        if options['send_test'] and options['accept_storage']:
            raise wrong(
                '--send-test and --accept-storage cannot be combined. Run them one after the other.'
            )
        if options['send_test']:
            self.send_test(options['json'])
            return
        if options['accept_storage']:
            self.accept_storage()
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

    def accept_storage(self) -> None:
        """Take the storage for the right one."""
        try:
            accept_storage()
        except SyncError as error:
            raise CommandError(f'The storage was not accepted: {error}') from error

    def send_test(self, as_json: bool) -> None:
        """Send a test message by each channel, and say whether it was taken."""
        sent = send_test(started_by() or 'manage.py doctor')
        if not sent:
            place = place_of_settings()
            raise CommandError(f'Nobody gets alerts: set ADMINS or ALERT_WEBHOOK_URL in {place}.')
        failed = any(error for _, error in sent)
        if as_json:
            told = [{'channel': channel, 'error': error} for channel, error in sent]
            self.stdout.write(json.dumps({'well': not failed, 'sent': told}))
        else:
            for channel, error in sent:
                self.stdout.write(f'{channel}: {error or "sent"}')
        if failed:
            raise SystemExit(1)

    def show(self, finding: Finding) -> None:
        """Print one line, and another with the fix if there is one."""
        styles = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, FAILED: self.style.ERROR}
        mark = styles[finding.state](f'{finding.state:8}')
        found = finding.found.replace('\n', f'\n{"":23}')  # an example of a file has several lines
        self.stdout.write(f'{mark}{finding.check:14} {found}')
        if finding.fix:
            self.stdout.write(f'{"":8}{"":14}   -> {finding.fix}')
