"""`make release` in a clone: versions, changelog, locks, tests, a tag; or nothing at all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from baking import commit, git, repository

MAKE = """#!/bin/sh
echo "$@" >> "$MADE"
case "$1" in
lock) echo '# locked' >> requirements-dev.txt ;;
lint) exit "${BROKEN:-0}" ;;
esac
"""


class Clone:
    """A clone of the repository, with a `make` that only writes down what it was asked to do."""

    def __init__(self, place: Path) -> None:
        self.root = repository(place / 'clone')
        self.made = place / 'made'
        self.bin = place / 'bin'
        self.bin.mkdir()
        (self.bin / 'make').write_text(MAKE)
        (self.bin / 'make').chmod(0o755)
        # While a release is made, the changelog of the repository says of nothing that it is unreleased.
        changelog = self.root / 'CHANGELOG.md'
        start, heading, rest = changelog.read_text().partition('## Unreleased\n')
        changelog.write_text(f'{start}{heading}\n- Something is new.\n{rest}')
        commit(self.root, 'Something is new')

    def release(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        me = {'NAME': 'me', 'EMAIL': 'me@example.org'}
        known = {f'GIT_{who}_{key}': me[key] for who in ('AUTHOR', 'COMMITTER') for key in me}
        path = f'{self.bin}{os.pathsep}{os.environ["PATH"]}'
        return subprocess.run(
            [sys.executable, self.root / 'tools' / 'release.py', *arguments],
            env=os.environ | known | {'PATH': path, 'MADE': str(self.made)} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ['git', *arguments], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout

    def text(self, name: str) -> str:
        return (self.root / name).read_text()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def versions(clone: Clone) -> set[str]:
    """The version, in every place that has it."""
    [library] = re.findall(r"^__version__ = '(.*)'", clone.text('tom_auto/__init__.py'), re.M)
    [cited] = re.findall(r'^version: (.*)', clone.text('CITATION.cff'), re.M)
    return {library, cited, json.loads(clone.text('cookiecutter.json'))['_version']}


def test_all_places_of_the_repository_name_one_version(clone):
    assert len(versions(clone)) == 1


def test_a_release(clone):
    news = clone.text('CHANGELOG.md').partition('## Unreleased\n')[2].partition('\n## ')[0].strip()

    done = clone.release('7.0.0')

    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    assert done.stdout.endswith('v7.0.0 is made. To publish it: git push --follow-tags\n')
    assert clone.made.read_text().splitlines() == ['lock', 'lint test engine']
    assert versions(clone) == {'7.0.0'}
    assert re.search(
        r'\n## Unreleased\n\n## 7\.0\.0 \(\d{4}-\d\d-\d\d\)\n', clone.text('CHANGELOG.md')
    )
    assert clone.git('status', '--porcelain') == ''
    assert clone.git('log', '-1', '--format=%s') == 'Release 7.0.0\n'
    assert 'requirements-dev.txt' in clone.git('show', '--stat', 'HEAD')
    tag = clone.git('tag', '--list', '--format=%(refname:short) %(objecttype)%0a%(contents)')
    assert tag.startswith('v7.0.0 tag\n7.0.0\n')
    assert news in tag


def test_a_dry_run_keeps_nothing(clone):
    before = clone.git('rev-parse', 'HEAD')
    done = clone.release('7.0.0', '--dry-run')
    assert done.returncode == 0
    assert "+__version__ = '7.0.0'" in done.stdout and '+## 7.0.0 (' in done.stdout
    assert (clone.git('rev-parse', 'HEAD'), clone.git('tag')) == (before, '')
    assert clone.git('status', '--porcelain') == ''
    assert not clone.made.exists()


def test_if_a_test_fails_every_file_is_as_it_was(clone):
    before = clone.git('rev-parse', 'HEAD')
    done = clone.release('7.0.0', BROKEN='1')
    assert done.returncode == 1
    assert 'make lint test engine failed. Nothing was released.' in done.stderr
    assert (clone.git('rev-parse', 'HEAD'), clone.git('tag')) == (before, '')
    assert clone.git('status', '--porcelain') == ''


def test_what_cannot_be_released(clone):
    def refused(*arguments: str) -> str:
        done = clone.release(*arguments)
        assert (done.returncode, clone.made.exists()) == (1, False)
        return done.stderr

    assert "'1.0' is not a version such as 0.3.0" in refused('1.0')
    git(clone.root, 'tag', 'v8.0.0')
    assert '7.0.0 is not newer than 8.0.0' in refused('7.0.0')
    git(clone.root, 'switch', '-q', '-c', 'other')
    assert 'This is the branch other' in refused('9.0.0')
    git(clone.root, 'switch', '-q', 'main')
    (clone.root / 'new.py').write_text('')
    assert 'not committed' in refused('9.0.0')
    changelog = clone.root / 'CHANGELOG.md'
    start, _, rest = changelog.read_text().partition('## Unreleased\n')
    changelog.write_text(f'{start}## Unreleased\n\n## {rest.partition(chr(10) + "## ")[2]}')
    commit(clone.root, 'Nothing is new')
    assert 'Write what is new first' in refused('9.0.0')
