"""What others have said, and what users have stored, is not repeated: E6 of faults-found, rule 14.

A class raises `RuntimeError(f'login failed: {r.text}')`, and nobody knows what is in the answer.
"""

import json
import logging
import sys
from hashlib import sha256

import pytest
import requests
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from rest_framework.authtoken.models import Token
from tom_common.encryption import decrypt, encrypt
from tom_common.models import Profile

import faults
from tom_auto import redact as redact_module
from tom_auto.redact import heard, learn, learned, redact, stored_by, without_answers

from .facility_classes import Robotic
from .running import updatedata
from .test_secrets import database, log  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = 'q8Zx71LmNb'
ANSWER = {'detail': 'Wrong.', 'session': SESSION, 'you': {'name': 'Ada Lovelace', 'phone': 5550199}}
PRIVATE = (SESSION, 'Lovelace', '5550199')


def in_text(response: requests.Response) -> str:
    return f'login failed: {response.text}'


def in_bytes(response: requests.Response) -> str:
    return f'login failed: {response.content}'


def taken_apart(response: requests.Response) -> str:
    return f'login failed: {response.json()}'


def written_anew(response: requests.Response) -> str:
    return json.dumps({'error': response.json()}, indent=4)


def in_lines(response: requests.Response) -> str:
    return '\n'.join(f'{name} = {value}' for name, value in response.json().items())


def escaped(response: requests.Response) -> str:
    return json.dumps([json.dumps([response.text])])


WAYS = {
    each.__name__: each
    for each in (in_text, in_bytes, taken_apart, written_anew, in_lines, escaped)
}


class Repeats(Robotic):
    """Repeats what it was told: in errors, in its log, and on the screen."""

    name = 'Repeats'

    def get_observation_status(self, observation_id):
        told = WAYS[observation_id](requests.get(django_settings.FACILITIES['Repeats']['url']))
        print(told)  # noqa: T201
        print(told, file=sys.stderr)  # noqa: T201
        logging.getLogger('vendor').warning('the answer was %s', told)
        raise RuntimeError(told)


class Remembers(Robotic):
    """Logs in with what a user has stored, and repeats it where that fails."""

    name = 'Remembers'

    def set_user(self, user):
        super().set_user(user)
        if user.username == 'wrong':
            raise RuntimeError(f'{user.profile.eso_password} is refused')

    def get_observation_status(self, observation_id):
        print('logged in with', self.user.profile.eso_password)  # noqa: T201
        logging.getLogger('vendor').info('token %s', self.user.auth_token.key)
        raise RuntimeError(f'bad: {self.user.profile.eso_password}, {self.user.auth_token.key}')


@pytest.fixture
def installed(settings, sky):
    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, f'{__name__}.Repeats', f'{__name__}.Remembers'
    ]  # fmt: skip
    settings.FACILITIES = settings.FACILITIES | {'Repeats': {'url': f'{sky.url}/api/login/'}}
    settings.ADMINS = [('Ada', 'ada@example.org')]
    sky.break_('/api/login/', faults.answer(ANSWER))


@pytest.mark.parametrize('way', WAYS)
def test_an_answer_is_repeated_nowhere(installed, add_record, log, capfd, way):  # noqa: F811
    """E6: it went into the database, the log and the mails."""
    add_record('Repeats', observation_id=way)
    _, report = updatedata()
    assert report['failed'] == 1
    assert 'RuntimeError' in report['failures'][0]['error']
    printed = capfd.readouterr()
    places = {
        'report': json.dumps(report), 'database': database(), 'log': log.read_text(),
        'printed': ''.join(printed), 'mail': ''.join(each.body for each in mail.outbox),
    }  # fmt: skip
    assert 'Traceback' in places['log']
    for place, text in places.items():
        for private in PRIVATE:
            assert private not in text, place


@pytest.fixture
def heard_of():
    """Lets a text be one of the latest answers."""
    heard.clear()
    yield lambda *texts: heard.extend(text.encode() for text in texts)
    heard.clear()


