"""What is written down holds no secret, whoever wrote it: rule 14, text by text."""

import io
import json
import logging
import sys
import threading
from base64 import b64encode
from time import perf_counter
from urllib.parse import quote, quote_plus

import pytest

from tom_auto.redact import RedactingFormatter, overheard, redact, secrets

TOKEN = 'f00dcafe0123456789abcdef'
PASSWORD = 'p/ss w"rd&é$1'
KEY = '-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAoIBAQC7vbqajDw4o6gJ\n-----END KEY-----\n'
SIGNED = 'https://archive.example/store/a.fits?versionId=7&X-Amz-Signature=5160a7'


@pytest.fixture(autouse=True)
def credentials(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES['default'], 'PASSWORD', 'of-the-database')
    settings.SECRET_KEY = 'the-key-of-the-tom'
    settings.SECRET_KEY_FALLBACKS = ['the-key-before']
    settings.EMAIL_HOST_PASSWORD = 'of-the-mail-host'
    settings.FACILITIES = {
        'LCO': {'portal_url': 'https://observe.example', 'api_key': TOKEN},
        'GEM': {'api_key': {'GS': 'of-the-south', 'GN': 'of-the-north'}},
        'ANU': {'username': 'me', 'password': PASSWORD, 'header_keyword': 'OBJECT'},
        'ESO': {'private_key': KEY, 'tokens': ['first-one', b'second-one']},
        'NEW': {'api_key': '', 'other_key': None, 'third_key': 'abc', 'fourth_key': 7654321},
    }


@pytest.mark.parametrize(
    ('text', 'written'),
    [
        # the query of an address
        (SIGNED, 'https://archive.example/store/a.fits?…'),
        (f"get('{SIGNED}') failed", "get('https://archive.example/store/a.fits?…') failed"),
        (f'<{SIGNED}>, then', 'https://archive.example/store/a.fits?…'),
        ('"GET /frames/?request_id=7 HTTP/1.1" 200', '"GET /frames/?… HTTP/1.1" 200'),
        ('What now?', 'What now?'),
        ("(which one? 'this')", "(which one? 'this')"),
        # its parts, when something has taken it apart
        ("query='X-Amz-Date=1&X-Amz-Signature=5160a7'", "query='X-Amz-Date=1&X-Amz-Signature=…'"),
        ("{'X-Amz-Security-Token': ['5160a7']}", "{'X-Amz-Security-Token': ['…']}"),
        # who asks
        ("{'Authorization': 'Token 5160a7ff'}", "{'Authorization': 'Token …'}"),
        ('authorization: bearer eyJhb.GciOi-J_IU', 'authorization: bearer …'),
        ('Basic bWU6c2VjcmV0', 'Basic …'),
        ('{"detail": "Invalid token."}', '{"detail": "Invalid token."}'),
        ('redis://:5160a7@cache:6379/0', 'redis://…@cache:6379/0'),
        ('https://me:51@60a7@host/me@there', 'https://…@host/me@there'),
        ('user: me, password: 5160a7', 'user: me, password: …'),
        ("auth={'api_key': '5160a7', 'user': 'me'}", "auth={'api_key': '…', 'user': 'me'}"),
        ("{'password1': '5160a7', 'user': 'me'}", "{'password1': '…', 'user': 'me'}"),
        ("{'new_password2': ['5160a7']}", "{'new_password2': ['…']}"),
        ('token_for_feeds=5160a7&n=1', 'token_for_feeds=…&n=1'),
        ("KeyError: 'state'", "KeyError: 'state'"),
        # what this TOM knows to be secret, wherever it stands and however it is written
        (f'before{TOKEN}after', 'before…after'),
        (f'Token {TOKEN}$', 'Token …$'),
        ('of-the-south, of-the-north', '…, …'),
        ('first-one second-one', '… …'),
        ('the-key-of-the-tom and the-key-before', '… and …'),
        ('of-the-mail-host of-the-database', '… …'),
        (f'I am me, {PASSWORD}.', 'I am me, ….'),
        (repr([PASSWORD]), "['…']"),
        (json.dumps([PASSWORD]), '["…"]'),
        (f'/login/{quote(PASSWORD)}/', '/login/…/'),
        (f'/login/{quote(PASSWORD, safe="")}/', '/login/…/'),
        (f'login {quote_plus(PASSWORD)}', 'login …'),
        (repr([json.dumps({'key': PASSWORD})]), """['{"key": "…"}']"""),
        (str(json.dumps([PASSWORD]).encode()), """b'["…"]'"""),
        (str(PASSWORD.encode()), "b'…'"),
        (quote(quote(PASSWORD)).lower(), quote(quote(PASSWORD)).lower()),  # twice: not known
        (b64encode(PASSWORD.encode()).decode(), '…'),
        (KEY, '…\n'),
        (repr(KEY), "'…\\n'"),
        (' '.join(KEY.split()), '…'),
        ('line MIIEvQIBADANBgkqhkiG alone', 'line … alone'),
        # what no file could take
        ('half a \ud83d', r'half a \ud83d'),
        # what is no secret
        ('https://observe.example is down for me: OBJECT', ) * 2,
        ('abc and 7654321', ) * 2,
        ('', ''),
    ],
)  # fmt: skip
def test_what_is_written(text, written):
    if text.startswith('<'):  # such brackets are no end of an address: all that follows goes
        assert '5160a7' not in redact(text)
    else:
        assert redact(text) == written


def test_settings_that_change_are_known_at_once(settings):
    assert redact('a-new-token') == 'a-new-token'
    settings.FACILITIES = {'LCO': {'api_key': 'a-new-token'}}
    assert redact('a-new-token') == '…'


