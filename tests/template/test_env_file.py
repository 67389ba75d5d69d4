"""What comes of changes to `.env`: F9 and J12."""

import shutil
from pathlib import Path

import pytest

from baking import Bake
from running import manage, run, tom_python

READ = """
import os, subprocess, sys
import shutil
from pathlib import Path
from tom_auto.environment import load_environment
load_environment(Path())
if len(sys.argv) == 1:  # the web server, which then starts a run
    file = Path('.env')
    file.write_text(file.read_text().replace('LCO_API_KEY=old', 'LCO_API_KEY=new'))
    os.environ['SET_HERE'] = 'mine'
    subprocess.run([sys.executable, '-c', sys.stdin.read(), 'run'], check=True)
else:
    print(*(os.environ.get(name) for name in ('LCO_API_KEY', 'GIVEN', 'SET_HERE')))
"""


@pytest.fixture
def project(default_bake: Bake, tmp_path: Path) -> Path:
    """A copy of a project, in which a test may write."""
    return Path(shutil.copytree(default_bake.project, tmp_path / 'my_tom', symlinks=True))


def test_f9_a_run_that_the_web_server_starts_reads_it_anew(project: Path) -> None:
    (project / '.env').write_text('LCO_API_KEY=old\nGIVEN=file\nSET_HERE=file\n')
    done = run(project, tom_python(), '-c', READ, typed=READ, GIVEN='outside')
    assert done.stdout == 'new outside mine\n'


def test_j12_an_empty_secret_key_is_told_with_the_way_out(project: Path) -> None:
    (project / '.env').write_text('SECRET_KEY=\n')
    done = manage(project, 'migrate')
    assert done.returncode == 1
    assert done.stdout.startswith('SECRET_KEY is empty, in the environment and in .env.')
    assert 'Traceback' not in done.stdout
