"""Waits for a database that has gone away, or that another program keeps to itself."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from functools import wraps
from sqlite3 import SQLITE_BUSY, SQLITE_ERROR, SQLITE_LOCKED
from threading import Lock
from time import monotonic, sleep

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
)
from django.db import Error as DatabaseTrouble
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .stand_in import in_the_place_of

PATIENCE = 60  # seconds: a server that is started again is back by then
#: Milliseconds. What another program keeps to itself for longer fails one record.
LONGEST_WAITS = {'lock_timeout': 20_000, 'statement_timeout': 60_000}
#: SQLSTATE of PostgreSQL: no lock within lock_timeout, no end within statement_timeout.
LOCK_STATES = ('55P03', '57014')
#: Held by a thread beside the main one while it has a connection, and while a process is forked. A
#: process forked meanwhile takes that connection's locks for its own, and so takes none itself: when the
#: last connection elsewhere is closed, SQLite removes the log that the process writes into, and what it
#: has written is lost without an error. See https://www.sqlite.org/howtocorrupt.html, "across a fork".
no_fork = Lock()


class Trouble(Enum):
    """What is wrong with the database, seen from the TOM."""

    LOCKED = 'another program keeps it locked'
    AWAY = 'it does not answer'
    NOT_MIGRATED = 'a table or a column is missing'


def trouble_of(error: DatabaseError | InterfaceError) -> Trouble:
    """What is wrong, by the codes of SQLite and of PostgreSQL: each says it in other words."""
    cause = error.__cause__
    code = getattr(cause, 'sqlite_errorcode', 0) & 0xFF  # without what SQLite adds to it
    if code in (SQLITE_BUSY, SQLITE_LOCKED) or getattr(cause, 'sqlstate', '') in LOCK_STATES:
        return Trouble.LOCKED
    if code == SQLITE_ERROR or isinstance(error, ProgrammingError):
        return Trouble.NOT_MIGRATED
    return Trouble.AWAY


def patient(
    act: Callable, waits_for: Container[Trouble] = (Trouble.LOCKED, Trouble.AWAY)
) -> Callable:
    """Have `act`, which reads or is all or nothing, tried again while the database has trouble."""

    @wraps(act)
    def until_it_is_back(*args: object, **kwargs: object) -> object:
        end = monotonic() + PATIENCE
        while True:
            try:
                return act(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                if monotonic() > end or trouble_of(error) not in waits_for:
                    raise
                connection.close()
                sleep(1)

    return until_it_is_back


@contextmanager
def brief_connection() -> Iterator[None]:
    """For a thread beside the main one: it uses the database in here, and has no connection after it."""
    with no_fork:
        try:
            yield
        finally:
            with suppress(Exception):  # it may be broken
                connection.close()


@contextmanager
def limited_waits() -> Iterator[None]:
    """Let no statement wait for the database without an end while this lasts: rule 11.

    That goes for every connection, also of other threads. SQLite has the `timeout` of the settings.
    """
    connection_created.connect(_limit_waits, dispatch_uid=__name__)
    if connection.connection is not None:
        _limit_waits(connection=connection)
    try:
        yield
    finally:
        connection_created.disconnect(dispatch_uid=__name__)


def _limit_waits(connection: BaseDatabaseWrapper, **rest: object) -> None:
    if connection.vendor == 'postgresql':
        with connection.cursor() as cursor:
            for name, milliseconds in LONGEST_WAITS.items():
                cursor.execute(f'SET {name} = {milliseconds}')


@contextmanager
def nothing_logged() -> Iterator[None]:
    """While this lasts, Django keeps no copy of each statement, as it does where DEBUG is true.

    Nobody reads it here, and on SQLite each copy costs a statement of its own.
    """
    kind = type(connections[DEFAULT_DB_ALIAS])
    with in_the_place_of(kind, 'queries_logged', property(lambda self: self.force_debug_cursor)):
        yield


def is_there_again() -> bool:
    """Whether the database answers, after an error of it: its connection may be broken, and is replaced."""
    try:
        _connect_again()
    except DatabaseTrouble:
        return False
    return True


@patient
def _connect_again() -> None:
    connection.close_if_unusable_or_obsolete()
    connection.ensure_connection()
