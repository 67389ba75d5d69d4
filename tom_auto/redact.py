"""Keeps secrets out of whatever is written down: rule 14.

No log, table or page holds a token, or the query of an address: an archive's addresses are
signed, and whoever reads one could fetch the data with it.
"""

import io
import json
import logging
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

#: What gives a secret away by its form alone, and what is written in its place.
FORMS = (
    # the query of an address
    (re.compile(r'(?<=[^\s\'"(\[{])\?[^\s\'")\]}]+'), '?…'),
    # user:password@host
    (re.compile(r'(?<=://)[^\s/]+@'), '…@'),
    # Authorization: Token 0123
    (re.compile(r'\b(Token|Bearer|Basic)\s{1,3}[\w.~+/=-]{4,}', re.IGNORECASE), r'\1 …'),
    # password: 0123, 'api_key': '0123', X-Amz-Signature=0123
    (
        re.compile(
            r'((?:api.?key|token|passw(?:or)?d|passphrase|secret\w{0,20}|signature|credential)'
            r'[\'"]?\s{0,3}[=:]\s{0,3}[\[(\'"]{0,3})[^\s\'",;&)\]}]+',
            re.IGNORECASE,
        ),
        r'\1…',
    ),
)
#: The names, in the settings, of what is secret; `keyword` is none, nor are lists of classes.
CREDENTIAL = re.compile(
    'key(?!w)|token|passw|passphrase|pwd|secret|credential|ping_url|webhook', re.IGNORECASE
)
CLASSES = {'AUTH_PASSWORD_VALIDATORS', 'PASSWORD_HASHERS'}
BACKSLASH = r'\\{1,9}'  # one, or what becomes of it
SHORTEST_PATH = 8  # characters: a shorter one is a word, and no secret
SHORTEST = 4  # characters: what is shorter would be found in every other word


LONGEST = 50_000  # characters: of what is longer the middle is left out
PIECE = 16  # characters of an answer that an error must not repeat


def without(bodies: list[bytes], text: str) -> str:
    """`text` without what it repeats of these answers, which may hold anything: rule 14."""
    text = text[:LONGEST]
    pieces = {
        words[start : start + PIECE]
        for words in (body.decode(errors='replace') for body in bodies)
        for start in range(max(1, len(words) - PIECE + 1))
        if len(words) >= SHORTEST
    }
    lengths = {PIECE, *(len(piece) for piece in pieces if len(piece) < PIECE)}
    hidden = bytearray(len(text))
    for length in lengths:
        for start in range(len(text) - length + 1):
            if text[start : start + length] in pieces:
                hidden[start : start + length] = b'1' * length
    kept = (' ' if hide else letter for letter, hide in zip(text, hidden, strict=True))
    return ''.join(kept) if any(hidden) else text


def redact(text: str) -> str:
    """`text` without the credentials of this TOM and without the queries of addresses.

    Half a character, as broken answers have it, could be written nowhere: it comes out as code.
    """
    if len(text) > LONGEST:
        text = f'{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}'
    text = _known().sub('…', text)  # before the forms: they might cut one in two
    for form, instead in FORMS:
        text = form.sub(instead, text)
    return text.encode(errors='backslashreplace').decode()


@cache
def _known() -> re.Pattern:
    """Finds every credential of the settings, however it is written: made once for all lines."""
    texts = {line.strip() for secret in secrets() for line in (secret, *secret.splitlines())}
    texts = {text for text in texts if len(text) >= SHORTEST}
    texts |= {b64encode(text.encode(errors='replace')).decode() for text in texts}
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile('|'.join(''.join(map(_written, text)) for text in longest_first) or '(?!)')


def _written(character: str) -> str:
    """A pattern for `character` as it is, and as code, JSON or an address has it.

    A body of JSON in the text of an error in a list comes out escaped three times over.
    """
    if character.isascii() and character.isalnum():
        return character
    if character.isspace():
        return rf'(?:\s|{BACKSLASH}[nrtu]|\+|%\w\w)+'
    in_bytes = character.encode(errors='replace')
    escaped = {json.dumps(character), ascii(character), str(in_bytes)[1:]}
    ways = {way[1:-1] for way in escaped if '\\' in way}
    patterns = [re.escape(way).replace(r'\\', BACKSLASH) for way in sorted(ways)]
    patterns += [f'(?:{BACKSLASH})?{re.escape(character)}', f'(?i:{quote(in_bytes, safe="")})']
    return f'(?:{"|".join(patterns)})'


@receiver(setting_changed)
def _forget(**signal: object) -> None:
    _known.cache_clear()


def secrets() -> set[str]:
    """Every credential in the settings: those of the facilities, and the TOM's own."""
    found: set[str] = set()
    names = {name for name in dir(settings) if name.isupper()} - CLASSES
    _collect({name: getattr(settings, name) for name in names}, False, found)
    # Who knows the path of a ping's or a webhook's address can use it; errors tell it without host.
    paths = {urlsplit(text).path.strip('/') for text in found if '://' in text}
    return found | {path for path in paths if len(path) >= SHORTEST_PATH}


def _collect(options: object, secret: bool, found: set[str]) -> None:
    """Put every text below a key that names a credential into `found`."""
    if isinstance(options, dict):
        for key, value in options.items():
            _collect(value, secret or bool(CREDENTIAL.search(str(key))), found)
    elif isinstance(options, list | tuple | set):
        for value in options:
            _collect(value, secret, found)
    elif secret and isinstance(options, str):
        found.add(options)
    elif secret and isinstance(options, bytes):
        found.add(options.decode(errors='replace'))


class RedactingFormatter(logging.Formatter):
    """Formats as its parent does, tracebacks included, and then takes the secrets out."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return redact(super().format(record))
        except Exception as error:  # or logging prints the arguments as they are
            return (
                f'{record.levelname} {record.name}: line {record.lineno} of {record.pathname} '
                f'logs what cannot be written ({type(error).__name__})'
            )


@contextmanager
def overheard() -> Iterator[None]:
    """While this lasts, what is printed, by facility classes say, is no answer and no secret.

    Some print to standard output, and some print passwords. That goes to the log, and what is
    printed to standard error goes there, both without secrets.
    """
    log, errors = logging.getLogger(__name__).info, sys.stderr

    def note(line: str) -> None:
        log('printed by a facility class: %s', line)

    def show(line: str) -> None:
        errors.write(redact(line) + '\n')

    with redirect_stdout(Overheard(note)), redirect_stderr(Overheard(show)):
        yield


class Overheard(io.TextIOBase):
    """A stream that hands on whole lines: of a secret in pieces, none would be known."""

    encoding = 'utf-8'

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self._hand_on = hand_on
        self._begun = threading.local()  # each thread's line that has not ended

    def write(self, text: str) -> int:
        *lines, rest = (getattr(self._begun, 'line', '') + text).split('\n')
        self._begun.line = rest
        for line in lines:
            if line.strip():
                self._hand_on(line.rstrip())
        return len(text)

    def flush(self) -> None:
        if getattr(self._begun, 'line', ''):
            self.write('\n')

    def writable(self) -> bool:
        return True
