"""Prints the crontab line and the commands that remain; or, after a yes, carries them out.

Cookiecutter renders this file and runs it in the new project with its own Python, which may be older
than the project's (nothing here needs more than 3.9) and may be gone after this run. If the hook failed,
Cookiecutter would delete the project, so it always ends with status 0.

It asks, and installs, only if the answer to `crontab` is "install".
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# JSON in a raw string: values may contain quotes and backslashes.
ANSWERS = json.loads(r""" {{ cookiecutter | tojson }} """)

PROJECT = Path.cwd()
CONSENT = 'TOM_AUTO_INSTALL'
PYTHONS = ('python3.13', 'python3.12', 'python3.11', 'python3', 'python')
LOCK = 'requirements-celery.txt' if ANSWERS.get('task_engine') == 'celery' else 'requirements.txt'
INSTALL_SECONDS = 3600  # downloads may be slow

# Prints version, whether it is a virtual environment, and path of a Python.
ABOUT_PYTHON = (
    'import sys; print(*sys.version_info[:2], sys.prefix != sys.base_prefix, sys.executable)'
)


@dataclass(frozen=True)
class Step:
    """A command of the plan. `makes` is the directory that it makes in the project, if any.

    Where `may_fail`, the next step shows whether that matters: what it makes may be there already.
    """

    purpose: str
    command: list[str]
    makes: str = ''
    may_fail: bool = False

    def shown(self) -> str:
        """The command, as typed in the project."""
        return shlex.join(self.command)


@dataclass(frozen=True)
class Python:
    """A Python that can run the TOM and will not go away."""

    name: str  # as typed
    path: str
    version: str


def run(command: list[str], capture: bool = False, seconds: int = 60) -> tuple[int, str]:
    """Run a command in the project; returns its status and, if captured, its output.

    All processes of this hook are started here. They get no input and write no byte code.
    """
    kept = {name: value for name, value in os.environ.items() if name != 'PYTHONSAFEPATH'}
    sys.stdout.flush()
    try:
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env={**kept, 'PYTHONDONTWRITEBYTECODE': '1'},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.DEVNULL if capture else None,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    except KeyboardInterrupt:
        return 1, 'interrupted'
    return done.returncode, os.fsdecode(done.stdout or b'').strip()


# --- The library ------------------------------------------------------------------------------


def complete_library() -> None:
    """Make sure that tom_auto is a plain directory without byte code.

    In the template it is a symbolic link. Zip archives and Windows turn that into a small file: then the
    directory is copied from the template.
    """
    library = PROJECT / 'tom_auto'
    if not (library / '__init__.py').is_file():
        # `_repo_dir` may be relative to where Cookiecutter was started.
        source = Path(os.environ.get('PWD', ''), ANSWERS.get('_repo_dir', ''), 'tom_auto')
        if not (source / '__init__.py').is_file():
            print(
                f'\nThe library is missing. Copy the directory tom_auto of the template to {library}\n'
            )
            return
        library.unlink(missing_ok=True)
        shutil.copytree(source, library)
    for cache in list(library.rglob('__pycache__')):
        shutil.rmtree(cache, ignore_errors=True)


# --- What there is to work with ---------------------------------------------------------------


def lasting_python() -> Python | None:
    """The first Python 3.11 to 3.13 on PATH that is not in a virtual environment or a cache."""
    for name in PYTHONS:
        for directory in os.get_exec_path():
            found = shutil.which(name, path=directory)
            python = found and examined(name, found)
            if python:
                return python
    return None


def examined(name: str, found: str) -> Python | None:
    """The Python at `found`, or None if it is not suitable."""
    status, printed = run([found, '-c', ABOUT_PYTHON], capture=True)
    words = printed.split(maxsplit=3)
    if status != 0 or len(words) != 4:
        return None
    major, minor, virtual, path = words
    in_cache = {'.cache', 'Caches'} & set(Path(path).parts)
    if virtual == 'True' or in_cache or not (3, 11) <= (int(major), int(minor)) <= (3, 13):
        return None
    return Python(name if shutil.which(name) == found else path, path, f'{major}.{minor}')


def scheduled_line(python: Python | None) -> str:
    """The crontab line, written by the project's own code; empty if no Python can run that code.

    For `system` the line names the Python that runs the code, so it must be the lasting one.
    """
    runner = python.path if python else ''
    if not runner and sys.version_info >= (3, 11) and ANSWERS['environment'] != 'system':
        runner = sys.executable
    if not runner:
        return ''
    status, line = run([runner, '-m', 'tom_auto.scheduling', 'show'], capture=True)
    return line if status == 0 else ''


# --- The plan ---------------------------------------------------------------------------------


def plan(python: Python | None) -> list[Step]:
    """The steps that make a new project ready to use."""
    environment = ANSWERS['environment']
    if environment == 'docker':
        return [docker_step()]
    if environment == 'conda':
        return [conda_step(), *createdb_steps(), migrate_step('.conda/bin/python')]
    if environment == 'system':
        name = python.name if python else 'python3'
        install = [name, '-m', 'pip', 'install', '--user', '-r', LOCK]
        return [Step('install the packages', install), *createdb_steps(), migrate_step(name)]
    return [*virtualenv_steps(python), *createdb_steps(), migrate_step('.venv/bin/python')]


def conda_step() -> Step:
    """Makes the environment and installs the packages in one step."""
    command = ['conda', 'env', 'create', '--prefix', './.conda', '--file', 'environment.yml']
    return Step('make .conda with the packages', command, makes='.conda')


def docker_step() -> Step:
    """Starts everything: one container updates the tables before the others start."""
    command = ['docker', 'compose', 'up', '--build', '--detach', '--wait']
    return Step('build the image, make the database and start the TOM', command)


def virtualenv_steps(python: Python | None) -> list[Step]:
    """Make .venv and install the packages; with uv if it is installed, which is much faster."""
    version = python.version if python else '3.12'
    if shutil.which('uv'):
        make = ['uv', 'venv', '--seed', '--python', version, '.venv']
        install = ['uv', 'pip', 'install', '--python', '.venv/bin/python']
    else:
        make = [python.name if python else f'python{version}', '-m', 'venv', '.venv']
        install = ['.venv/bin/python', '-m', 'pip', 'install']
    return [
        Step('make .venv', make, makes='.venv'),
        Step('install the packages', [*install, '-r', LOCK]),
    ]


def createdb_steps() -> list[Step]:
    """Makes the database that `.env.example` names, in the PostgreSQL server of this machine."""
    if ANSWERS['database'] != 'postgresql':
        return []
    command = ['createdb', ANSWERS['project_slug']]
    return [Step('make the database, unless it is there', command, may_fail=True)]


def migrate_step(python: str) -> Step:
    """Makes the database tables; with SQLite, the database as well."""
    return Step('make the tables of the database', [python, 'manage.py', 'migrate', '--noinput'])


def schedule_step(steps: list[Step], python: Python | None) -> Step:
    """Installs the crontab line with the Python that the plan made, or the host's Python."""
    command = [steps[-1].command[0], 'manage.py', 'schedule', 'install']
    if ANSWERS['environment'] == 'docker':
        command = [python.name if python else 'python3', '-m', 'tom_auto.scheduling', 'install']
    return Step('install the crontab line', command)


