"""Runs Cookiecutter on this template as a user does: the command, in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

TEMPLATE = Path(__file__).resolve().parents[2]

#: What a bake must never inherit from whoever runs the tests.
LEFT_OUT = ('CI', 'TOM_AUTO_INSTALL', 'SECRET_KEY', 'DATABASE_URL', 'VIRTUAL_ENV', 'CONDA_PREFIX')


@dataclass(frozen=True)
class Bake:
    """What one run of Cookiecutter left: its exit status, what it printed, the project."""

    status: int
    printed: str
    project: Path


def bake(
    into: Path,
    *flags: str,
    env: dict[str, str] | None = None,
    slug: str = 'my_tom',
    timeout: float = 120,
    template: str | Path = TEMPLATE,
    **answers: str,
) -> Bake:
    """Bake the template into the directory `into` with `answers`; every other one is the default.

    `template` is whatever Cookiecutter takes: a path, a git address, a zip archive. `flags` go to Cookiecutter as they are; `env` is added to a cleaned environment whose home
    is inside `into`, so that no bake reads or writes the home directory of the tester. `timeout`
    is in seconds.
    """
    done = subprocess.run(
        cookiecutter(into, *flags, template=template, **answers),
        env=clean_environment(into) | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='surrogateescape',
        timeout=timeout,
        check=False,
    )
    return Bake(done.returncode, done.stdout, into / answers.get('project_slug', slug))


def cookiecutter(
    into: Path, *flags: str, template: str | Path = TEMPLATE, **answers: str
) -> list[str]:
    """The command that bakes the template into the directory `into`, as `bake` runs it."""
    command = [sys.executable, '-m', 'cookiecutter', str(template), '--no-input', '-o', str(into)]
    return [*command, *flags, *(f'{name}={value}' for name, value in answers.items())]


def clean_environment(into: Path) -> dict[str, str]:
    """The tester's environment without what a bake must not see, and with a home in `into`."""
    home = into / '.home'
    home.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return clean | {'HOME': str(home)}


def repository(place: Path) -> Path:
    """The template as it is now, made into a git repository of its own at `place`."""
    unwanted = shutil.ignore_patterns(
        '.git', '.work', '.pytest_cache', '.ruff_cache', '__pycache__'
    )
    shutil.copytree(TEMPLATE, place, symlinks=True, ignore=unwanted)
    git(place, 'init', '-q', '-b', 'main')
    commit(place, 'Now')
    return place


def commit(place: Path, message: str) -> None:
    """Commit all that is in the repository at `place`."""
    git(place, 'add', '-A')
    git(place, 'commit', '-q', '-m', message)


def git(place: Path, *arguments: str) -> None:
    """Run a command of git at `place`, with the settings of no user or machine."""
    me = ('-c', 'user.name=me', '-c', 'user.email=me@example.org')
    environment = os.environ | {'GIT_CONFIG_GLOBAL': os.devnull, 'GIT_CONFIG_NOSYSTEM': '1'}
    subprocess.run(['git', '-C', place, *me, *arguments], env=environment, timeout=60, check=True)


def without_id(name: str, held: bytes) -> bytes:
    """What a file of a project holds, but for the id that each project gets for itself."""
    return re.sub(rb'^id = .*\n', b'', held, flags=re.M) if name == 'schedule.toml' else held


def load_hook(name: str, **answers: str) -> ModuleType:
    """The hook `name` as a module, as Cookiecutter renders it for `answers`. Runs none of it."""
    file = TEMPLATE / 'hooks' / f'{name}.py'
    source = file.read_text(encoding='utf-8')
    place = '{{ cookiecutter | tojson }}'
    assert source.count(place) == 1
    hook = ModuleType(name)
    sys.modules[name] = hook  # where dataclasses look for their annotations
    code = compile(source.replace(place, json.dumps(answers)), file, 'exec', dont_inherit=True)
    exec(code, hook.__dict__)
    return hook
