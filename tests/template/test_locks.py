"""A lock keeps the extras of what it pins, or pip before 23.3 refuses it one day.

As soon as a newer release of a package is out that another one needs with an extra, as tomtoolkit
needs django-allauth[mfa], such a pip takes the newer one, finds it without a hash, and gives up.
Debian 12 has such a pip.
"""

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from baking import TEMPLATE, Bake
from needs import need

#: What Debian 12 has; on a Python for which it is too old, the last release with the fault.
OLD_PIP = 'pip==23.0.1' if sys.version_info < (3, 12) else 'pip==23.2.1'

NEEDS_AN_EXTRA = """[project]
name = "tom"
version = "0"
requires-python = ">=3.11,<3.14"
dependencies = ["outer"]
"""


@pytest.fixture(scope='module')
def old_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an old pip, from the index that this machine uses."""
    place = tmp_path_factory.mktemp('pip')
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', place]
    done = subprocess.run([*command, OLD_PIP], capture_output=True, timeout=120, check=False)
    need(done.returncode == 0, f'no index that pip is set up for has {OLD_PIP}')
    return place


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index: `outer` needs allauthlike[mfa], which needs `second`."""
    place = tmp_path / 'index'
    place.mkdir()
    release(place, 'outer', '1.0', 'Requires-Dist: allauthlike[mfa]>=1.0')
    release(place, 'second', '1.0')
    release_allauthlike(place, '1.0')
    return place


def release_allauthlike(index: Path, version: str) -> None:
    needs = 'Requires-Dist: second; extra == "mfa"'
    release(index, 'allauthlike', version, 'Provides-Extra: mfa', needs)


def release(index: Path, name: str, version: str, *lines: str) -> None:
    """Put a wheel without any code into the index."""
    info = f'{name}-{version}.dist-info'
    head = ('Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}')
    with zipfile.ZipFile(index / f'{name}-{version}-py3-none-any.whl', 'w') as wheel:
        wheel.writestr(f'{info}/METADATA', '\n'.join([*head, *lines, '']))
        wheel.writestr(
            f'{info}/WHEEL',
            'Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        )
        wheel.writestr(f'{info}/RECORD', '')


def documented(project: Path) -> dict[str, list[str]]:
    """The commands that make a lock, as the Makefile and the generated project have them."""
    make = ['make', '--dry-run', 'lock']
    printed = subprocess.run(make, cwd=TEMPLATE, capture_output=True, text=True, check=True).stdout
    texts = {
        'Makefile': printed.replace('\\\n', ' '),
        'README.md': (project / 'README.md').read_text(encoding='utf-8'),
        'pyproject.toml': (project / 'pyproject.toml').read_text(encoding='utf-8'),
    }
    return {name: re.findall(r'pip compile (.+)', text) for name, text in texts.items()}


def switches(command: str) -> list[str]:
    """The options of a command that are not about which packages go into which file."""
    words = {word for word in shlex.split(command) if word.startswith('--')}
    return sorted(words - {'--extra', '--group', '--python-version'})


def locked(place: Path, index: Path, *options: str) -> Path:
    """The lock that uv makes with these options when the index is as it is."""
    (place / 'pyproject.toml').write_text(NEEDS_AN_EXTRA)
    local = ['--no-index', '--find-links', index, '--no-cache', '--python', sys.executable]
    command = [sys.executable, '-m', 'uv', 'pip', 'compile', 'pyproject.toml', *options, *local]
    subprocess.run(
        [*command, '-o', 'requirements.txt'],
        cwd=place, stdout=subprocess.DEVNULL, timeout=60, check=True,
    )  # fmt: skip
    return place / 'requirements.txt'


def installed(lock: Path, index: Path, pip: Path) -> subprocess.CompletedProcess[str]:
    """What the pip in the directory `pip` says to the lock. Nothing is really installed."""
    install = ['install', '--dry-run', '--ignore-installed', '--require-hashes', '--isolated']
    local = ['--no-index', '--find-links', index, '--no-cache-dir', '-r', lock]
    return subprocess.run(
        [sys.executable, '-m', 'pip', *install, *local],
        env={'PYTHONPATH': str(pip), 'HOME': str(lock.parent), 'PIP_CONFIG_FILE': '/dev/null'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_old_pip_installs_every_lock_when_newer_releases_are_out(
    index: Path, tmp_path: Path, old_pip: Path, default_bake: Bake
) -> None:
    commands = documented(default_bake.project)
    assert all(commands.values()), commands
    every = {tuple(switches(command)) for found in commands.values() for command in found}
    locks = []
    for number, options in enumerate(sorted(every)):
        (tmp_path / str(number)).mkdir()
        locks.append(locked(tmp_path / str(number), index, *options))
    stripped = locked(tmp_path, index, *(set(min(every)) - {'--no-strip-extras'}))
    release_allauthlike(index, '2.0')
    for lock in locks:
        done = installed(lock, index, old_pip)
        assert done.returncode == 0, f'{lock.read_text()}\n{done.stdout}'
        assert 'Would install allauthlike-1.0 outer-1.0 second-1.0' in done.stdout
    refused = installed(stripped, index, old_pip)
    assert 'all requirements must have their versions pinned' in refused.stdout


@pytest.mark.parametrize('lock', ['requirements.txt', 'requirements-dev.txt'])
def test_the_locks_of_a_tom_name_the_extra_that_tomtoolkit_needs(
    lock: str, default_bake: Bake
) -> None:
    text = (default_bake.project / lock).read_text(encoding='utf-8')
    assert re.search(r'^django-allauth\[mfa\]==', text, re.MULTILINE)
    assert not re.search(r'^django-allauth==', text, re.MULTILINE)
