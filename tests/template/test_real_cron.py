"""Lines that were really generated, in a crontab that was really installed, run by a real cron."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from baking import bake
from real_cron import (
    NAME_SPACES,
    clean,
    cron_in_name_spaces,
    faketime_library,
    in_name_spaces,
    make_environment,
    small_project,
)

# --- Sixty awkward places -----------------------------------------------------------------------

PLACES = [
    b'plain', b'two words', b'  blanks around  ', b'tab\there', b'a\\road', b"o'neill", b'say "tom"',
    b"''", b'""', b"'\"'\"", b'100%', b'%', b'%%', b'%d %s', b'a\\%b', b'\\%', b'\\\\%', b'\\%\\%\\%',
    b'%\\%', b'\\', b'\\\\', b'\\\\\\', b'\\\\\\\\', b'end\\', b'a\\b', b'a\\\\b', b"'\\'", b"\\'%\\'", b'$HOME',
    b'$', b'$$', b'$(id)', b'${PATH}', b'`id`', b'`', b'#', b'#tom', b'a #b', b'*', b'* * * * *', b'?',
    b'[a-z]', b'{a,b}', b'{}', b'~', b'~root', b'!!', b'a;b', b'a&b', b'a&&b', b'a|b', b'a>b', b'a<b', b'(a)',
    b'-n', b'--help', b'=', b'A=b', b'@reboot', b'17 * * * *', b'M\xc3\xbcnchen', b'\xf0\x9f\x94\xad tom',
    b'\xe9t\xe9', b'\xff\xfe', b'\x01\x02\x7f', b'x' * 200,
]  # fmt: skip


@pytest.mark.xdist_group('cron')
def test_sixty_awkward_places(cron_machine: None, tmp_path: Path) -> None:
    """Each line runs the Python and the manage.py of its own project, once, and logs there.

    They are installed twenty at once, and none is lost. The first is as long as a line may be.
    """
    assert len(PLACES) >= 60
    homes = os.fsencode(tmp_path) + b'/p'
    projects = [small_project(homes + b'/' + place + b'/tom') for place in PLACES]
    install = (
        'find p -name tom -print0 | xargs -0 -P 20 -n 1 sh -c \'cd "$0" && exec '
        f"{sys.executable} -B -S -m tom_auto.scheduling install >/dev/null'"
    )
    status = (
        f'{sys.executable} -B -S -m tom_auto.scheduling status && echo STATUS 0 || echo STATUS $?'
    )
    status = f'(cd p/plain/tom && {status})'
    until = f'[ "$(find p -name ran | wc -l)" = {len(PLACES)} ] && sleep 1 && {status}'
    began = time.monotonic()
    outcome = cron_in_name_spaces(
        tmp_path, datetime(2028, 2, 29, 3, 17, tzinfo=UTC), install, until, after=status
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
        assert arguments == ['schedule', 'run', 'updatedata']
        assert (project / 'logs' / 'cron.log').read_text(encoding='utf-8') == 'printed\n'
    assert seconds < 90
    assert re.findall(r'STATUS \d', outcome) == ['STATUS 0', 'STATUS 2'], 'with cron, and without'
    assert outcome.count('no cron daemon seems to run') == 1


#: Stands for conda: activates the environment as `conda run` does, then starts the program.
CONDA = """#!/bin/sh
test "$1 $2 $3" = 'run --no-capture-output -p' || exit 2
export CONDA_PREFIX="$4"
shift 4
for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script"; done
exec "$@"
"""

#: Stands for docker: says in the project which file it was given, and what it was to run.
DOCKER = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
compose, option, file, *words = sys.argv[1:]
assert (compose, option) == ('compose', '-f')
print('printed')
with Path(file).with_name('ran').open('a') as ran:
    ran.write(json.dumps(words) + '\\n')
"""

RUN = ['schedule', 'run', 'updatedata']
ENVIRONMENTS = ('conda', 'conda with scripts', 'system', 'docker')
HARDEST = [
    b'two words', b"o'neill", b'%', b'a\\%b', b'\\\\%', b'$(id)', b'`', b'#', b'{}', b'*', b'-n', b'\xff\xfe',
]  # fmt: skip


