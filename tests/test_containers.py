"""The TOM in containers, in a real Docker engine: up, at work, killed, backed up, moved.

One engine and one TOM serve all tests of this file, which run in their order.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from playwright.sync_api import sync_playwright

from baking import bake
from docker_engine import COMPOSE, HERE, PYTHON_IMAGE, Engine, engine
from needs import need
from postgres import free_port
from real_cron import cron_in_name_spaces, need_cron

pytestmark = [pytest.mark.xdist_group('docker'), pytest.mark.timeout(900)]

FRAMES_A_REQUEST = 2
PASSWORD = 'only-for-this-test'
CHROMIUM = '/usr/bin/chromium'
SERVICES = ('web', 'database', 'observatory')

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

SETTINGS = """
PYTHON_IMAGE=stand-in-python
POSTGRES_IMAGE=stand-in-postgres
TOM_ADDRESS=127.0.0.1:{port}
LCO_PORTAL_URL=http://observatory:8001
LCO_ARCHIVE_URL=http://observatory:8001
LCO_API_KEY={token}
"""

#: Makes records for these requests of the observatory, all of one target.
ADD_RECORDS = """
from tom_targets.models import Target
from tom_observations.models import ObservationRecord
target, _ = Target.objects.get_or_create(
    name='M 31', defaults={{'type': 'SIDEREAL', 'ra': 10.7, 'dec': 41.3, 'permissions': 'OPEN'}})
for number in range({first}, {last} + 1):
    ObservationRecord.objects.create(target=target, facility='LCO', observation_id=str(number),
        status='PENDING', parameters={{}})
"""

#: What the TOM holds: the frames in the table with their files' checksums, and every file.
HOLDS = """
import hashlib, json, pathlib
from django.apps import apps
from django.conf import settings
from tom_dataproducts.models import DataProduct
root = pathlib.Path(settings.MEDIA_ROOT)
files = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
         for path in root.rglob('*') if path.is_file()}
