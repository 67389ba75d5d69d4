"""The hook that ends a bake: what it prints, when it acts, and that it never costs a project."""

import fcntl
import functools
import os
import pty
import pwd
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from baking import (
    Bake,
    bake,
    clean_environment,
    commit,
    cookiecutter,
    git,
    load_hook,
    repository,
    without_id,
)

#: A Python that is in no virtual environment, as a machine has it.
BASE_PYTHON = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
VERSION = f'3.{sys.version_info.minor}'

#: All that the machine of these tests has on PATH, apart from the tools that a test adds.
PLAIN_TOOLS = ('sh', 'cat', 'cp', 'id', 'mkdir', 'mv', 'rm', 'sleep', 'touch')

#: Stands for python3, .venv/bin/python, uv and conda: notes what is asked of it, makes an
#: environment of its own kind, or fails where a file says so. Python proper is the real one.
TOOL = """#!/bin/sh
here='{here}'
me=${0##*/}
site="$HOME/.local/lib/{version}/site-packages/django"
note() {
    echo "$me $*" >> "$here/log"
    for word; do
        if [ -e "$here/fail-$word" ]; then echo "$word: trouble"; exit 3; fi
    done
}
make_environment() {
    mkdir -p "$1/bin"
    note "$2"
    cp "$here/tool" "$1/bin/python"
    if [ -e "$here/activation" ]; then
        mkdir -p "$1/conda-meta" "$1/etc/conda/activate.d"
        touch "$1/etc/conda/activate.d/proj.sh"
    fi
}
case "$me $1 $2" in
'python3 -m venv') make_environment "$3" venv ;;
'uv venv --seed') make_environment "$5" venv ;;
'conda env create') make_environment "$4" create ;;
'uv pip install' | 'python -m pip') note pip "$@" ;;
'python3 -m pip') note pip "$@"; mkdir -p "$site"; touch "$site/__init__.py" ;;
*'manage.py migrate') note migrate ;;
'createdb my_tom '*) note createdb ;;
*'-c import django') exit 0 ;;
*'manage.py schedule') note schedule; exec {python} -m tom_auto.scheduling "$3" ;;
*) exec {python} "$@" ;;
esac
"""

CRONTAB = """#!/bin/sh
case "$1" in
-l) if [ -e '{here}/table' ]; then cat '{here}/table'; else echo 'no crontab for me' >&2; exit 1; fi ;;
-) cat > '{here}/new'; mv '{here}/new' '{here}/table' ;;
esac
"""


