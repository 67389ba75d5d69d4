"""Runs a generated TOM as its user or cron would: its commands, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[2]

#: The default of $TOM_PYTHON: where `make` installs the packages of a TOM.
TOM_PYTHON = TEMPLATE / '.work' / 'tom' / 'bin' / 'python'

#: All that a TOM's process gets of the tester's environment: no proxy, token or DATABASE_URL.
#: Without MPLCONFIGDIR, the first start in each home directory looks through the machine's fonts.
KEPT = ('PATH', 'LANG', 'LC_ALL', 'TMPDIR', 'MPLCONFIGDIR')


def tom_python() -> Path:
    """The Python that has a TOM's packages. Raises FileNotFoundError where there is none."""
    python = Path(os.environ.get('TOM_PYTHON') or TOM_PYTHON)
    if not python.is_file():
        raise FileNotFoundError(f'No {python}: run the tests with `make test`, which makes it.')
    return python.absolute()  # not resolved: a virtual environment's Python is a symbolic link


def clean_environment(project: Path, **variables: str) -> dict[str, str]:
    """An environment for `project`, whose home directory is one beside it, with `variables`."""
    home = project.parent / '.home'
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, 'HOME': str(home), **variables}


def run(
    project: Path, *command: str | Path, timeout: float = 300, typed: str = '', **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `command` in the directory `project`; what it prints is in `stdout`, all together.

    `timeout` is in seconds; `typed` is its input; `variables` are added to a clean environment.
    """
    return subprocess.run(
        command,
        cwd=project,
        env=clean_environment(project, **variables),
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def manage(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the TOM's manage.py."""
    return run(project, tom_python(), 'manage.py', *arguments, **variables)


def with_django(project: Path, code: str, **variables: str) -> str:
    """What `code` prints in the TOM, whose settings and models are ready for it."""
    settings = {'DJANGO_SETTINGS_MODULE': f'{project.name}.settings'}
    code = f'import django; django.setup()\n{code}'
    done = run(project, tom_python(), '-c', code, **settings, **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def tool(project: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the test environment, such as ruff, on the project."""
    return run(project, sys.executable, '-m', module, *arguments)
