"""The observatory as a whole: a night, and the services that report it."""

from collections.abc import Callable
from typing import Any, Self

from . import archive, broker, portal
from .messages import Call, Logbook, Reply, html_reply
from .night import Night
from .server import Server


class Observatory(Night, Logbook):
    """A night, served over HTTP on a free port of this machine or on `port`.

    Only this machine reaches it, unless `host` says otherwise: 0.0.0.0 is for everyone.
    `latency` seconds pass before every answer. `night` has what `Night` takes. `with` starts and
    stops it; so do `start` and `stop`, and one that is started again keeps its address.
    """

    def __init__(
        self, *, port: int = 0, host: str = '127.0.0.1', latency: float = 0.0, **night: Any
    ) -> None:
        Night.__init__(self, **night)
        Logbook.__init__(self)
        self.latency = latency
        self._host, self._port = host, port
        self._server: Server | None = None

    def start(self) -> Self:
        self._server = Server(self._host, self._port, self.answer, self)
        self._port = self._server.server_port
        return self

    def stop(self) -> None:
        """Close all connections, in well under a second, and leave no thread behind."""
        if self._server:
            self._server.stop()
            self._server = None

    __enter__ = start

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it answers: portal, archive and files alike."""
        if not self._port:
            raise RuntimeError('An observatory has no address before it starts.')
        return f'http://127.0.0.1:{self._port}'

    def settings(self, token: str | None = None) -> dict[str, str]:
        """The entry of tomtoolkit's FACILITIES for this observatory; its own token by default."""
        api_key = self.token if token is None else token
        return {'portal_url': self.url, 'archive_url': self.url, 'api_key': api_key}

    def broker_settings(self) -> dict[str, object]:
        """The entry of tomtoolkit's DATA_SERVICES with which its class for TNS asks the broker."""
        own = {'api_key': self.token, 'bot_id': 1, 'bot_name': 'simulated'}
        return own | {'base_url': f'{self.url}/broker'}

    def answer(self, call: Call) -> Reply:
        """What one of the services says to `call`."""
        call.pause(self.latency)
        with self.lock:
            found = [service for start, service in SERVICES.items() if call.path.startswith(start)]
            return found[0](self, call) if found else html_reply('Not Found', 404)


SERVICES: dict[str, Callable[[Night, Call], Reply]] = {
    '/api/': portal.answer,
    '/frames': archive.answer,
    '/profile/': archive.profile,
    '/broker/': broker.answer,
    '/store/': archive.file,
}