def typed_python(steps: list[Step]) -> str:
    """The words to type before `manage.py`, after `activation`."""
    if ANSWERS['environment'] == 'docker':
        return 'docker compose exec web python'
    return 'python' if activation() else steps[-1].command[0]


def activation() -> str:
    """The command that activates the environment in the user's shell; empty if there is none."""
    environment = ANSWERS['environment']
    if environment == 'virtualenv':
        shell = Path(os.environ.get('SHELL', '')).name
        ending = {'fish': '.fish', 'csh': '.csh', 'tcsh': '.csh'}.get(shell, '')
        return f'source .venv/bin/activate{ending}'
    return 'conda activate ./.conda' if environment == 'conda' else ''


# --- In a cluster -----------------------------------------------------------------------------


def write_cronjobs(python: Python | None) -> bool:
    """Write deploy/cronjobs.yaml by the project's own code; False if that has to be typed.

    Not under an updater, which compares the files of two runs: the minute of "hourly" would differ.
    """
    runner = python.path if python else sys.executable if sys.version_info >= (3, 11) else ''
    if not runner or '_output_dir' not in ANSWERS:
        return False
    status, _ = run([runner, '-m', 'tom_auto.scheduling', 'install'], capture=True)
    return status == 0


def show_cluster(python: Python | None) -> None:
    """Print the commands that bring the TOM into a cluster. No crontab starts its jobs."""
    name = ANSWERS['project_slug'].replace('_', '-')
    image = f'registry.example.org/{name}:1'
    inside = f'kubectl exec -it deployment/{name}-web -- python manage.py'
    alone = ANSWERS['task_engine'] == 'none'
    needed, starter = 'database and the bucket are', 'Beat and its workers keep'
    if alone:
        needed, starter = 'database is', 'CronJobs, in deploy/cronjobs.yaml, keep'
    print(f'Write into .env where the {needed}, and into deploy/config.yaml, three times, under')
    print('which name the TOM will be reached: KUBERNETES.md explains both.')
    print('Then type, with the address of your registry here and in deploy/kustomization.yaml:\n')
    show_commands(
        f'cd {shlex.quote(str(PROJECT))}',
        '' if (PROJECT / '.env').exists() else 'python3 -m tom_auto.environment',
        'python3 -m tom_auto.scheduling install' if alone and not write_cronjobs(python) else '',
        f'docker build --tag {image} .',
        f'docker push {image}',
        f'kubectl create secret generic {name} --from-env-file=.env',
        'kubectl apply -f deploy/storage.yaml' if alone else '',
        'kubectl apply -k deploy',
        f'kubectl rollout status deployment/{name}-web',
        f'{inside} createsuperuser',
        f'{inside} demo',
    )
    print(f'{starter} the TOM up to date. To see that they do:\n')
    show_commands(f'{inside} schedule status')