rows = {model._meta.label: model._default_manager.count() for model in apps.get_models()}
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

    def __init__(self, project: Path, engine: Engine, port: int) -> None:
        self.project, self.engine = project, engine
        self.url = f'http://127.0.0.1:{port}'
        self.added = 0

    def compose(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` in the project, as its user types it."""
        return self.engine.run('docker', 'compose', *words, cwd=self.project, **options)

    def manage(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py in the container of the web server."""
        return self.compose('exec', '-T', 'web', 'python', 'manage.py', *words, **options)

    def up(self) -> float:
        """Bring it up as the guide says; the seconds until all is healthy."""
        before = time.monotonic()
        self.compose('up', '--detach', '--wait')
        return time.monotonic() - before

    def add_records(self, count: int) -> None:
        """Records for the next `count` requests of the observatory."""
        first, self.added = self.added + 1, self.added + count
        self.manage('shell', '-c', ADD_RECORDS.format(first=first, last=self.added))

    def holds(self) -> Holdings:
        """What it has."""
        printed = self.manage('shell', '--verbosity', '0', '-c', HOLDS).stdout
        return Holdings(*json.loads(printed.partition('HOLDS')[2]))

    def update(self) -> dict:
        """What a run of updatedata reports."""
        printed = self.manage('updatedata', '--json', check=False).stdout
        return json.loads(printed[printed.index('{') :])

    def process_of(self, service: str) -> int:
        """The main process of a container, as the host counts. 0 where none runs."""
        container = self.compose('ps', '-aq', service).stdout.strip()
        form = '{{.State.Pid}}'
        return int(self.engine.run('docker', 'inspect', '-f', form, container).stdout)

    def kill(self, service: str) -> None:
        """SIGKILL, as the kernel sends it where memory is short; `docker kill` means "stop"."""
        os.kill(self.process_of(service), signal.SIGKILL)

    def wait_for(self, what: str, holds: object, seconds: float = 120) -> None:
        """Wait until `holds()`."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f'{what} within {seconds} s:\n{self.tell()}')
            time.sleep(0.2)

    def is_well(self) -> bool:
        """Whether every container of SERVICES runs, and the web server answers."""
        shown = self.compose('ps', '--format', '{{.Service}} {{.Status}}').stdout
        up = [service for service in SERVICES if re.search(rf'^{service} Up', shown, re.MULTILINE)]
        return len(up) == len(SERVICES) and shown.count('(healthy)') >= 2

    def tell(self) -> str:
        """The end of all logs, for a test that fails."""
        return self.compose('logs', '--tail', '40', check=False).stdout[-6000:]

    def is_complete(self) -> None:
        """Assert that every frame of every record is there once, whole, and nothing else is."""
        has = self.holds()
        numbers = [request for request, _, _ in has.frames]
        wanted = [str(number) for number in range(1, self.added + 1)] * FRAMES_A_REQUEST
        assert sorted(numbers) == sorted(wanted)
        assert {name for _, _, name in has.frames} == set(has.files)
        assert len({frame for _, frame, _ in has.frames}) == len(has.frames)


@pytest.fixture(scope='module')
def docker() -> Iterator[Engine]:
    """A Docker engine."""
    with engine() as own:
        yield own


@pytest.fixture(scope='module')
def tom(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Tom:
    """A TOM with PostgreSQL and an observatory, built and up."""
    made = bake(tmp_path_factory.mktemp('docker'), environment='docker', database='postgresql')
    assert made.status == 0, made.printed
    project, port = made.project, free_port()
    shutil.copytree(HERE, project / 'stage', ignore=shutil.ignore_patterns('stand-in-*'))
    began = datetime.now(UTC) + timedelta(minutes=1)
    (project / 'compose.override.yaml').write_text(OVERRIDE.format(began=began.isoformat()))
    with (project / '.env').open('a') as file:
        file.write(SETTINGS.format(port=port, token='demo-token'))
    edit(project / 'schedule.toml', '"hourly"', '"* * * * *"')
    # One request at a time: a run takes seconds, and has a middle to be killed in.
    edit(project / 'my_tom' / 'settings.py', 'AUTOMATION = {}', "AUTOMATION = {'WORKERS': 1}")
    tom = Tom(project, docker, port)
    tom.compose('build', 'web')
    return tom


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding='utf-8')
    assert old in text
    file.write_text(text.replace(old, new), encoding='utf-8')


def test_up_from_a_built_image(tom: Tom) -> None:
    """20 s on an idle machine with two cores; this one may do other things as well."""
    seconds = tom.up()
    print(f'\nup and healthy after {seconds:.1f} s')  # noqa: T201
    assert requests.get(f'{tom.url}/targets/', timeout=30).status_code == 200
    css = requests.get(f'{tom.url}/static/tom_common/css/custom.css', timeout=30)
    assert css.status_code == 200
    assert seconds < 60
    assert 'Starting gunicorn' in tom.compose('logs', 'web').stdout


def test_migrations_have_ended_before_the_web_server_starts(tom: Tom) -> None:
    form = '{{.State.FinishedAt}} {{.State.StartedAt}}'
    ids = [tom.compose('ps', '-aq', name).stdout.strip() for name in ('migrate', 'web')]
    ended, started = tom.engine.run('docker', 'inspect', '-f', form, *ids).stdout.splitlines()
    assert ended.split()[0] < started.split()[1]


@pytest.mark.parametrize('service', ['web', 'database'])
def test_a_container_has_no_power(tom: Tom, service: str) -> None:
    """Not root, no capability, no way to get one, no file of the image to be changed."""
    status = tom.compose('exec', '-T', service, 'cat', '/proc/self/status').stdout
    fields = dict(line.split(':\t', 1) for line in status.splitlines() if ':\t' in line)
    assert fields['Uid'].split()[0] != '0'
    assert {int(fields[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd')} == {0}
    assert fields['NoNewPrivs'] == '1'
    refused = tom.compose('exec', '-T', service, 'touch', '/etc/new', check=False)
    assert 'Read-only file system' in refused.stdout


def test_the_image_holds_no_tool_no_cache_and_no_secret(tom: Tom) -> None:
    secrets = re.findall(r'^(?:SECRET_KEY|POSTGRES_PASSWORD)=(\S+)', env_of(tom), re.MULTILINE)
    assert len(secrets) == 2
    looks = """
    for tool in gcc cc g++ c++ make git uv; do command -v $tool && echo "tool $tool"; done
    for place in /root/.cache /tom/.env /tom/.git /tom/Dockerfile /tom/compose.yaml /requirements.txt
    do test -e $place && echo "left $place"; done
    find /tom -name '*.py' -writable | sed 's/^/writable /'
    find /tom/app /tom/my_tom -name '*.py' | while read file; do
        compiled=$(dirname $file)/__pycache__/$(basename $file .py).cpython-*.pyc
        ls $compiled >/dev/null 2>&1 || echo "not compiled $file"; done
    """
    run = ('docker', 'run', '--rm', '--user', '0', '--entrypoint', 'sh', 'my_tom', '-c')
    assert tom.engine.run(*run, looks.replace('-writable', '-perm /o+w')).stdout == ''
    history = tom.engine.run('docker', 'history', '--no-trunc', 'my_tom').stdout
    found = tom.engine.run(*run, f'grep -rlE "{"|".join(secrets)}" /tom /etc /opt/tom/bin || true')
    assert found.stdout == ''
    assert not any(secret in history for secret in secrets)


def env_of(tom: Tom) -> str:
    return (tom.project / '.env').read_text()


def test_secrets_are_for_the_owner_alone(tom: Tom) -> None:
    assert (tom.project / '.env').stat().st_mode & 0o777 == 0o600


def test_production_settings_have_no_warning(tom: Tom) -> None:
    production = ('-e', 'HTTPS=true', '-e', 'ALLOWED_HOSTS=tom.example.org')
    command = ('python', 'manage.py', 'check', '--deploy', '--fail-level', 'WARNING')
    done = tom.compose('exec', '-T', *production, 'web', *command, check=False)
    assert done.returncode == 0, done.stdout


def test_a_run_and_its_frames_in_a_browser(tom: Tom) -> None:
    """Logs in, opens the target's page, and downloads a frame from it."""
    need(Path(CHROMIUM).exists(), 'needs Chromium (Debian package chromium)')
    tom.compose(
        'exec', '-T', '-e', f'DJANGO_SUPERUSER_PASSWORD={PASSWORD}', 'web',
        'python', 'manage.py', 'createsuperuser', '--noinput', '--username', 'admin',
        '--email', 'a@example.org',
    )  # fmt: skip
    tom.add_records(3)
    report = tom.update()
    assert (report['status'], report['saved'], report['failed']) == ('ok', 6, 0), report
    tom.is_complete()
    has = tom.holds()
    with sync_playwright() as play:
        flags = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
        flags += ['--disable-background-networking', '--disable-component-update']
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page()
        page.goto(f'{tom.url}/accounts/login/')
        page.fill('input[name=login]', 'admin')
        page.fill('input[name=password]', PASSWORD)
        page.press('input[name=password]', 'Enter')
        page.wait_for_url(f'{tom.url}/')
        page.goto(f'{tom.url}/targets/1/?tab=manage-data')
        for _, _, name in has.frames:
            assert page.locator(f'a[href$="{name}"]').count(), name
        answer = page.request.get(f'{tom.url}/data/{has.frames[0][2]}')
        assert answer.status == 200
        assert hashlib.sha256(answer.body()).hexdigest() == has.files[has.frames[0][2]]
        browser.close()


@pytest.mark.parametrize('service', SERVICES)
def test_killed_in_the_middle_of_a_run(tom: Tom, service: str) -> None:
    """Nothing is lost, and everything is back by itself."""
    tom.add_records(8)
    before = len(tom.holds().frames)
    with subprocess.Popen(
        ['docker', 'compose', 'exec', '-T', 'web', 'python', 'manage.py', 'updatedata'],
        cwd=tom.project, env=tom.engine.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as run:  # fmt: skip
        try:
            in_the_middle(tom, before)
            killed = tom.process_of(service)
            tom.kill(service)
            said, _ = run.communicate(timeout=120)
        finally:
            run.kill()
    # The observatory may be back before the run has stopped asking: then all is well at once.
    assert run.returncode != 0 or service == 'observatory', said
    tom.wait_for('not well', tom.is_well)
    assert tom.process_of(service) != killed
    report = tom.update()
    assert report['failed'] == 0, report
    tom.is_complete()


def in_the_middle(tom: Tom, before: int) -> None:
    """Wait until a run has saved a frame, but not all."""
    query = 'SELECT count(*) FROM tom_dataproducts_dataproduct'
    count = ('exec', '-T', 'database', 'psql', '-U', 'tom', '-Atc', query)
    tom.wait_for('no frame', lambda: int(tom.compose(*count).stdout) > before)
    assert int(tom.compose(*count).stdout) < tom.added * FRAMES_A_REQUEST, 'too late to kill'


def test_the_scheduler_killed_in_the_middle_of_its_run(tom: Tom) -> None:
    """It is due every minute: the run after the kill brings home what the killed one did not."""
    tom.add_records(8)
    before = len(tom.holds().frames)
    tom.compose('--profile', 'scheduler', 'up', '--detach', '--wait')
    in_the_middle(tom, before)
    tom.kill('scheduler')
    tom.wait_for('not all frames', lambda: len(tom.holds().frames) == tom.added * FRAMES_A_REQUEST)
    tom.compose('--profile', 'scheduler', 'stop', 'scheduler')
    tom.is_complete()
    owners = tom.compose('exec', '-T', 'web', 'sh', '-c', 'find data logs -not -user tom').stdout
    assert owners == ''


#: Docker's socket in its usual place, and Compose as the plugin that a package installs: all of
#: it in name spaces that end with the test.
MACHINE = """
mount -t tmpfs none /usr/libexec
mkdir -p /usr/libexec/docker/cli-plugins
ln -s {compose} /usr/libexec/docker/cli-plugins/docker-compose
ln -s {socket} /run/docker.sock
/usr/bin/python3 -m app.scheduling install
"""


def test_cron_on_the_host_runs_the_line(tom: Tom) -> None:
    """The line that the project itself installs, under a bare environment."""
    need_cron()
    tom.add_records(2)
    said = cron_in_name_spaces(
        tom.project,
        datetime(2028, 2, 29, 3, 17, tzinfo=UTC),
        before=MACHINE.format(compose=COMPOSE.resolve(), socket=tom.engine.socket),
        until='grep -q "Success!" logs/cron.log 2>/dev/null',
        after='cat logs/cron.log',
    )
    line = re.search(r'^ *\* \* \* \* \* .*$', said, re.MULTILINE).group()
    assert f'-f {shlex.quote(str(tom.project / "compose.yaml"))} exec -T web' in line
    assert 'Success!' in said.rpartition(line)[2], said
    tom.is_complete()


def test_in_the_container_schedule_says_where_the_line_belongs(tom: Tom) -> None:
    done = tom.manage('schedule', 'show', check=False)
    assert done.returncode != 0
    assert 'python3 -m app.scheduling' in done.stdout
    assert 'Traceback' not in done.stdout


def test_backup_and_restore_as_the_guide_says(tom: Tom) -> None:
    """The containers and every volume are gone in between, and `down` takes seconds."""
    before = tom.holds()
    assert before.frames
    type_in(tom, 'Back up')
    started = time.monotonic()
    tom.compose('--profile', 'scheduler', 'down', '--volumes')
    seconds = time.monotonic() - started
    print(f'\ndown after {seconds:.1f} s')  # noqa: T201
    assert seconds < 20  # 10 s on an idle machine
    type_in(tom, 'Restore')
    assert tom.is_well()
    assert tom.holds() == before
    assert tom.update()['failed'] == 0


def type_in(tom: Tom, section: str) -> None:
    """Type the commands of a section of the guide."""
    text = (tom.project / 'DOCKER.md').read_text(encoding='utf-8')
    section = text.partition(f'\n## {section}\n')[2].partition('\n## ')[0]
    commands = re.findall(r'```sh\n(.*?)```', section, re.DOTALL)
    assert commands
    tom.engine.run('sh', '-ec', '\n'.join(commands), cwd=tom.project)


def test_with_sqlite_on_a_volume(tom: Tom, tmp_path: Path) -> None:
    """The image is the same: only compose.yaml differs."""
    made = bake(tmp_path, environment='docker', database='sqlite')
    port = free_port()
    with (made.project / '.env').open('a') as file:
        file.write(f'PYTHON_IMAGE={PYTHON_IMAGE}\nTOM_ADDRESS=127.0.0.1:{port}\n')
        file.write('COMPOSE_PROJECT_NAME=lite\n')
    lite = Tom(made.project, tom.engine, port)
    lite.up()
    try:
        assert lite.manage('demo').returncode == 0
        frames = lite.holds().frames
        assert len(frames) == 9
        lite.compose('restart', '--timeout', '5', 'web')
        lite.wait_for('no answer', lambda: 'healthy' in lite.compose('ps', 'web').stdout)
        assert lite.holds().frames == frames
    finally:
        lite.compose('down', '--volumes')
