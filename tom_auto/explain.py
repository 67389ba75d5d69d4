"""Turns any exception into one of this package's own, with a text that a person can act on.

No text here holds the body of an answer: nobody knows what is in it.
"""

import errno
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import PurePath
from socket import gaierror, herror
from urllib.error import HTTPError as UrllibHTTPError
from urllib.error import URLError
from xml.parsers.expat import ExpatError

import requests
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import InterfaceError, OperationalError
from tom_common.exceptions import ImproperCredentialsException

from . import errors
from .redact import redact, without_answers

logger = logging.getLogger(__name__)

LONGEST = 300  # characters of another's text
#: What clients raise where nobody answers, `requests` and others.
UNREACHED = (
    ConnectionError, TimeoutError, gaierror, herror, ssl.SSLError, URLError,
    requests.RequestException,
)  # fmt: skip
UNREACHED_ERRNO = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
FULL = {errno.ENOSPC, errno.EDQUOT}
#: What is wrong with one file, and not with the storage that it is in.
OF_ONE_FILE = (OSError, ValueError, SuspiciousOperation)


def explained(error: BaseException, facility: str) -> errors.SyncError:
    """What `error`, raised while `facility` was asked, means; an unknown one is logged whole."""
    # Classes wrap the errors of their clients in their own: the reason is further down.
    for reason in causes(error):
        if (known := _known(reason, facility)) is not None:
            return known
    logger.error('%s raised %s', facility, type(error).__name__, exc_info=error)
    if isinstance(error, LookupError | TypeError | AttributeError):
        words = f'the class of {facility} failed on the answer or a setting: {told(error)}'
        return errors.BrokenClass(words)
    return errors.SyncError(told(error))


def _known(error: BaseException, facility: str) -> errors.SyncError | None:
    if isinstance(error, errors.SyncError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return errors.LocalTrouble(f'the database of this TOM could not be used: {told(error)}')
    if isinstance(error, ValidationError):
        return errors.NotUnderstood(f'{facility} does not understand the request (400)')
    if isinstance(error, ImproperCredentialsException):
        return errors.AccessRefused(f'{facility} refuses the credentials')
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _of_status(error.response.status_code, facility)
    if isinstance(error, UrllibHTTPError):
        return _of_status(error.code, facility)
    if isinstance(error, requests.exceptions.InvalidJSONError | JSONDecodeError):
        return errors.BadAnswer(f'{facility} answered something that is not JSON')
    if isinstance(error, ExpatError):
        return errors.BadAnswer(f'{facility} answered something that is not XML')
    if _is_unreached(error):
        reason = certificate_fault(error) or type(error).__name__
        return errors.NoAnswer(f'{facility} does not answer ({reason})')
    if isinstance(error, OSError) and error.errno is not None:
        words = f'a file cannot be read or written: {one_line(error.strerror)}'
        if error.errno in FULL:
            return errors.NoRoom(words)
        named = isinstance(error.filename, str)  # not its path, which may name a hidden target
        which = f' ({one_line(PurePath(error.filename).name)})' if named else ''
        return errors.LocalTrouble(f'{words}{which}')
    return None


def _is_unreached(error: BaseException) -> bool:
    return isinstance(error, UNREACHED) or getattr(error, 'errno', 0) in UNREACHED_ERRNO


@contextmanager
def in_the_storage() -> Iterator[None]:
    """Around what is done in the storage of the data, which may be a store on another host.

    The errors of its client look like those of an observatory, which must not be blamed for them.
    """
    try:
        yield
    except Exception as error:
        mine = isinstance(error, OF_ONE_FILE) and not _is_unreached(error)
        if mine or isinstance(error, errors.SyncError):
            raise
        words = f'the storage of the data cannot be used: {told(error)}'
        raise errors.StorageAway(words) from error


def _of_status(status: int, facility: str) -> errors.SyncError:
    if status in (401, 403):
        return errors.AccessRefused(f'{facility} refuses access ({status})')
    if status == 404:
        return errors.NotFound(f'{facility} does not know it, or hides it from this account (404)')
    if status == 429:
        return errors.NoAnswer(f'{facility} asks us to try again later (429)')
    if status in (502, 503, 504):
        return errors.NoAnswer(f'{facility} answered {status}')
    kind = errors.ServerError if status >= 500 else errors.BadAnswer
    return kind(f'{facility} answered {status}')


def hook_failed(hook: str, error: BaseException) -> errors.HookFailed:
    """The failure of a `hook` of this TOM by `error`."""
    logger.error('the hook %s raised %s', hook, type(error).__name__, exc_info=error)
    return errors.HookFailed(f'the hook {hook} raised {told(error)}')


def told(error: BaseException) -> str:
    """What `error` says of itself, in one line without secrets."""
    return f'{type(error).__name__}: {one_line(error)}'


def one_line(words: object) -> str:
    """What `words` say, in one line without secrets, which any database can hold."""
    try:
        # In this order: half an address is no longer known for one.
        text = ' '.join(without_answers(redact(str(words))).split())
    except BaseException:  # there are errors whose own text is an error
        return '(it cannot say what)'
    return ''.join(filter(str.isprintable, text))[:LONGEST]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, and all that it came from, holds or is a group of: clients wrap what they meet."""
    seen, following = set(), [error]
    while following:
        error = following.pop(0)
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            yield error
            group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
            following += [error.__cause__ or error.__context__, *group, *error.args]


def certificate_fault(error: BaseException | None) -> str:
    """What is wrong with a server's certificate, if `error` is about that; else empty."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f'certificate: {getattr(cause, "verify_message", "") or "not valid"}'
    return ''