# --- Whether to act ---------------------------------------------------------------------------


def reason_to_print() -> str:
    """Why nothing can be installed, even with consent; empty if it can."""
    if '_output_dir' not in ANSWERS:
        return 'an updater such as cruft runs this, perhaps in a temporary copy'
    temporary = Path(tempfile.gettempdir()).resolve()
    if temporary in [PROJECT.resolve(), *PROJECT.resolve().parents]:
        return f'this is in a temporary directory ({temporary}), which may be emptied'
    return ''


def consent() -> str:
    """Ask whether to carry out the plan. Empty for yes; otherwise the reason for no."""
    if os.environ.get(CONSENT) == '1':
        print(f'{CONSENT}=1 is set, which means yes.')
        return ''
    if os.environ.get('CI', '').lower() not in ('', '0', 'false'):
        return f'nobody is here to say yes (CI is set, and {CONSENT}=1 is not set)'
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return f'nobody is here to say yes (this is not a terminal, and {CONSENT}=1 is not set)'
    try:
        answer = input('Go ahead? [y/N] ')
    except (EOFError, KeyboardInterrupt):
        print()
        answer = ''
    return '' if answer.strip().lower() in ('y', 'yes') else 'you did not say yes'


def offer(steps: list[Step], last: Step, line: str) -> None:
    """Show the plan, ask, and act; or print what to do by hand, and why."""
    reason = reason_to_print() or ('' if line else 'the crontab line could not be made')
    if not reason:
        show_plan([*steps, last], line)
        reason = consent()
    if reason:
        print(f'Nothing was installed: {reason}.\n')
        show_what_remains(steps, last, line)
    else:
        carry_out(steps, last, line)


def carry_out(steps: list[Step], last: Step, line: str) -> None:
    """Carry out the plan, up to a step that fails."""
    for number, step in enumerate(steps):
        if step.makes and (PROJECT / step.makes / 'bin' / 'python').exists():
            print(f'{step.makes} exists already.')
        elif not done(step) and not step.may_fail:
            again = number - 1 if number and steps[number - 1].may_fail else number
            show_failure(step, [*steps[again:], last])
            return
    status, now = run([last.command[0], '-m', 'tom_auto.scheduling', 'show'], capture=True)
    if status != 0 or now != line:
        print('\nEverything is set up, but the crontab line is not the one that you agreed to:\n')
        show_commands(now)
        print('It was not installed. To install it anyway:\n')
        show_commands(f'cd {shlex.quote(str(PROJECT))}', last.shown())
    elif done(last):
        show_success(steps)
    else:
        show_failure(last, [last])


def done(step: Step) -> bool:
    """Carry out one step; if it fails, remove the directory that it made."""
    print(f'\n--- {step.purpose}: {step.shown()}')
    new = bool(step.makes) and not os.path.lexists(PROJECT / step.makes)
    status, error = run(step.command, seconds=INSTALL_SECONDS)
    if status != 0:
        print(error or f'It ended with status {status}.')
        if new:
            shutil.rmtree(PROJECT / step.makes, ignore_errors=True)
    return status == 0


# --- What people read -------------------------------------------------------------------------


def show_plan(steps: list[Step], line: str) -> None:
    """Print everything that a yes would do."""
    print('If you agree, this is done now:\n')
    for number, step in enumerate(steps, 1):
        print(f'  {number}. {step.purpose}\n         {step.shown()}')
    print('\nThis line goes into your crontab, and every other line stays:\n')
    show_commands(line)


