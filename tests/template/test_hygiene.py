"""What a group looks at before it relies on a piece of software: licences, support, security, citing."""

import json
import re
import subprocess
import tomllib

import pytest

from baking import TEMPLATE
from running import tom_python

SUPPORT = (TEMPLATE / 'docs' / 'support.md').read_text(encoding='utf-8')
WORKFLOWS = TEMPLATE / '.github' / 'workflows'


def pythons() -> list[str]:
    """The Pythons that the library allows."""
    allowed = tomllib.loads((TEMPLATE / 'pyproject.toml').read_text())['project']['requires-python']
    oldest, beyond = map(int, re.fullmatch(r'>=3\.(\d+),<3\.(\d+)', allowed).groups())
    return [f'3.{minor}' for minor in range(oldest, beyond)]


def test_every_place_names_the_same_pythons() -> None:
    assert f'| Python | {", ".join(pythons())} |' in SUPPORT
    assert f'python: {pythons()}' in (WORKFLOWS / 'ci.yml').read_text()
    assert (
        f'for version in {" ".join(pythons())};'
        in (TEMPLATE / 'tools' / 'other_pythons.sh').read_text()
    )


def test_the_licences_are_up_to_date() -> None:
    """`make licences` writes the list."""
    done = subprocess.run(
        [tom_python(), TEMPLATE / 'tools' / 'licences.py', '--check'], timeout=60, check=False
    )
    assert done.returncode == 0, 'docs/licences.md is out of date: make licences'


def test_nothing_is_published_unless_a_maintainer_wants_it() -> None:
    """It starts by hand only, and the index knows nothing of it until somebody says so there."""
    text = (WORKFLOWS / 'publish.yml').read_text()
    starts = text.partition('\non:\n')[2].partition('\n\n')[0]
    assert starts == '  workflow_dispatch:'


@pytest.mark.parametrize('name', ['SECURITY.md', 'CITATION.cff', 'LICENSE', 'CHANGELOG.md'])
def test_what_people_look_for_is_there(name: str) -> None:
    assert (TEMPLATE / name).read_text(encoding='utf-8').strip()


def test_the_citation_can_be_read_by_a_program() -> None:
    """By its own schema it needs these; GitHub shows nothing if one is missing."""
    lines = (TEMPLATE / 'CITATION.cff').read_text().splitlines()
    given = dict(line.split(': ', 1) for line in lines if re.match(r'[a-z-]+: ', line))
    assert given.keys() >= {'cff-version', 'message', 'title', 'version', 'date-released'}
    assert 'authors:' in lines
    version = json.loads((TEMPLATE / 'cookiecutter.json').read_text())['_version']
    assert given['version'] == version
