"""Turns any exception into one of this package's own, with a text that a person can act on.

No text here holds the body of an answer: nobody knows what is in it.
"""

import logging

import requests
from django.core.exceptions import ValidationError
from tom_common.exceptions import ImproperCredentialsException

from .discreet import discreet
from .errors import FacilityDown, HookFailed, NoAnswer, SyncError

logger = logging.getLogger(__name__)

LONGEST = 300  # characters of another's text


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
    return SyncError(f'{type(error).__name__}: {_one_line(str(error))}')


def _of_request(error: requests.RequestException, facility: str) -> SyncError:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _of_status(error.response.status_code, facility)
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return SyncError(f'{facility} answered something that is not JSON')
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return NoAnswer(f'{facility} does not answer ({type(error).__name__})')
    return SyncError(f'{facility} could not be asked ({type(error).__name__})')


def _of_status(status: int, facility: str) -> SyncError:
    if status == 404:
        return SyncError(f'{facility} does not know it, or not for this account (404)')
    if status == 429:
        return NoAnswer(f'{facility} asks to come back later (429)')
    kind = NoAnswer if status in (502, 503, 504) else SyncError
    return kind(f'{facility} answered {status}')


def hook_failed(hook: str, error: Exception) -> HookFailed:
    """The failure of a `hook` of this TOM by `error`."""
    logger.error('the hook %s raised %s', hook, type(error).__name__, exc_info=error)
    return HookFailed(f'the hook {hook} raised {type(error).__name__}: {_one_line(str(error))}')


def _one_line(text: str) -> str:
    return discreet(' '.join(text.split()))[:LONGEST]
