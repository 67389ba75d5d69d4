"""The files of a TOM in containers, by their linters and schemas; no engine is needed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from baking import bake
from running import run, tool

TOOLS = Path(sys.executable).parent


@pytest.fixture(params=['sqlite', 'postgresql'])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A TOM in containers, with either database."""
    made = bake(tmp_path, environment='docker', database=request.param)
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


def composed(project: Path, *arguments: str) -> dict:
    """What Compose makes of the file."""
    command = [TOOLS / 'docker-compose', *arguments, 'config', '--format', 'json']
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')
    return json.loads(done.stdout)


def test_compose_understands_it_without_a_warning(project: Path) -> None:
    services = composed(project)['services']
    assert services.keys() - {'database'} == {'web', 'migrate', 'scheduler'}
    services |= composed(project, '--profile', 'https')['services']
    assert 'proxy' in services
    for name, service in services.items():
        assert service['read_only'], name
        assert service['cap_drop'] == ['ALL'], name
        assert service['security_opt'] == ['no-new-privileges:true'], name
        assert service['mem_limit'], name
        assert service['pids_limit'], name
        assert all('size=' in place for place in service['tmpfs']), name
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
    assert {'.env', '.env.*', 'certificates', 'db.sqlite3*', 'data', 'logs', 'backups'} < set(
        left_out
    )


@pytest.mark.parametrize('answers', [{}, {'crontab': 'install'}])
def test_the_hook_shows_the_line_for_the_host(answers: dict[str, str], tmp_path: Path) -> None:
    made = bake(tmp_path, environment='docker', **answers)
    assert 'docker compose up --build --detach --wait' in made.printed
    assert f'compose -f {made.project}/compose.yaml exec -T web' in made.printed
    assert '-m tom_auto.scheduling install' in made.printed
    assert 'manage.py migrate' not in made.printed
    assert made.status == 0
