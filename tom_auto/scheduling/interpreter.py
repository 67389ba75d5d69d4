"""Chooses the Python that runs the jobs: the project's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .command_to_type import typed
from .definition import FILE, OWN_ENVIRONMENT, SERVICE, Schedule, ScheduleError

#: Directories that may be emptied: `uv run` and `pipx run` keep environments there.
CACHES = {'.cache', 'Caches'}
COMPOSE_FILE = 'compose.yaml'
IMPORT_SECONDS = 60


def command_start(schedule: Schedule, project: Path, current_python: Path | None) -> list[str]:
    """The words that start Python for a job: its path, or a call of conda or Docker.

    `current_python` is the Python that runs manage.py now; None if this is not manage.py. `python` in
    schedule.toml wins over everything else.
    """
    if schedule.environment == 'kubernetes':
        raise ScheduleError(
            'The jobs of this TOM run in a cluster, not on this machine. For the cluster: '
            f'{typed(project, "schedule install")}'
        )
    if schedule.environment == 'docker':
        docker = shutil.which('docker') or '/usr/bin/docker'  # cron needs full paths
        into = ['compose', '-f', str(project / COMPOSE_FILE), 'exec', '-T', SERVICE]
        return [docker, *into, schedule.python or 'python']
    if schedule.python:
        return [schedule.python]
    python = _interpreter(schedule.environment, project, current_python)
    return [*_through_conda(python), str(python)]


def _interpreter(environment: str, project: Path, current_python: Path | None) -> Path:
    own = OWN_ENVIRONMENT.get(environment)
    if own and (current_python is None or os.path.lexists(project / own)):
        return project / own / 'bin' / 'python'
    # Not resolve(): a virtual environment's link leads to a Python without its packages.
    return Path(os.path.abspath(current_python or sys.executable))  # noqa: PTH100


def _through_conda(python: Path) -> list[str]:
    """`conda run …` if the conda environment has activation scripts (for PROJ or GDAL, say).

    Without such scripts its Python can be called directly.
    """
    prefix = python.parent.parent
    scripts = prefix / 'etc' / 'conda' / 'activate.d'
    if not (prefix / 'conda-meta').is_dir() or not scripts.is_dir() or not any(scripts.iterdir()):
        return []
    conda = next(filter(_is_program, [os.environ.get('CONDA_EXE'), shutil.which('conda')]), None)
    if conda is None:
        raise ScheduleError(
            f'{scripts} has scripts that conda runs before Python, but conda was not found. '
            f'Put conda on PATH, or set the Python in {FILE}: python = "{python}"'
        )
    return [conda, 'run', '--no-capture-output', '-p', str(prefix)]


def _is_program(path: str | None) -> bool:
    # Not Path.is_file(), which raises if a directory above is not readable.
    return bool(path) and path.startswith('/') and os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113


def refuse_unusable(start: list[str], project: Path) -> None:
    """Raise ScheduleError if `start` cannot run jobs, or may not be there for long."""
    if SERVICE in start and str(project / COMPOSE_FILE) in start:
        _refuse_unusable_docker(start[0], project)
        return
    python = Path(start[-1])
    if not _is_program(str(python)):
        raise ScheduleError(
            f'{python} is missing, or is not a program. Make the environment of the TOM '
            f'first, or set its Python at the top of {FILE}: '
            'python = "/opt/tom/bin/python"'
        )
    if CACHES & set(python.parts) and project not in python.parents:
        raise ScheduleError(
            f'{python} is in a cache, which may be emptied at any time. Run this with another '
            f'Python, or set one at the top of {FILE}: python = "/opt/tom/bin/python"'
        )
    _refuse_without_packages(start)


def _refuse_unusable_docker(docker: str, project: Path) -> None:
    if not _is_program(docker):
        raise ScheduleError(f'{docker} is missing, or is not a program. Install Docker first.')
    if not (project / COMPOSE_FILE).is_file():
        raise ScheduleError(f'There is no {project / COMPOSE_FILE}, which the jobs need.')


def _refuse_without_packages(start: list[str]) -> None:
    """Raise ScheduleError if this Python cannot import Django, for example after an upgrade.

    It is tried in cron's environment, without what a shell has set, such as a `module load`.
    """
    bare = {'HOME': str(Path.home()), 'SHELL': '/bin/sh', 'PATH': '/usr/bin:/bin'}
    status, said = run([*start, '-c', 'import django'], IMPORT_SECONDS, env=bare)
    if status:
        raise ScheduleError(
            f'{start[-1]} cannot import Django in the bare environment of cron '
            f'({said.splitlines()[-1] if said else status}). Was Python upgraded, or does it need a '
            'module that your shell loads? Make the environment of the TOM again.'
        )


def run(words: list[str], seconds: float, env: dict | None = None) -> tuple[int | str, str]:
    """Run a program: its exit status and what it said. `failed` is the status if it has none."""
    try:
        done = subprocess.run(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 'failed', str(error)
    return done.returncode, os.fsdecode(done.stderr or done.stdout).strip()