@dataclass
class Machine:
    """A machine to bake on: its PATH has a Python, a crontab and what a test adds."""

    root: Path

    @property
    def bin(self) -> Path:
        """The only directory on PATH."""
        return self.root / 'bin'

    def add_tool(self, name: str) -> None:
        """Put python3, uv or conda on PATH."""
        (self.bin / name).symlink_to(self.root / 'tool')

    def set(self, flag: str) -> None:
        """fail-WORD: what has WORD in its command fails; activation: conda has scripts."""
        (self.root / flag).touch()

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a bake; its temporary directory is not where the project goes."""
        tmp = self.root / 'tmp'
        return {'PATH': str(self.bin), 'TMPDIR': str(tmp), 'SHELL': '/bin/bash', **variables}

    def bake(self, *flags: str, variables: dict[str, str] | None = None, **answers: str) -> Bake:
        """Bake without a terminal."""
        env = self.environment(**(variables or {}))
        return bake(self.root / 'home', *flags, env=env, **answers)

    def log(self) -> list[str]:
        """What was asked of the tools, in order."""
        file = self.root / 'log'
        return file.read_text(encoding='utf-8').splitlines() if file.exists() else []

    @property
    def crontab(self) -> str:
        """The table, empty where there is none."""
        file = self.root / 'table'
        return file.read_text(encoding='utf-8') if file.exists() else ''


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a Python and a crontab command."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'tmp').mkdir()
    for name in PLAIN_TOOLS:
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name, path='/usr/bin:/bin'))
    script = TOOL.replace('{here}', str(tmp_path)).replace('{python}', str(BASE_PYTHON))
    script = script.replace('{version}', BASE_PYTHON.name)
    write_program(tmp_path / 'tool', script)
    write_program(tmp_path / 'bin' / 'crontab', CRONTAB.replace('{here}', str(tmp_path)))
    machine = Machine(tmp_path)
    machine.add_tool('python3')
    return machine


def write_program(file: Path, text: str) -> None:
    file.write_text(text, encoding='utf-8')
    file.chmod(0o755)


def files_of(project: Path) -> dict[str, bytes]:
    """Every file of a project but the environments and what the jobs keep."""
    made = ('.venv', '.conda', '.cache')
    return {
        str(name): without_id(str(name), path.read_bytes())
        for path in project.rglob('*')
        if path.is_file() and (name := path.relative_to(project)).parts[0] not in made
    }


def without_hook(into: Path, **answers: str) -> dict[str, bytes]:
    """The files of a bake that no hook has touched, but for the bytecode of whoever works on the template.

    The hook takes this away.
    """
    done = bake(into, '--accept-hooks', 'no', **answers)
    assert done.status == 0, done.printed
    return {
        name: held for name, held in files_of(done.project).items() if '__pycache__' not in name
    }


def line_of(project: Path, python: str) -> str:
    """The part of the line for cron that does not depend on the time."""
    return f' * * * * {python} {project}/manage.py schedule run updatedata >> {project}/logs/cron.log 2>&1'


def block_after(text: str, sentence: str) -> list[str]:
    """The indented lines that follow `sentence`."""
    assert sentence in text, text
    rest = text.partition(sentence)[2].lstrip('\n').split('\n\n')[0]
    return [line.strip() for line in rest.splitlines()]


REMAIN = 'To set it up, type:\n'
CONSENT = {'TOM_AUTO_INSTALL': '1'}


# --- Printing -----------------------------------------------------------------------------------


def test_what_a_new_user_sees(machine: Machine) -> None:
    done = machine.bake()
    line = done.printed.partition('keeps the TOM up to date:\n\n    ')[2].partition('\n')[0]
    assert line.endswith(line_of(done.project, f'{done.project}/.venv/bin/python'))
    assert (
        done.printed
        == f"""
My TOM is in {done.project}

To set it up, type:

    cd {done.project}
    python3 -m venv .venv
    .venv/bin/python -m pip install -r requirements.txt
    source .venv/bin/activate
    python manage.py migrate
    python manage.py createsuperuser
    python manage.py demo
    python manage.py runserver

With this line in your crontab, cron keeps the TOM up to date:

    {line}

To install the line, and to check it:

    python manage.py schedule install
    python manage.py schedule status

