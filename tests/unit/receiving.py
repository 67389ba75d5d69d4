"""Real receivers of alerts: a mail server and a web server on this machine."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread

from aiosmtpd.controller import Controller


class Mailbox(list):
    """Every mail that has come, as `aiosmtpd` wants to be given it."""

    delay = 0.0  # seconds that the server takes for each

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        await asyncio.sleep(self.delay)
        self.append(message_from_bytes(envelope.content))
        return '250 OK'

    def subjects(self) -> list[str]:
        """The subject of each mail."""
        return [mail['Subject'] for mail in self]

    def text(self, number: int = -1) -> str:
        """What the mail says."""
        mail: Message = self[number]
        return mail.get_payload(decode=True).decode()


@contextmanager
def mail_server(settings: object) -> Iterator[Mailbox]:
    """A mail server that the TOM's settings name, and somebody to mail to."""
    mailbox, port = Mailbox(), free_port()
    server = Controller(mailbox, hostname='127.0.0.1', port=port, ready_timeout=60)
    server.start()
    try:
        use_mail(settings, port)
        yield mailbox
    finally:
        server.stop()


def free_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def use_mail(settings: object, port: int) -> None:
    """Let the TOM mail to a server of this machine."""
    settings.EMAIL_BACKEND = 'django.core.mail.backends.smtp.EmailBackend'
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = '127.0.0.1', port, False
    settings.ADMINS = [('Ada', 'ada@example.org')]


@contextmanager
def slow_mail_server(settings: object, stops_at: str) -> Iterator[None]:
    """One that answers this command with a line every moment, without end; or by going away.

    `stops_at`: a command, or `HELLO`, `END` of a mail; with a `-` before it, the server goes away there.
    """

    class Handler(StreamRequestHandler):
        timeout = 5

        def handle(self) -> None:
            with suppress(OSError):
                self.wfile.write(self.answer('HELLO', '220 here'))
                while line := self.rfile.readline():
                    word = line[:4].decode().strip().upper()
                    self.wfile.write(self.answer(word, '354 go on' if word == 'DATA' else '250 OK'))
                    if word == 'DATA':
                        while self.rfile.readline() != b'.\r\n':
                            pass
                        self.wfile.write(self.answer('END', '250 OK'))

        def answer(self, word: str, text: str) -> bytes:
            if stops_at == f'-{word}':
                raise ConnectionResetError
            while stops_at == word and not over.wait(0.02):
                self.wfile.write(f'{text[:3]}-wait\r\n'.encode())
            return f'{text}\r\n'.encode()

    over = Event()
    with ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        use_mail(settings, server.server_address[1])
        settings.ADMINS = []
        try:
            yield
        finally:
            over.set()
            server.shutdown()


@contextmanager
def slow_web_server() -> Iterator[str]:
    """The URL of one whose answer never ends: a byte comes every moment."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.wfile.write(b'HTTP/1.1 200 OK\r\n\r\n')
                while not over.wait(0.02):
                    self.wfile.write(b'.')

    over = Event()
    with ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_address[1]}'
        finally:
            over.set()
            server.shutdown()


class Receiver:
    """What was asked for at a web server, and how it answers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict]] = []
        self.status = 200
        self.url = ''

    def paths(self) -> list[str]:
        """The addresses that were asked for, in their order."""
        return [path for _, path, _ in self.seen]


@contextmanager
def web_server() -> Iterator[Receiver]:
    """A web server that notes what it is asked."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            receiver.seen.append((self.command, self.path, json.loads(body or '{}')))
            self.send_response(receiver.status)
            self.send_header('Content-Length', '0')
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        receiver.url = f'http://127.0.0.1:{server.server_port}'
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
