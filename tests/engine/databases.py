"""The TOM's database as another program sees it: to lock it, to stop it, to put it elsewhere."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, connections

TIMEOUT = 60  # seconds that any program of PostgreSQL may take

#: Another program that keeps the database to itself: for so many seconds from when it says so.
LOCKS = {
    'sqlite': """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
database.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
time.sleep(float(sys.argv[2]))
""",
    'postgresql': """
import psycopg, sys, time
database = psycopg.connect(sys.argv[1])
database.execute('LOCK TABLE tom_observations_observationrecord IN ACCESS EXCLUSIVE MODE')
print('locked', flush=True)
time.sleep(float(sys.argv[2]))
""",
}


def only_on(vendor: str) -> Callable[[Callable], Callable | None]:
    """Leave a test out where the database is another: there is nothing to test, so no skip."""
    return lambda test: test if connection.vendor == vendor else None


def where() -> str:
    """The database of this test, as the programs of that database call it."""
    database = connection.settings_dict
    if connection.vendor == 'sqlite':
        return str(database['NAME'])
    return 'postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}'.format(**database)


@contextmanager
def elsewhere(**place: object) -> Iterator[None]:
    """While this lasts, the TOM's database is at `place`: fields of Django's DATABASES."""
    database = connection.settings_dict
    before = dict(database)
    connections.close_all()
    database.update(place)
    try:
        yield
    finally:
        connections.close_all()
        database.update(before)


class Lock:
    """Another process that holds the database's lock for `seconds` from `take` on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen | None = None

    def take(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-c', LOCKS[connection.vendor], where(), str(self.seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == 'locked\n'

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate(timeout=10)


@contextmanager
def lock_for(seconds: float) -> Iterator[Lock]:
    """A lock to take; its process has ended when this has."""
    lock = Lock(seconds)
    try:
        yield lock
    finally:
        lock.end()