"""
    )
    assert machine.log() == []
    assert machine.crontab == ''


def test_the_hook_leaves_no_trace(machine: Machine, tmp_path: Path) -> None:
    done = machine.bake()
    assert files_of(done.project) == without_hook(tmp_path / 'plain')


@pytest.mark.parametrize(
    ('tool', 'answers', 'python', 'commands'),
    [
        (
            'uv',
            {},
            '{project}/.venv/bin/python',
            [
                f'uv venv --seed --python {VERSION} .venv',
                'uv pip install --python .venv/bin/python -r requirements.txt',
                'source .venv/bin/activate',
                'python manage.py migrate',
            ],
        ),
        (
            'conda',
            {'environment': 'conda'},
            '{project}/.conda/bin/python',
            [
                'conda env create --prefix ./.conda --file environment.yml',
                'conda activate ./.conda',
                'python manage.py migrate',
            ],
        ),
        (
            '',
            {'environment': 'system'},
            str(BASE_PYTHON),
            [
                'python3 -m pip install --user -r requirements.txt',
                'python3 manage.py migrate',
            ],
        ),
    ],
    ids=['uv', 'conda', 'system'],
)
def test_commands_for_each_environment(
    machine: Machine, tool: str, answers: dict[str, str], python: str, commands: list[str]
) -> None:
    if tool:
        machine.add_tool(tool)
    done = machine.bake(**answers)
    assert block_after(done.printed, REMAIN)[1 : 1 + len(commands)] == commands
    assert line_of(done.project, python.format(project=done.project)) in done.printed
    for file in done.project.glob('environment.yml'):
        assert '- -r requirements.txt' in file.read_text(encoding='utf-8')


def test_with_docker_the_host_installs_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its crontab is the host's, whatever runs in the containers."""
    hook = load_hook(
        'post_gen_project', environment='docker', crontab='install', _output_dir='/home/me'
    )
    ran = []
    monkeypatch.setattr(hook, 'run', lambda command, **_: ran.append(command) or (0, 'a line'))
    python = hook.Python('python3', '/usr/bin/python3', '3.12')
    steps = hook.plan(python)
    last = hook.schedule_step(steps, python)
    hook.carry_out(steps, last, 'a line')
    up, show, install = (' '.join(command) for command in ran)
    assert up == 'docker compose up --build --detach --wait'
    assert (show, install) == (
        'python3 -m tom_auto.scheduling show',
        'python3 -m tom_auto.scheduling install',
    )
    hook.show_what_remains(steps, last, 'a line')
    told = capsys.readouterr().out
    assert '    docker compose up --build --detach --wait\n' in told
    assert 'manage.py migrate' not in told  # the containers do that
    assert '    docker compose exec web python manage.py createsuperuser\n' in told
    assert '    python3 -m tom_auto.scheduling status\n' in told


def test_what_an_updater_did_not_make_for_the_cluster_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """test_kubernetes.py has what is printed otherwise."""
    monkeypatch.chdir(tmp_path)
    answers = {'project_slug': 'my_tom', 'task_engine': 'none', 'environment': 'kubernetes'}
    load_hook('post_gen_project', **answers).show_cluster(None)
    told = capsys.readouterr().out
    assert '    python3 -m tom_auto.environment\n' in told
    assert '    python3 -m tom_auto.scheduling install\n' in told
    assert told.index('scheduling install') < told.index('kubectl apply -k deploy')


