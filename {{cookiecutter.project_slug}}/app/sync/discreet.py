"""Keeps secrets out of whatever is written down: rule 14.

No log, table or page holds a token, or the query of an address: an archive's addresses are
signed, and whoever reads one could fetch the data with it.
"""

import io
import logging
import re

from django.conf import settings

QUERY = re.compile(r'(?<=[^\s\'"(\[{])\?[^\s\'")\]}]+')
TOKEN = re.compile(r'\b(Token|Bearer|Basic)\s+[\w.~+/=-]{4,}', re.IGNORECASE)
CREDENTIAL = re.compile('key|token|password|passwd|secret', re.IGNORECASE)
SHORTEST = 4  # characters: what is shorter would be found in every other word


def discreet(text: str) -> str:
    """`text` without the queries of addresses and without the credentials of this TOM."""
    text = TOKEN.sub(r'\1 …', QUERY.sub('?…', text))
    for secret in sorted(secrets(), key=len, reverse=True):
        text = text.replace(secret, '…')
    return text


def secrets() -> set[str]:
    """Every credential in the settings: those of the facilities, and the TOM's own key."""
    found = {getattr(settings, 'SECRET_KEY', '')}
    _collect(getattr(settings, 'FACILITIES', {}), False, found)
    return {secret for secret in found if len(secret) >= SHORTEST}


def _collect(options: object, secret: bool, found: set[str]) -> None:
    """Put every text below a key that names a credential into `found`."""
    if isinstance(options, dict):
        for key, value in options.items():
            _collect(value, secret or bool(CREDENTIAL.search(str(key))), found)
    elif secret and isinstance(options, str):
        found.add(options)


class DiscreetFormatter(logging.Formatter):
    """Formats as its parent does, tracebacks included, and then takes the secrets out."""

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record))


class Overheard(io.TextIOBase):
    """A stream for what facility classes print: each line goes to the log, without secrets.

    Some print to standard output, and some print passwords.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(__name__)

    def write(self, text: str) -> int:
        if text.strip():
            self._logger.info('printed by a facility class: %s', text.rstrip())
        return len(text)

    def writable(self) -> bool:
        return True
