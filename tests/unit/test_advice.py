"""Whatever fails, the page says what to do about it."""

import pytest
import requests
from django.core.exceptions import ValidationError
from django.db import OperationalError
from tom_common.exceptions import ImproperCredentialsException

from tom_auto import errors
from tom_auto.errors import LOG, WAIT, advice_for
from tom_auto.explain import explained, hook_failed
from tom_auto.running.outcomes import Outcome

DOCTOR = 'Run: python3 manage.py doctor'
KEY = 'Put a valid API key into .env and type: up, then retry.'


def answered(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    ('error', 'advice'),
    [
        (ImproperCredentialsException(), 'If other records have the same problem'),
        (answered(401), 'If other records have the same problem'),
        (answered(403), 'If other records have the same problem'),
        (errors.CredentialsRefused('the login failed'), KEY),
        (answered(404), 'Look it up'),
        (ValidationError('x'), 'Look it up'),
        (answered(429), WAIT),
        (answered(500), WAIT),
        (requests.ConnectTimeout(), WAIT),
        (requests.exceptions.JSONDecodeError('x', 'x', 0), WAIT),
        (TimeoutError(), WAIT),
        (OperationalError('no such table'), DOCTOR),
        (OSError(28, 'No space left on device'), 'Free some disk space'),
        (OSError(122, 'Disk quota exceeded'), 'Free some disk space'),
        (PermissionError(13, 'Permission denied'), DOCTOR),
        (KeyError('state'), 'Report it to the authors of the facility class'),
        (RuntimeError('something nobody thought of'), f'{LOG} {DOCTOR}'),
        # F10: words in which others tell of a refusal, a full disk and a wait.
        (RuntimeError('refuses its credentials (401)'), f'{LOG} {DOCTOR}'),
        (RuntimeError('No space left on device'), f'{LOG} {DOCTOR}'),
        (RuntimeError('does not answer: 429, later'), f'{LOG} {DOCTOR}'),
    ],
)
def test_what_to_do_about_each_error(error, advice):
    kind = explained(error, 'LCO').kind
    assert advice_for(kind, 'python3 manage.py doctor', ' and type: up').startswith(advice)


def test_a_file_that_cannot_be_read_is_named_without_its_path():
    error = explained(FileNotFoundError(2, 'No such file or directory', '/data/hidden/a.fits'), '')
    assert str(error) == 'a file cannot be read or written: No such file or directory (a.fits)'


def test_what_to_do_about_a_hook():
    failed = hook_failed('data_product_post_save', ValueError())
    assert advice_for(failed.kind).startswith('Fix the hook')


def test_the_first_of_several_errors_gives_the_advice():
    outcome = Outcome('LCO')
    outcome.note(errors.NoKey('no key'))
    outcome.note(errors.NoAnswer('no answer'))
    assert (outcome.error, outcome.kind) == ('no key; no answer', 'no key')


def kinds(error=errors.SyncError):
    for kind in error.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_kind_has_a_name_of_its_own_and_advice():
    names = [kind.kind for kind in kinds()]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 30 and advice_for(name) for name in names)
