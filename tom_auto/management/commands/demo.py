"""`manage.py demo`: the jobs at work, with invented targets and a simulated observatory."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test.utils import override_settings
from django.urls import reverse
from tom_observations.models import ObservationRecord

from ... import demo
from ... import demo_candidate as candidate
from ...conf import manage, web_address
from ...interrupt import terminable
from ...simulator import Observatory
from ..command import LibraryCommand
from ..endings import explained_endings

NIGHTS = 2  # in which the candidate is observed
FLAGS = {
    '--remove': 'delete everything that the demo made',
    '--among-real-records': 'run it even if this TOM has real observation records (it does not '
    'change them)',
}


@contextmanager
def at(sky: Observatory) -> Iterator[None]:
    """While this lasts, `sky` alone is asked, and nothing that it says is kept for later.

    tomtoolkit keeps what a portal says about its instruments in the cache.
    """
    facilities = {name: sky.settings() for name in demo.FACILITIES}
    services = {candidate.SERVICE: sky.broker_settings()}
    own = {'NEW_TARGETS': {'permission': 'OPEN'}, 'MOST_SUBMISSIONS': {'run': 1, 'day': 10**6}}
    with override_settings(
        FACILITIES=settings.FACILITIES | facilities,
        DATA_SERVICES=getattr(settings, 'DATA_SERVICES', {}) | services,
        TOM_AUTO=getattr(settings, 'TOM_AUTO', {}) | own,
        CACHES={'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache',
                            'LOCATION': f'demo {sky.url}'}},
    ):  # fmt: skip
        yield


class Command(LibraryCommand):
    help = (
        'Makes a few invented targets and observations, starts a simulated observatory and a broker '
        'on this machine, and runs updatedata, updatetargets and updatecadences for them. A second '
        'demo stores nothing twice.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        for flag, purpose in FLAGS.items():
            parser.add_argument(flag, action='store_true', help=purpose)

    def handle(self, **options: object) -> None:
        if options['remove']:
            self.stdout.write(f'Deleted the {demo.remove_everything()} records of the demo.')
            candidate.remove_candidate()
            return
        count = demo.real_records().count()
        if count and not options['among_real_records']:
            raise CommandError(
                f'This TOM has {count} real observation records, and the demo would add invented '
                f'ones. If you want that: {manage("demo --among-real-records")} (and later: '
                f'{manage("demo --remove")}).',
                returncode=2,
            )
        with explained_endings('To delete the demo: ' + manage('demo --remove')), terminable():
            self.show(self.demonstrated())

    def demonstrated(self) -> list[ObservationRecord]:
        """Let everything happen; the records that came of it."""
        records = demo.make_records()
        with Observatory() as sky, at(sky):
            demo.observe(sky, records)
            self.stdout.write(f'A simulated observatory runs at {sky.url}.')
            try:
                self.update(records)
                records += self.follow_a_candidate(sky)
            finally:
                demo.settle_records()
            self.stdout.write(f'The observatory got {len(sky.requests_seen)} requests.\n')
        return records

    def update(self, records: list[ObservationRecord]) -> None:
        """Run updatedata for the targets of `records`."""
        self.run(
            'updatedata',
            target_id=sorted({record.target_id for record in records}),
            facility=sorted({record.facility for record in records}),
            recheck=True,
        )

    def follow_a_candidate(self, sky: Observatory) -> list[ObservationRecord]:
        """Let a candidate become a target, be observed by a cadence, and its frames be downloaded."""
        if reason := candidate.what_is_missing():
            self.stdout.write(f'\n{reason}, so new candidates and cadences are not shown.')
            return []
        sky.announce(candidate.TRANSIENT, **candidate.PLACE)
        candidate.observe_candidate(sky)
        candidate.forget_what_is_open()  # of a demo that was killed
        try:
            self.stdout.write(
                '\nA broker announces a supernova, and a saved query looks for supernovae.'
            )
            self.run('updatetargets', query=[str(candidate.save_query())])
            cadence = candidate.its_cadence(candidate.its_target())
            candidate.observe_candidate(sky)
            if len(candidate.its_records()) < NIGHTS:
                self.stdout.write(
                    '\nIt is observed, and a cadence says: once more each night. What it submits is '
                    'observed as well.'
                )
                self.run('updatecadences', cadence=[cadence.pk], switched_off=True)
                candidate.observe_candidate(sky)
        finally:
            candidate.forget_what_is_open()
        self.stdout.write('\nIts frames are downloaded.')
        self.update(candidate.its_records())
        return candidate.its_records()

    def run(self, command: str, **options: object) -> None:
        """Run another command, as cron does."""
        self.stdout.write(f'$ {command}')
        call_command(command, stdout=self.stdout, **options)

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
        address, start = web_address(), 'Look at them here'
        if not address:  # the web server of a TOM that others can reach runs already
            address = 'http://127.0.0.1:8000'
            start = f'Start the web server:\n\n    {manage("runserver")}\n\nthen open'
        pages = dict.fromkeys(record.target_id for record in (records[0], records[-1]))
        links = [f'{address}{reverse("targets:detail", args=[pk])}?tab=manage-data' for pk in pages]
        self.stdout.write(
            f'\nThe files are in {settings.MEDIA_ROOT}. {start}: {" and ".join(links)}\n'
            f'To delete the demo: {manage("demo --remove")}'
        )
