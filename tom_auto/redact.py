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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache, lru_cache, partial
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.signals import setting_changed
from django.db.models import Model
from django.dispatch import receiver

#: What gives a secret away by its form alone, and what is written in its place.
FORMS = (
    # the query of an address
    (re.compile(r'(?<=[^\s\'"(\[{])\?[^\s\'")\]}]+'), '?…'),
    # user:password@host
    (re.compile(r'(?<=://)[^\s/]+@'), '…@'),
    # Authorization: Token 0123
    (re.compile(r'\b(Token|Bearer|Basic)\s{1,3}[\w.~+/=-]{4,}', re.IGNORECASE), r'\1 …'),
    # password: 0123, 'api_key': '0123', X-Amz-Signature=0123, and the same in the repr of a text
    (
        re.compile(
            r'((?:api.?key|token|passw(?:or)?d|passphrase|secret|signature|credential)\w{0,20}'
            r'[\\\'"]{0,4}\s{0,3}[=:]\s{0,3}[\[(\\\'"]{0,6})[^\s\'",;&)\]}]+',
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
#: What ends a line somewhere, or moves the cursor of a terminal.
CONTROLS = re.compile('[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f\\u2028\\u2029]')
BACKSLASH = r'\\{1,9}'  # one, or what becomes of it
SHORTEST_PATH = 8  # characters: a shorter one is a word, and no secret
SHORTEST = 4  # characters: what is shorter would be found in every other word
LONGEST = 50_000  # characters: of what is longer the middle is left out
PIECE = 16  # letters of an answer that nothing must repeat
MOST_ROWS = 100  # of one user's credentials

#: The beginnings of the latest answers: nobody knows what is in them.
heard: deque[bytes] = deque(maxlen=20)
#: What users have stored and this process has used.
learned: set[str] = set()


def without_answers(text: str, is_line: bool = False) -> str:
    """`text` without what it repeats of the latest answers, which may hold anything: rule 14.

    Only letters and digits count: a class may have taken an answer apart, or written it anew. Of a
    text that is one line of something longer, a few of them are enough.
    """
    text, bodies = text[:LONGEST], heard.copy()
    places = [place for place, letter in enumerate(text) if letter.isalnum()] if bodies else []
    letters, kept = ''.join(text[place] for place in places), list(text)
    if is_line and SHORTEST <= len(letters) < PIECE:
        return '' if any(letters in _letters(body) for body in bodies) else text
    answers = [pieces for body in bodies if (pieces := _pieces(body))]
    for length in {len(next(iter(pieces))) for pieces in answers}:
        for start in range(len(letters) - length + 1):
            piece = letters[start : start + length]
            if any(piece in pieces for pieces in answers):
                first, last = places[start], places[start + length - 1]
                kept[first : last + 1] = ' ' * (last + 1 - first)
    return ''.join(kept)


@lru_cache(maxsize=40)
def _pieces(body: bytes) -> frozenset[str]:
    """Every `PIECE` letters in a row, or all of them where there are fewer."""
    letters = _letters(body)
    starts = range(max(1, len(letters) - PIECE + 1)) if len(letters) >= SHORTEST else ()
    return frozenset(letters[start : start + PIECE] for start in starts)


@lru_cache(maxsize=40)
def _letters(body: bytes) -> str:
    return ''.join(filter(str.isalnum, body.decode(errors='replace')))


def learn(texts: Iterable[str]) -> None:
    """From now on these are secrets as well, in this process."""
    if new := set(texts) - learned:
        learned.update(new)
        _known.cache_clear()


def stored_by(user: Model) -> Iterator[str]:
    """The credentials that a user has stored, in a profile for example, whatever its model."""
    for relation in user._meta.related_objects:
        model, fields = relation.related_model, relation.related_model._meta.concrete_fields
        names = {name for name in dir(model) if CREDENTIAL.search(name) and name[0] != '_'}
        names |= {field.name for field in fields if 'Encrypted' in type(field).__name__}
        if names:
            with suppress(Exception):  # such as a field that cannot be decrypted any more
                for row in model._base_manager.filter(**{relation.field.name: user})[:MOST_ROWS]:
                    values = (getattr(row, name, None) for name in names)
                    yield from (value for value in values if isinstance(value, str) and value)


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
    whole = secrets() | learned
    texts = {' '.join(line.split()) for secret in whole for line in (secret, *secret.splitlines())}
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
    names = {name for name in dir(settings) if name.isupper()} - CLASSES
    found = set(_credentials({name: getattr(settings, name) for name in names}))
    # Who knows the path of a ping's or a webhook's address can use it; errors tell it without host.
    paths = {_path(text) for text in found if '://' in text}
    return found | {path for path in paths if len(path) >= SHORTEST_PATH}


def _path(address: str) -> str:
    try:
        return urlsplit(address).path.strip('/')
    except ValueError:  # a mistake in the settings: no request can be made with it
        return ''


def _credentials(options: object, secret: bool = False) -> Iterator[str]:
    """Every text below a key that names a credential."""
    if isinstance(options, dict):
        for key, value in options.items():
            yield from _credentials(value, secret or bool(CREDENTIAL.search(str(key))))
    elif isinstance(options, list | tuple | set):
        for value in options:
            yield from _credentials(value, secret)
    elif secret and isinstance(options, str | bytes):
        yield options if isinstance(options, str) else options.decode(errors='replace')


def _escaped(control: re.Match) -> str:
    return control.group().encode('unicode_escape').decode()


class RedactingFormatter(logging.Formatter):
    """Formats as its parent does, tracebacks included, and then takes the secrets out.

    All lines but the first are indented: whatever a visitor types as a name, no line of the log
    looks like the beginning of another entry.
    """

    def format(self, record: logging.LogRecord) -> str:
        try:
            text = redact(super().format(record))
            if record.exc_info or record.levelno >= logging.WARNING:
                text = without_answers(text)
            return '\n  '.join(CONTROLS.sub(_escaped, line) for line in text.split('\n'))
        except Exception as error:  # or logging prints the arguments as they are
            return (
                f'{record.levelname} {record.name}: line {record.lineno} of {record.pathname} '
                f'logs what cannot be written ({type(error).__name__})'
            )


@contextmanager
def overheard() -> Iterator[None]:
    """While this lasts, what is printed, by hooks or facility classes say, is no answer and no secret.

    Some print to standard output, and some print passwords. That goes to the log, and what is
    printed to standard error goes there, both without secrets.
    """
    note = partial(
        logging.getLogger(__name__).info,
        'printed by a hook, or a facility or data service class: %s',
    )
    show = partial(print, file=sys.stderr)
    with redirect_stdout(_Overheard(note)), redirect_stderr(_Overheard(show)):
        yield


class _Overheard(io.TextIOBase):
    """A stream that hands on whole lines, redacted: of a secret in pieces, none would be known."""

    encoding = 'utf-8'

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self._hand_on = hand_on
        self._begun = threading.local()  # each thread's line that has not ended

    def write(self, text: str) -> int:
        *lines, rest = (getattr(self._begun, 'line', '') + text).split('\n')
        self._begun.line = rest
        for line in lines:
            if line.strip():
                self._hand_on(without_answers(redact(line.rstrip()), is_line=True))
        return len(text)

    def flush(self) -> None:
        if getattr(self._begun, 'line', ''):
            self.write('\n')

    def writable(self) -> bool:
        return True
