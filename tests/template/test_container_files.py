"""The files of a TOM in containers, by their linters and schemas; no engine is needed."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import requests

from baking import TEMPLATE, bake, repository
from browser import served
from running import run, tool

TOOLS = Path(sys.executable).parent
#: What a health check may use, in seconds of a processor: it runs every five.
CHEAP = 0.1


@pytest.fixture(params=['sqlite', 'postgresql', 'postgresql celery'])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A TOM in containers, with either database, and with Celery."""
    database, *engine = request.param.split()
    answers = {'database': database, 'task_engine': (engine or ['none'])[0]}
    made = bake(tmp_path, environment='docker', **answers)
    assert made.status == 0, made.printed
    return made.project


def test_the_dockerfile_is_clean(project: Path) -> None:
    done = run(project, TOOLS / 'hadolint', '--failure-threshold', 'style', 'Dockerfile')
    assert (done.returncode, done.stdout) == (0, '')


def test_compose_keeps_to_its_schema(project: Path) -> None:
    done = tool(
        project, 'check_jsonschema', '--builtin-schema', 'vendor.compose-spec', 'compose.yaml'
    )
    assert done.returncode == 0, done.stdout


def test_what_is_typed_on_the_host_needs_no_package(project: Path) -> None:
    """J14: the guide's commands for any Python, in the directory in which it says to type them."""
    guide = (project / 'DOCKER.md').read_text(encoding='utf-8')
    named = set(re.findall(r'(?<!web )(?<!-T migrate )python3 -m ([\w.]+(?: [a-z]+)?)', guide))
    assert {'tom_auto.environment', 'tom_auto.scheduling install'} <= named
    (project / '.env').unlink()
    for words in named:
        harmless = ['--help'] if 'scheduling' in words else []
        done = run(project, sys.executable, '-S', '-m', *words.split(), *harmless)
        assert done.returncode == 0, (words, done.stdout)
    assert (project / '.env').is_file()
    for name in ('README.md', 'DOCKER.md', 'schedule.toml', '.env.example'):
        text = (project / name).read_text(encoding='utf-8')
        on_the_host = re.findall(r'(?<!web )(?<!migrate )python3? manage\.py.*', text)
        assert on_the_host == [], f'{name}: the host has no Python of the TOM'


def test_j4_the_guide_has_the_section_to_which_a_message_sends() -> None:
    message = (TEMPLATE / 'tom_auto' / 'environment.py').read_text(encoding='utf-8')
    [section] = re.findall(r'see "([^"]+)" in DOCKER\.md', message)
    [guide] = TEMPLATE.glob('*/*DOCKER.md*')
    assert f'\n## {section}\n' in guide.read_text(encoding='utf-8')


def composed(project: Path, *arguments: str) -> dict:
    """What Compose makes of the file."""
    command = [TOOLS / 'docker-compose', *arguments, 'config', '--format', 'json']
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')
    return json.loads(done.stdout)


def test_compose_understands_it_without_a_warning(project: Path) -> None:
    services = composed(project)['services']
    celery = {'worker', 'beat', 'broker'} & services.keys()
    assert len(celery) == (3 if 'TASK_ENGINE' in (project / '.env').read_text() else 0)
    assert services.keys() - {'database'} - celery == {'web', 'migrate', 'scheduler'}
    services |= composed(project, '--profile', 'https')['services']
    assert 'proxy' in services
    for name, service in services.items():
        assert service['read_only'], name
        assert service['cap_drop'] == ['ALL'], name
        assert service['security_opt'] == ['no-new-privileges:true'], name
        assert service['mem_limit'], name
        assert service['pids_limit'], name
        assert all('size=' in place for place in service['tmpfs']), name
        assert service['logging']['driver'] == 'local', name  # Docker's own fills the disk
    [port] = services['web']['ports']
    assert port['host_ip'] == '127.0.0.1'


def test_what_is_switched_off_is_taken_away_by_the_next_up(project: Path) -> None:
    """J8, J16: with a profile it would stay; here it counts no copy."""
    was = composed(project)['services']
    env = project / '.env'
    env.write_text(env.read_text().replace('SCHEDULER=0', 'SCHEDULER=1') + 'LOCAL_DATABASE=0\n')
    now = composed(project)['services']
    assert (was['scheduler'].get('scale', 0), now['scheduler'].get('scale', 1)) == (0, 1)
    if 'database' in was:
        assert (was['database'].get('scale', 1), now['database'].get('scale', 0)) == (1, 0)
        assert now['migrate']['depends_on']['database']['required'] is False


