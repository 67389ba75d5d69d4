"""`manage.py backup`: the database and the data in one file."""

import shlex
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import CommandError

from ...backups.backup import back_up, for_the_owner_alone, usual_place
from ...backups.database_copies import BackupError
from ...conf import manage
from ...errors import SyncError
from ...interrupt import terminable
from ..command import LibraryCommand
from ..endings import explained_endings

STOPPED = 'No unfinished backup is left.'  # perhaps one that is whole


class Command(LibraryCommand):
    help = (
        'Copies the database and the data files into one file, and proves that it can be read. '
        'Nothing has to stop for it. Keep .env as well: without it, stored credentials cannot be read.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            '--to',
            type=Path,
            metavar='DIRECTORY',
            help='directory for the backup (default: backups/ next to manage.py)',
        )
        parser.add_argument(
            '--keep', type=int, metavar='N', help='then delete all but the newest N backups there'
        )
        parser.add_argument('--no-data', action='store_true', help='the database alone')

    def handle(self, **options: object) -> None:
        keep = options['keep']
        if keep is not None and keep < 1:
            raise CommandError('--keep must be at least 1.', returncode=2)
        try:
            with explained_endings(STOPPED), terminable(), for_the_owner_alone():
                made = back_up(options['to'] or usual_place(), keep, not options['no_data'])
        except (BackupError, SyncError) as error:
            raise CommandError(str(error)) from error
        data = 'no data files' if made.files is None else f'{made.files} data files'
        self.stdout.write(f'{made.path}: {made.size / 1e6:.1f} MB, the database and {data}.')
        if made.missing:
            self.stdout.write(
                f'Not in it: {len(made.missing)} data products that have no file, such as {made.missing[0]}.'
            )
        if made.deleted:
            self.stdout.write(f'Deleted: {", ".join(made.deleted)}.')
        restoring = manage(f'restore {shlex.quote(_named(made.path))}')
        self.stdout.write(f'Copy it to another machine, with .env. To restore it: {restoring}')


def _named(backup: Path) -> str:
    """What `restore` knows it by: its name is enough in the usual place alone."""
    path = backup.resolve()
    return path.name if path.parent == usual_place().resolve() else str(path)
