"""Servers that never come to an end, and facility classes that wait for them."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import requests
from django.conf import settings

from unit.facility_classes import Robotic

Talk = Callable[[socket.socket, Event], object]


class OwnClient(Robotic):
    """Speaks over a socket of its own, without a timeout, as SOAP and vendors' clients may."""

    name = 'OwnClient'

    def get_observation_status(self, observation_id):
        with socket.create_connection(settings.FACILITIES['OwnClient']['address']) as connection:
            connection.sendall(b'STATUS ' + observation_id.encode())
            return {'state': connection.recv(1000).decode()}


class Headers(Robotic):
    """Asks, through requests, a server that never comes to the end of its headers."""

    name = 'Headers'

    def get_observation_status(self, observation_id):
        return requests.get(settings.FACILITIES['Headers']['url']).json()


class Login(Robotic):
    """Logs in, as tom_eso does, at a server that does not answer."""

    name = 'Login'

    def set_user(self, user):
        requests.get(settings.FACILITIES['Login']['url'])


def silence(connection: socket.socket, closing: Event) -> None:
    """Accepted, and never answered."""
    closing.wait()


def headers_byte_by_byte(connection: socket.socket, closing: Event) -> None:
    """An answer with endless headers; no single read is slow."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nX-Patience: ')
    while not closing.wait(0.3):
        connection.sendall(b'.')


@contextmanager
def server(talk: Talk) -> Iterator[tuple[str, int]]:
    """A server that answers each connection with `talk`; gives its address."""
    closing = Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client went away
                talk(self.request, closing)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(('127.0.0.1', 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield listening.server_address
        finally:
            closing.set()
            listening.shutdown()
            thread.join()
