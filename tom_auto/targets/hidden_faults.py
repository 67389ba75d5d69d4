"""Faults that a data service keeps to itself, and calls an empty answer.

MPC Explorer takes a 500 for "nothing found", ALeRCE logs what goes wrong with a light curve, and Scout
only warns that it cannot read an answer.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from django.db import DatabaseError, InterfaceError
from requests.adapters import HTTPAdapter

from ..errors import BadAnswer, SyncError
from ..explain import explained, one_line
from ..stand_in import in_the_place_of

NOTHING_FOUND = 404


class _Log(logging.Handler):
    """Hears the errors that are logged, and what the package of a service warns of."""

    def __init__(self, heard: list[BaseException], service_class: type) -> None:
        super().__init__(logging.WARNING)
        self._heard, self._module = heard, service_class.__module__

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self._heard.append(record.exc_info[1])
        elif record.name == self._module:
            self._heard.append(BadAnswer(one_line(record.getMessage())))


@contextmanager
def overheard_faults(service: str, service_class: type) -> Iterator[list[BaseException]]:
    """The errors that are logged while this lasts, and the answers of 4xx and 5xx.

    What is raised here is explained by the last of them where it does not explain itself.
    """
    heard: list[BaseException] = []
    log, send = _Log(heard, service_class), HTTPAdapter.send

    def overheard_send(*arguments: object, **options: object) -> requests.Response:
        answer = send(*arguments, **options)
        if answer.status_code >= 400 and answer.status_code != NOTHING_FOUND:
            heard.append(requests.HTTPError(response=answer))
        return answer

    logging.getLogger().addHandler(log)
    try:
        with in_the_place_of(HTTPAdapter, 'send', overheard_send):
            yield heard
    except Exception as error:
        # What this TOM's database says is not about the service.
        if not isinstance(error, SyncError | DatabaseError | InterfaceError) and heard:
            raise explained(_last(heard), service) from error
        raise
    finally:
        logging.getLogger().removeHandler(log)


def tell(heard: list[BaseException], service: str) -> None:
    """Raise what was heard, if anything: nothing came, and that is why."""
    if heard:
        raise explained(_last(heard), service)


def answered_badly(heard: list[BaseException]) -> BaseException | None:
    """What the service answered to a part of what it was asked, if that was no good answer."""
    answers = [error for error in heard if isinstance(error, requests.RequestException)]
    return answers[-1] if answers else None


def _last(heard: list[BaseException]) -> BaseException:
    """The last answer that the service gave, which says more than what a class made of it."""
    answers = [error for error in heard if isinstance(error, requests.HTTPError)]
    return (answers or heard)[-1]
