"""J14 and H5: a command that a text names can be typed where the text is read."""

import re
from pathlib import Path

import pytest

import tom_auto
from tom_auto.scheduling.typed import typed

LIBRARY = Path(tom_auto.__file__).parent


@pytest.mark.parametrize(
    ('environment', 'words', 'command'),
    [
        ('virtualenv', 'doctor', 'python manage.py doctor'),
        ('system', 'doctor', 'python3 manage.py doctor'),
        ('kubernetes', 'doctor', 'python manage.py doctor'),
        ('docker', 'doctor', 'docker compose exec web python manage.py doctor'),
        ('docker', 'schedule next', 'docker compose exec web python manage.py schedule next'),
        ('docker', 'schedule install', 'python3 -m tom_auto.scheduling install'),
        ('docker', 'schedule remove --format systemd',
         'python3 -m tom_auto.scheduling remove --format systemd'),
    ],
)  # fmt: skip
def test_each_environment_has_its_own(tmp_path, environment, words, command):
    (tmp_path / 'schedule.toml').write_text(f'environment = "{environment}"\n')
    assert typed(tmp_path, words) == command


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


def test_no_text_has_a_command_of_its_own():
    """`manage(…)` and `typed(…)` know what to type; a fixed text is wrong in some environment."""
    fixed = re.compile(r'^[^#"]*(?:\'|>)[^\'`]*\bpython3? manage\.py [a-z]', re.MULTILINE)
    for file in [*LIBRARY.rglob('*.py'), *LIBRARY.rglob('*.html')]:
        if file.name != 'typed.py':
            assert not fixed.search(file.read_text(encoding='utf-8')), file
