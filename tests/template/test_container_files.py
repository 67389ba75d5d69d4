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
    assert services.keys() - {'database'} == {'web', 'migrate'}
    for name, service in services.items():
        assert service['read_only'], name
        assert service['cap_drop'] == ['ALL'], name
        assert service['security_opt'] == ['no-new-privileges:true'], name
    [port] = services['web']['ports']
    assert port['host_ip'] == '127.0.0.1'
    assert 'scheduler' in composed(project, '--profile', 'scheduler')['services']


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
    assert {'.env', '.env.*', 'local_settings.py', 'db.sqlite3*', 'data', 'logs', 'backups'} < set(
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
