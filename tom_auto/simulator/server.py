"""An HTTP/1.1 server: persistent connections, a thread for each, and a clean stop."""

import contextlib
import gzip
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .messages import Call, Cut, Logbook, Reply, Seen

WORTH_COMPRESSING = 200  # bytes, as Django's GZipMiddleware has it
STOP_SECONDS = 2.0  # the longest that `stop` waits for a thread

# The value of SO_LINGER (on, for 0 seconds) that makes close() send a reset.
RESET_ON_CLOSE = struct.pack('ii', 1, 0)


class Server(ThreadingHTTPServer):
    """Answers on `host` with what `answer(call)` returns."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, answer: Callable[[Call], Reply], logbook: Logbook
    ) -> None:
        super().__init__((host, port), Handler)
        self.answer = answer
        self.logbook = logbook
        self.stopping = threading.Event()
        self._serving: dict[socket.socket, threading.Thread] = {}
        self._door = threading.Thread(
            target=self.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True
        )
        self._door.start()

    def stop(self) -> None:
        """Accept no more connections, close the others, and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        self._door.join(STOP_SECONDS)
        self.server_close()
        for connection in self._serving:
            with contextlib.suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        for thread in self._serving.values():
            thread.join(STOP_SECONDS)

    def pause(self, seconds: float) -> None:
        """Wait, unless the observatory closes: then Cut."""
        if self.stopping.wait(seconds):
            raise Cut()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._serving = {one: busy for one, busy in self._serving.items() if busy.is_alive()}
        self._serving[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        # The inherited method says goodbye (FIN) first, which would spoil a reset.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else is, and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: questions, one after another."""

    server: Server
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'SimulatedObservatory', ''
    disable_nagle_algorithm = True  # otherwise each answer waits for the client's last ACK

    def setup(self) -> None:
        super().setup()
        self.server.logbook.count(connections=1)
        self._write, self.wfile.write = self.wfile.write, self.write

    def write(self, data: bytes) -> int:
        self.server.logbook.count(bytes_sent=len(data))
        return self._write(data)

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        base = 'http://' + self.headers.get('Host', '127.0.0.1')
        call = Call(self.command, self.path, self.headers, base, self.server.pause, body)
        seen = self.server.logbook.begun(call)
        try:
            self.send(call, self.server.answer(call), seen)
        except Cut as cut:
            self.close_connection = True
            if cut.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        except OSError:  # the client went away
            self.close_connection = True
        finally:
            self.server.logbook.ended(seen)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

    def send(self, call: Call, reply: Reply, seen: Seen) -> None:
        """Send `reply`. It has ended before its last byte: the client may ask again at once."""
        if _compressible(call, reply):
            body = gzip.compress(reply.body, compresslevel=1, mtime=0)
            reply = Reply(reply.status, reply.headers | {'Content-Encoding': 'gzip'}, body)
        self.send_response(reply.status)
        for name, value in (reply.headers | {'Content-Length': str(reply.length)}).items():
            self.send_header(name, value)
        left = 0 if call.method == 'HEAD' else reply.length
        if not left:
            self.server.logbook.ended(seen)
        self.end_headers()
        for chunk in reply.chunks():
            if left <= 0:
                return
            left -= len(chunk)
            if left <= 0:
                self.server.logbook.ended(seen)
            self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error: the logbook has it."""


def _compressible(call: Call, reply: Reply) -> bool:
    return (
        'gzip' in call.headers.get('Accept-Encoding', '')
        and 'Content-Encoding' not in reply.headers
        and isinstance(reply.body, bytes)
        and reply.length == len(reply.body) > WORTH_COMPRESSING
        and reply.headers.get('Content-Type', '').startswith(('application/json', 'text/html'))
    )
