"""A line that was really generated, in a crontab that was really installed, run by a real cron."""

import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from baking import bake
from needs import need

TOOLS = ('cron', 'crontab', 'faketime', 'unshare', 'mount')

#: In name spaces of its own, so that neither the machine's crontabs nor its processes are
#: within reach; then cron at a time a few seconds before the job is due, until the job is done.
INSIDE = """
set -e
mount -t tmpfs none /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
mount -t tmpfs none /run
mount -t tmpfs none /etc/cron.d
mount --bind /dev/null /etc/crontab
cd "$PROJECT"
.venv/bin/python manage.py schedule install
crontab -l
FAKETIME_DONT_RESET=1 FAKETIME="@$START" LD_PRELOAD="$FAKETIME_LIBRARY" cron -f &
for second in $(seq 60); do
    sleep 1
    if grep -q "$DONE" logs/cron.log 2>/dev/null; then break; fi
done
kill $!
wait $! || true
.venv/bin/python manage.py schedule remove
crontab -l
"""

#: What a run of updatedata leaves in the log when all is well, as the tutorial's did.
EXPECTED = 'Success!'


def faketime_library() -> Path | None:
    """The library that the faketime command loads."""
    found = Path('/usr/lib').glob('*/faketime/libfaketime.so.1')
    return next(found, None)


@pytest.fixture
def machine() -> None:
    """A machine that can run cron in name spaces of its own."""
    missing = [
        tool for tool in TOOLS if not shutil.which(tool, path=f'{os.environ["PATH"]}:/usr/sbin')
    ]
    need(not missing, f'needs {", ".join(missing)} (Debian packages cron and faketime)')
    need(faketime_library(), 'needs libfaketime (Debian package faketime)')
    need(os.geteuid() == 0, 'needs root, to keep cron away from the crontabs of this machine')
    allowed = subprocess.run(
        ['unshare', '-m', '-p', '-f', '--mount-proc', 'mount', '-t', 'tmpfs', 'none', '/run'],
        capture_output=True,
        timeout=30,
        check=False,
    )
    need(allowed.returncode == 0, f'needs name spaces: {allowed.stderr.decode().strip()}')


@pytest.mark.xdist_group('cron')
@pytest.mark.parametrize('schedule', ['hourly', 'daily'])
def test_cron_runs_the_line(machine: None, tmp_path: Path, tom_python: Path, schedule: str) -> None:
    """From a path that holds all that cron, sh and Python take for something else."""
    done = bake(tmp_path / "It's 100% \\\\ \\% «TOM»", schedule=schedule)
    assert done.status == 0, done.printed
    project = done.project
    (project / '.venv').symlink_to(tom_python.parent.parent)
    run_inside(project, ['.venv/bin/python', 'manage.py', 'migrate', '--noinput'])
    shown = run_inside(project, ['.venv/bin/python', 'manage.py', 'schedule', 'show'])

    outcome = cron_in_name_spaces(project, due(shown.splitlines()[-1]))

    assert shown.strip() in outcome
    log = project / 'logs' / 'cron.log'
    assert log.is_file(), outcome
    assert EXPECTED in log.read_text(encoding='utf-8'), outcome


def run_inside(project: Path, command: list[str]) -> str:
    """What a command prints in the project."""
    done = subprocess.run(
        command,
        cwd=project,
        env=clean(project),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(project: Path) -> dict[str, str]:
    """The environment of a login, and nothing of the tester's."""
    home = project.parent / '.home'
    return {
        'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME': str(home),
    }


def due(line: str) -> datetime:
    """The first minute at which the line is due on the next 29 February."""
    minute, hour = (field.split(',')[0] for field in line.split()[:2])
    return datetime(2028, 2, 29, 3 if hour == '*' else int(hour), int(minute), tzinfo=UTC)


def cron_in_name_spaces(project: Path, when: datetime) -> str:
    """Install the line and let cron come to the time `when`. Returns all that was printed."""
    start = (when - timedelta(seconds=3)).strftime('%Y-%m-%d %H:%M:%S')
    variables = {
        'PROJECT': str(project),
        'START': start,
        'DONE': EXPECTED,
        'FAKETIME_LIBRARY': str(faketime_library()),
        'TZ': 'UTC',
    }
    command = ['unshare', '-m', '-p', '-f', '--kill-child', '--mount-proc', '/bin/sh', '-c', INSIDE]
    done = subprocess.run(
        command,
        env=clean(project) | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return f'{shlex.join(command[:6])} ended with {done.returncode}:\n{done.stdout}'
