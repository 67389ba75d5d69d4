"""What comes of one check."""

from collections.abc import Iterator
from dataclasses import dataclass

OK, WARNING, FAILED = 'ok', 'warning', 'failed'

#: The state, what was found, and what to do about it where it is not well.
Found = Iterator[tuple[str, ...]]


@dataclass(frozen=True)
class Finding:
    """What came of one check. `fix` says what to do where it is not well."""

    check: str
    state: str
    found: str
    fix: str = ''
