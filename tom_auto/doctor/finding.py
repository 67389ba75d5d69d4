"""What a check finds: how it is, in words, and what to do about it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

OK, WARNING, FAILED = 'ok', 'warning', 'failed'

#: The state, what was found, and what to do if something is wrong.
Found = Iterator[tuple[str, ...]]


class Finding(NamedTuple):
    """The result of one check. `fix` says what to do if something is wrong."""

    check: str
    state: str
    found: str
    fix: str = ''


def place_of_settings() -> str:
    """Where a person changes a setting: a generated TOM reads `.env`, one made by hand may not."""
    return '.env' if (Path(settings.BASE_DIR) / '.env.example').is_file() else 'the settings'
