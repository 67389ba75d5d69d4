"""The TOM's database as another program sees it: to lock it, to stop it, to put it elsewhere."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.db import connection, connections
from needs import need

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


class Server:
    """A PostgreSQL server in `directory`, for this machine and without a password."""

    user = 'postgres'

    def __init__(self, directory: Path) -> None:
        self.programs = programs()
        self.data = directory / 'data'
        self.log = directory / 'server.log'
        self.directory = directory
        self.port = free_port()

    def create(self) -> None:
        """Make the server's files, which need not survive the machine."""
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.user)
        self.run('initdb', '-D', self.data, '-U', self.user, '-A', 'trust', '--no-sync')

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f'-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off'
        self.run('pg_ctl', 'start', '-w', '-D', self.data, '-l', self.log, '-o', options)

    def stop(self) -> None:
        """Stop it as a crash does: every connection is cut, and nothing is put in order."""
        self.run('pg_ctl', 'stop', '-m', 'immediate', '-w', '-D', self.data)

    def copy(self, url: str) -> None:
        """Copy the database at `url` into this server's own, `postgres`."""
        dump = self.run('pg_dump', '--no-owner', url)
        own = f'postgresql://{self.user}@127.0.0.1:{self.port}/postgres'
        self.run('psql', '-q', '-v', 'ON_ERROR_STOP=1', own, text=dump)

    def run(self, program: str, *arguments: object, text: str = '') -> str:
        """Run a program of PostgreSQL, which refuses to be run by root; what it prints."""
        command = [str(self.programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ['runuser', '-u', self.user, '--', *command]
        # A server that pg_ctl starts would keep a pipe open for as long as it runs.
        out = subprocess.DEVNULL if program == 'pg_ctl' else subprocess.PIPE
        done = subprocess.run(
            command, input=text, stdout=out, stderr=out, text=True, cwd='/', timeout=TIMEOUT,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f'{program} {done.returncode}: {done.stderr}'
        return done.stdout or ''


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs as long as this lasts, and leaves nothing behind."""
    # Not in pytest's own directory: that is closed to the user as whom root runs the server.
    with TemporaryDirectory(prefix='postgresql-') as directory:
        own = Server(Path(directory))
        own.create()
        own.start()
        try:
            yield own
        finally:
            own.stop()


def programs() -> Path:
    """Where the programs of the newest PostgreSQL of this machine are."""
    on_path = shutil.which('initdb')
    debian = sorted(
        Path('/usr/lib/postgresql').glob('*/bin/initdb'), key=lambda file: int(file.parts[-3])
    )
    need(on_path or debian, 'PostgreSQL is not installed')
    return Path(on_path).resolve().parent if on_path else debian[-1].parent


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]
