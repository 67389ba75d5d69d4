"""Whatever fails, the page says what to do about it."""

import re

import pytest
import requests
from django.core.exceptions import ValidationError
from django.db import OperationalError
from tom_common.exceptions import ImproperCredentialsException

from app.advice import ADVICE, DOCTOR, ELSE, KEY, LOG, WAIT, what_to_do
from app.sync.explain import explained, hook_failed


def answered(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    ('error', 'advice'),
    [
        (ImproperCredentialsException(), KEY),
        (answered(404), 'Look it up'),
        (ValidationError('x'), 'Look it up'),
        (answered(429), WAIT),
        (answered(500), WAIT),
        (requests.ConnectTimeout(), WAIT),
        (requests.exceptions.JSONDecodeError('x', 'x', 0), WAIT),
        (TimeoutError(), WAIT),
        (OperationalError('no such table'), DOCTOR),
        (OSError(28, 'No space left on device'), 'Make room'),
        (PermissionError(13, 'Permission denied'), DOCTOR),
        (KeyError('state'), 'Tell those who wrote the facility class'),
        (RuntimeError('something nobody thought of'), ELSE),
    ],
)
def test_what_to_do_about_what_an_observatory_answers(error, advice):
    assert what_to_do(str(explained(error, 'LCO'))).startswith(advice)


@pytest.mark.parametrize(
    ('said', 'advice'),
    [
        (str(hook_failed('data_product_post_save', ValueError())), 'Mend the hook'),
        ('could not be asked', 'Superusers'),  # all that others are told of a facility
        ('no frames can be seen without an API key: set LCO_API_KEY in .env', KEY),
        ('downloads stop: only 3 MB are free where the data goes', 'Make room'),
        ('the file would have 5 bytes, and there is no room for them', 'Make room'),
        ('the download broke off after 3 of 5 bytes', WAIT),
        ('2 of 4 frames: a.fits is not stored: the checksum is wrong', WAIT),
        ('2 of 4 frames: LCO does not know it, or not for this account (404)', 'Look it up'),
        ('LCO reports the state ODD, which nobody here knows', 'Tell those who wrote'),
        ('the storage did not keep a.fits as it is', DOCTOR),
        ('no free place for the file a.fits', f'Retry. If it lasts: {LOG}'),
    ],
)
def test_what_to_do_about_frames_and_hooks(said, advice):
    assert what_to_do(said).startswith(advice)


def test_every_piece_of_advice_can_be_given():
    assert what_to_do('') == ''
    assert all(re.compile(found) and told for found, told in ADVICE)
