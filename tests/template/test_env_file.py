"""What comes of changes to `.env`: F9 and J12."""

import shutil
from pathlib import Path

import pytest

from baking import Bake
from postgres import server
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


def test_a_file_of_a_windows_editor_is_read_as_any_other(project: Path) -> None:
    """It begins with a mark, which hid the first line; so SECRET_KEY was said to be empty."""
    (project / '.env').write_bytes(b'\xef\xbb\xbfSECRET_KEY=x\r\nDEBUG=maybe\r\n')
    done = manage(project, 'check')
    assert done.stdout.strip().endswith(".env, line 2: DEBUG='maybe'. Write true or false.")
    (project / '.env').write_bytes(b'\xef\xbb\xbfDEBUG=maybe\r\nSECRET_KEY=x\r\n')
    assert '.env, line 1: DEBUG=' in manage(project, 'check').stdout


def test_j12_an_empty_secret_key_is_told_with_the_way_out(project: Path) -> None:
    (project / '.env').write_text('SECRET_KEY=\n')
    done = manage(project, 'migrate')
    assert done.returncode == 1
    assert done.stdout.startswith('SECRET_KEY is empty, in the environment and in .env.')
    assert 'Traceback' not in done.stdout


@pytest.mark.parametrize(
    'wrong', ['postgres//tom:pass-word@host/tom', 'postgresql://host:port/tom']
)
def test_an_address_of_a_database_that_is_none_is_told(project: Path, wrong: str) -> None:
    (project / '.env').write_text(f'SECRET_KEY=x\nDATABASE_URL={wrong}\n')
    done = manage(project, 'check')
    assert done.returncode == 1
    assert done.stdout.startswith('.env, line 2: DATABASE_URL is not the address of a database.')
    assert 'Traceback' not in done.stdout
    assert 'pass-word' not in done.stdout


@pytest.mark.parametrize('wrong', ['DEBUG true', "LCO_API_KEY='to-ken", 'LCO_API_KEY="to-ken" x'])
def test_a_line_that_cannot_be_read_is_told(project: Path, wrong: str) -> None:
    """Its variable was left out: no token, or DEBUG as it is by default."""
    (project / '.env').write_text(f'SECRET_KEY=x\n\n\n{wrong}\nHTTPS=false\n')
    done = manage(project, 'check')
    assert done.returncode == 1
    assert done.stdout.startswith('.env, line 4: this line cannot be read.')
    assert 'Traceback' not in done.stdout
    assert 'to-ken' not in done.stdout


def test_what_the_lines_of_the_file_may_be(project: Path) -> None:
    lines = [
        'SECRET_KEY=x',
        '# a comment',
        '',
        "export ADMINS='a@b.org' # me",
        'A="two',
        'lines"',
        'B=',
    ]
    (project / '.env').write_text('\n'.join(lines))
    assert 'no issues' in manage(project, 'check').stdout


def test_j4_in_a_container_the_line_of_a_mistake_is_named(project: Path) -> None:
    """The container has no .env, only what Compose made of it."""
    lines = (project / '.env.example').read_text().replace('SECRET_KEY=', 'SECRET_KEY=x')
    lines = lines.replace('EMAIL_PORT=', 'EMAIL_PORT=abc')
    (project / '.env').unlink(missing_ok=True)
    number = lines.splitlines().index('EMAIL_PORT=abc') + 1
    check = (tom_python(), '-m', 'tom_auto.environment', 'check')
    done = run(project, *check, typed=lines, SECRET_KEY='x', EMAIL_PORT='abc')  # noqa: S106
    assert done.returncode == 1
    assert done.stdout.startswith(f".env, line {number}: EMAIL_PORT='abc'")
    done = run(project, *check, typed=lines, SECRET_KEY='x')  # noqa: S106
    assert (done.returncode, done.stdout) == (0, '.env: no mistake was found.\n')
    assert not (project / '.env').exists()


def test_j12_a_database_that_refuses_is_told_with_the_way_out(project: Path) -> None:
    with server() as own:
        hba = own.data / 'pg_hba.conf'
        hba.write_text('host all all all scram-sha-256\n')
        own.stop()
        own.start()
        wrong = f'postgresql://postgres:wrong@127.0.0.1:{own.port}/postgres'
        done = manage(project, 'migrate', DATABASE_URL=wrong)
    assert done.returncode == 1
    assert 'password authentication failed' in done.stdout
    assert 'It must be the one in DATABASE_URL in .env' in done.stdout  # test_command_to_type.py
    assert 'Traceback' not in done.stdout
    assert 'wrong' not in done.stdout


def test_sentry_without_its_package_is_told(project: Path) -> None:
    (project / '.env').write_text('SECRET_KEY=x\nSENTRY_DSN=https://key@sentry.example.org/1\n')
    done = manage(project, 'check')
    assert done.returncode == 1
    assert done.stdout.startswith('.env, line 2: SENTRY_DSN needs the package sentry-sdk')
    assert 'key@' not in done.stdout
