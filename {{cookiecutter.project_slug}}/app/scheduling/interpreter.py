"""Chooses the Python that runs the jobs: the project's own, never one that just happens by."""

import os
import shutil
import sys
from pathlib import Path

from .definition import FILE, Schedule, ScheduleError

OWN_ENVIRONMENT = {'virtualenv': '.venv', 'conda': '.conda'}
#: Directories whose content comes and goes: `uv run` and `pipx run` keep environments there.
CACHES = {'.cache', 'Caches'}


def command_start(schedule: Schedule, project: Path, at_work: Path | None) -> list[str]:
    """The words that start Python for a job: its path alone, or conda's way to it.

    `at_work` is the Python that runs manage.py at this moment, None where nothing shows that
    the TOM works with it. `python` in schedule.toml wins over every rule.
    """
    if schedule.python:
        return [schedule.python]
    python = _interpreter(schedule.environment, project, at_work)
    return [*_through_conda(python), str(python)]


def _interpreter(environment: str, project: Path, at_work: Path | None) -> Path:
    own = OWN_ENVIRONMENT.get(environment)
    if own is None:
        return _absolute(at_work or sys.executable)
    if at_work and not os.path.lexists(project / own):
        return _absolute(at_work)
    return project / own / 'bin' / 'python'


def _absolute(path: Path | str) -> Path:
    # Not resolve(): behind the symlink of a virtual environment is a Python without its packages.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _through_conda(python: Path) -> list[str]:
    """`conda run …` where a conda environment has scripts that set variables (PROJ, GDAL).

    Without such scripts its Python needs nothing from conda.
    """
    prefix = python.parent.parent
    scripts = prefix / 'etc' / 'conda' / 'activate.d'
    if not (prefix / 'conda-meta').is_dir() or not scripts.is_dir() or not any(scripts.iterdir()):
        return []
    conda = next(filter(_is_program, [os.environ.get('CONDA_EXE'), shutil.which('conda')]), None)
    if conda is None:
        raise ScheduleError(
            f'{scripts} has scripts that conda runs before Python, but no conda was found. '
            f'Put conda on PATH, or name a Python in {FILE}: python = "{python}"'
        )
    return [conda, 'run', '--no-capture-output', '-p', str(prefix)]


def _is_program(path: str | None) -> bool:
    return bool(path) and path.startswith('/') and Path(path).is_file() and os.access(path, os.X_OK)


def refuse_unusable(start: list[str], project: Path) -> None:
    """Raise ScheduleError where the Python of `start` could not run a job for months to come."""
    python = Path(start[-1])
    if not _is_program(str(python)):
        raise ScheduleError(
            f'{python} is missing, or is no program. Make the environment of the TOM first '
            f'(README.md says how), or name its Python at the top of {FILE}: '
            'python = "/opt/tom/bin/python"'
        )
    if CACHES & set(python.parts) and project not in python.parents:
        raise ScheduleError(
            f'{python} is in a cache, which may be emptied at any time. Run this with a '
            f'lasting Python, or name one at the top of {FILE}: python = "/opt/tom/bin/python"'
        )
