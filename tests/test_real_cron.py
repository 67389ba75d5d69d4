"""Lines that were really generated, in a crontab that was really installed, run by a real cron."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from baking import TEMPLATE, bake
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
eval "$BEFORE"
crontab -l
FAKETIME_DONT_RESET=1 FAKETIME="@$START" LD_PRELOAD="$FAKETIME_LIBRARY" cron -f &
for second in $(seq 120); do
    sleep 0.5
    if eval "$UNTIL"; then break; fi
done
kill $!
wait $! || true
eval "$AFTER"
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


def cron_in_name_spaces(
    project: Path, when: datetime, before: str, until: str, after: str = ':'
) -> str:
    """Do `before`, let cron come to the time `when`, wait `until`, and do `after`, all in sh.

    The directory is `project`. Returns all that was printed.
    """
    start = (when - timedelta(seconds=3)).strftime('%Y-%m-%d %H:%M:%S')
    variables = {
        'BEFORE': before,
        'START': start,
        'UNTIL': until,
        'AFTER': after,
        'FAKETIME_LIBRARY': str(faketime_library()),
        'TZ': 'UTC',
    }
    command = ['unshare', '-m', '-p', '-f', '--kill-child', '--mount-proc', '/bin/sh', '-c', INSIDE]
    done = subprocess.run(
        command,
        cwd=project,
        env=clean(project) | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='backslashreplace',
        timeout=200,
        check=False,
    )
    return f'{shlex.join(command[:6])} ended with {done.returncode}:\n{done.stdout}'


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

#: Stands for manage.py: says whose Python ran which file, in the project itself.
MANAGE = """\
import json, os, sys
from pathlib import Path
import django  # of the project's own environment
# DJANGO_SETTINGS_MODULE, 'my_tom.settings'
here = os.path.dirname(os.path.abspath(__file__))
print('printed')
with open(os.path.join(here, 'ran'), 'a') as file:
    told = [sys.prefix, django.__file__, os.path.abspath(__file__), *sys.argv[1:]]
    file.write(json.dumps(told) + '\\n')
"""


def small_project(place: bytes) -> Path:
    """A project of the schedule's code and a virtual environment, which starts at once."""
    project = Path(os.fsdecode(place))
    scheduling = TEMPLATE / '{{cookiecutter.project_slug}}' / 'app' / 'scheduling'
    unwanted = shutil.ignore_patterns('__pycache__')
    shutil.copytree(scheduling, project / 'app' / 'scheduling', ignore=unwanted)
    (project / 'app' / '__init__.py').touch()
    (project / 'data').mkdir()
    (project / 'logs').mkdir()
    (project / 'manage.py').write_text(MANAGE, encoding='utf-8')
    (project / 'schedule.toml').write_text(
        'environment = "virtualenv"\n[updatedata]\nwhen = "17 3 29 2 *"\n', encoding='utf-8'
    )
    make_environment(project / '.venv')
    return project


def make_environment(place: Path) -> None:
    """A virtual environment, as venv makes one, with a package of its own."""
    base = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
    site = place / 'lib' / base.name / 'site-packages' / 'django'
    site.mkdir(parents=True)
    (site / '__init__.py').touch()
    (place / 'bin').mkdir()
    (place / 'bin' / 'python').symlink_to(base)
    (place / 'pyvenv.cfg').write_text(f'home = {base.parent}\n', encoding='utf-8')


@pytest.mark.xdist_group('cron')
def test_sixty_awkward_places(machine: None, tmp_path: Path) -> None:
    """Each line runs the Python and the manage.py of its own project, once, and logs there."""
    assert len(PLACES) >= 60
    homes = os.fsencode(tmp_path) + b'/p'
    projects = [small_project(homes + b'/' + place + b'/tom') for place in PLACES]
    install = (
        'for place in p/*/ p/.[!.]*/; do if [ -d "$place/tom" ]; then (cd "$place/tom" && '
        f'{shlex.quote(sys.executable)} -B -S -m app.scheduling install >/dev/null); fi; done'
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
    machine: None, tmp_path: Path, tom_python: Path
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
            until='grep -q "records checked" logs/cron.log 2>/dev/null',
            after='sleep 2; .venv/bin/python manage.py schedule status; echo "status $?"',
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
