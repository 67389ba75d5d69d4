"""A real PostgreSQL server for tests, started from the machine's own programs.

`python postgres.py COMMAND…` runs a command with the address of one in DATABASE_URL.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from needs import need

TIMEOUT = 60  # seconds that any program of PostgreSQL may take


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

    @property
    def url(self) -> str:
        """The server's own database, as DATABASE_URL has it."""
        return f'postgresql://{self.user}@127.0.0.1:{self.port}/postgres'

    @property
    def where(self) -> tuple[str, ...]:
        """The options by which the programs of PostgreSQL find it."""
        return '-h', '127.0.0.1', '-p', str(self.port), '-U', self.user

    def copy(self, url: str) -> None:
        """Copy the database at `url` into this server's own, `postgres`."""
        dump = self.run('pg_dump', '--no-owner', url)
        self.run('psql', '-q', '-v', 'ON_ERROR_STOP=1', self.url, text=dump)

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
    with TemporaryDirectory(prefix='postgresql-', dir=open_directory()) as directory:
        own = Server(Path(directory))
        own.create()
        own.start()
        try:
            yield own
        finally:
            own.stop()


def open_directory() -> str | None:
    """A directory that the server's user can reach; None: the usual one for temporary files.

    A clone in root's home is closed to every other user, and so is all that is in it.
    """
    usual = Path(gettempdir())
    closed = os.geteuid() == 0 and any(not way.stat().st_mode & 0o001 for way in usual.parents)
    return '/tmp' if closed else None


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


if __name__ == '__main__':
    with server() as _own:
        _environment = os.environ | {'DATABASE_URL': _own.url}
        sys.exit(subprocess.run(sys.argv[1:], env=_environment, check=False).returncode)
