"""`manage.py restore`: puts a backup in the place of what is there."""

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.management.base import BaseCommand, CommandError

from ...backup import backups, for_the_owner_alone, usual_place
from ...conf import manage
from ...database_copies import BackupError
from ...interrupt import terminable
from ...restore import ConsentMissing, Restored, restore
from ..endings import explained_endings


class Command(BaseCommand):
    help = (
        'Puts the database and the data files of a backup in the place of what is there: all of it, or '
        'nothing. The files that were there are kept in a directory beside the data.'
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            'backup', nargs='?', help='a file, a name in backups/, or - for the standard input'
        )
        parser.add_argument('--yes', action='store_true', help='replace what is in this TOM')

    def handle(self, **options: object) -> None:
        try:
            with (
                explained_endings('Nothing was restored.'),
                terminable(),
                for_the_owner_alone(),
                self.chosen(options['backup']) as file,
            ):
                done = restore(file, options['yes'])
        except ConsentMissing as error:
            raise CommandError(
                f'{error} A restore replaces all of it. Back it up first: {manage("backup")}. Then stop '
                'the web server and the jobs, and add --yes.'
            ) from error
        except (BackupError, OSError) as error:
            raise CommandError(f'{error} Nothing was restored.') from error
        self.show(done)

    @contextmanager
    def chosen(self, name: str | None) -> Iterator[Path]:
        """The file of that name. Raises CommandError, which lists the backups, if there is no such file."""
        place = usual_place()
        if name == '-':
            place.mkdir(mode=0o700, exist_ok=True)
            with NamedTemporaryFile(dir=place, prefix='.restore-') as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
                file.flush()
                yield Path(file.name)
            return
        for file in (Path(name), place / name) if name else ():
            if file.is_file():
                yield file
                return
        there = ', '.join(file.name for file in backups(place)) or 'none'
        wrong = f'There is no backup {name}' if name else 'Name a backup'
        raise CommandError(f'{wrong}. In {place}: {there}.', returncode=2)

    def show(self, done: Restored) -> None:
        """Print what was done, and what is left to do."""
        data = 'no data files' if done.files is None else f'{done.files} data files'
        self.stdout.write(f'Restored: the database and {data}, as of {done.made}.')
        if done.aside:
            self.stdout.write(f'The files that were there are in {done.aside}.')
        if not done.same_key:
            self.stdout.write(
                'SECRET_KEY is not the one of this backup: put the old value into .env, or users have '
                'to enter their credentials for observatories again.'
            )
        self.stdout.write(f'Next: {manage("migrate")}')
