"""Images to stand in for the official ones, from the Debian packages of this machine.

No image registry is reached from here. What stands in has the same contract as far as the TOM
uses it, and so proves the TOM's wiring; it does not prove the official image.
"""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from needs import need

#: Directories that no program needs at run time.
LEFT_OUT = ('/usr/share/doc/', '/usr/share/man/', '/usr/share/info/', '/usr/share/locale/')

CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

#: What the maintainers' scripts of packages make, and no package lists.
MADE = ('/usr/bin/sh', '/etc/login.defs', CERTIFICATES)

#: About what python:3.x-slim has of Debian; apt brings libraries that wheels count on.
LIKE_PYTHON = ('apt', 'ca-certificates', 'netbase', 'passwd', 'python3-venv', 'tzdata')

#: Links of Debian's to the directories of these names in /usr.
MERGED = ('bin', 'sbin', 'lib', 'lib64')

USERS = {
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n'
    'postgres:x:999:999::/var/lib/postgresql:/bin/sh\n'
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
    'etc/group': 'root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n',
    'etc/shadow': 'root:*:19000:0:99999:7:::\n',
    'etc/gshadow': 'root:*::\n',
}


def root_of(*packages: str) -> bytes:
    """A tar file of a Debian with these packages, and with all that they need."""
    names = closure(packages)
    listed = ask('dpkg', '-L', *names)
    files = {in_usr(line) for line in listed.splitlines() if line.startswith('/')}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w') as tar:
        for name in sorted(files.union(MADE)) + [f'/{link}' for link in MERGED]:
            if not name.startswith(LEFT_OUT) and os.path.lexists(name) and name != '/.':
                tar.add(name, recursive=False)
        for name, text in USERS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def in_usr(name: str) -> str:
    """Where a file of a package really is: Debian's /bin is a link to /usr/bin."""
    return f'/usr{name}' if name.split('/')[1] in MERGED else name


def closure(packages: tuple[str, ...]) -> set[str]:
    """These packages of the machine, its essential ones, and all that they depend on."""
    needs, essential, provider = installed()
    todo, seen = [*essential, *packages], set()
    while todo:
        name = provider.get(todo.pop())
        if name and name not in seen:
            seen.add(name)
            todo += [first_of(choice, provider) for choice in needs[name]]
    return seen


def first_of(choice: list[str], provider: dict[str, str]) -> str:
    """The first of these alternatives that the machine has."""
    return next((name for name in choice if name in provider), '')


def installed() -> tuple[dict[str, list[list[str]]], list[str], dict[str, str]]:
    """The packages of the machine with their needs, the essential ones, and who provides what."""
    needs, essential, provider = {}, [], {}
    form = (
        '${Package}\t${db:Status-Status}\t${Essential}\t${Pre-Depends}, ${Depends}\t${Provides}\n'
    )
    for line in ask('dpkg-query', '-W', '-f', form).splitlines():
        name, status, is_essential, wanted, provides = line.split('\t')
        if status != 'installed':
            continue
        needs[name] = list(choices(wanted))
        essential += [name] if is_essential == 'yes' else []
        provider |= dict.fromkeys((word for [word] in choices(provides)), name) | {name: name}
    return needs, essential, provider


def choices(field: str) -> Iterator[list[str]]:
    """The names in a field such as Depends: the alternatives of each entry."""
    for entry in filter(str.strip, field.split(',')):
        yield [word.split()[0].partition(':')[0] for word in entry.split('|')]


def ask(*command: str) -> str:
    """What a program prints. Some packages list files that another has taken over."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def postgresql_programs() -> Path:
    """Where the programs of the newest PostgreSQL package are."""
    found = list(Path('/usr/lib/postgresql').glob('*/bin/initdb'))
    need(found, 'needs PostgreSQL (Debian package postgresql)')
    return max(found, key=lambda file: int(file.parts[-3])).parent


def like_postgres() -> tuple[str, ...]:
    """The packages of an image that runs PostgreSQL."""
    return (f'postgresql-{postgresql_programs().parent.name}', 'tzdata')


def like_nginx() -> tuple[str, ...]:
    """The packages of an image that runs nginx."""
    need(Path('/usr/sbin/nginx').exists(), 'needs nginx (Debian package nginx-light)')
    return ('nginx-light',)


def like_redis() -> tuple[str, ...]:
    """The packages of an image that runs Redis."""
    need(Path('/usr/bin/redis-server').exists(), 'needs Redis (Debian package redis-server)')
    return ('redis-server', 'redis-tools')
