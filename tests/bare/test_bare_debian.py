"""On a bare Debian 12, with its own Python and pip, the printed commands lead to a running TOM.

Everything is typed at a terminal, as printed, by a user without privileges. `make bare`, as root, takes some
minutes: it makes a Debian in a directory, and installs all packages twice.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from ast import literal_eval
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = 'python3,python3-venv,cron,postgresql,git,ca-certificates'
PROMPT, USER, UID = 'READY> ', 'ann', 4242
PASSWORD = 'only-for-this-test'  # noqa: S105
#: What is asked for, and what is typed then.
QUESTIONS = {'Username': 'ann', 'Email address': 'ann@example.org', 'Password': PASSWORD}
DEVICES = {'null': '13', 'zero': '15', 'random': '18', 'urandom': '19', 'tty': '50'}
LONGEST = 1200  # seconds, for a command
FIRST_TOM = 300  # seconds, from the first line of the README to data on the screen and a line in the crontab
DRAWN = 60  # seconds, until the first pictures are drawn
SITE = 'http://127.0.0.1:8000'


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=LONGEST)


@pytest.fixture(scope='module')
def debian() -> Iterator[Path]:
    """A Debian 12 in a directory, with a PostgreSQL that runs, and a user who may make databases."""
    if os.getuid() or not shutil.which('mmdebstrap'):
        pytest.skip('this needs root, and mmdebstrap')
    root = Path(mkdtemp(dir='/var/tmp')) / 'root'  # noqa: S108
    try:
        run('mmdebstrap', '--quiet', '--variant=minbase', f'--include={PACKAGES}', 'bookworm', root)
        mount_what_programs_need(root)
        shutil.copy('/etc/resolv.conf', root / 'etc/resolv.conf')
        packages_come_from_where_this_machine_has_them(root)
        run('chroot', root, 'useradd', '--create-home', '--uid', str(UID), USER)
        run('git', 'clone', '--quiet', REPOSITORY, root / 'home' / USER / 'tom-auto')
        run('chroot', root, 'chown', '-R', USER, f'/home/{USER}')
        run('chroot', root, 'pg_ctlcluster', '15', 'main', 'start')
        run('chroot', root, 'su', 'postgres', '-c', f'createuser --createdb {USER}')
        yield root
        run('chroot', root, 'pg_ctlcluster', '15', 'main', 'stop', '-m', 'immediate')
    finally:  # what is mounted in it is no file of it
        subprocess.run(['umount', '--recursive', root / 'dev', root / 'proc'], check=False)
        run('rm', '-rf', '--one-file-system', root.parent)


def mount_what_programs_need(root: Path) -> None:
    """Its own /proc and /dev, never those of this machine: they are deleted with it."""
    run('mount', '-t', 'proc', 'proc', root / 'proc')
    for name in ('dev', 'dev/shm'):
        (root / name).mkdir(exist_ok=True)
        run('mount', '-t', 'tmpfs', 'tmpfs', root / name)
    for name, numbers in DEVICES.items():
        run('mknod', '-m', '666', root / 'dev' / name, 'c', *numbers)
    (root / 'dev/fd').symlink_to('/proc/self/fd')


def packages_come_from_where_this_machine_has_them(root: Path) -> None:
    """Nothing of that is in the repository: pip says where it is configured to look."""
    listed = subprocess.run(
        ['python3', '-m', 'pip', 'config', 'list'], capture_output=True, text=True, check=True
    )
    lines = re.findall(r"^(?:global|:env:)\.([\w-]+)=('.*')$", listed.stdout, re.MULTILINE)
    settings = {name: literal_eval(value).replace('\n', '\n    ') for name, value in lines}
    (root / 'etc/pip.conf').write_text(
        '[global]\n' + ''.join(f'{name} = {value}\n' for name, value in settings.items())
    )
    for value in settings.values():
        if value.startswith('/') and Path(value).is_file():
            (root / value[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(value, root / value[1:])


class Terminal:
    """A terminal at which the user of the Debian types."""

    def __init__(self, root: Path) -> None:
        proxies = {name: value for name, value in os.environ.items() if 'proxy' in name.lower()}
        env = {
            'HOME': f'/home/{USER}',
            'USER': USER,
            'LOGNAME': USER,
            'TERM': 'dumb',
            'LANG': 'C.UTF-8',
        }
        env |= proxies | {'PATH': '/usr/local/bin:/usr/bin:/bin', 'PS1': PROMPT}
        self.shown, self._read, self.begun = '', 0, time.monotonic()
        self.pid, self._file = pty.fork()
        if not self.pid:
            os.chroot(root)
            os.setgroups([])
            os.setgid(UID)
            os.setuid(UID)
            os.chdir(env['HOME'])
            os.execve('/bin/bash', ['bash', '--norc', '--noprofile', '-i'], env)  # noqa: S606
        self.wait_for(PROMPT)

    def wait_for(self, *texts: str) -> str:
        """Read on until the terminal shows one of `texts`; gives the one that comes first."""
        end = time.monotonic() + LONGEST
        while True:
            places = {text: self.shown.find(text, self._read) for text in texts}
            if found := [text for text in texts if places[text] >= 0]:
                first = min(found, key=places.get)
                self._read = places[first] + len(first)
                return first
            assert time.monotonic() < end, self.shown[-3000:]
            if select.select([self._file], [], [], 1)[0]:
                self.shown += os.read(self._file, 65536).decode(errors='replace')

    def type(self, line: str) -> None:
        os.write(self._file, f'{line}\n'.encode())

    def do(self, line: str, *ends: str) -> str:
        """Type a command, and answer what it asks; what it shows up to the prompt, or one of `ends`.

        A command that comes back to the prompt must have gone well.
        """
        begun = self._read
        self.type(line)
        while (seen := self.wait_for(PROMPT, *ends, *QUESTIONS)) in QUESTIONS:
            self.type(QUESTIONS[seen])
        shown = self.shown[begun : self._read]
        if seen == PROMPT:
            self.type('echo "status $?"')
            status = self.wait_for(*(f'status {number}\r\n' for number in range(256)))
            assert status == 'status 0\r\n', shown[-3000:]
            self.wait_for(PROMPT)
        return shown

    def stop(self) -> None:
        """Press Ctrl-C."""
        os.write(self._file, b'\x03')
        self.wait_for(PROMPT)


@pytest.fixture(scope='module')
def terminal(debian: Path) -> Terminal:
    """A terminal, with Cookiecutter as the README says."""
    typed = Terminal(debian)
    text = (REPOSITORY / 'README.md').read_text(encoding='utf-8')
    lines = re.findall(
        r'^    (python3 -m venv cookiecutter-env|cookiecutter-env/bin/pip .*)$', text, re.MULTILINE
    )
    assert len(lines) == 2
    for line in lines:
        typed.do(line)
    return typed


@pytest.mark.parametrize('database', ['sqlite', 'postgresql'])
def test_the_printed_commands_lead_to_a_running_tom(terminal: Terminal, database: str) -> None:
    terminal.do('cd ~')
    bake = f'cookiecutter-env/bin/cookiecutter tom-auto --no-input project_slug=my_{database} database={database}'
    printed = terminal.do(bake).replace('\r', '')
    commands = re.findall(
        r'^    (\S.*)$', printed.partition('type:')[2].partition('With this line')[0], re.MULTILINE
    )
    assert commands[-1] == 'python manage.py runserver'
    for line in commands[:-1]:
        terminal.do(line)
    terminal.do(commands[-1], 'Quit the server with CONTROL-C')
    for path in ('', 'automation/', 'targets/'):
        with urlopen(f'{SITE}/{path}', timeout=60) as answer:
            assert answer.status == 200
            assert b'My TOM' in answer.read()
    assert pictures_that_the_user_sees()
    terminal.stop()
    assert 'cron keeps the TOM up to date' in printed
    terminal.do('python manage.py schedule install')
    took = time.monotonic() - terminal.begun
    print(f'{database}: {took:.0f} s from the first line that was typed')  # noqa: T201
    assert took < FIRST_TOM or database != 'sqlite'  # which is the first
    terminal.do('python manage.py demo --remove')
    terminal.do('python manage.py updatedata')
    terminal.do('deactivate')


def pictures_that_the_user_sees() -> list[bytes]:
    """The pictures of frames on the page of the automation, for the user who logs in."""
    browser = build_opener(HTTPCookieProcessor())

    def read(path: str, **form: str) -> bytes:
        data = urlencode(form).encode() if form else None
        headers = {'Referer': SITE} | ({'HX-Request': 'true'} if '?' in path else {})
        with browser.open(Request(SITE + path, data, headers), timeout=60) as answer:
            return answer.read()

    login = '/accounts/login/'
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', read(login))[1].decode()
    read(login, csrfmiddlewaretoken=token, username=USER, password=PASSWORD)
    # As htmx does: the page loads its gallery, which asks until the pictures are drawn.
    page = read('/automation/')
    gallery = read(unescape(re.search(rb'hx-get="(/automation/arrivals/[^"]*)"', page)[1].decode()))
    end = time.monotonic() + DRAWN
    while time.monotonic() < end:
        if sources := re.findall(rb'<img src="([^"]+)" width="200"', gallery):
            return [read(unescape(source.decode())) for source in sources]
        asks = re.search(rb'hx-post="([^"]+)"', gallery)
        gallery = read(unescape(asks[1].decode()), asked='by the page')
        time.sleep(2)
    return []
