"""A TOM in containers, and an observatory beside it: what the tests of it do with Compose."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from baking import bake
from docker_engine import (
    HERE,
    NGINX_IMAGE,
    POSTGRES_IMAGE,
    PYTHON_IMAGE,
    REDIS_IMAGE,
    Engine,
)
from postgres import free_port

FRAMES_A_REQUEST = 2
WITHIN = 120  # seconds, for what is waited for
#: What is to be up, and is killed; all but the last have health checks.
WATCHED = ('web', 'worker', 'broker', 'database', 'observatory')

#: An observatory beside the TOM. Compose reads this file after compose.yaml.
OVERRIDE = """
services:
  observatory:
    image: my_tom
    command: ["python", "/stage/observatory.py", "{began}"]
    environment: {{PYTHONPATH: /tom}}
    volumes: ["./stage:/stage:ro"]
    healthcheck: {{disable: true}}
    restart: unless-stopped
    init: true
"""

OBSERVATORY = """
LCO_PORTAL_URL=http://observatory:8001
LCO_ARCHIVE_URL=http://observatory:8001
LCO_API_KEY=demo-token
"""

#: Makes records for these requests of the observatory, all of one target.
ADD_RECORDS = """
from tom_targets.models import Target
from tom_observations.models import ObservationRecord
target, _ = Target.objects.get_or_create(
    name='M 31', defaults={{'type': 'SIDEREAL', 'ra': 10.7, 'dec': 41.3, 'permissions': 'OPEN'}})
for number in range({first}, {last} + 1):
    ObservationRecord.objects.create(target=target, facility='LCO', observation_id=str(number),
        status='', parameters={{}})
"""

#: A hook for every saved product, which writes down where it ran.
HOOK = """
import socket

def note(products):
    with open('logs/hooks', 'a') as file:
        for product in products:
            print(socket.gethostname(), product.data.name, file=file)
"""

#: What the TOM holds: the frames in the table with their files' checksums, and every file of data but the pictures.
HOLDS = """
import hashlib, json, pathlib
from django.apps import apps
from django.conf import settings
from tom_dataproducts.models import DataProduct
root = pathlib.Path(settings.MEDIA_ROOT)
files = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
         for path in root.rglob('*') if path.is_file() and '.tom-' not in str(path)
         and path.relative_to(root).parts[0] != 'previews'}  # pictures, drawn when somebody looks
rows = {model._meta.label: model._default_manager.count() for model in apps.get_models()
        if model.__name__ not in ('TaskWorker', 'Lease')}  # these live
frames = sorted((product.observation_record.observation_id, product.product_id, product.data.name)
                for product in DataProduct.objects.all())
