"""An S3-compatible object store on this machine, moto's over real HTTP, and what can go wrong."""

import logging
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from threading import Event, Lock, Thread

import boto3
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tom_auto.media_store import storages_in

BUCKET = 'tom-data'
CREDENTIALS = {'access_key': 'dummy-access-key', 'secret_key': 'dummy-secret-key'}
#: Few and short waits, so that a test ends soon; a TOM has boto's own, which end as well.
PATIENCE = Config(connect_timeout=2, read_timeout=2, retries={'total_max_attempts': 1})

Application = Callable[[dict, Callable], Iterable[bytes]]
#: Called with the question, the way to begin an answer, and the store itself.
Fault = Callable[[dict, Callable, Application], Iterable[bytes]]


@dataclass
class Break:
    """A fault in place for requests such as 'PUT /tom-data/x.fits'."""

    where: re.Pattern
    fault: Fault


def at(url: str, **options: object) -> dict:
    """The STORAGES that keep the files in the store at `url`."""
    storages = storages_in(BUCKET, url, *CREDENTIALS.values())
    known = storages['default']['OPTIONS']
    ours = {'region_name': 'us-east-1', 'client_config': known['client_config'].merge(PATIENCE)}
    return storages | {'default': storages['default'] | {'OPTIONS': known | ours | options}}


class ObjectStore:
    """A store with one bucket, on a port of its own, that can be stopped and started again.

    What it holds outlives a stop. `seen` lists the requests: 'PUT /tom-data/m-31/lco/x.fits'.
    """

    def __init__(self) -> None:
        self._store = DomainDispatcherApplication(create_backend_app)
        self._breaks: list[Break] = []
        self._port = 0
        self._stopping = Lock()
        self.seen: list[str] = []
        logging.getLogger('werkzeug').setLevel(logging.CRITICAL)  # it logs every request

    def start(self) -> None:
        """Begin to answer."""
        self._server = make_server('127.0.0.1', self._port, self._answer, threaded=True)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody from now on."""
        with self._stopping:
            self._server.shutdown()
            self._thread.join()
            self._server.socket.close()

    def recover(self) -> None:
        """Answer normally again."""
        self.mend()
        if not self._thread.is_alive():
            self.start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._port}'

    def storage(self, **options: object) -> dict:
        """The entry of STORAGES that keeps the files here, as the settings of a TOM make it."""
        return at(self.url, **options)['default']

    def client(self) -> object:
        """A client of the store, which meets the same faults."""
        return boto3.client(
            's3', endpoint_url=self.url, region_name='us-east-1', config=PATIENCE,
            aws_access_key_id=CREDENTIALS['access_key'],
            aws_secret_access_key=CREDENTIALS['secret_key'],
        )  # fmt: skip

    def empty(self) -> None:
        """Begin with a bucket and nothing in it."""
        client = self.client()
        if BUCKET in [bucket['Name'] for bucket in client.list_buckets()['Buckets']]:
            for entry in client.list_objects_v2(Bucket=BUCKET).get('Contents', ()):
                client.delete_object(Bucket=BUCKET, Key=entry['Key'])
        else:
            client.create_bucket(Bucket=BUCKET)
        self.seen.clear()

    def unfinished(self) -> list[str]:
        """Uploads in several parts that were begun, and neither completed nor called off."""
        uploads = self.client().list_multipart_uploads(Bucket=BUCKET).get('Uploads', ())
        return [upload['Key'] for upload in uploads]

    def break_(self, where: str, fault: Fault) -> None:
        """From now on, requests that match `where`, such as 'PUT .*fits', meet `fault`."""
        self._breaks.append(Break(re.compile(where), fault))

    def mend(self) -> None:
        """All is well again."""
        self._breaks.clear()

    def _answer(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        question = f'{environ["REQUEST_METHOD"]} {environ["RAW_URI"]}'
        self.seen.append(question)
        for broken in self._breaks:
            if broken.where.match(question):
                return broken.fault(environ, start_response, self._store)
        return self._store(environ, start_response)


def status(code: int, name: str) -> Fault:
    """An error, as S3 puts it."""

    def fault(environ: dict, start_response: Callable, store: Application) -> Iterable[bytes]:
        _body(environ)
        start_response(f'{code} {name}', [('Content-Type', 'application/xml')])
        return [f'<?xml version="1.0"?><Error><Code>{name}</Code></Error>'.encode()]

    return fault


def cut(after: int = 1000) -> Fault:
    """The connection breaks off after so many bytes of the body."""

    def fault(environ: dict, start_response: Callable, store: Application) -> Iterable[bytes]:
        environ['wsgi.input'].read(after)
        environ['werkzeug.socket'].shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    return fault


def forget(environ: dict, start_response: Callable, store: Application) -> Iterable[bytes]:
    """The store says that it has kept the object, and has not."""
    _body(environ)
    start_response('200 OK', [('ETag', '"0"')])
    return []


def keep_half(environ: dict, start_response: Callable, store: Application) -> Iterable[bytes]:
    """The store says that it has kept the object, and has kept half of it."""
    body = _body(environ)
    half = body[: len(body) // 2]
    kept = {'wsgi.input': BytesIO(half), 'CONTENT_LENGTH': str(len(half))}
    return store(environ | kept, start_response)


def _body(environ: dict) -> bytes:
    return environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))


def hold(reached: Event, release: Event, kept: bool) -> Fault:
    """Sets `reached` and says nothing until `release`: with the object `kept`, or before it is."""

    def fault(environ: dict, start_response: Callable, store: Application) -> Iterable[bytes]:
        answer = list(store(environ, start_response)) if kept else []
        reached.set()
        release.wait(30)
        return answer

    return fault
