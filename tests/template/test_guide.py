"""The guide: it builds without a warning, its address stands in one place, its commands are real."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from baking import TEMPLATE

DOCS = TEMPLATE / 'docs'
PAGES = [TEMPLATE / 'README.md', *sorted(DOCS.rglob('*.md'))]
PROJECT_README = (TEMPLATE / '{{cookiecutter.project_slug}}' / 'README.md').read_text()
ADDRESS = tomllib.loads((TEMPLATE / 'pyproject.toml').read_text())['project']['urls']['Repository']
SHORT = ADDRESS.replace('https://github.com/', 'gh:')
#: What is typed before there is a project, or in one that test_updates.py and others make.
TYPED_ELSEWHERE = {
    'cd my_tom',
    'cruft update',
    'python -m tom_auto.simulator --port 8001',  # test_generated_readme.py
    'python manage.py auditdata --all',
    'python manage.py doctor',
    'python -m pip install -r requirements.txt',  # test_locks.py
}


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    """A link that leads nowhere is one, also to a heading; `make docs` does the same."""
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', tmp_path / 'site'],
        cwd=TEMPLATE,
        env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},  # what its makers say of its next version
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'WARNING' not in done.stderr
    built = [*(tmp_path / 'site').rglob('index.html')]
    assert len(built) == len(list(DOCS.rglob('*.md')))
    for page in built:  # the theme's own address of itself is a link, and loads nothing
        loaded = re.findall(r'(?:src|<link[^>]* href)="(https?://[^"]+)"', page.read_text())
        assert not loaded, f'{page} loads {loaded}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(TEMPLATE)))
def test_as_plain_markdown_its_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.S)
    for link in re.findall(r'\]\(([^)#\s]+)', text):
        if not link.startswith(('http://', 'https://')):
            assert (page.parent / link).exists(), link


def test_every_document_has_the_address_of_the_repository() -> None:
    own = [
        *PAGES,
        *(TEMPLATE / name for name in ('mkdocs.yml', 'SECURITY.md', 'CONTRIBUTING.md')),
    ]
    found = {'tom-auto': 0}
    for page in own:
        for address in re.findall(
            r'(?:gh:|https://github\.com/)[\w.-]+/tom-auto\b', page.read_text()
        ):
            assert address in (ADDRESS, SHORT), f'{page}: {address}'
            found['tom-auto'] += 1
        assert 'address of this repository' not in page.read_text(), page
    assert found['tom-auto'] > 10


def test_the_readme_begins_with_what_a_newcomer_types() -> None:
    first = (TEMPLATE / 'README.md').read_text().split('\n\n')[2].strip()
    assert first == f'uvx cookiecutter {SHORT}'


def test_h2_no_page_installs_anything_into_the_systems_python() -> None:
    """Debian and Ubuntu refuse that: Cookiecutter gets an environment of its own."""
    installs = [
        line
        for page in PAGES
        for line in re.findall(r'.*\bpip3? install\b.*\bcookiecutter\b.*', page.read_text())
    ]
    assert len(installs) >= 2
    for line in installs:
        assert line.strip() == 'cookiecutter-env/bin/pip install cookiecutter'


def test_every_decision_is_in_their_list() -> None:
    listed = (DOCS / 'decisions' / 'index.md').read_text()
    for page in (DOCS / 'decisions').glob('0*.md'):
        title = page.read_text().splitlines()[0].lstrip('# ')
        assert f'- [{title}]({page.name})\n' in listed


def typed() -> list[str]:
    """The lines of the blocks of commands in the guide."""
    blocks = [
        block for page in PAGES for block in re.findall(r'```sh\n(.*?)```', page.read_text(), re.S)
    ]
    return sorted({line for block in blocks for line in block.splitlines()})


@pytest.mark.parametrize('line', typed())
def test_a_command_of_the_guide_is_one_that_a_test_types(line: str) -> None:
    """test_generated_readme.py types those of the README of a new project."""
    known = PROJECT_README.replace('{{ python }}', 'python').replace(
        '{{ schedule }}', 'python manage.py schedule'
    )
    assert line in TYPED_ELSEWHERE or re.search(rf'^{re.escape(line)}$', known, re.M), line