print('HOLDS' + json.dumps([rows, frames, files]))
"""


@dataclass(frozen=True)
class Holdings:
    """What a TOM has: rows by table, frames as (request, frame, file), checksums by file."""

    rows: dict[str, int]
    frames: list[list[str]]
    files: dict[str, str]


class Tom:
    """A TOM in containers: its project on the host, and the engine that runs it."""

    def __init__(
        self, place: Path, engine: Engine, env: dict[str, str] | None = None, **answers: str
    ) -> None:
        """Bake one in `place`; `env` is what the hook finds in its environment beside the engine."""
        self.engine, self.added = engine, 0
        address = f'127.0.0.1:{free_port()}'
        self.url = f'http://{address}'
        here = {
            'PYTHON_IMAGE': PYTHON_IMAGE,
            'POSTGRES_IMAGE': POSTGRES_IMAGE,
            'NGINX_IMAGE': NGINX_IMAGE,
            'REDIS_IMAGE': REDIS_IMAGE,
            'COMPOSE_PROJECT_NAME': answers.get('project_slug', 'my_tom'),
            'TOM_ADDRESS': address,
        }
        env = engine.environment | here | (env or {})
        made = bake(place, env=env, timeout=600, environment='docker', **answers)
        assert made.status == 0, made.printed
        self.project, self.said = made.project, made.printed
        self.set(*(f'{name}={value}' for name, value in here.items()))

    def set(self, *lines: str) -> None:
        """Add lines to .env, where the last one of a name holds."""
        with (self.project / '.env').open('a') as file:
            file.write('\n'.join(lines) + '\n')

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a file of the project as its owner may."""
        text = (self.project / file).read_text(encoding='utf-8')
        assert old in text
        (self.project / file).write_text(text.replace(old, new), encoding='utf-8')

    def add_observatory(self) -> None:
        """A simulated one in a container of its own, with requests that were observed just now."""
        unwanted = shutil.ignore_patterns('stand-in-*')
        shutil.copytree(HERE, self.project / 'stage', ignore=unwanted)
        began = datetime.now(UTC) + timedelta(minutes=1)
        override = OVERRIDE.format(began=began.isoformat())
        (self.project / 'compose.override.yaml').write_text(override)
        self.set(*OBSERVATORY.split())

    def add_hook(self) -> None:
        """Have each saved product noted."""
        self.edit(
            'my_tom/settings.py', 'tom_dataproducts.hooks.data_product_post_save', 'app.hooks.note'
        )
        with (self.project / 'app' / 'hooks.py').open('a', encoding='utf-8') as file:
            file.write(HOOK)

    # --- commands ---

    def compose(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` in the project, as its user types it."""
        return self.engine.run('docker', 'compose', *words, cwd=self.project, **options)

    def inside(self, service: str, *words: str, **options: object) -> str:
        """What a command prints in the container of `service`."""
        return self.compose('exec', '-T', service, *words, **options).stdout

    def manage(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py in the container of the web server."""
        return self.compose('exec', '-T', 'web', 'python', 'manage.py', *words, **options)

    def type_in(self, section: str, check: bool = True) -> str:
        """Type the commands of a section of the guide; what they print."""
        text = (self.project / 'DOCKER.md').read_text(encoding='utf-8')
        section = text.partition(f'\n## {section}\n')[2].partition('\n## ')[0]
        commands = re.findall(r'```sh\n(.*?)```', section, re.DOTALL)
        assert commands
        return self.engine.run(
            'sh', '-ec', '\n'.join(commands), cwd=self.project, check=check
        ).stdout

    def up(self) -> None:
        """Bring it up, and wait until all is healthy."""
        done = self.compose('up', '--detach', '--wait', check=False)
        assert done.returncode == 0, done.stdout + self.compose('logs').stdout

    def down(self) -> list[str]:
        """Take it down with its volumes; the containers, each with its exit status."""
        begun = f'{time.time():.3f}'
        self.compose('--profile', '*', 'down', '--volumes')
        since = ('--since', begun, '--until', f'{time.time():.3f}')
        form = '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}'
        what = ('--filter', 'event=die', '--format', form)
        return self.engine.run('docker', 'events', *since, *what).stdout.splitlines()

    def update(self, *options: str) -> dict:
        """What a run of updatedata reports."""
        printed = self.manage('updatedata', '--json', *options, check=False).stdout
        return json.loads(printed[printed.index('{') :])

    @contextmanager
    def updating(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """A run of updatedata at work."""
        command = ['docker', 'compose', 'exec', '-T', 'web', 'python', 'manage.py', 'updatedata']
        command += options
        with subprocess.Popen(
            command, cwd=self.project, env=self.engine.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as run:  # fmt: skip
            try:
                yield run
            finally:
                run.kill()

    # --- processes ---

    def process_of(self, service: str) -> int:
        """The main process of a container, as the host counts. 0 where none runs."""
        container = self.compose('ps', '-aq', service).stdout.strip()
        form = '{{.State.Pid}}'
        return int(self.engine.run('docker', 'inspect', '-f', form, container).stdout)

    def is_well(self) -> bool:
        """Whether every container of WATCHED runs, and those with a health check are healthy."""
        shown = self.compose('ps', '--format', '{{.Service}} {{.Status}}').stdout
        states = dict(line.split(' ', 1) for line in shown.splitlines())
        return all(
            states.get(service, '').startswith('Up')
            and ('(healthy)' in states[service] or service == 'observatory')
            for service in WATCHED
        )

    def wait_for(self, what: str, holds: Callable[[], bool], every: float = 1) -> None:
        """Wait until `holds()`; otherwise say `what` is missing, and show all logs.

        Each look costs a third of a second of CPU, so it looks only once in `every` seconds.
        """
        end = time.monotonic() + WITHIN
        while not holds():
            if time.monotonic() > end:
                logs = self.compose('logs', '--tail', '40', check=False).stdout[-6000:]
                raise AssertionError(f'{what} within {WITHIN} s:\n{logs}')
            time.sleep(every)

    # --- what it has ---

    def add_records(self, count: int) -> None:
        """Records for the next `count` requests of the observatory."""
        first, self.added = self.added + 1, self.added + count
        self.manage('shell', '-c', ADD_RECORDS.format(first=first, last=self.added))

    def frames(self) -> int:
        """How many frames the table has; at once, as no Django has to start for it."""
        query = 'SELECT count(*) FROM tom_dataproducts_dataproduct'
        return int(self.inside('database', 'psql', '-U', 'tom', '-Atc', query))

    def noted(self) -> dict[str, list[str]]:
        """The products that the hook got, by the container where it ran."""
        found: dict[str, list[str]] = {}
        for line in self.inside('web', 'cat', 'logs/hooks').splitlines():
            host, name = line.split()
            found.setdefault(host, []).append(name)
        return found

    def has_all_frames(self) -> bool:
        """Whether as many frames are there as the records have."""
        return self.frames() == self.added * FRAMES_A_REQUEST

    def holds(self) -> Holdings:
        """What it has."""
        printed = self.manage('shell', '--verbosity', '0', '-c', HOLDS).stdout
        return Holdings(*json.loads(printed.partition('HOLDS')[2]))

    def is_complete(self) -> Holdings:
        """Assert that every frame of every record is there once, whole, and nothing else is."""
        has = self.holds()
        numbers = [request for request, _, _ in has.frames]
        wanted = [str(number) for number in range(1, self.added + 1)] * FRAMES_A_REQUEST
        assert sorted(numbers) == sorted(wanted), self.inside(
            'database',
            'psql',
            '-U',
            'tom',
            '-c',
            'SELECT * FROM tom_auto_recordsync WHERE failures > 0',
        )
        assert {name for _, _, name in has.frames} == set(has.files)
        assert len({frame for _, frame, _ in has.frames}) == len(has.frames)
        return has
