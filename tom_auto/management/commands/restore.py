"""`manage.py restore`: puts a backup in the place of what is there."""

import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import CommandError

from ...backups.backup import alone, backups, for_the_owner_alone, usual_place
from ...backups.database_copies import BackupError
from ...backups.restore import ConsentMissing, NotPutBack, Restored, restore
from ...conf import manage
from ...interrupt import terminable
from ..command import LibraryCommand
from ..endings import explained_endings


class Command(LibraryCommand):
    help = (
        'Puts the database and the data files of a backup in the place of what is there: all of it, or '
        'nothing. The files that were there are kept in a directory beside the data.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            'backup', nargs='?', help='a file, a name in backups/, or - for the standard input'
        )
        parser.add_argument('--yes', action='store_true', help='replace what is in this TOM')

    def handle(self, **options: object) -> None:
        done: list[Restored] = []

        try:
            with (
                explained_endings(lambda: f'{"All of it" if done else "Nothing"} was restored.'),
                terminable(),
                for_the_owner_alone(),
                alone(usual_place()) as work,
            ):
                restore(self.chosen(options['backup'], work), work, options['yes'], done.append)
        except ConsentMissing as error:
            raise CommandError(
                f'{error} A restore replaces all of it. Back it up first: {manage("backup")}. Then stop '
                'the web server and the jobs, and add --yes.'
            ) from error
        except NotPutBack as error:
            raise CommandError(str(error)) from error
        except (BackupError, OSError) as error:
            raise CommandError(f'{error} Nothing was restored.') from error
        finally:
            for restored in done:  # also where it was stopped after that
                self.show(restored)

    def chosen(self, name: str | None, work: Path) -> Path:
        """The file of that name. Raises CommandError, which lists the backups, if there is no such file."""
        place = usual_place()
        if name == '-':
            with (work / 'from standard input').open('xb') as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            return Path(file.name)
        for file in (Path(name), place / name) if name else ():
            if file.is_file():
                return file
        there = ', '.join(file.name for file in backups(place)) or 'none'
        wrong = f'There is no backup {name}' if name else 'Name a backup'
        raise CommandError(f'{wrong}. In {place}: {there}.', returncode=2)

    def show(self, done: Restored) -> None:
        """Print what was done, and what is left to do."""
        data = 'no data files' if done.files is None else f'{done.files} data files'
        self.stdout.write(f'Restored: the database and {data}, as of {done.made}.')
        if done.aside:
            there = ', '.join(map(str, done.aside))
            self.stdout.write(f'The files that were there are in {there}.')
        if done.refused:
            self.stdout.write(
                'Other users of the database have fewer rights than in the backup. Make them with CREATE ROLE, '
                f'and restore again, or grant them by hand: {"; ".join(done.refused)}.'
            )
        if not done.same_key:
            self.stdout.write(
                'SECRET_KEY is not the one of this backup: put the old value into .env, or users have '
                'to enter their credentials for observatories again.'
            )
        self.stdout.write(f'Next: {manage("migrate")}')
