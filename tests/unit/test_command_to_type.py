"""J14 and H5: a command that a text names can be typed where the text is read."""

import re
from pathlib import Path

import pytest
from django.db import OperationalError

import tom_auto
from tom_auto.environment import no_database
from tom_auto.scheduling.command_to_type import applied, typed

LIBRARY = Path(tom_auto.__file__).parent


@pytest.mark.parametrize(
    ('environment', 'words', 'command'),
    [
        ('virtualenv', 'doctor', 'python manage.py doctor'),
        ('system', 'doctor', 'python3 manage.py doctor'),
        ('kubernetes', 'doctor',
         'kubectl exec -it deployment/a-tom-web -- python manage.py doctor'),
        ('kubernetes', 'schedule show', 'python3 -m tom_auto.scheduling show'),
        ('docker', 'doctor', 'docker compose exec web python manage.py doctor'),
        ('docker', 'schedule next', 'docker compose exec web python manage.py schedule next'),
        ('docker', 'schedule install', 'python3 -m tom_auto.scheduling install'),
        ('docker', 'schedule remove --format systemd',
         'python3 -m tom_auto.scheduling remove --format systemd'),
    ],
)  # fmt: skip
def test_each_environment_has_its_own(tmp_path, environment, words, command):
    (tmp_path / 'schedule.toml').write_text(f'environment = "{environment}"\n')
    (tmp_path / 'manage.py').write_text("('DJANGO_SETTINGS_MODULE', 'a_tom.settings')\n")
    assert typed(tmp_path, words) == command


def test_what_a_change_of_env_needs_in_containers(tmp_path):
    (tmp_path / 'manage.py').write_text("('DJANGO_SETTINGS_MODULE', 'a_tom.settings')\n")
    (tmp_path / 'schedule.toml').write_text('environment = "virtualenv"\n')
    assert applied(tmp_path) == ''
    (tmp_path / 'schedule.toml').write_text('environment = "kubernetes"\n')
    assert 'create secret generic a-tom --from-env-file=.env' in applied(tmp_path)
    assert applied(tmp_path).endswith('deployment -l app.kubernetes.io/name=a_tom')


@pytest.mark.parametrize(
    ('environment', 'folder', 'variable'),
    [('virtualenv', '.venv', 'VIRTUAL_ENV'), ('conda', '.conda', 'CONDA_PREFIX')],
)
def test_an_environment_that_is_not_active_is_named(
    tmp_path, monkeypatch, environment, folder, variable
):
    """As after a move: what is active then is the old place."""
    (tmp_path / 'schedule.toml').write_text(f'environment = "{environment}"\n')
    python = tmp_path / folder / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setenv(variable, '/where/it/was')
    assert typed(tmp_path, 'doctor') == f'{folder}/bin/python manage.py doctor'
    monkeypatch.setenv(variable, str(tmp_path / folder))
    assert typed(tmp_path, 'doctor') == 'python manage.py doctor'


def test_the_python_of_the_schedule(tmp_path):
    (tmp_path / 'schedule.toml').write_text('environment = "system"\npython = "/opt/tom/python"\n')
    assert typed(tmp_path, 'doctor') == '/opt/tom/python manage.py doctor'


def test_what_to_do_about_the_database_can_be_typed_and_fits_the_trouble(tmp_path, settings):
    """It was "Run: manage.py migrate" everywhere, also where the database was away."""
    settings.BASE_DIR = tmp_path
    schedule = tmp_path / 'schedule.toml'
    schedule.write_text('environment = "docker"\nid = "7f3a09c2"\n')
    told = no_database(OperationalError('no such table: auth_user'))
    assert told.endswith('Run: docker compose exec web python manage.py migrate')
    told = no_database(OperationalError('connection refused'))
    assert 'DATABASE_URL' in told
    assert 'migrate' not in told
    refused = OperationalError('password authentication failed')
    assert no_database(refused).endswith('in DOCKER.md.')
    schedule.write_text('environment = "virtualenv"\n')
    assert 'DOCKER.md' not in no_database(refused), 'this project has no such file'


def test_no_text_has_a_command_of_its_own():
    """`manage(…)` and `typed(…)` know what to type; a fixed text is wrong in some environment."""
    fixed = re.compile(
        r'^[^#"]*(?:\'|>)[^\'`]*(?:\bpython3?|[Rr]un:|[Tt]ype:) manage\.py [a-z]', re.MULTILINE
    )
    for file in [*LIBRARY.rglob('*.py'), *LIBRARY.rglob('*.html')]:
        if file.name != 'command_to_type.py':
            assert not fixed.search(file.read_text(encoding='utf-8')), file
