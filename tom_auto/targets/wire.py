"""What leaves the TOM while a facility class submits, and whether that was refused.

`requests` and urllib both send through `http.client`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from socket import AF_UNIX, gaierror, socket
from ssl import SSLSocket
from threading import get_ident, local

import requests
from django.core.exceptions import ValidationError
from tom_common.exceptions import ImproperCredentialsException
from urllib3.exceptions import NewConnectionError

from ..stand_in import in_the_place_of

#: By which whatever is not `http.client` sends: mail, and clients that use sockets by themselves.
CHANNELS = [
    (socket, 'send'), (socket, 'sendall'), (socket, 'sendto'), (socket, 'sendmsg'),
    (SSLSocket, 'send'),
]  # fmt: skip
ONLY_ASKS = {'GET', 'HEAD', 'OPTIONS'}
#: The observatory was never reached.
UNREACHED = requests.ConnectTimeout, NewConnectionError, gaierror
#: The observatory has said no, if it was asked: a class may raise them by itself.
REFUSALS = ValidationError, ImproperCredentialsException
UNCLEAR = {408, 409}  # of the 4xx: these do not say that it was not accepted


def says_no(status: int | None) -> bool:
    """Whether it is certain after an answer with `status` that nothing was accepted."""
    return status is not None and 400 <= status < 500 and status not in UNCLEAR


@dataclass
class Sent:
    """What has left the TOM. `statuses`: the answers to what is more than a question; None: none.

    `left`: which of these have been on a connection, by their place.
    """

    is_anything: bool = False
    is_elsewhere: bool = False  # by other means, by the same thread: nobody sees what came of it
    statuses: list[int | None] = field(default_factory=list)
    left: set[int] = field(default_factory=set)

    @property
    def is_in_part_accepted(self) -> bool:
        """Whether the observatory has answered well to some of it."""
        return any(status is not None and status < 300 for status in self.statuses)

    @property
    def is_all_refused(self) -> bool:
        """Whether the observatory was asked, and has taken nothing."""
        return self.is_anything and all(map(says_no, self.statuses))

    @property
    def has_all_refused_or_never_left(self) -> bool:
        """Whether each part was refused, or the observatory was not reached with it."""
        return all(map(says_no, (self.statuses[place] for place in self.left)))


@contextmanager
def watched(before: Callable[[], None]) -> Iterator[Sent]:
    """While this lasts, call `before` just before anything is sent that is more than a question.

    What it raises keeps that from being sent.
    """
    put, answered, sent = HTTPConnection.putrequest, HTTPConnection.getresponse, Sent()
    written, thread, here = HTTPConnection.send, get_ident(), local()
    places: dict[HTTPConnection, int] = {}  # of what each connection has sent last

    def putrequest(
        connection: HTTPConnection, method: str, *arguments: object, **options: object
    ) -> None:
        places.pop(connection, None)
        if method.upper() not in ONLY_ASKS:
            places[connection] = len(sent.statuses)
            sent.statuses.append(None)
        sent.is_anything = True
        put(connection, method, *arguments, **options)

    def send(connection: HTTPConnection, data: object) -> None:
        if connection.sock is None:  # as the original does; it raises where nobody is reached
            connection.connect()
        if connection in places:
            if places[connection] not in sent.left:  # not sooner: to connect may take long
                before()
            sent.left.add(places[connection])
        here.is_http = True
        try:
            written(connection, data)
        finally:
            here.is_http = False

    def getresponse(connection: HTTPConnection) -> HTTPResponse:
        response = answered(connection)
        if connection in places:
            sent.statuses[places[connection]] = response.status
        return response

    def elsewhere(plain: Callable) -> Callable:
        def writing(channel: socket, *arguments: object) -> object:
            is_ours = get_ident() == thread and channel.family != AF_UNIX
            if is_ours and not getattr(here, 'is_http', False):
                is_first, sent.is_elsewhere = not sent.is_elsewhere, True
                if is_first:
                    before()
            return plain(channel, *arguments)

        return writing

    watching = [
        (HTTPConnection, 'putrequest', putrequest),
        (HTTPConnection, 'getresponse', getresponse),
        (HTTPConnection, 'send', send),
        *((one, name, elsewhere(getattr(one, name))) for one, name in CHANNELS),
    ]
    with ExitStack() as stack:
        for one, name, watch in watching:
            stack.enter_context(in_the_place_of(one, name, watch))
        yield sent


def is_refusal(error: BaseException, sent: Sent) -> bool:
    """Whether it is certain that nothing was accepted of what was `sent`."""
    if sent.is_in_part_accepted:
        return False
    for cause in _wrapped(error):
        if isinstance(cause, UNREACHED):
            return sent.has_all_refused_or_never_left
        if isinstance(cause, REFUSALS):
            return sent.is_all_refused
        # Whichever answer raised: that of a question asked afterwards says nothing of what was sent.
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return bool(sent.statuses) and sent.is_all_refused
    return False


def _wrapped(error: object) -> Iterator[BaseException]:
    """`error`, and what it wraps; not what was met before it, and may have been overcome."""
    if isinstance(error, BaseException):
        yield error
        for inner in (error.__cause__, getattr(error, 'reason', None), *error.args):
            yield from _wrapped(inner)
