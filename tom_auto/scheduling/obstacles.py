"""Finds what on this machine would silently keep an installed line from running."""

import contextlib
import os
import pwd
import sys
from pathlib import Path

from .command_to_type import typed

DAEMONS = {'cron', 'crond', 'fcron', 'dcron'}
#: File systems that several hosts may share, by the beginnings of their names.
NETWORK = ('nfs', 'cifs', 'smb', 'fuse.sshfs', 'lustre', 'gpfs', 'beegfs', 'ceph', 'afs', '9p')
#: Folders that cron on macOS cannot read without "Full Disk Access".
PRIVATE_ON_MACOS = ('Desktop', 'Documents', 'Downloads', 'Library/Mobile Documents')


def cron_daemon_runs(proc: Path = Path('/proc')) -> bool | None:
    """Whether one seems to run; None if this user cannot see it, or there is no /proc."""
    names = set()
    for file in proc.glob('[0-9]*/comm'):
        with contextlib.suppress(OSError):  # a process may end in the meantime
            names.add(file.read_text(encoding='utf-8', errors='replace').strip())
    if names & DAEMONS:
        return True
    # If process 1 is hidden, other users' processes are hidden, and cron may be among them.
    return False if (proc / '1' / 'comm').is_file() else None


def machine_warnings(
    project: Path, media: Path, daemon_runs: bool | None, root: Path = Path('/')
) -> list[str]:
    """A sentence for each problem that is found, with what to do about it.

    `media` is the directory of the data; `daemon_runs` says whether a cron daemon runs (None: unknown);
    `root` is where /proc and /sys are.
    """
    found = (
        _no_daemon(project, root) if daemon_runs is False else '',
        _private_folder(project),
        _selinux(root),
        _someone_elses(project),
        _no_place_for_data(media),
    )
    return [sentence for sentence in found if sentence]


def database_on_a_share(file: Path, root: Path = Path('/')) -> str:
    """What is wrong with an SQLite database that lies on a network file system; else empty.

    SQLite's locks do not work there, and a run on another host would not be noticed.
    """
    kinds = {}
    for line in _text(root / 'proc' / 'self' / 'mountinfo').splitlines():
        mount, _, rest = line.partition(' - ')
        kinds[Path(mount.split()[4].replace('\\040', ' '))] = rest.split(' ')[0]
    where = next((place for place in (file, *file.parents) if place in kinds), None)
    kind = kinds.get(where, '')
    if not kind.startswith(NETWORK):
        return ''
    return (
        f'the SQLite database {file} is on a network file system ({kind}), where its locks do not '
        'work. Move it to a local disk (DATABASE_URL in .env), or use PostgreSQL.'
    )


def _no_daemon(project: Path, root: Path) -> str:
    start = 'ask the administrator (Debian and Ubuntu: systemctl enable --now cron)'
    if 'microsoft' in _text(root / 'proc' / 'version').lower():  # Windows Subsystem for Linux
        start = (
            'type: sudo service cron start. To start it always: put "systemd=true" below "[boot]" '
            'in /etc/wsl.conf, then type in Windows: wsl --shutdown'
        )
    return (
        f'no cron daemon seems to run on this machine, so nothing starts the jobs. To start one, '
        f'{start}. Or keep this running: {typed(project, "schedule run")}'
    )


def _private_folder(project: Path) -> str:
    folders = {Path.home() / name for name in PRIVATE_ON_MACOS}
    if sys.platform != 'darwin' or not folders & set(project.parents):
        return ''
    return (
        f'macOS does not let cron read the folder of {project}. Move the TOM, or give '
        '/usr/sbin/cron "Full Disk Access" in the privacy settings.'
    )


def _selinux(root: Path) -> str:
    if _text(root / 'sys' / 'fs' / 'selinux' / 'enforce').strip() != '1':
        return ''
    return (
        'SELinux is enforcing on this machine and may block cron in this directory. If logs/cron.log '
        'stays empty, this shows what was blocked: ausearch -m avc -ts recent'
    )


def _someone_elses(project: Path) -> str:
    owner = project.stat().st_uid
    if owner == os.getuid():
        return ''
    return (
        f'this TOM belongs to {_user(owner)}, and this is the crontab of {_user(os.getuid())}, who '
        f'will own the files that the jobs write. Install it as {_user(owner)} instead.'
    )


def _no_place_for_data(media: Path) -> str:
    if os.access(media, os.W_OK | os.X_OK):
        return ''
    return (
        f'cron runs the jobs as {_user(os.getuid())}, who cannot write to {media}, the directory of '
        'the data. Make it, or change its owner.'
    )


def _user(number: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f'user {number}'


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(encoding='utf-8', errors='replace')
    return ''