@pytest.mark.xdist_group('cron')
def test_every_other_environment_in_awkward_places(cron_machine: None, tmp_path: Path) -> None:
    """The Python of conda, with its scripts or without, of the system, or of a container."""
    tools = tmp_path / 'tools'
    make_environment(tools / 'module')  # a Python of the system's, as a cluster has it
    for name, text in {'conda': CONDA, 'docker': DOCKER}.items():
        (tools / name).write_text(text, encoding='utf-8')
        (tools / name).chmod(0o755)
    homes = os.fsencode(tmp_path) + b'/p/'
    places = {
        environment: [
            small_project(
                homes + environment.encode() + b'/' + place + b'/tom', environment.split()[0]
            )
            for place in HARDEST
        ]
        for environment in ENVIRONMENTS
    }
    for project in places['conda with scripts']:
        script = project / '.conda' / 'etc' / 'conda' / 'activate.d' / 'proj4-activate.sh'
        script.parent.mkdir(parents=True)
        script.write_text('export PROJ_DATA="$CONDA_PREFIX/share/proj"\n', encoding='utf-8')
    for project in places['docker']:
        (project / 'logs' / 'cron.log').write_bytes(b'x' * 1_100_000)
    install = (
        f'export PATH="{tools}:$PATH"; find p -name tom -print0 | xargs -0 -P 20 -n 1 sh -c \'cd "$0" '
        f"&& exec {tools}/module/bin/python -B -S -m tom_auto.scheduling install >/dev/null'"
    )
    until = f'[ "$(find p -name ran | wc -l)" = {len(HARDEST) * len(ENVIRONMENTS)} ]'
    outcome = cron_in_name_spaces(
        tmp_path, datetime(2028, 2, 29, 3, 17, tzinfo=UTC), install, f'{until} && sleep 1'
    )
    for environment, projects in places.items():
        for project in projects:
            ran = project / 'ran'
            assert ran.is_file(), f'{os.fsencode(project)!r} did not run: {outcome}'
            [told] = map(json.loads, ran.read_text(encoding='utf-8').splitlines())
            manage = [str(project / 'manage.py'), *RUN]
            if environment == 'docker':
                assert told == ['exec', '-T', 'web', 'python', 'manage.py', *RUN]
                assert (project / 'logs' / 'cron.log.1').stat().st_size == 1_100_000
            elif environment == 'system':
                assert (told[0], told[2:]) == (str(tools / 'module'), manage)
            else:
                prefix = str(project / '.conda')
                scripts = [f'{prefix}/share/proj'] if 'scripts' in environment else []
                assert (told[0], told[2:]) == (prefix, [*manage, *scripts])
            assert (project / 'logs' / 'cron.log').read_text(encoding='utf-8') == 'printed\n'


#: A user who may have no crontab, then one who may, in front of a project that is root's.
ANOTHER_USER = """
mount -t tmpfs none /mnt
chmod 755 /mnt
cp -r tom /mnt/tom
cp -a /etc /mnt/etc
mount --bind /mnt/etc /etc
cd /mnt/tom
rm -r .venv
/usr/bin/python3 -m venv --without-pip .venv
for site in .venv/lib/python3.*/site-packages; do mkdir "$site/django" && touch "$site/django/__init__.py"; done
mkdir .cache && chmod 777 .cache logs
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups \
        /usr/bin/python3 -B -S -m tom_auto.scheduling "$@" || echo "STATUS $?"
}
echo nobody >/etc/cron.deny
as_nobody install
rm /etc/cron.deny
as_nobody install
as_nobody remove
chown -R 65534 .
as_nobody install
"""


@pytest.mark.xdist_group('cron')
def test_another_user(cron_machine: None, tmp_path: Path) -> None:
    """One who is not allowed to, then one who installs a project that belongs to root."""
    small_project(bytes(tmp_path / 'tom'))
    said = in_name_spaces(tmp_path, NAME_SPACES + ANOTHER_USER)
    refused, roots, own = said.replace('Removed', 'STATUS 1').split('STATUS 1')
    assert 'not allowed to use this program' in refused
    assert '/etc/cron.allow, cron.deny' in refused
    assert 'this TOM belongs to root, and this is the crontab of nobody' in roots
    assert 'as nobody, who cannot write to /mnt/tom/data' in roots
    assert 'Installed in your crontab' in own
    assert 'belongs to' not in own
    assert 'cannot write to' not in own


