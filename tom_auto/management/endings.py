"""Turns what ends a run early into an exit status and a sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import OperationalError, ProgrammingError

from ..conf import manage
from ..db_retry import Trouble, trouble_of
from ..errors import AnotherRun
from ..interrupt import Terminated
from ..redact import redact

WRONG_USAGE = 2
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later


@contextmanager
def explained_endings(
    after: str | Callable[[], str] = 'The next run does the rest.',
) -> Iterator[None]:
    """Raise CommandError in place of what a person could not read. `after`: what a stop leaves."""
    try:
        yield
    except AnotherRun as busy:
        raise CommandError(str(busy), returncode=BUSY) from None
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Terminated) else SIGINT
        raise CommandError(
            f'Stopped by {number.name}. {after() if callable(after) else after}',
            returncode=128 + number,  # as a shell has it
        ) from None
    except ImproperlyConfigured as mistake:
        raise CommandError(str(mistake), returncode=WRONG_USAGE) from None
    except (OperationalError, ProgrammingError) as error:
        raise CommandError(f'{redact(str(error))}\n{_advice(trouble_of(error))}') from error


def _advice(trouble: Trouble) -> str:
    if trouble == Trouble.LOCKED:
        return 'Another program keeps the database locked. The next run tries again.'
    if trouble == Trouble.NOT_MIGRATED:
        return f'The tables are not those of this version. Run: {manage("migrate")}'
    return 'Is the database up, and are its settings right? See DATABASES in settings.py and .env.'
