"""A facility class that gives away what it knows in every way that its author did not think of."""

import http.client
import logging
import sys
import warnings

import requests
from django.conf import settings
from tom_observations.facility import BaseRoboticObservationFacility

logger = logging.getLogger('vendor')


class NoText(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError(f'no text, but {password()}')


def password() -> str:
    """The password of this TOM's account."""
    return settings.FACILITIES['Leaky']['password']


def signed() -> str:
    """An address with a signature that the observatory has given out."""
    return settings.FACILITIES['Leaky']['signed']


def authorization() -> dict[str, str]:
    return {'Authorization': f'Token {settings.FACILITIES["LCO"]["api_key"]}'}


def raise_plainly() -> None:
    raise RuntimeError(f'cannot log in as me with {password()} at {signed()}')


def raise_in_a_chain() -> None:
    try:
        raise KeyError(password())
    except KeyError as error:
        raise RuntimeError(signed()) from error


def raise_while_handling() -> None:
    try:
        raise_plainly()
    except RuntimeError:
        raise ValueError(authorization()) from None


def raise_a_group() -> None:
    raise ExceptionGroup(password(), [ValueError(signed()), OSError(5, password(), signed())])


def raise_an_os_error() -> None:
    raise OSError(5, f'{password()} is refused\nat {signed()}')


def raise_of_requests() -> None:
    raise requests.ConnectionError(f'GET {signed()} with {authorization()}')


def raise_without_text() -> None:
    raise NoText(password())


def exit_with_text() -> None:
    sys.exit(f'wrong password {password()}')


def print_it() -> None:
    print('user: me', 'password:', password())  # noqa: T201
    print(signed(), authorization(), sep='\n')  # noqa: T201


def print_it_as_an_error() -> None:
    print('user: me', 'password:', password(), file=sys.stderr)  # noqa: T201
    sys.stderr.write(f'{signed()}\n{authorization()}\n')


def warn() -> None:
    warnings.warn(f'{password()} is a weak password', stacklevel=1)


def log() -> None:
    logger.debug('POST %s', authorization())
    logger.error('%s is wrong for %s', password(), signed())
    logger.error('only %d', password())
    logger.error('too many', password(), signed())
    logger.error(NoText(password()), NoText(password()))


def have_http_shown() -> None:
    """As recipes for debugging have it: every header is printed."""
    before = http.client.HTTPConnection.debuglevel
    http.client.HTTPConnection.debuglevel = 1
    try:
        requests.get(signed(), headers=authorization())
    finally:
        http.client.HTTPConnection.debuglevel = before


WAYS = {
    each.__name__: each
    for each in (
        raise_plainly, raise_in_a_chain, raise_while_handling, raise_a_group, raise_an_os_error,
        raise_of_requests, raise_without_text, exit_with_text, print_it, print_it_as_an_error,
        warn, log, have_http_shown,
    )
}  # fmt: skip


class LeakyFacility(BaseRoboticObservationFacility):
    """Asked for an observation, goes the way that its id names."""

    name = 'Leaky'
    get_form = submit_observation = validate_observation = get_observing_sites = None

    def get_observation_url(self, observation_id: str) -> str:
        return ''

    def get_terminal_observing_states(self) -> list[str]:
        return ['DONE']

    def get_observation_status(self, observation_id: str) -> dict:
        WAYS[observation_id]()
        return {'state': 'DONE', 'scheduled_start': None, 'scheduled_end': None}

    def data_products(self, observation_id: str, product_id: str | None = None) -> list[dict]:
        """A file under the name that the end of its address gives, signature and all."""
        return [{'id': observation_id, 'filename': signed().rpartition('/')[2], 'url': signed()}]
