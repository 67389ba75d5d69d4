"""Turns what ends a run early into an exit status and a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import OperationalError, ProgrammingError

from ..conf import manage
from ..interrupt import Terminated
from ..redact import redact
from ..sync.errors import AnotherRun

WRONG_USAGE = 2
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later


@contextmanager
def explained_endings(after: str = 'The next run does the rest.') -> Iterator[None]:
    """Raise CommandError in place of what a person could not read. `after`: what a stop leaves."""
    try:
        yield
    except AnotherRun as busy:
        raise CommandError(str(busy), returncode=BUSY) from None
    except KeyboardInterrupt as stop:
        number = SIGTERM if isinstance(stop, Terminated) else SIGINT
        raise CommandError(
            f'Stopped by {number.name}. {after}',
            returncode=128 + number,  # as a shell has it
        ) from None
    except ImproperlyConfigured as mistake:
        raise CommandError(str(mistake), returncode=WRONG_USAGE) from None
    except (OperationalError, ProgrammingError) as error:
        raise CommandError(
            f'{redact(str(error))}\nIs the database up? If it is, run: {manage("migrate")}'
        ) from error
