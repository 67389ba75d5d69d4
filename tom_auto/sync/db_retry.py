"""Waits for a database that has gone away, or that another program keeps to itself."""

from collections.abc import Callable
from functools import wraps
from time import monotonic, sleep
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

P, T = ParamSpec('P'), TypeVar('T')

PATIENCE = 60  # seconds: a server that is started again is back by then


def patient(act: Callable[P, T]) -> Callable[P, T]:
    """Have `act`, which reads or is all or nothing, tried again while the database is away."""

    @wraps(act)
    def until_it_is_back(*args: P.args, **kwargs: P.kwargs) -> T:
        end = monotonic() + PATIENCE
        while True:
            try:
                return act(*args, **kwargs)
            except (OperationalError, InterfaceError):
                if monotonic() > end:
                    raise
                connection.close()
                sleep(1)

    return until_it_is_back


@patient
def connect_again() -> None:
    """Replace a connection that has broken, as soon as the database is there."""
    connection.close_if_unusable_or_obsolete()
    connection.ensure_connection()