def test_a_line_break_in_the_path_is_refused(tmp_path: Path) -> None:
    project = small_project(os.fsencode(tmp_path) + b'/two\nlines')
    for action in ('show', 'install'):
        done = subprocess.run(
            [sys.executable, '-B', '-S', '-m', 'tom_auto.scheduling', action],
            cwd=project,
            env=clean(project) | {'PATH': ''},  # there is no crontab that it could write to
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, '')
        assert 'contains a line break' in done.stderr


# --- A real TOM ---------------------------------------------------------------------------------


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
    """When the line of an hourly job is due on the next 29 February."""
    return datetime(2028, 2, 29, 3, int(line.split()[0]), tzinfo=UTC)


#: An observatory that has completed request 1, and says how it is reached.
OBSERVATORY = """
import json, threading
from tom_auto.simulator import Observatory
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
from tom_auto.models import UpdateRun
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
    cron_machine: None, migrated: Path, tmp_path: Path, tom_python: Path
) -> None:
    """And what fails leaves its reason, in the log and in the history.

    From a path that holds all that cron, sh and Python take for something else.
    """
    project = bake(tmp_path / "It's 100% \\\\ \\% «TOM»").project
    (project / '.venv').symlink_to(tom_python.parent.parent)
    python = ['.venv/bin/python', 'manage.py']
    shutil.copy(migrated, project / 'db.sqlite3')
    run_inside(project, [*python, 'shell', '-c', RECORDS])
    line = run_inside(project, [*python, 'schedule', 'show'])
    with observatory(project):
        outcome = cron_in_name_spaces(
            project,
            due(line),
            before='.venv/bin/python manage.py schedule install',
            until='grep -q " UTC " logs/cron.log 2>/dev/null',
            after='sleep 2; .venv/bin/python manage.py schedule status || echo "status $?"; '
            '.venv/bin/python manage.py schedule remove',
        )
    assert line.strip() in outcome
    log = (project / 'logs' / 'cron.log').read_text(encoding='utf-8')
    assert outcome.rstrip().endswith(
        'To install again: .venv/bin/python manage.py schedule install'
    )
    told = json.loads(run_inside(project, [*python, 'shell', '-v0', '-c', TOLD]).splitlines()[-1])
    assert told['records'] == {'1': 'COMPLETED', '2': 'PENDING'}, outcome + log
    assert told['frames'] == 1
    assert told['run'] == 'failed'
    [(failed, reason)] = told['failures']
    assert failed == '2'
    assert 'does not know it' in reason
    assert 'does not know it' in log
    assert 'status 2' in outcome, 'schedule status says so as well'
    assert 'updatedata has been failing' in outcome


# --- Without cron -------------------------------------------------------------------------------


@pytest.mark.xdist_group('cron')
def test_schedule_run_starts_the_job_and_ends_on_sigterm(
    cron_machine: None, project: Path, migrated: Path, tom_python: Path
) -> None:
    """As a container does it: nothing but this process, and a SIGTERM at its end.

    It begins ten seconds before the job is due: only the time of day is not real.
    """
    clock = {
        'LD_PRELOAD': str(faketime_library()),
        'FAKETIME': '@2028-02-29 03:16:50',
        'FAKETIME_DONT_RESET': '1',
        'FAKETIME_DONT_FAKE_MONOTONIC': '1',
        'TZ': 'UTC',
    }
    (project / '.venv').symlink_to(tom_python.parent.parent)
    (project / 'schedule.toml').write_text(
        'environment = "docker"\n[settings]\nwhen = "* * * * *"\ncommand = ["diffsettings"]\n'
    )
    shutil.copy(migrated, project / 'db.sqlite3')  # for the history
    log = project / 'logs' / 'cron.log'
    with (project / 'printed').open('wb') as output:
        process = subprocess.Popen(
            ['.venv/bin/python', 'manage.py', 'schedule', 'run'],
            cwd=project,
            env=clean(project) | clock,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + 120
            while time.monotonic() < end and not (
                log.is_file() and 'ended with' in log.read_text()
            ):
                time.sleep(0.2)
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
    printed = (project / 'printed').read_text(encoding='utf-8')
    assert '[settings] runs next at ' in printed
    assert printed.rstrip().endswith('Stopped.')
    for told in (printed, log.read_text(encoding='utf-8')):
        assert 'UTC [settings] started' in told, printed
        assert 'ROOT_URLCONF' in told
        assert '[settings] ended with status 0 after' in told
