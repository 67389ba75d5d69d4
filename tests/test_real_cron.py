"""Lines that were really generated, in a crontab that was really installed, run by a real cron."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from baking import bake
from real_cron import clean, cron_in_name_spaces, small_project

#: What a run of updatedata leaves in the log when all is well, as the tutorial's did.
EXPECTED = 'Success!'


@pytest.mark.xdist_group('cron')
@pytest.mark.parametrize('schedule', ['hourly', 'daily'])
def test_cron_runs_the_line(
    cron_machine: None, tmp_path: Path, tom_python: Path, schedule: str
) -> None:
    """From a path that holds all that cron, sh and Python take for something else."""
    done = bake(tmp_path / "It's 100% \\\\ \\% «TOM»", schedule=schedule)
    assert done.status == 0, done.printed
    project = done.project
    (project / '.venv').symlink_to(tom_python.parent.parent)
    run_inside(project, ['.venv/bin/python', 'manage.py', 'migrate', '--noinput'])
    shown = run_inside(project, ['.venv/bin/python', 'manage.py', 'schedule', 'show'])

    outcome = cron_in_name_spaces(
        project,
        due(shown.splitlines()[-1]),
        before='.venv/bin/python manage.py schedule install',
        until=f'grep -q {EXPECTED} logs/cron.log 2>/dev/null',
        after='.venv/bin/python manage.py schedule remove',
    )

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


def due(line: str) -> datetime:
    """The first minute at which the line is due on the next 29 February."""
    minute, hour = (field.split(',')[0] for field in line.split()[:2])
    return datetime(2028, 2, 29, 3 if hour == '*' else int(hour), int(minute), tzinfo=UTC)


# --- Sixty awkward places -----------------------------------------------------------------------

PLACES = [
    b'plain', b'two words', b'  blanks around  ', b'tab\there', b'a\\road', b"o'neill", b'say "tom"',
    b"''", b'""', b"'\"'\"", b'100%', b'%', b'%%', b'%d %s', b'a\\%b', b'\\%', b'\\\\%', b'\\%\\%\\%',
    b'%\\%', b'\\', b'\\\\', b'\\\\\\', b'\\\\\\\\', b'end\\', b'a\\b', b'a\\\\b', b"'\\'", b"\\'%\\'", b'$HOME',
    b'$', b'$$', b'$(id)', b'${PATH}', b'`id`', b'`', b'#', b'#tom', b'a #b', b'*', b'* * * * *', b'?',
    b'[a-z]', b'{a,b}', b'~', b'~root', b'!!', b'a;b', b'a&b', b'a&&b', b'a|b', b'a>b', b'a<b', b'(a)',
    b'-n', b'--help', b'=', b'A=b', b'@reboot', b'17 * * * *', b'M\xc3\xbcnchen', b'\xf0\x9f\x94\xad tom',
    b'\xe9t\xe9', b'\xff\xfe', b'\x01\x02\x7f', b'x' * 200,
]  # fmt: skip


@pytest.mark.xdist_group('cron')
def test_sixty_awkward_places(cron_machine: None, tmp_path: Path) -> None:
    """Each line runs the Python and the manage.py of its own project, once, and logs there.

    They are installed twenty at once, and none is lost.
    """
    assert len(PLACES) >= 60
    homes = os.fsencode(tmp_path) + b'/p'
    projects = [small_project(homes + b'/' + place + b'/tom') for place in PLACES]
    install = (
        'find p -name tom -print0 | xargs -0 -P 20 -n 1 sh -c \'cd "$0" && exec '
        f"{sys.executable} -B -S -m app.scheduling install >/dev/null'"
    )
    until = f'[ "$(find p -name ran | wc -l)" = {len(PLACES)} ]'
    began = time.monotonic()
    outcome = cron_in_name_spaces(
        tmp_path, datetime(2028, 2, 29, 3, 17, tzinfo=UTC), install, f'{until} && sleep 1'
    )
    seconds = time.monotonic() - began
    for project in projects:
        ran = project / 'ran'
        assert ran.is_file(), f'{os.fsencode(project)!r} did not run: {outcome}'
        [told] = [json.loads(line) for line in ran.read_text(encoding='utf-8').splitlines()]
        prefix, package, manage, *arguments = told
        assert prefix == str(project / '.venv')
        assert package.startswith(str(project / '.venv'))
        assert manage == str(project / 'manage.py')
        assert arguments == ['updatedata']
        assert (project / 'logs' / 'cron.log').read_text(encoding='utf-8') == 'printed\n'
    assert seconds < 90


def test_a_line_break_in_the_path_is_refused(tmp_path: Path) -> None:
    project = small_project(os.fsencode(tmp_path) + b'/two\nlines')
    for action in ('show', 'install'):
        done = subprocess.run(
            [sys.executable, '-B', '-S', '-m', 'app.scheduling', action],
            cwd=project,
            env=clean(project) | {'PATH': ''},  # there is no crontab that it could write to
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, '')
        assert 'holds a line break' in done.stderr


# --- A real TOM ---------------------------------------------------------------------------------

#: An observatory that has completed request 1, and says how it is reached.
OBSERVATORY = """
import json, threading
from app.observatory import Observatory
with Observatory() as sky:
    sky.add_request(1)
    sky.complete(1, frames=1, pixels=32)
    print(json.dumps(sky.settings()), flush=True)
    threading.Event().wait()
