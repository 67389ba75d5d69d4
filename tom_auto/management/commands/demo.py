"""`manage.py demo`: `updatedata` with invented targets and a simulated observatory."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.test.utils import override_settings
from django.urls import reverse
from tom_observations.models import ObservationRecord

from ... import demo
from ...conf import manage, web_address
from ...observatory import Observatory

FLAGS = {
    '--remove': 'delete everything that the demo made',
    '--among-real-records': 'run it even if this TOM has real observation records (it does not '
    'change them)',
}


class Command(BaseCommand):
    help = (
        'Makes a few invented targets and observations, starts a simulated observatory on this '
        'machine, and runs updatedata for them. A second demo stores nothing twice.'
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        for flag, purpose in FLAGS.items():
            parser.add_argument(flag, action='store_true', help=purpose)

    def handle(self, **options: object) -> None:
        if options['remove']:
            self.stdout.write(f'Deleted the {demo.remove_everything()} records of the demo.')
            return
        count = demo.real_records().count()
        if count and not options['among_real_records']:
            raise CommandError(
                f'This TOM has {count} real observation records, and the demo would add invented '
                f'ones. If you want that: {manage("demo --among-real-records")} (and later: '
                f'{manage("demo --remove")}).',
                returncode=2,
            )
        records = demo.make_records()
        with Observatory() as sky:
            demo.observe(sky, records)
            self.stdout.write(f'A simulated observatory runs at {sky.url}.\n\n$ updatedata')
            self.update_from(sky, records)
            demo.settle_records()
            self.stdout.write(f'The observatory got {len(sky.requests_seen)} requests.\n')
        self.show(records)

    def update_from(self, sky: Observatory, records: list[ObservationRecord]) -> None:
        """Run updatedata for the demo's targets, against `sky` only."""
        facilities = {name: sky.settings() for name in demo.FACILITIES}
        with override_settings(FACILITIES=settings.FACILITIES | facilities):
            call_command(
                'updatedata',
                target_id=sorted({record.target_id for record in records}),
                facility=sorted({record.facility for record in records}),
                recheck=True,
                stdout=self.stdout,
            )

    def show(self, records: list[ObservationRecord]) -> None:
        """Print a table of what was downloaded, and where to look at it."""
        row = '{:16} {:12} {:>10}  {:15} {:>6} {:>9}'.format
        self.stdout.write(row('Target', 'Facility', 'Request', 'Status', 'Frames', 'Size'))
        for record in records:
            record.refresh_from_db()
            sizes = [product.data.size for product in record.dataproduct_set.all()]
            frames = (len(sizes), f'{sum(sizes) / 1000:.0f} kB') if sizes else ('', '')
            name = record.target.name.removesuffix(' (demo)')
            line = row(name, record.facility, record.observation_id, record.status, *frames)
            self.stdout.write(line)
        address, start = web_address(), 'Look at them on this page'
        if not address:  # the web server of a TOM that others can reach runs already
            address = 'http://127.0.0.1:8000'
            start = f'Start the web server:\n\n    {manage("runserver")}\n\nthen open'
        page = reverse('targets:detail', args=[records[0].target_id])
        self.stdout.write(
            f'\nThe files are in {settings.MEDIA_ROOT}. {start}: {address}{page}?tab=manage-data\n'
            f'To delete the demo: {manage("demo --remove")}'
        )
