"""A real RabbitMQ server for tests, started from Debian's program, on loopback alone."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from needs import need
from postgres import free_port

PROGRAM = Path('/usr/lib/rabbitmq/bin/rabbitmq-server')
SECONDS = 60  # that it may take to start on a busy machine


@contextmanager
def rabbit_server(settings: str = '') -> Iterator[str]:
    """The address of a server that runs as long as this lasts, and leaves nothing behind.

    `settings` are lines of its configuration.
    """
    need(PROGRAM.exists(), 'RabbitMQ is not installed (Debian: rabbitmq-server)')
    with TemporaryDirectory(prefix='rabbit-') as place:
        port, names = free_port(), free_port()
        files = {name: f'{place}/{name.lower()}' for name in ('HOME', 'RABBITMQ_MNESIA_BASE')}
        environment = os.environ | files | {
            'ERL_EPMD_PORT': str(names), 'ERL_EPMD_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODENAME': 'test@localhost', 'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(port), 'RABBITMQ_DIST_PORT': str(free_port()),
            'RABBITMQ_LOGS': '-', 'RABBITMQ_CONF_ENV_FILE': f'{place}/none',
            'RABBITMQ_CONFIG_FILE': f'{place}/own.conf',
            'RABBITMQ_ENABLED_PLUGINS_FILE': f'{place}/plugins',
        }  # fmt: skip
        Path(environment['HOME']).mkdir()
        Path(environment['RABBITMQ_CONFIG_FILE']).write_text(settings)
        log = Path(place) / 'log'
        with log.open('wb') as file:
            # Erlang's name server. RabbitMQ would start it as a daemon that outlives the test.
            epmd, server = (
                subprocess.Popen(
                    [program], env=environment, stdout=file, stderr=file, start_new_session=True
                )
                for program in ('epmd', PROGRAM)
            )
        try:
            end = monotonic() + SECONDS
            while 'completed with' not in log.read_text():
                assert server.poll() is None and monotonic() < end, log.read_text()
                sleep(0.1)
            yield f'amqp://guest:guest@127.0.0.1:{port}//'
        finally:
            for process in (server, epmd):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