"""

#: Two records at it: it has never heard of the second.
RECORDS = """
from tom_observations.models import ObservationRecord as Record
from tom_targets.models import Target
target = Target.objects.create(name='M 31', type='SIDEREAL', ra=10.7, dec=41.3)
for number in (1, 2):
    Record.objects.create(target=target, facility='LCO', observation_id=number, status='PENDING', parameters={})
"""

TOLD = """
import json
from app.models import UpdateRun
from tom_observations.models import ObservationRecord as Record
run = UpdateRun.objects.get()
print(json.dumps({
    'records': dict(Record.objects.values_list('observation_id', 'status')),
    'frames': Record.objects.get(observation_id='1').dataproduct_set.count(),
    'run': run.status,
    'failures': list(run.failures.values_list('observation_id', 'error')),
}))
"""


@contextmanager
def observatory(project: Path) -> Iterator[None]:
    """An observatory of the project's own at work, which its .env tells it of."""
    process = subprocess.Popen(
        ['.venv/bin/python', '-c', OBSERVATORY],
        cwd=project,
        env=clean(project),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        settings = json.loads(process.stdout.readline())
        with (project / '.env').open('a', encoding='utf-8') as file:
            for name, value in settings.items():
                file.write(f'\nLCO_{name.upper()}={value}\n')
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.xdist_group('cron')
def test_cron_brings_the_data_of_a_real_tom_home(
    cron_machine: None, tmp_path: Path, tom_python: Path
) -> None:
    """And what fails leaves its reason, in the log and in the history."""
    project = bake(tmp_path / 'TOMs').project
    (project / '.venv').symlink_to(tom_python.parent.parent)
    python = ['.venv/bin/python', 'manage.py']
    run_inside(project, [*python, 'migrate', '--noinput'])
    run_inside(project, [*python, 'shell', '-c', RECORDS])
    line = run_inside(project, [*python, 'schedule', 'show'])
    with observatory(project):
        outcome = cron_in_name_spaces(
            project,
            due(line),
            before='.venv/bin/python manage.py schedule install',
            until='grep -q " UTC " logs/cron.log 2>/dev/null',
            after='sleep 2; .venv/bin/python manage.py schedule status || echo "status $?"',
        )
    log = (project / 'logs' / 'cron.log').read_text(encoding='utf-8')
    told = json.loads(run_inside(project, [*python, 'shell', '-v0', '-c', TOLD]).splitlines()[-1])
    assert told['records'] == {'1': 'COMPLETED', '2': 'PENDING'}, outcome + log
    assert told['frames'] == 1
    assert told['run'] == 'failed'
    [(failed, reason)] = told['failures']
    assert failed == '2'
    assert 'does not know it' in reason
    assert 'does not know it' in log
    assert 'status 2' in outcome, 'schedule status says so as well'
    assert '[updatedata] failed when it last ran' in outcome
