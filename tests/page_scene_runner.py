"""Sets a scene of page_scene.py in a generated TOM."""

from pathlib import Path

from running import run, tom_python

PASSWORD = 'only-for-this-test'
SCRIPT = Path(__file__).with_name('page_scene.py')


def scene(project: Path, name: str) -> None:
    """Let the TOM's database hold the scene `name`, and nothing else."""
    done = run(project, tom_python(), SCRIPT, name, PYTHONDONTWRITEBYTECODE='1')
    assert done.returncode == 0, done.stdout