def show_what_remains(steps: list[Step], last: Step, line: str) -> None:
    """Print the commands to type, then the crontab line and how to install it."""
    python, in_docker = typed_python(steps), ANSWERS['environment'] == 'docker'
    # The crontab is the host's, and the containers update the tables themselves.
    schedule = (
        last.shown().removesuffix(' install') if in_docker else f'{python} manage.py schedule'
    )
    make = [step.shown() for step in (steps if in_docker else steps[:-1])]
    print('To set it up, type:\n')
    show_commands(
        f'cd {shlex.quote(str(PROJECT))}',
        # The containers need it, and this Python was too old to make it.
        'python3 -m tom_auto.environment' if in_docker and not (PROJECT / '.env').exists() else '',
        *make,
        activation(),
        '' if in_docker else f'{python} manage.py migrate',
        f'{python} manage.py createsuperuser',
        f'{python} manage.py demo',
        '' if in_docker else f'{python} manage.py runserver',
    )
    if line:
        print('With this line in your crontab, cron keeps the TOM up to date:\n')
        show_commands(line)
        print('To install the line, and to check it:\n')
    else:
        print('Cron keeps the TOM up to date. To show its line, install it, and check it:\n')
    show_commands(
        '' if line else f'{schedule} show',
        f'{schedule} install',
        f'{schedule} status',
    )


def show_success(steps: list[Step]) -> None:
    """Print what is left to do after the whole plan."""
    print('\nEverything is set up, and the crontab line is installed. Now type:\n')
    python, in_docker = typed_python(steps), ANSWERS['environment'] == 'docker'
    show_commands(
        f'cd {shlex.quote(str(PROJECT))}',
        activation(),
        f'{python} manage.py createsuperuser',
        '' if in_docker else f'{python} manage.py runserver',
    )


def show_failure(failed: Step, steps: list[Step]) -> None:
    """Print how to continue by hand with `steps` after one that failed."""
    print(f'\nThis failed: {failed.purpose}. The project itself is complete.')
    print('After fixing the problem, continue with:\n')
    show_commands(f'cd {shlex.quote(str(PROJECT))}', *(step.shown() for step in steps))


def show_commands(*commands: str) -> None:
    """Print commands, one per line, and an empty line after them."""
    for command in filter(None, commands):
        print(f'    {command}')
    print()


def make_env_file() -> None:
    """Write the .env that containers get, with new secrets; an existing one is kept.

    Not under an updater, which compares the files of two runs: their secrets would differ.
    """
    if ANSWERS['environment'] in ('docker', 'kubernetes') and '_output_dir' in ANSWERS:
        run([sys.executable, '-m', 'tom_auto.environment'])


def add_id() -> None:
    """Give the schedule an id: "hourly" gets its minute from it, on the host and in a container alike.

    Under an updater as well: it leaves schedule.toml alone, and containers need an id.
    """
    file, first = PROJECT / 'schedule.toml', '\nenvironment = '
    text = file.read_text(encoding='utf-8')
    line = f'\nid = "{secrets.token_hex(4)}"  # made once: the minute of "hourly" comes from it'
    file.write_text(text.replace(first, line + first, 1), encoding='utf-8')


def keep_private() -> None:
    """Let nobody else on this machine enter the project: secrets and data will be in it.

    Nor its data and logs: its owner may open the project itself, for a web server.
    """
    with contextlib.suppress(OSError):  # a file system without permissions
        for directory in (PROJECT, PROJECT / 'data', PROJECT / 'logs'):
            directory.chmod(0o700)


def let_nginx_read() -> None:
    """Open nginx.conf, which holds no secret: in its container, nginx is another user."""
    with contextlib.suppress(OSError):  # only for Docker; or a file system without permissions
        (PROJECT / 'nginx.conf').chmod(0o644)


def main() -> None:
    """Print what remains to be done, or offer to do it, as answered."""
    keep_private()
    let_nginx_read()
    complete_library()
    make_env_file()
    add_id()
    python = lasting_python()
    name = ANSWERS['project_name'].encode(sys.stdout.encoding, 'replace')
    print(f'\n{name.decode(sys.stdout.encoding)} is in {PROJECT}\n')
    if not python:
        print(
            'It needs Python 3.11, 3.12 or 3.13, and none was found outside virtual environments.'
        )
        print('uv will download one.\n' if shutil.which('uv') else 'Install one first.\n')
    if ANSWERS['environment'] == 'kubernetes':
        show_cluster(python)
        return
    steps, line = plan(python), scheduled_line(python)
    last = schedule_step(steps, python)
    if ANSWERS['crontab'] == 'install':
        offer(steps, last, line)
    else:
        show_what_remains(steps, last, line)


if __name__ == '__main__':
    try:
        sys.stdout.reconfigure(errors='surrogateescape')
        main()
        sys.stdout.flush()
    except BaseException as error:  # the project is complete, and must not be deleted
        with contextlib.suppress(OSError):
            os.write(2, f'The project is complete, but this message is not: {error!r}\n'.encode())
    os._exit(0)  # even a closed pipe must not count as a failure
