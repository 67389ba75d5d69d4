"""Runs Cookiecutter on this template as a user does: the command, in a process of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent

#: What a bake must never inherit from whoever runs the tests.
LEFT_OUT = ('CI', 'TOM_AUTO_INSTALL', 'SECRET_KEY', 'DATABASE_URL', 'VIRTUAL_ENV', 'CONDA_PREFIX')


@dataclass(frozen=True)
class Bake:
    """What one run of Cookiecutter left: its exit status, what it printed, the project."""

    status: int
    printed: str
    project: Path


def bake(
    into: Path, *flags: str, env: dict[str, str] | None = None, slug: str = 'my_tom', **answers: str
) -> Bake:
    """Bake the template into the directory `into` with `answers`; every other one is the default.

    `flags` go to Cookiecutter as they are; `env` is added to a cleaned environment whose home
    is inside `into`, so that no bake reads or writes the home directory of the tester.
    """
    into.mkdir(parents=True, exist_ok=True)
    home = into / '.home'
    home.mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    command = [sys.executable, '-m', 'cookiecutter', str(TEMPLATE), '--no-input', '-o', str(into)]
    command += [*flags, *(f'{name}={value}' for name, value in answers.items())]
    done = subprocess.run(
        command,
        env=clean | {'HOME': str(home)} | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return Bake(done.returncode, done.stdout, into / answers.get('project_slug', slug))
