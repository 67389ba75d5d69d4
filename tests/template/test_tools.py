"""tools/choose_python.sh picks a Python that works, and says what to do where there is none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from baking import TEMPLATE

#: Stand-ins for what a machine may have under the name of a Python.
BROKEN = '#!/bin/sh\necho "pyenv: command not found" >&2; exit 127\n'
TOO_OLD = f'#!/bin/sh\nexec {sys.executable} -c "raise SystemExit(2)"\n'
WITHOUT_VENV = '#!/bin/sh\nexit 3\n'
SOUND = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The file that the choice goes into."""
    return tmp_path / 'work' / 'python'


def choose(record: Path, wanted: str = '', **pythons: str) -> subprocess.CompletedProcess[str]:
    """Run the script on a machine whose Pythons are these alone."""
    directory = record.parent.parent / 'bin'
    directory.mkdir(exist_ok=True)
    for file in directory.iterdir():
        file.unlink()
    for tool in ('cat', 'dirname', 'mkdir'):
        (directory / tool).symlink_to(f'/bin/{tool}' if tool != 'dirname' else '/usr/bin/dirname')
    for name, script in pythons.items():
        (directory / name.replace('_', '.')).write_text(script)
        (directory / name.replace('_', '.')).chmod(0o755)
    return subprocess.run(
        ['/bin/sh', TEMPLATE / 'tools' / 'choose_python.sh', record, *([wanted] if wanted else [])],
        env={'PATH': str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_that_works_is_taken_by_its_real_path(record: Path) -> None:
    done = choose(
        record, python3_13=BROKEN, python3_12=TOO_OLD, python3_11=WITHOUT_VENV, python3=SOUND
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert record.read_text() == f'{sys.executable}\n'


def test_the_choice_stays_while_it_runs(record: Path) -> None:
    choose(record, python3=SOUND)
    before = record.stat().st_mtime_ns
    assert choose(record).returncode == 0
    assert choose(record, 'python3', python3=SOUND).returncode == 0
    assert record.stat().st_mtime_ns == before


def test_a_choice_that_is_gone_is_made_again(record: Path) -> None:
    record.parent.mkdir()
    record.write_text('/no/such/python\n')
    assert choose(record, python3=SOUND).returncode == 0
    assert record.read_text() == f'{sys.executable}\n'


@pytest.mark.parametrize(
    ('wanted', 'pythons', 'advice'),
    [
        ('', {}, 'make PYTHON=/path/to/python'),
        ('', {'python3': TOO_OLD}, 'No Python 3.11, 3.12 or 3.13'),
        ('', {'python3': WITHOUT_VENV}, 'apt install python3-venv'),
        ('python3', {'python3': WITHOUT_VENV}, 'apt install python3-venv'),
        ('python3.9', {'python3.9': TOO_OLD, 'python3': SOUND}, 'PYTHON=python3.9'),
        ('/no/such', {'python3': SOUND}, 'PYTHON=/no/such'),
    ],
    ids=range(6),
)
def test_without_any_it_says_what_to_do(
    wanted: str, pythons: dict[str, str], advice: str, record: Path
) -> None:
    done = choose(record, wanted, **pythons)
    assert done.returncode == 1
    assert advice in done.stderr
    assert not record.exists()


def test_help_lists_every_target_that_people_use() -> None:
    environment = {'PATH': os.environ['PATH']}
    shown = subprocess.run(
        ['make', 'help'], cwd=TEMPLATE, env=environment, capture_output=True, text=True, check=True
    ).stdout
    targets = [line.split()[1] for line in shown.splitlines()]
    assert targets == [
        'help',
        'demo',
        'test',
        'unit',
        'template',
        'engine',
        'bare',
        'pythons',
        'bounds',
        'bench',
        'lint',
        'lock',
        'upgrade',
        'docs',
        'reference',
        'licences',
        'release',
        'screenshots',
        'clean',
    ]


def test_the_pictures_of_the_documents_are_those_that_make_screenshots_makes() -> None:
    documents = [TEMPLATE / 'README.md', *(TEMPLATE / 'docs').glob('*.md')]
    shown = {
        name
        for document in documents
        for name in re.findall(r'screenshots/([\w-]+)\.png', document.read_text(encoding='utf-8'))
    }
    script = (TEMPLATE / 'tools' / 'screenshots.py').read_text(encoding='utf-8')
    made = set(re.findall(r"picture\(chrome, url, '([\w-]+)'", script))
    kept = {picture.stem for picture in (TEMPLATE / 'docs' / 'screenshots').iterdir()}
    assert shown == made == kept
