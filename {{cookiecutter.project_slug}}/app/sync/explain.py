"""Turns any exception into one of this package's own, with a text that a person can act on.

No text here holds a response body, a token, or the query of an address: those of an archive
are signed, and whoever reads a log could fetch the data with them.
"""

import logging
import re

import requests
from django.conf import settings
from django.core.exceptions import ValidationError
from tom_common.exceptions import ImproperCredentialsException

from .errors import FacilityDown, NoAnswer, SyncError

logger = logging.getLogger(__name__)

LONGEST = 300  # characters of another's text
QUERY = re.compile(r'\?[^\s\'")]+')


def explained(error: Exception, facility: str) -> SyncError:
    """What `error`, raised while `facility` was asked, means; an unknown one is logged whole."""
    if isinstance(error, SyncError):
        return error
    if isinstance(error, ImproperCredentialsException):
        return FacilityDown(f'{facility} refuses its credentials: check its API key in .env')
    if isinstance(error, ValidationError):
        return SyncError(f'{facility} does not understand the question (400)')
    if isinstance(error, requests.RequestException):
        return _of_request(error, facility)
    if isinstance(error, ConnectionError | TimeoutError):
        return NoAnswer(f'{facility} does not answer ({type(error).__name__})')
    if isinstance(error, OSError):
        return SyncError(f'the file cannot be written: {error.strerror or type(error).__name__}')
    logger.error('%s raised %s', facility, type(error).__name__, exc_info=error)
    return SyncError(f'{type(error).__name__}: {scrubbed(str(error))}')


def _of_request(error: requests.RequestException, facility: str) -> SyncError:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return SyncError(_of_status(error.response.status_code, facility))
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return SyncError(f'{facility} answered something that is not JSON')
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return NoAnswer(f'{facility} does not answer ({type(error).__name__})')
    return SyncError(f'{facility} could not be asked ({type(error).__name__})')


def _of_status(status: int, facility: str) -> str:
    if status == 404:
        return f'{facility} does not know it, or not for this account (404)'
    if status == 429:
        return f'{facility} asks to come back later (429)'
    return f'{facility} answered {status}'


def scrubbed(text: str) -> str:
    """`text` in one line of bounded length, without queries of addresses and without API keys."""
    text = QUERY.sub('?…', ' '.join(text.split()))
    for secret in _secrets(getattr(settings, 'FACILITIES', {})):
        text = text.replace(secret, '…')
    return text[:LONGEST]


def _secrets(options: object, secret: bool = False) -> list[str]:
    """Every text below a key that names a credential, in nested dictionaries."""
    if isinstance(options, dict):
        return [
            found
            for key, value in options.items()
            for found in _secrets(value, secret or bool(SECRET.search(str(key))))
        ]
    return [options] if secret and isinstance(options, str) and len(options) > 3 else []


SECRET = re.compile('key|token|password|secret', re.IGNORECASE)
