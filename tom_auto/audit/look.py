"""How one file stands: reads it, and compares it with what is known of it.

A file whose content differs was written by somebody, or by nobody. If the storage says that it was
written since it was last known to be right, it is its owner's (rule 7), unless it is no longer a
whole file. If not, it has rotted: only the disk can have changed it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO

from django.core.exceptions import SuspiciousOperation
from django.utils.timezone import is_naive, make_aware
from tom_dataproducts.models import DataProduct

from ..explain import told
from ..files import storage, whole_file
from ..models import AuditedFile, StoredFrame
from .known import Known

Verdict = AuditedFile.Verdict
State = StoredFrame.State
Chunks = Callable[[IO[bytes]], Iterable[bytes]]
#: By how much the clocks of a storage and of this machine may differ, whole seconds included.
CLOCKS = timedelta(minutes=1)
MOST_READ = 20  # files that may be a missing one under another name


@dataclass(frozen=True)
class Found:
    """How a file stands. `state`: what its frame's row has to say so that it is fetched anew."""

    known: Known
    verdict: Verdict
    said: str = ''
    md5: str = ''
    size: int = 0
    state: str = ''


def look(known: Known, chunks: Chunks) -> Found:
    """Read the file. `chunks` gives its content, as fast as it may be read.

    Raises StorageAway where the storage does not answer, which may be about this file alone.
    """
    if not known.name:
        return Found(known, Verdict.MISSING, 'no file was ever stored', state=State.BROKEN)
    if not storage.is_proper(known.name):
        return Found(known, Verdict.MISSING, 'its place is outside the storage', state=State.BROKEN)
    try:
        with storage.opened(known.name) as file:
            received = whole_file.received_from(chunks(file))
            if known.md5 and received.md5 == known.md5:
                verdict = Verdict.CHANGED if known.is_changed else Verdict.SOUND
                return Found(known, verdict, md5=received.md5, size=received.size)
            is_theirs = known.is_upload or known.is_changed
            judge = whole_file.no_file if is_theirs else whole_file.fault
            fault = judge(known.name, file, received)
    except FileNotFoundError:
        return _missing(known, chunks)
    except (OSError, ValueError, SuspiciousOperation) as error:
        return Found(known, Verdict.UNREADABLE, f'it cannot be read: {told(error)}')
    verdict, said, state = _differs(known, received, fault)
    return Found(known, verdict, said, received.md5, received.size, state)


def _differs(known: Known, received: whole_file.Received, fault: str) -> tuple[Verdict, str, str]:
    """Why its content is not what it was; or what a file is like that is read for the first time."""
    if not known.md5:
        is_junk = fault and not known.is_upload  # another command has stored it
        return (Verdict.DAMAGED, fault, State.BROKEN) if is_junk else (Verdict.SOUND, '', '')
    since = f'{known.right_at:%Y-%m-%d %H:%M} UTC'
    if not _written_since(known):
        said = f'its content has changed since {since}, and nobody has written to it'
        # No disk makes another whole file: somebody has put it there with its old time (`cp -p`).
        is_rot = bool(fault) or received.size == known.size
        return Verdict.ROTTED, said, State.ROTTED if known.is_archives and is_rot else ''
    if not fault:
        return Verdict.CHANGED, f'somebody has changed it since {since}', ''
    is_cut = received.size < known.size
    state = State.BROKEN if _is_junk(known.name, received) else State.CUT if is_cut else ''
    return Verdict.DAMAGED, f'{fault}, since {since}', state if known.is_archives else ''


def _is_junk(name: str, received: whole_file.Received) -> bool:
    with storage.opened(name) as file:
        return bool(whole_file.no_file(name, file, received))


def _written_since(known: Known) -> bool:
    """Whether somebody has written to the file since it was right. Where nobody knows: yes."""
    try:
        modified = storage.the_storage().get_modified_time(known.name)
    # Django's storages raise the first where they keep no times.
    except (NotImplementedError, OSError):
        return True
    return _aware(modified) + CLOCKS >= known.right_at


def _aware(moment: datetime) -> datetime:
    return make_aware(moment) if is_naive(moment) else moment


def _missing(known: Known, chunks: Chunks) -> Found:
    if other := _other_name(known, chunks):
        said = f'it is not there; {other} has its content'
        return Found(known, Verdict.RENAMED, said, state=State.BROKEN)
    return Found(known, Verdict.MISSING, 'it is not there', state=State.BROKEN)


def _other_name(known: Known, chunks: Chunks) -> str:
    """The name, in the same folder, of a file with the content of a missing one; empty if none."""
    folder = known.name.rpartition('/')[0]
    try:
        names = [
            f'{folder}/{name}'.lstrip('/') for name in storage.the_storage().listdir(folder)[1]
        ]
    # Django's storages raise the first where they cannot list.
    except (NotImplementedError, OSError):
        return ''
    taken = set(DataProduct.objects.filter(data__in=names).values_list('data', flat=True))
    free = [name for name in names if name not in taken]
    sizes = storage.sizes(free)
    for name in [name for name in free if known.md5 and sizes[name] == known.size][:MOST_READ]:
        with storage.opened(name) as file:
            if whole_file.received_from(chunks(file)).md5 == known.md5:
                return name
    return ''
