"""A real Redis server for tests, started from the machine's own program."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING

from needs import need
from postgres import free_port

if TYPE_CHECKING:
    import redis

SECONDS = 20  # that it may take to start


class Redis:
    """A server on a port of its own, which keeps nothing on the disk."""

    def __init__(self, directory: Path) -> None:
        need(shutil.which('redis-server'), 'Redis is not installed (Debian: redis-server)')
        self._directory, self.port = directory, free_port()
        self.url = f'redis://127.0.0.1:{self.port}/0'

    @cached_property
    def client(self) -> 'redis.Redis':
        """A client of it, where there is one: the benchmark has none, and needs none."""
        import redis

        return redis.Redis(port=self.port)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = f'--port {self.port} --bind 127.0.0.1 --appendonly no --save'.split()
        self._process = subprocess.Popen(
            ['redis-server', *words, '', '--dir', self._directory], stdout=subprocess.DEVNULL
        )
        end = monotonic() + SECONDS
        while not self._answers():
            assert monotonic() < end, 'Redis does not start'
            sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=1) as line:
                line.sendall(b'PING\r\n')
                return line.recv(64).startswith(b'+PONG')
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it as a crash does: all that it holds is lost."""
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A server that runs as long as this lasts, and leaves nothing behind."""
    with TemporaryDirectory(prefix='redis-') as directory:
        own = Redis(Path(directory))
        own.start()
        try:
            yield own
        finally:
            own.stop()
