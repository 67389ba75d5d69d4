"""Sets scenes of page_scene.py in a generated TOM."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from running import clean_environment, tom_python

PASSWORD = 'only-for-this-test'
SCRIPT = Path(__file__).with_name('page_scene.py')


@contextmanager
def stage(project: Path) -> Iterator[Callable[[str], None]]:
    """What lets the TOM's database hold the scene of a name, and nothing else."""
    process = subprocess.Popen(
        [tom_python(), SCRIPT],
        cwd=project,
        env=clean_environment(project, PYTHONDONTWRITEBYTECODE='1'),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def scene(name: str) -> None:
        process.stdin.write(f'{name}\n')
        process.stdin.flush()
        answered = process.stdout.readline().strip()
        while answered not in ('', name):  # what else the TOM's own code prints
            answered = process.stdout.readline().strip()
        assert answered == name, f'the scene {name!r} could not be set'

    try:
        yield scene
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()