def test_j5_two_projects_of_one_name_share_nothing(project: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.mkdir()
    second = bake(other, environment='docker').project
    one, two = composed(project), composed(second)
    assert one['name'] != two['name']
    assert one['services']['web']['image'] == one['name']
    assert two['services']['web']['image'] == two['name']


def test_j13_no_time_zone_of_env_gets_into_a_container(project: Path) -> None:
    with (project / '.env').open('a') as file:
        file.write('TZ=Pacific/Auckland\n')
    for name in ('web', 'migrate', 'scheduler'):
        assert composed(project)['services'][name]['environment']['TZ'] == 'Etc/UTC'


def test_nginx_may_read_its_file_whatever_the_umask(tmp_path: Path) -> None:
    """In its container it is another user, and the file is mounted as it is."""
    template = f'git+file://{repository(tmp_path / "template")}'
    before = os.umask(0o077)
    try:
        project = bake(tmp_path, template=template, environment='docker').project
    finally:
        os.umask(before)
    assert (project / 'nginx.conf').stat().st_mode & 0o777 == 0o644
    assert project.stat().st_mode & 0o777 == 0o700


def test_the_secrets_are_made_once_for_the_owner_alone(project: Path) -> None:
    file = project / '.env'
    assert file.stat().st_mode & 0o777 == 0o600
    secrets = re.findall(r'^(?:SECRET_KEY|POSTGRES_PASSWORD)=(.*)$', file.read_text(), re.MULTILINE)
    assert len(set(secrets)) == (2 if 'POSTGRES' in file.read_text() else 1)
    assert all(re.fullmatch(r'[\w-]{60,}', secret) for secret in secrets)
    before = file.read_bytes()
    again = run(project, sys.executable, '-m', 'tom_auto.environment')  # has no packages of a TOM
    assert again.returncode == 0, again.stdout
    assert file.read_bytes() == before


def test_nothing_secret_gets_into_the_image(project: Path) -> None:
    left_out = (project / '.dockerignore').read_text().splitlines()
    assert 'local_settings.py' not in left_out  # J10: it is read last
    secret = {'.env', '.env.*', 'certificates', '*.pem', '*.key'}
    assert secret | {'db.sqlite3*', 'data', 'logs', 'backups'} < set(left_out)
    assert {'.env', '*.pem', '*.key'} < set((project / '.gitignore').read_text().splitlines())


@pytest.mark.parametrize('answers', [{}, {'crontab': 'install'}])
def test_the_hook_shows_the_line_for_the_host(answers: dict[str, str], tmp_path: Path) -> None:
    made = bake(tmp_path, environment='docker', **answers)
    assert 'docker compose up --build --detach --wait' in made.printed
    assert f'compose -f {made.project}/compose.yaml exec -T web' in made.printed
    assert '-m tom_auto.scheduling install' in made.printed
    assert 'manage.py migrate' not in made.printed
    assert made.status == 0


# --- The health checks, and the log of requests ---------------------------------------------------


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TOM in containers, with SQLite."""
    return bake(tmp_path_factory.mktemp('plain'), environment='docker').project


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """The port of a server that gives this answer to whatever comes, then no more."""
    with socket.create_server(('127.0.0.1', 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ('said', 'status', 'told'),
    [
        (b'HTTP/1.0 200 OK\r\n\r\nok\n', 0, ''),
        (
            b'HTTP/1.0 503 No\r\n\r\nThe database does not answer.\n',
            1,
            'The database does not answer.\n',
        ),
        (b'', 1, 'It answered nothing.\n'),
    ],
)
def test_j9_the_health_check_of_the_web_server(
    said: bytes, status: int, told: str, plain: Path, tmp_path: Path
) -> None:
    code = (plain / 'healthcheck.py').read_text(encoding='utf-8')
    with answering(said) as port:
        check = tmp_path / 'healthcheck.py'
        check.write_text(code.replace("('127.0.0.1', 8000)", f"('127.0.0.1', {port})"))
        done = run(tmp_path, sys.executable, '-I', '-S', check)
    assert (done.returncode, done.stdout) == (status, told)


def seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_j9_a_health_check_costs_next_to_nothing(plain: Path) -> None:
    """Django alone takes more than a second, and it is asked as long as the container is up."""
    [check] = re.findall(
        r'^HEALTHCHECK --interval=5s .*\n +CMD (\[.*\])$',
        (plain / 'Dockerfile').read_text(encoding='utf-8'),
        re.MULTILINE,
    )
    _, *words = json.loads(check)
    used = []
    for _ in range(3):  # others use this machine as well
        before = seconds_of_children()
        run(plain, sys.executable, *words)
        used.append(seconds_of_children() - before)
    assert min(used) < CHEAP


def test_j16_the_health_check_of_the_scheduler(plain: Path, tmp_path: Path) -> None:
    """The note says until when the scheduler will be busy."""
    note = tmp_path / 'alive'
    check = composed(plain)['services']['scheduler']['healthcheck']['test']
    words = [sys.executable, *check[2:-1], note]
    assert 'has not begun' in run(plain, *words).stdout
    note.write_text(f'{time.time() + 60}')
    assert run(plain, *words).returncode == 0
    note.write_text(f'{time.time() - 90}')
    late = run(plain, *words)
    assert (late.returncode, '90 s too long' in late.stdout) == (1, True)


def test_j6_each_request_is_logged_with_its_visitor_and_without_its_query(plain: Path) -> None:
    with served(plain, workers=1, SECRET_KEY='x', BEHIND_PROXY='true') as url:  # noqa: S106
        visitor = {'X-Forwarded-For': '203.0.113.9'}
        requests.get(f'{url}/robots.txt?token=hidden', headers=visitor, timeout=60)
        requests.get(f'{url}/healthz', timeout=60)
    log = (plain / 'logs' / 'gunicorn.log').read_text(encoding='utf-8')
    line = r'^127\.0\.0\.1 203\.0\.113\.9 "GET /robots\.txt" \d+ '
    assert re.search(line, log, re.MULTILINE), log
    assert 'hidden' not in log
    assert 'GET /healthz' not in log
