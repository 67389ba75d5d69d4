"""A real Docker engine for tests, with everything of its own in one directory.

The machine's own engine, if it has one, is left alone: this one has a socket, images,
containers and address ranges of its own, and is gone with its directory. What it mounts is in a
mount name space of its own, and goes with its last process.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import stand_ins
from needs import need

PATH = '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin'
STARTS_WITHIN = 60  # seconds, on a busy machine
COMPOSE = Path(sys.executable).with_name('docker-compose')
PYTHON_IMAGE, POSTGRES_IMAGE = 'stand-in-python', 'stand-in-postgres'
NGINX_IMAGE, REDIS_IMAGE = 'stand-in-nginx', 'stand-in-redis'
BRIDGE, ADDRESS = 'tomtest0', '10.214.0.1/24'
HERE = Path(__file__).parent / 'containers'

#: What is built and torn down for minutes on many a disk takes seconds in memory.
IN_MEMORY = 'mount -t tmpfs -o size=8g none "$0" && exec "$@"'
MEMORY_FOR_THAT = 12 * 2**30  # of which 3 are used


class Engine:
    """dockerd in `directory`, with Compose as a plugin of its client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / 'docker.sock'
        self.log = directory / 'log'
        self.environment = {
            'PATH': PATH,
            'HOME': str(directory),
            'DOCKER_HOST': f'unix://{self.socket}',
        }
        plugins = directory / '.docker' / 'cli-plugins'
        plugins.mkdir(parents=True)
        (plugins / 'docker-compose').symlink_to(COMPOSE)

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        place = self.directory
        self.remove_bridge()
        self.firewall = self.run('iptables-save').stdout  # dockerd adds to it, and never removes
        for words in (('link', 'add', BRIDGE, 'type', 'bridge'), ('link', 'set', BRIDGE, 'up')):
            self.run('ip', *words)
        self.run('ip', 'address', 'add', ADDRESS, 'dev', BRIDGE)
        with self.log.open('w') as log:
            self.daemon = subprocess.Popen(
                [
                    *self.own_mounts(),
                    'dockerd',
                    *('--data-root', place / 'data', '--exec-root', place / 'exec'),
                    *('--pidfile', place / 'pid', '--host', f'unix://{self.socket}'),
                    *('--exec-opt', 'native.cgroupdriver=cgroupfs'),
                    *('--init-path', '/usr/bin/tini-static'),
                    *('--default-ulimit', 'nofile=20000:20000'),
                    *('--bridge', BRIDGE),
                    *('--default-address-pool', 'base=10.213.0.0/16,size=24'),
                ],
                env=os.environ | {'PATH': PATH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + STARTS_WITHIN
        while self.run('docker', 'info', check=False).returncode:
            assert self.daemon.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def own_mounts(self) -> list[str]:
        """The start of a command whose mounts nobody else sees; its data may be in memory."""
        data = self.directory / 'data'
        data.mkdir()
        in_memory = ['sh', '-ec', IN_MEMORY, str(data)]
        return ['unshare', '--mount', *(in_memory if free_memory() > MEMORY_FOR_THAT else [])]

    def stop(self) -> None:
        """Remove every container, and stop the daemon and all that it started."""
        containers = self.run('docker', 'ps', '-aq', check=False).stdout.split()
        if containers:
            self.run('docker', 'rm', '--force', '--volumes', *containers, check=False)
        self.run('docker', 'network', 'prune', '--force', check=False)
        self.daemon.terminate()
        self.daemon.wait(timeout=60)
        self.remove_bridge()
        self.run('iptables-restore', input=self.firewall, stdin=None, check=False)

    def remove_bridge(self) -> None:
        """Take away the bridge that a build reaches the network through."""
        self.run('ip', 'link', 'delete', BRIDGE, check=False)

    def run(
        self, *command: str, check: bool = True, timeout: float = 600, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to this engine; all that it prints is in `stdout`."""
        done = subprocess.run(
            command,
            **{'env': self.environment, 'stdin': subprocess.DEVNULL, 'text': True} | options,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f'{command}: {done.stdout[-4000:]}'
        return done

    def add_image(self, name: str, program: str, packages: tuple[str, ...], path: str) -> None:
        """The image `name` from these packages; `containers/<name>/` has the rest of it."""
        changes = [f'ENV PATH={path}/usr/local/bin:{PATH} SSL_CERT_FILE={stand_ins.CERTIFICATES}']
        changes += [f'CMD ["{program}"]']
        self.run(
            'docker',
            'import',
            *(word for change in changes for word in ('--change', change)),
            '-',
            f'{name}-packages',
            input=stand_ins.root_of(*packages),
            stdin=None,
            text=False,
        )
        self.run('docker', 'build', '-t', name, '--network', 'none', str(HERE / name))


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine with the stand-ins for the official images, for as long as this lasts."""
    refuse_unfit_machine()
    with TemporaryDirectory(prefix='docker-') as directory:
        own = Engine(Path(directory))
        own.start()
        try:
            own.add_image(PYTHON_IMAGE, 'python', stand_ins.LIKE_PYTHON, '')
            programs = f'{stand_ins.postgresql_programs()}:'
            own.add_image(POSTGRES_IMAGE, '/entrypoint', stand_ins.like_postgres(), programs)
            own.add_image(NGINX_IMAGE, 'nginx', stand_ins.like_nginx(), '')
            own.add_image(REDIS_IMAGE, 'redis-server', stand_ins.like_redis(), '')
            yield own
        finally:
            own.stop()


def free_memory() -> int:
    """The bytes of memory that programs may still take without another's being swapped out."""
    text = Path('/proc/meminfo').read_text(encoding='ascii')
    return int(text.partition('MemAvailable:')[2].split()[0]) * 1024


def refuse_unfit_machine() -> None:
    """Skip the test where no engine can run, or fail where every test must run."""
    need(os.geteuid() == 0, 'needs root, to run a Docker engine of its own')
    missing = [
        name
        for name in ('dockerd', 'docker', 'ip', 'iptables', 'unshare')
        if not shutil.which(name, path=PATH)
    ]
    need(not missing, f'needs {", ".join(missing)} (Debian packages docker.io, iproute2, iptables)')
    need(not Path('/run/docker.pid').exists(), 'needs a machine whose own engine does not run')
    need(Path('/usr/bin/tini-static').exists(), 'needs tini-static (Debian package tini)')
    need(shutil.which('dpkg-query'), 'needs a Debian, whose packages the images are made from')