@pytest.mark.parametrize(
    ('shell', 'script'),
    [('/bin/zsh', 'activate'), ('/bin/tcsh', 'activate.csh'), ('/usr/bin/fish', 'activate.fish')],
)
def test_the_users_own_shell(shell: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHELL', shell)
    hook = load_hook('post_gen_project', environment='virtualenv')
    assert hook.activation() == f'source .venv/bin/{script}'


def test_paths_can_be_pasted_into_a_shell(machine: Machine) -> None:
    awkward = machine.root / "O'Neill's 100% TOMs"
    done = bake(awkward, env=machine.environment())
    change = block_after(done.printed, REMAIN)[0]
    went = subprocess.run(
        ['/bin/sh', '-c', f'{change} && pwd'],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert went.stdout == f'{done.project}\n'


def test_a_machine_without_a_python_for_it(machine: Machine) -> None:
    (machine.bin / 'python3').unlink()
    done = machine.bake()
    assert 'none was found outside virtual environments.\nInstall one first.\n' in done.printed
    assert line_of(done.project, f'{done.project}/.venv/bin/python') in done.printed
    system = machine.bake('-f', environment='system')
    assert block_after(system.printed, 'To show its line, install it, and check it:\n') == [
        'python3 manage.py schedule show',
        'python3 manage.py schedule install',
        'python3 manage.py schedule status',
    ]


def test_an_old_cookiecutter_looks_for_a_newer_python(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = load_hook('post_gen_project', environment='virtualenv')
    ran = []
    monkeypatch.setattr(hook, 'run', lambda command, **_: ran.append(command[0]) or (0, 'a line'))
    monkeypatch.setattr(hook.sys, 'version_info', (3, 10))
    assert hook.scheduled_line(None) == ''
    assert hook.scheduled_line(hook.Python('python3', '/usr/bin/python3', '3.12')) == 'a line'
    assert ran == ['/usr/bin/python3']


@pytest.mark.parametrize(
    ('says', 'taken'),
    [
        ('3 11 False /usr/bin/python3.11', True),
        ('3 13 False /opt/with space/python3', True),
        ('3 10 False /usr/bin/python3', False),
        ('3 14 False /usr/bin/python3', False),
        ('3 12 True /home/me/.venv/bin/python', False),
        ('3 12 False /home/me/.cache/uv/builds/bin/python', False),
        ('Python 3.12', False),
        ('', False),
    ],
)
def test_pythons_that_will_still_be_there(tmp_path: Path, says: str, taken: bool) -> None:
    write_program(tmp_path / 'python3', f'#!/bin/sh\necho "{says}"\n')
    hook = load_hook('post_gen_project')
    python = hook.examined('python3', str(tmp_path / 'python3'))
    assert bool(python) is taken
    if python:
        assert python.path == says.split(maxsplit=3)[3]
        assert python.name == python.path, 'another python3 comes first on PATH'


# --- Whether to act -----------------------------------------------------------------------------


def assert_only_printed(machine: Machine, done: Bake, reason: str) -> None:
    assert done.status == 0
    assert f'Nothing was installed: {reason}' in ' '.join(done.printed.split())
    assert REMAIN in done.printed
    assert line_of(done.project, f'{done.project}/.venv/bin/python') in done.printed
    assert machine.log() == []
    assert machine.crontab == ''
    assert 'manage.py' in files_of(done.project)


@pytest.mark.parametrize(
    ('variables', 'reason'),
    [
        ({}, 'nobody is here to say yes (this is not a terminal'),
        ({'CI': 'true'}, 'nobody is here to say yes (CI is set'),
        ({'TOM_AUTO_INSTALL': ''}, 'nobody is here'),
        ({'TOM_AUTO_INSTALL': '0'}, 'nobody is here'),
        ({'TOM_AUTO_INSTALL': 'yes'}, 'nobody is here'),
    ],
)
def test_without_a_terminal_and_consent_it_prints(
    machine: Machine, variables: dict[str, str], reason: str
) -> None:
    done = machine.bake(crontab='install', variables=variables)
    assert_only_printed(machine, done, reason)


@pytest.mark.parametrize('inside', ['.', 'deeper', 'a link'])
def test_in_a_temporary_directory_it_prints_whatever_the_consent(
    machine: Machine, inside: str
) -> None:
    tmp = machine.root / 'tmp'
    (tmp / 'deeper').mkdir()
    if inside == 'a link':
        (machine.root / 'a link').symlink_to(tmp)
        tmp = machine.root
    done = bake(tmp / inside, env=machine.environment(**CONSENT), crontab='install')
    done = Bake(done.status, done.printed, done.project.resolve())
    assert_only_printed(machine, done, 'this is in a temporary directory')


def cruft(machine: Machine, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run cruft with consent in the environment, which nothing of it may take for a yes."""
    return subprocess.run(
        [sys.executable, '-m', 'cruft', *arguments],
        cwd=cwd,
        env=clean_environment(machine.root / 'home') | machine.environment(**CONSENT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )


def test_cruft_never_touches_a_crontab(machine: Machine) -> None:
    """It bakes in copies that it throws away, with the answers of the first time.

    An installed line stays as it is, to the byte, whatever the template becomes.
    """
    (machine.bin / 'git').symlink_to(shutil.which('git'))
    into, template = machine.root / 'home', repository(machine.root / 'template')
    answers = '{"crontab": "install"}'
    made = cruft(
        machine, 'create', str(template), '--no-input', '--output-dir', str(into),
        '--extra-context', answers, cwd=machine.root,
    )  # fmt: skip
    project = into / 'my_tom'
    made = Bake(made.returncode, made.stdout, project)
    assert_only_printed(machine, made, 'an updater such as cruft')
    git(project, 'init', '-q')
    commit(project, 'Mine')
    (machine.root / 'table').write_text('# mine\n0 * * * * backup\n', encoding='utf-8')
    before = machine.crontab
    newer = template / '{{cookiecutter.project_slug}}' / 'README.md'
    newer.write_text(newer.read_text(encoding='utf-8') + '\nNewer.\n', encoding='utf-8')
    commit(template, 'Newer')
    assert cruft(machine, 'diff', cwd=project).returncode == 0
    updated = cruft(machine, 'update', '--skip-apply-ask', cwd=project)
    assert updated.returncode == 0, updated.stdout
    assert (project / 'README.md').read_text(encoding='utf-8').endswith('Newer.\n')
    assert machine.crontab == before
    assert machine.log() == []


def test_under_cruft_a_schedule_for_containers_has_an_id(machine: Machine) -> None:
    """Without one, no job of it could be scheduled."""
    (machine.bin / 'git').symlink_to(shutil.which('git'))
    into, template = machine.root / 'home', repository(machine.root / 'template')
    made = cruft(
        machine, 'create', str(template), '--no-input', '--output-dir', str(into),
        '--extra-context', '{"environment": "docker"}', cwd=machine.root,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    project = into / 'my_tom'
    shown = subprocess.run(
        [sys.executable, '-m', 'tom_auto.scheduling', 'show'],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert (shown.returncode, 'updatedata' in shown.stdout) == (0, True), shown.stdout
    git(project, 'init', '-q')
    commit(project, 'Mine')
    assert cruft(machine, 'diff', '--exit-code', cwd=project).returncode == 0


#: Where uvx and pipx keep the environments that they run Cookiecutter in.
RUNNERS = {
    'uvx': '.cache/uv/archive-v0/Ab3dEf',
    'pipx run': '.cache/pipx/6a5b',
    'pipx': '.local/share/pipx/venvs/cookiecutter',
}


@pytest.mark.parametrize(
    ('runner', 'environment', 'python'),
    [
        ('uvx', 'virtualenv', '{project}/.venv/bin/python'),
        ('uvx', 'system', str(BASE_PYTHON)),
        ('pipx run', 'conda', '{project}/.conda/bin/python'),
        ('pipx', 'system', str(BASE_PYTHON)),
    ],
)
def test_the_runners_interpreter_is_never_in_the_line(
    machine: Machine, runner: str, environment: str, python: str
) -> None:
    into = machine.root / 'home'
    prefix = into / RUNNERS[runner]
    command = [runner_environment(prefix), *cookiecutter(into, environment=environment)[1:]]
    path = f'{prefix / "bin"}:{machine.bin}'
    done = subprocess.run(
        command,
        env=clean_environment(into) | machine.environment(PATH=path, VIRTUAL_ENV=str(prefix)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    project = into / 'my_tom'
    assert done.returncode == 0, done.stdout
    assert line_of(project, python.format(project=project)) in done.stdout
    assert RUNNERS[runner] not in done.stdout


def runner_environment(prefix: Path) -> Path:
    """A virtual environment in `prefix` with the packages of this one; returns its Python."""
    base = f'python3.{sys.version_info.minor}'
    site = prefix / 'lib' / base / 'site-packages'
    site.mkdir(parents=True)
    here = next(path for path in sys.path if path.endswith('site-packages'))
    (site / 'packages.pth').write_text(here + '\n', encoding='utf-8')
    (prefix / 'pyvenv.cfg').write_text(f'home = {BASE_PYTHON.parent}\n', encoding='utf-8')
    (prefix / 'bin').mkdir()
    for name in ('python', 'python3', base):
        (prefix / 'bin' / name).symlink_to(BASE_PYTHON)
    return prefix / 'bin' / 'python'


#: As a shell does, it outlives what it starts, so that Ctrl-C does not also close the terminal.
LOGIN_SHELL = """
trap : INT
"$@"
status=$?
if [ $status != 0 ]; then sleep 2; fi
exit $status
"""


def bake_at_terminal(machine: Machine, keys: bytes) -> Bake:
    """Bake with `install` at a terminal of its own, and type `keys` when asked."""
    into = machine.root / 'home'
    environment = clean_environment(into) | machine.environment()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ['/bin/sh', '-c', LOGIN_SHELL, 'sh', *cookiecutter(into, crontab='install')],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_the_terminal,
    )
    os.close(theirs)
    try:
        printed = typed_when_asked(ours, keys)
        status = process.wait(timeout=30)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        os.close(ours)
    return Bake(status, printed.decode().replace('\r\n', '\n'), into / 'my_tom')


def take_the_terminal() -> None:
    """Have Ctrl-C be a signal, and one when the shell leaves, also where the tests run under nohup."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def typed_when_asked(terminal: int, keys: bytes) -> bytes:
    """Type `keys` when asked, and return what the terminal has shown when all have left it.

    Again where nothing comes of it, as a person would: a Ctrl-C between the question and the
    moment that Python begins to read is not seen before the next key.
    """
    printed, end, again = b'', time.monotonic() + 60, 0.0
    while time.monotonic() < end:
        if b'[y/N] ' in printed and time.monotonic() > again:
            os.write(terminal, keys)
            again = time.monotonic() + 10
        if select.select([terminal], [], [], 1)[0]:
            try:
                printed += os.read(terminal, 4096)
            except OSError:  # the last process has closed the terminal
                return printed
    raise AssertionError(f'it has not ended: {printed.decode()}')


@pytest.mark.parametrize('keys', [b'y\n', b'yes\n', b' YES \n'])
def test_a_yes_at_the_terminal_is_consent(machine: Machine, keys: bytes) -> None:
    done = bake_at_terminal(machine, keys)
    assert done.status == 0
    line = block_after(done.printed, 'every other line stays:\n')
    assert line[0] in machine.crontab
    assert 'Everything is set up' in done.printed


@pytest.mark.parametrize(
    'keys', [b'\n', b'n\n', b'no\n', b'yes please\n', b'1\n', b'\x04'], ids=repr
)
def test_anything_else_at_the_terminal_is_none(machine: Machine, keys: bytes) -> None:
    assert_only_printed(machine, bake_at_terminal(machine, keys), 'you did not say yes')


def test_ctrl_c_at_the_terminal_installs_nothing(machine: Machine) -> None:
    """It ends Cookiecutter as well, which keeps the project; who speaks last is a matter of luck."""
    done = bake_at_terminal(machine, b'\x03')
    assert machine.log() == []
    assert machine.crontab == ''
    assert 'manage.py' in files_of(done.project)


# --- Acting -------------------------------------------------------------------------------------


def test_consent_in_the_environment_holds_under_ci_too(machine: Machine) -> None:
    done = machine.bake(crontab='install', variables={**CONSENT, 'CI': 'true'})
    assert done.status == 0
    assert machine.log() == [
        'python3 venv',
        'python pip -m pip install -r requirements.txt',
        'python migrate',
        'python schedule',
    ]
    agreed = block_after(done.printed, 'every other line stays:\n')
    assert agreed[0].endswith(line_of(done.project, f'{done.project}/.venv/bin/python'))
    assert [line for line in machine.crontab.splitlines() if line[0] != '#'] == agreed
    assert block_after(
        done.printed, 'Everything is set up, and the crontab line is installed. Now type:\n'
    ) == [
        f'cd {done.project}',
        'source .venv/bin/activate',
        'python manage.py createsuperuser',
        'python manage.py runserver',
    ]
    assert not list(done.project.rglob('__pycache__'))


def test_the_plan_comes_before_anything_is_done(machine: Machine) -> None:
    done = machine.bake(crontab='install', variables=CONSENT)
    plan = done.printed.partition('which means yes.')[0]
    for number, command in enumerate(
        [
            'python3 -m venv .venv',
            '.venv/bin/python -m pip install -r requirements.txt',
            '.venv/bin/python manage.py migrate --noinput',
            '.venv/bin/python manage.py schedule install',
        ],
        1,
    ):
        assert f'  {number}. ' in plan
        assert f'\n         {command}\n' in plan
    assert '--- ' not in plan


@pytest.mark.parametrize(
    ('tool', 'environment', 'log'),
    [
        (
            'uv',
            'virtualenv',
            ['uv venv', 'uv pip pip install --python .venv/bin/python -r requirements.txt'],
        ),
        ('conda', 'conda', ['conda create']),
        ('', 'system', ['python3 pip -m pip install --user -r requirements.txt']),
    ],
)
def test_acting_for_each_environment(
    machine: Machine, tool: str, environment: str, log: list[str]
) -> None:
    if tool:
        machine.add_tool(tool)
    machine.bake(crontab='install', environment=environment, variables=CONSENT)
    assert machine.log()[:-2] == log
    assert [entry.split()[-1] for entry in machine.log()[-2:]] == ['migrate', 'schedule']
    assert 'updatedata >>' in machine.crontab


#: The steps for each environment, by a word of the command that makes one fail.
STEPS = {
    'virtualenv': {
        'venv': 'python3 -m venv .venv',
        'pip': '.venv/bin/python -m pip install -r requirements.txt',
        'migrate': '.venv/bin/python manage.py migrate --noinput',
        'schedule': '.venv/bin/python manage.py schedule install',
    },
    'conda': {
        'create': 'conda env create --prefix ./.conda --file environment.yml',
        'migrate': '.conda/bin/python manage.py migrate --noinput',
        'schedule': '.conda/bin/python manage.py schedule install',
    },
    'system': {
        'pip': 'python3 -m pip install --user -r requirements.txt',
        'migrate': 'python3 manage.py migrate --noinput',
        'schedule': 'python3 manage.py schedule install',
    },
}


@pytest.mark.parametrize(
    ('environment', 'failing'), [(name, step) for name, steps in STEPS.items() for step in steps]
)
def test_a_step_that_fails_costs_nothing(
    machine: Machine, environment: str, failing: str, plain: Callable[[str], dict[str, bytes]]
) -> None:
    if environment == 'conda':
        machine.add_tool('conda')
    machine.set(f'fail-{failing}')
    done = machine.bake(crontab='install', environment=environment, variables=CONSENT)
    assert done.status == 0
    assert f'{failing}: trouble' in done.printed
    steps = STEPS[environment]
    rest = list(steps.values())[list(steps).index(failing) :]
    assert block_after(done.printed, 'continue with:\n') == [f'cd {done.project}', *rest]
    assert 'Everything is set up' not in done.printed
    assert files_of(done.project) == plain(environment)
    half_made = done.project / {'venv': '.venv', 'create': '.conda'}.get(failing, 'none')
    assert not half_made.exists()
    assert machine.crontab == ''


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """The files of a project that no hook has touched, made once for each environment."""

    @functools.cache
    def files(environment: str) -> dict[str, bytes]:
        into = tmp_path_factory.mktemp(environment)
        return without_hook(into, crontab='install', environment=environment)

    return files


def test_h4_the_database_in_postgresql_is_among_the_commands(machine: Machine) -> None:
    told = machine.bake(database='postgresql').printed
    assert (
        '    createdb my_tom\n    source .venv/bin/activate\n    python manage.py migrate\n' in told
    )


@pytest.mark.parametrize('migrate', ['works', 'fails'])
def test_h4_a_database_that_is_there_already_stops_nothing(machine: Machine, migrate: str) -> None:
    machine.add_tool('createdb')
    machine.set('fail-createdb')
    if migrate == 'fails':  # because there is no server, say
        machine.set('fail-migrate')
    answers = {'crontab': 'install', 'database': 'postgresql'}
    done = machine.bake(variables=CONSENT, **answers)
    if migrate == 'works':
        assert 'Everything is set up' in done.printed
        return
    assert 'This failed: make the tables of the database.' in done.printed
    assert '    createdb my_tom\n    .venv/bin/python manage.py migrate --noinput\n' in done.printed


def test_a_tool_that_is_not_there(machine: Machine) -> None:
    done = machine.bake(crontab='install', environment='conda', variables=CONSENT)
    assert done.status == 0
    assert 'No such file or directory' in done.printed
    assert 'This failed: make .conda with the packages.' in done.printed


def test_an_environment_that_is_there_is_kept(machine: Machine) -> None:
    machine.bake(crontab='install', variables=CONSENT)
    (machine.root / 'log').unlink()
    done = machine.bake('--overwrite-if-exists', crontab='install', variables=CONSENT)
    assert '.venv exists already.' in done.printed
    assert 'python3 venv' not in machine.log()
    assert machine.crontab.count('updatedata >>') == 1


def test_the_whole_plan_for_real(machine: Machine) -> None:
    """Packages from the index, or the cache of uv; then the line that it made, as cron runs it."""
    (machine.bin / 'python3').unlink()
    (machine.bin / 'python3').symlink_to(BASE_PYTHON)
    (machine.bin / 'uv').symlink_to(Path(sys.executable).with_name('uv'))
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    cache = os.environ.get('UV_CACHE_DIR') or home / '.cache' / 'uv'
    into = machine.root / "It's 100% mine"
    env = machine.environment(**CONSENT, UV_CACHE_DIR=str(cache), UV_COMPILE_BYTECODE='0')
    done = bake(into, env=env, crontab='install')
    assert 'Everything is set up, and the crontab line is installed' in done.printed, done.printed
    line = block_after(done.printed, 'every other line stays:\n')[0]
    assert line in machine.crontab
    log = done.project / 'logs' / 'cron.log'
    log.write_bytes(b'x' * 1_100_000)
    command = line.split(maxsplit=5)[5].replace('\\%', '%')  # cron does the same
    ran = subprocess.run(
        ['/bin/sh', '-c', command],
        cwd='/',
        env={'HOME': str(machine.root), 'SHELL': '/bin/sh', 'PATH': '/usr/bin:/bin'},
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0
    assert 'Success!' in log.read_text(encoding='utf-8')
    assert log.with_name('cron.log.1').stat().st_size == 1_100_000, 'what was full is set aside'


def test_a_line_that_nobody_agreed_to_is_not_installed(machine: Machine) -> None:
    """conda's packages may bring scripts that the line has to run first: then it is another one."""
    machine.add_tool('conda')
    machine.set('activation')
    done = machine.bake(crontab='install', environment='conda', variables=CONSENT)
    assert 'the crontab line is not the one that you agreed to' in done.printed
    assert 'conda run --no-capture-output -p' in done.printed
    assert machine.crontab == ''


def test_a_reader_that_goes_away_costs_nothing(machine: Machine) -> None:
    """As in `cookiecutter … | head -1`."""
    into = machine.root / 'home'
    environment = clean_environment(into) | machine.environment()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        cookiecutter(into),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert (into / 'my_tom' / 'manage.py').exists()


@pytest.mark.parametrize('crontab', ['print', 'install'])
def test_a_terminal_that_cannot_show_every_letter(machine: Machine, crontab: str) -> None:
    narrow = {'PYTHONIOENCODING': 'ascii', **CONSENT}
    done = machine.bake(crontab=crontab, project_name='TOM 🔭', variables=narrow, slug='tom')
    assert done.status == 0
    assert 'TOM ? is in ' in done.printed
    assert 'createsuperuser' in done.printed