def test_classes_of_passwords_are_no_passwords(settings):
    for name in [*settings.PASSWORD_HASHERS, settings.AUTH_PASSWORD_VALIDATORS[0]['NAME']]:
        assert name not in secrets()


def test_a_line_costs_little():
    """The settings are gone through once, and not for every line of the log."""
    redact('')
    begun = perf_counter()
    for _ in range(1000):
        redact(f'LCO answered 503 for {SIGNED}, and is asked again in 2 s')
    assert perf_counter() - begun < 0.5  # about 20 microseconds each, on a machine at leisure


# --- the log ---


@pytest.fixture
def written():
    """What a handler writes that formats as the TOM's log does."""
    return io.StringIO()


@pytest.fixture
def handler(written):
    handler = logging.StreamHandler(written)
    handler.setFormatter(RedactingFormatter('{levelname} {name}: {message}', style='{'))
    return handler


def line(message, *arguments, **more):
    """What a call of a logger's method hands to its handlers."""
    fields = {'name': 'vendor', 'msg': message, 'args': arguments, 'pathname': __file__}
    return logging.makeLogRecord(fields | more)


def test_a_traceback_and_its_causes_hold_no_secret(handler, written):
    try:
        try:
            raise KeyError(SIGNED)
        except KeyError as error:
            raise RuntimeError(f'refused {TOKEN}\n{KEY}') from error
    except RuntimeError:
        told = ({'password': PASSWORD},)
        handler.handle(line('asked with %s', told, exc_info=sys.exc_info()))
    text = written.getvalue()
    assert text.count('Traceback') == 2
    assert 'RuntimeError: refused …' in text
    for secret in (TOKEN, PASSWORD, '5160a7', 'MIIEvQ', 'AoIBAQ'):
        assert secret not in text


class NoText:
    def __str__(self):
        raise ValueError(TOKEN)


@pytest.mark.parametrize(
    ('message', 'arguments'),
    [
        ('%d frames', (TOKEN,)),
        ('%s and %s', (TOKEN,)),
        ('none', (TOKEN,)),
        ('%s', (NoText(),)),
        (NoText(), ()),
        (None, (TOKEN,)),
        ('%(token)s', ({'other': TOKEN},)),
    ],
)
def test_a_line_that_cannot_be_formatted_is_no_leak(handler, written, capsys, message, arguments):
    """logging prints such a line with its arguments, as they are, to standard error."""
    handler.handle(line(message, *arguments))
    assert 'logs what cannot be written' in written.getvalue()
    assert 'test_redact.py' in written.getvalue()
    assert TOKEN not in written.getvalue() + capsys.readouterr().err


# --- what is printed ---


@pytest.fixture
def logged(handler, written, monkeypatch):
    """Gives what was logged of what was printed, line by line."""
    logger = logging.getLogger('tom_auto.redact')
    monkeypatch.setattr(logger, 'handlers', [handler])
    monkeypatch.setattr(logger, 'level', logging.INFO)
    monkeypatch.setattr(logger, 'propagate', False)
    return lambda: [each.partition('class: ')[2] for each in written.getvalue().splitlines()]


def test_what_is_printed_goes_to_the_log(logged, capsys):
    with overheard():
        print('user: me,', 'password:', '5160a7')  # noqa: T201
        print('token', TOKEN, sep='\n\n')  # noqa: T201
        print('half', end=' ')  # noqa: T201
        print('whole')  # noqa: T201
    assert capsys.readouterr() == ('', '')
    assert logged() == ['user: me, password: …', 'token', '…', 'half whole']


def test_who_printed_it_is_not_said_for_certain(caplog):
    caplog.set_level(logging.INFO, logger='tom_auto.redact')
    with overheard():
        print('from a hook')  # noqa: T201
    assert 'printed by a hook' in caplog.text and 'from a hook' in caplog.text


def test_what_is_printed_to_standard_error_stays_there(logged, capsys):
    with overheard():
        print('asked', SIGNED, file=sys.stderr)  # noqa: T201
        sys.stderr.write(f'and {TOKEN}')
        sys.stderr.flush()
        assert not sys.stderr.isatty()
    assert logged() == []
    assert capsys.readouterr() == ('', 'asked https://archive.example/store/a.fits?…\nand …\n')
    print('as ever')  # noqa: T201
    assert capsys.readouterr() == ('as ever\n', '')


def test_the_lines_of_threads_are_kept_apart(logged):
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        sys.stdout.write('to')
        begun.set()
        go_on.wait(10)
        sys.stdout.write('gether\n')

    with overheard():
        thread = threading.Thread(target=slow)
        thread.start()
        begun.wait(10)
        print('between')  # noqa: T201
        go_on.set()
        thread.join(10)
    assert logged() == ['between', 'together']


FORGED = (
    'x\n[2026-01-01 10:00:00] INFO tom_auto: all is well\r\x1b[2K\x85\u2028[2026-99-99 10:00:00] y'
)


@pytest.mark.parametrize('failed', [False, True])
def test_nobody_forges_a_line_of_the_log(failed):
    formatter = RedactingFormatter('[{asctime}] {levelname} {name}: {message}', style='{')
    error = (ValueError, ValueError(FORGED), None) if failed else None
    record = logging.LogRecord('n', logging.INFO, 'p', 1, 'Login failed: %s', (FORGED,), error)
    first, *following = formatter.format(record).splitlines()
    assert first.endswith('Login failed: x')
    assert following
    assert all(line.startswith('  ') for line in following)
    assert '\x1b' not in ''.join(following)
