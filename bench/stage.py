"""TOMs to measure, and the cost of what they do: time, memory, and what the observatory saw."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from baking import bake
from running import clean_environment, run, tom_python
from sky import Sky

HERE = Path(__file__).resolve().parent
ADDED = ('seconds', 'cpu', 'requests', 'connections', 'bytes')
MOST = ('memory', 'most_at_once')
BIG = 50_000_000  # bytes
SETUP_ALONE = 'import django; django.setup()'


@dataclass
class Cost:
    """What one command cost: seconds, MiB at most, and what the observatory counted."""

    seconds: float
    cpu: float
    memory: float
    requests: int = 0
    connections: int = 0
    most_at_once: int = 0
    bytes: int = 0
    frames: int = 0

    def __add__(self, after: 'Cost') -> 'Cost':
        """The cost of this and of what came after it."""
        both = {name: getattr(self, name) + getattr(after, name) for name in ADDED}
        most = {name: max(getattr(self, name), getattr(after, name)) for name in MOST}
        return Cost(**both, **most, frames=after.frames)


class Stage:
    """One baked TOM, its empty database, and copies of it for each measurement."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count(1)
        done = bake(directory)
        assert done.status == 0, done.printed
        self._pattern = done.project
        shutil.copy(HERE / 'tutorial.py', self._pattern / 'app' / 'management' / 'commands')
        self.manage(self._pattern, 'migrate', '--verbosity=0')

    @contextmanager
    def tom(
        self, due: int = 0, settled: int = 0, soar: int = 0, **variables: str
    ) -> Iterator[Path]:
        """A TOM with so many records (see fill.py), for one measurement."""
        own = self.directory / f'tom-{next(self._numbers)}'
        project = Path(shutil.copytree(self._pattern, own / 'my_tom'))
        if 'DATABASE_URL' in variables:
            self.manage(project, 'migrate', '--verbosity=0', **variables)
        self.manage(project, HERE / 'fill.py', str(due), str(settled), str(soar), **variables)
        yield project
        # The rest goes at the end of the benchmark: for minutes after many files were removed, ext4
        # takes several times as long to make one, and that would count against whoever comes next.
        for file in own.rglob('*'):
            if file.is_file() and file.stat().st_size > BIG:
                file.unlink()

    def manage(self, project: Path, command: str | Path, *arguments: str, **variables: str) -> None:
        """Run a command of the TOM, or a script of ours in it, that nobody measures."""
        program = [command] if isinstance(command, Path) else ['manage.py', command]
        done = run(project, tom_python(), *program, *arguments, timeout=900, **variables)
        assert done.returncode == 0, done.stdout[-3000:]


def cost_of(project: Path, *command: str, sky: Sky | None = None, **variables: str) -> Cost:
    """The cost of a command of the TOM's manage.py; `setup` stands for `django.setup()` alone."""
    if sky:
        sky.counts()
        variables |= sky.variables()
    program = ['-c', SETUP_ALONE] if command == ('setup',) else ['manage.py', *command]
    variables['DJANGO_SETTINGS_MODULE'] = 'my_tom.settings'
    cost, said = measured([str(tom_python()), *program], project, variables)
    if sky:
        vars(cost).update(sky.counts())
    cost.frames = sum(
        1
        for file in (project / 'data').rglob('*')
        if file.is_file() and not file.name.startswith('.')
    )
    return cost


def measured(
    command: list[str], directory: Path, variables: dict[str, str] | None = None
) -> tuple[Cost, str]:
    """Run `command`; its cost, and what it printed. What it starts itself is not counted."""
    environment = clean_environment(directory, **(variables or {}))
    with (directory / 'printed').open('w+b') as printed:
        begun = monotonic()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        said = printed.read().decode(errors='replace')
    assert process.returncode == 0, f'{command}: {process.returncode}\n{said[-3000:]}'
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), said


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a temporary directory."""
    with TemporaryDirectory(prefix='bench-') as directory:
        yield Stage(Path(directory))