@pytest.mark.parametrize(
    ('answer', 'text', 'left'),
    [
        (
            '<html>Wrong password for ada!</html>',
            'said <html>Wrong password for ada!</html>',
            'said < >',
        ),
        ('Wrong password for ada', 'It says: "WRONG", and more', 'It says: "WRONG", and more'),
        ('abcd1234', 'code abcd1234 is refused', 'code is refused'),
        ('ok', 'it is ok', 'it is ok'),  # too short to be anything
        ('', 'nothing was said', 'nothing was said'),
        ('"ä-ö-ü-ß-ä-ö-ü-ß"', "got ['ä', 'ö', 'ü', 'ß', 'ä', 'ö', 'ü', 'ß']", "got [' ']"),
        ('{"state": "DONE"}', "KeyError: 'state'", "KeyError: 'state'"),
    ],
)
def test_what_is_left_of_a_text(heard_of, answer, text, left):
    heard_of('something else entirely, of some length', answer)
    assert ' '.join(without_answers(text).split()) == left


def test_the_latest_answers_are_known_and_no_more(heard_of):
    heard_of(*(f'{number} {digest(number)}' for number in range(100)))
    for number, known in ((99, True), (80, True), (79, False), (1, False)):
        assert (digest(number) not in without_answers(f'it said {digest(number)}')) == known


def digest(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


# --- what users store ---


@pytest.fixture
def profile(monkeypatch):
    """A profile with an encrypted password, as plugins for observatories add one."""
    hidden = property(lambda self: decrypt(self.affiliation.encode()))
    monkeypatch.setattr(Profile, 'eso_password', hidden, raising=False)

    def make(name: str, password: str) -> User:
        user = User.objects.create(username=name)
        ciphertext = bytes(encrypt(password)).decode()
        monkeypatch.setattr(Profile._meta.get_field('affiliation'), 'max_length', 1000)
        Profile.objects.update_or_create(user=user, defaults={'affiliation': ciphertext})
        Token.objects.get_or_create(user=user)
        return user

    yield make
    learned.clear()
    redact_module._known.cache_clear()


def test_what_a_user_has_stored_is_found(profile):
    user = profile('ada', 'correct-horse')
    other = profile('bob', 'battery-staple')
    assert set(stored_by(user)) == {'correct-horse', user.auth_token.key}
    assert set(stored_by(other)) == {'battery-staple', other.auth_token.key}
    alone = User.objects.create(username='none')
    assert list(stored_by(alone)) == [alone.auth_token.key]  # which tomtoolkit makes for everybody


def test_what_cannot_be_read_hinders_nothing(profile):
    """A password that was encrypted with a key that is gone."""
    user = profile('ada', 'correct-horse')
    Profile.objects.filter(user=user).update(affiliation='nonsense')
    assert set(stored_by(user)) == {user.auth_token.key}


def test_what_was_learned_is_struck_out_however_it_is_written(profile):
    assert redact('p&ss word') == 'p&ss word'
    learn(['p&ss word', 'x'])
    assert redact('p&ss word, p%26ss+word, "p&ss\\tword", x') == '…, …, "…", x'


@pytest.mark.parametrize('name', ['wrong', 'right'])
def test_no_password_of_a_user_is_written(installed, add_record, profile, log, capfd, name):  # noqa: F811
    """E6: passwords that users store were unknown to the redaction."""
    user = profile(name, 'correct-horse')
    add_record('Remembers', user=user)
    _, report = updatedata()
    assert '…' in report['failures'][0]['error']
    printed = ''.join(capfd.readouterr())
    written = log.read_text()
    assert 'Traceback' in written
    errors = json.dumps(report)
    for text in (printed, written, errors):
        assert 'correct-horse' not in text
        assert user.auth_token.key not in text
    assert 'correct-horse' not in database()
    assert not learned, 'what another process has learned is its own'
