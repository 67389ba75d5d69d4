"""Turns any exception into one of this package's own, with a text that a person can act on.

No text here holds the body of an answer: nobody knows what is in it.
"""

import errno
import logging
from socket import gaierror, herror
from ssl import SSLError
from urllib.error import HTTPError as UrllibHTTPError
from urllib.error import URLError

import requests
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError
from tom_common.exceptions import ImproperCredentialsException

from .errors import (
    BadAnswer,
    BrokenClass,
    CredentialsRefused,
    HookFailed,
    LocalTrouble,
    NoAnswer,
    NoRoom,
    NotFound,
    NotUnderstood,
    SyncError,
)
from .redact import redact

logger = logging.getLogger(__name__)

LONGEST = 300  # characters of another's text
#: What clients other than `requests` raise where nobody answers.
UNREACHED = (ConnectionError, TimeoutError, gaierror, herror, SSLError, URLError)


def explained(error: BaseException, facility: str) -> SyncError:
    """What `error`, raised while `facility` was asked, means; an unknown one is logged whole."""
    if isinstance(error, SyncError):
        return error
    if isinstance(error, ImproperCredentialsException):
        return CredentialsRefused(f'{facility} refuses its credentials: check its API key in .env')
    if isinstance(error, ValidationError):
        return NotUnderstood(f'{facility} does not understand the request (400)')
    if isinstance(error, requests.RequestException):
        return _of_request(error, facility)
    if isinstance(error, UrllibHTTPError):
        return _of_status(error.code, facility)
    if isinstance(error, UNREACHED):
        return NoAnswer(f'{facility} does not answer ({type(error).__name__})')
    if isinstance(error, OperationalError | InterfaceError):
        return LocalTrouble(f'the database of this TOM could not be used: {_told(error)}')
    if isinstance(error, OSError):
        reason = _line(error.strerror) if error.strerror else type(error).__name__
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = NoRoom if full else LocalTrouble
        return kind(f'a file cannot be read or written: {reason}')
    logger.error('%s raised %s', facility, type(error).__name__, exc_info=error)
    if isinstance(error, LookupError | TypeError | AttributeError):
        return BrokenClass(
            f'the class of {facility} broke on the answer or a setting: {_told(error)}'
        )
    return SyncError(_told(error))


def _of_request(error: requests.RequestException, facility: str) -> SyncError:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _of_status(error.response.status_code, facility)
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return BadAnswer(f'{facility} answered something that is not JSON')
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return NoAnswer(f'{facility} does not answer ({type(error).__name__})')
    return NoAnswer(f'{facility} could not be asked ({type(error).__name__})')


def _of_status(status: int, facility: str) -> SyncError:
    if status == 404:
        return NotFound(f'{facility} does not know it, or hides it from this account (404)')
    if status == 429:
        return NoAnswer(f'{facility} asks to come back later (429)')
    kind = NoAnswer if status in (502, 503, 504) else BadAnswer
    return kind(f'{facility} answered {status}')


def hook_failed(hook: str, error: Exception) -> HookFailed:
    """The failure of a `hook` of this TOM by `error`."""
    logger.error('the hook %s raised %s', hook, type(error).__name__, exc_info=error)
    return HookFailed(f'the hook {hook} raised {_told(error)}')


def _told(error: BaseException) -> str:
    return f'{type(error).__name__}: {_line(error)}'


def _line(words: object) -> str:
    """What `words` say, in one line without secrets, which any database can hold."""
    try:
        text = ' '.join(redact(str(words)).split())
    except BaseException:  # there are errors whose own text is an error
        return '(it cannot say what)'
    return ''.join(filter(str.isprintable, text))[:LONGEST]
