"""Reads and writes this user's crontab as bytes, through crontab(1), one writer at a time.

`crontab -` replaces the whole table, and an empty input empties it. So the table is always read before it
is written, and read back afterwards.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from .definition import ScheduleError

COMMAND_SECONDS = 30
LOCK_SECONDS = 60
BACKUPS = 10
COPY = 'crontab-%Y%m%dT%H%M%S.%fZ'
#: Not the home directory, which machines with separate crontabs may share, and not $TMPDIR, which may
#: differ from one login to the next.
LOCK = Path('/tmp')


def read_table() -> bytes:
    """The user's crontab; empty if there is none. Raises ScheduleError if that is not certain.

    `crontab -l` fails with the same status for "there is none" and for every error; only the message
    differs. Mistaking an error for an empty table would wipe the real one.
    """
    done = _crontab('-l')
    if done.returncode == 0:
        return done.stdout
    if not done.stdout and re.fullmatch(rb'(\S*crontab: )?no crontab for .*', done.stderr.strip()):
        return b''
    raise ScheduleError(f'Your crontab cannot be read; nothing was changed. {_complaint(done)}')


def change_table(change: Callable[[bytes], bytes], backups: Path) -> Path | None:
    """Replace the crontab by `change(crontab)`, under a lock.

    First the old table is copied into the directory `backups`. Returns the copy, or None if there was
    nothing to change. If it raises ScheduleError, the crontab is as it was, or the message has the
    command that restores it.
    """
    with _lock():
        before = read_table()
        after = change(before)
        if after == before:
            return None
        backup = _keep(before, backups)
        done = _crontab('-', table=after)
        if done.returncode != 0:
            raise ScheduleError(
                f'crontab refused the new table. The old one is unchanged (there is a copy in '
                f'{backup}). {_complaint(done)}'
            )
        if read_table() != after:
            _restore(before, backup)
        return backup


def _restore(before: bytes, backup: Path) -> None:
    _crontab('-', table=before)
    state = 'was put back' if read_table() == before else 'could NOT be put back'
    raise ScheduleError(
        'crontab accepted the new table but then showed a different one, so something else changes '
        f'it too. The old table {state}. To restore it by hand: crontab - < {backup}'
    )


def _crontab(argument: str, table: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which('crontab')
    if program is None:
        raise ScheduleError(
            'This machine has no `crontab` command, so cron is not installed here (Debian and '
            'Ubuntu: apt install cron). For systemd instead: `schedule install --format systemd`. For '
            'anything else, `schedule show` prints the line.'
        )
    try:
        return subprocess.run(
            [program, argument],
            input=table if table is not None else b'',
            capture_output=True,
            env=os.environ | {'LC_ALL': 'C'},  # so that its messages can be recognised
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScheduleError(f'`crontab {argument}` did not work: {error}') from error


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    message = os.fsdecode(done.stderr.strip()) or 'nothing'
    complaint = f'crontab (exit status {done.returncode}) said: {message}'
    if 'not allowed' not in message:
        return complaint
    return (
        f'{complaint}\nOnly some users of this machine may have a crontab (/etc/cron.allow, '
        'cron.deny): ask the administrator. Without cron, keep `schedule run` running'
    )


def _keep(table: bytes, backups: Path) -> Path:
    """Keep a copy of `table`, readable only by its owner, and delete the oldest copies."""
    now = datetime.now(UTC)
    copy = backups / now.strftime(COPY)
    try:
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(copy, 'xb', opener=_owner_only) as file:
            file.write(table)
        for old in sorted(backups.glob('crontab-*'))[:-BACKUPS]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise ScheduleError(
            f'Your crontab could not be backed up: {error}. Nothing was changed.'
        ) from error
    return copy


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Hold the lock that all projects of this user share for their crontab."""
    path = LOCK / f'tom-auto-crontab-{os.getuid()}.lock'
    end = time.monotonic() + LOCK_SECONDS
    while (descriptor := _locked_file(path)) is None:
        if time.monotonic() > end:
            raise ScheduleError(
                f'Another program has been editing your crontab for {LOCK_SECONDS} seconds (it '
                f'holds {path}). Nothing was changed. Try again.'
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while locked, so that nobody waits for a deleted file
        os.close(descriptor)


def _locked_file(path: Path) -> int | None:
    """A descriptor that holds the lock, or None if another process has it."""
    try:
        descriptor = _owner_only(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise ScheduleError(f'The lock file {path} cannot be used: {error}') from error
    mine = os.fstat(descriptor)
    if mine.st_uid != os.getuid():
        os.close(descriptor)
        raise ScheduleError(f'The lock file {path} belongs to another user. Ask them to remove it.')
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous holder may have removed the file between the two calls.
        if os.path.samestat(mine, path.stat()):
            return descriptor
    os.close(descriptor)
    return None
