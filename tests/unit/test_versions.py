"""Which versions a TOM has, and what a newer library needs that it lacks."""

import re
import tomllib

import pytest
from django.core.management import load_command_class

from tom_auto import __version__, versions
from tom_auto.doctor.checks import version

from .conftest import TEMPLATE
from .page import text
from .test_house import LIBRARY

COMMANDS = sorted(file.stem for file in (LIBRARY / 'management' / 'commands').glob('[a-z]*.py'))


def dependencies(file) -> dict[str, str]:
    """The packages that a pyproject.toml asks for: the name, without an extra, and the versions."""
    found = tomllib.loads(file.read_text())['project']['dependencies']
    parts = (re.fullmatch(r'([\w-]+)(?:\[.*\])?(.*)', one).groups() for one in found)
    return dict(parts)


def test_the_library_knows_what_it_needs():
    assert dependencies(LIBRARY.parent / 'pyproject.toml') == versions.NEEDS


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_says_its_version(command):
    assert load_command_class('tom_auto', command).get_version() == versions.words()


def test_the_version_of_the_template_is_in_the_project(tmp_path):
    assert versions.words() == f'tom-auto {__version__}, tomtoolkit 3.1.0'
    (tmp_path / 'pyproject.toml').write_text('[tool.tom-auto]\ntemplate = "0.1.0"\n')
    assert versions.words() == f'tom-auto {__version__} (template 0.1.0), tomtoolkit 3.1.0'
    (tmp_path / 'pyproject.toml').write_text('[tool\n')
    assert versions.template() == ''


def test_doctor_says_what_a_newer_library_needs(monkeypatch):
    assert list(version()) == [('ok', versions.words())]
    monkeypatch.setitem(versions.NEEDS, 'cronsim', '>=9,<10')
    monkeypatch.setitem(versions.NEEDS, 'no-such-package', '>=1')
    [(state, found, fix)] = version()
    assert state == 'failed' and 'it needs cronsim>=9,<10, no-such-package>=1' in found
    assert 'pip install "cronsim>=9,<10" "no-such-package>=1"' in fix


@pytest.mark.django_db
def test_the_page_says_it_to_those_who_have_logged_in(client, admin_client):
    assert versions.words() in text(admin_client)
    assert 'tom-auto' not in text(client)


def test_the_template_has_a_place_for_its_version():
    assert 'template = "{{ cookiecutter._version }}"' in (TEMPLATE / 'pyproject.toml').read_text()
