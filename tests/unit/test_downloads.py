"""Downloads, and what else comes over the wire: B3, B4, C8, C14, D7, D8, E7 of faults-found."""

import errno
import gzip
import shutil
import ssl
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from time import monotonic

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tom_dataproducts.models import DataProduct
from urllib3.exceptions import InsecureRequestWarning

import faults
from tom_auto.conf import Automation
from tom_auto.errors import BadAnswer, NoAnswer, NoRoom
from tom_auto.files import storage, whole_file
from tom_auto.files.disk_room import room_for
from tom_auto.files.downloads import download
from tom_auto.files.storage_id import accept_storage
from tom_auto.observatories.http import limited_requests
from tom_auto.simulator import archive
from tom_auto.simulator.messages import Call, Reply

from .running import files, updatedata

LIMITS = Automation(
    CONNECT_TIMEOUT=2, READ_TIMEOUT=0.5, TRANSFER_TIMEOUT=1, RETRIES=2, RETRY_WAIT=0,
    MIN_FREE_BYTES=0,
)  # fmt: skip
TABLE = b'time,flux\n' + b'1,2\n' * 200


@contextmanager
def answering(
    talk: Callable[[socket, Event], object], wrap: Callable[[socket], socket] = lambda plain: plain
) -> Iterator[ThreadingTCPServer]:
    """A server that answers each connection with `talk`, and counts them."""
    closing = Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.server.connections += 1
            with suppress(OSError):  # the client went away
                talk(wrap(self.request), closing)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        connections = 0

    with Server(('127.0.0.1', 0), Handler) as server:
        server.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def fetched(url: str, filename: str = 'a.fits', md5: str = '') -> bytes:
    """What `download` makes of an address."""
    into = BytesIO()
    with limited_requests(LIMITS):
        download(url, filename, into, LIMITS, md5)
    return into.getvalue()


# --- B3: packed files, labelled as if packed for the transfer ---


@pytest.fixture
def sent_as(sky, observed):
    """Makes a record with one file, sent as it is under a Content-Encoding."""

    def add(filename: str, body: bytes, encoding: str, md5: str) -> None:
        record = observed(frames=0)
        number = int(record.observation_id)
        frame = sky.add_frame(number, filename=filename, content=body)

        def labelled(call, reply):
            headers = reply.headers | {'Content-Encoding': encoding}
            return Reply(reply.status, headers, reply.chunks(), reply.length)

        sky.break_('/store/', labelled)

        def listed(page):
            page['results'][0]['version_set'][0]['md5'] = md5

        sky.break_('/frames/', faults.edit(listed))
        assert frame.content == body

    return add


def md5(content: bytes) -> str:
    return whole_file.read(BytesIO(content)).md5


PACKED = gzip.compress(TABLE, mtime=0)
TWICE = gzip.compress(PACKED, mtime=0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize('encoding', ['gzip', 'x-gzip', 'GZIP'])
@pytest.mark.parametrize(
    ('filename', 'body', 'checksum', 'stored'),
    [
        pytest.param('a.csv.gz', PACKED, md5(PACKED), PACKED, id='packed, as its checksum says'),
        pytest.param('a.csv.gz', PACKED, '', PACKED, id='packed'),
        pytest.param('a.tgz', PACKED, '', PACKED, id='packed, by another name'),
        pytest.param('a.csv.gz', TWICE, md5(PACKED), PACKED, id='packed again for the transfer'),
        pytest.param('a.csv', PACKED, md5(TABLE), TABLE, id='not packed, as its checksum says'),
        pytest.param('a.csv', PACKED, md5(PACKED), PACKED, id='packed, and its name does not say'),
        pytest.param('a.csv', PACKED, '', TABLE, id='packed for the transfer, unasked'),
    ],
)
def test_a_packed_file_is_stored_as_it_came_or_as_its_checksum_has_it(
    sent_as, encoding, filename, body, checksum, stored
):
    """B3: `.fits.gz` and `.csv.gz` sent with Content-Encoding were unpacked, or refused."""
    sent_as(filename, body, encoding, checksum)
    status, report = updatedata()
    assert (status, report['failures']) == (0, [])
    assert list(files().values()) == [stored]
    status, report = updatedata('--recheck')
    assert (status, report['saved'], report['repaired']) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_label_on_what_is_not_packed_does_no_harm(sent_as):
    """B3: the bytes decide, not the label."""
    sent_as('a.csv', TABLE, 'gzip', md5(TABLE))
    assert updatedata()[0] == 0
    assert list(files().values()) == [TABLE]


# --- B4: an answer is held against the question ---


@pytest.mark.django_db(transaction=True)
def test_frames_of_another_request_are_an_error_of_the_archive(sky, observed):
    """B4: an archive that does not know a filter ignores it, and lists everybody's frames."""
    records = [observed(frames=1) for _ in range(3)]

    def unfiltered(call: Call, reply: Reply) -> Reply:
        return archive.answer(sky, replace(call, target='/frames/?limit=1000'))

    sky.break_('/frames/', unfiltered)
    status, report = updatedata()

    assert (status, report['failed'], report['saved']) == (1, 3, 0)
    for failure in report['failures']:
        assert 'lists frames of another request' in failure['error']
    assert (files(), DataProduct.objects.count()) == ({}, 0)

    sky.mend()
    assert updatedata()[1]['saved'] == 3
    for record in records:
        assert DataProduct.objects.get(observation_record=record).data


@pytest.mark.django_db(transaction=True)
def test_pages_that_repeat_are_an_end(sky, observed, monkeypatch):
    """B4: an archive that ignores the offset gives its first page again, for ever."""
    monkeypatch.setattr('tom_auto.observatories.frames.PAGE', 2)
    observed(frames=2)
    first = []

    def again(page):
        first.append(page['results'])
        page.update(results=first[0], next=f'{sky.url}/frames/?offset={2 * len(first) % 6}')

    sky.break_('/frames/', faults.edit(again))
    status, report = updatedata()
    assert (status, report['saved'], len(files())) == (1, 2, 2)
    assert 'has no end' in report['failures'][0]['error']
    assert len(first) <= 4


# --- C8: what drips ---


def dripping(*beginning: bytes, drop: bytes = b'.', pause: float = 0.1) -> Callable:
    """An answer that begins so, and then goes on drop by drop: no single read is slow."""

    def talk(connection: socket, closing: Event) -> None:
        connection.recv(4096)
        connection.sendall(b''.join(beginning))
        while not closing.wait(pause):
            connection.sendall(drop)

    return talk


OK = b'HTTP/1.1 200 OK\r\n'
DRIPS = {
    'the first line': dripping(),
    'a header': dripping(OK, b'X-Patience: '),
    'one header after another': dripping(OK, drop=b'X-A: b\r\n', pause=0.05),
    'interim answers': dripping(drop=b'HTTP/1.1 100 Continue\r\n\r\n', pause=0.05),
    'the body': dripping(OK, b'Content-Length: 5000000\r\n\r\n'),
    'a body that ends with the connection': dripping(OK, b'\r\n'),
    'the length of a chunk': dripping(OK, b'Transfer-Encoding: chunked\r\n\r\n5;'),
    'what follows the last chunk': dripping(OK, b'Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: '),
}


@pytest.mark.parametrize('what', DRIPS)
def test_what_drips_is_given_up(what):
    """C8: a header that dripped had no limit but the run's; no part of an answer may."""
    with answering(DRIPS[what]) as server, limited_requests(LIMITS):
        url = f'http://127.0.0.1:{server.port}/'
        begun = monotonic()
        with pytest.raises(requests.RequestException):
            requests.post(url)  # is not tried again
        assert monotonic() - begun < 5
        begun = monotonic()
        with pytest.raises(NoAnswer, match='did not arrive'):
            download(url, 'a.csv', BytesIO(), LIMITS)
        assert monotonic() - begun < 12


# --- C14: certificates ---


@pytest.fixture(scope='module')
def certificate(tmp_path_factory) -> Path:
    """A certificate that nobody but itself vouches for, as of a server that was set up in haste."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'archive.example')])
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ip_address('127.0.0.1'))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp('tls') / 'server.pem'
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def self_signed(certificate):
    """A server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket, closing: Event) -> None:
        connection.recv(4096)
        connection.sendall(OK + b'Content-Length: 2\r\n\r\n{}')

    def wrap(plain: socket) -> socket:
        return context.wrap_socket(plain, server_side=True)

    with answering(talk, wrap) as server:
        yield server


@pytest.mark.django_db(transaction=True)
def test_a_certificate_that_is_not_valid_is_told_and_not_tried_again(
    self_signed, sky, settings, add_record
):
    """C14: it was retried twice, and "does not answer" was all that was told."""
    url = f'https://127.0.0.1:{self_signed.port}'
    settings.FACILITIES = settings.FACILITIES | {
        'SOAR': {'portal_url': url, 'archive_url': sky.url, 'api_key': 'key-of-soar'}
    }
    add_record('SOAR')
    status, report = updatedata()
    assert status == 1
    [failure] = report['failures']
    assert 'certificate: self-signed certificate' in failure['error']
    assert self_signed.connections == 1


def test_what_changes_something_is_not_sent_again_after_a_fault_of_tls(certificate):
    """The server has it by then: what was submitted twice cannot be undone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    heard = []

    def talk(connection: socket, closing: Event) -> None:
        heard.append(connection.recv(4096))
        socket.sendall(connection, b'not encrypted')

    def wrap(plain: socket) -> socket:
        return context.wrap_socket(plain, server_side=True)

    with answering(talk, wrap) as server, limited_requests(LIMITS):
        for method, times in (('POST', 1), ('GET', 1 + LIMITS.RETRIES)):
            heard.clear()
            with pytest.raises(requests.ConnectionError), pytest.warns(InsecureRequestWarning):
                requests.request(method, f'https://127.0.0.1:{server.port}', verify=False)  # noqa: S501
            assert len(heard) == times, method


def test_nor_for_a_download(self_signed):
    """C14: the same of the file server."""
    with pytest.raises(NoAnswer, match='certificate: self-signed certificate'):
        fetched(f'https://127.0.0.1:{self_signed.port}/a.fits')
    assert self_signed.connections == 1


def test_a_certificate_of_another_host_is_told_so(self_signed, certificate, monkeypatch):
    """C14: which of the many faults of a certificate it is."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(certificate))
    with pytest.raises(NoAnswer, match='certificate: .*mismatch'):
        fetched(f'https://localhost:{self_signed.port}/a.fits')


# --- Where a download goes ---


@pytest.mark.parametrize(
    'url',
    ['', 'a.fits', '//archive.example/a', 'ftp://archive.example/a', 'http:///a', 'http://[::1/'],
)
def test_an_address_that_is_not_valid(url, monkeypatch):
    """No server is asked, not even the proxy for all schemes, and the archive is told about."""
    monkeypatch.setenv('all_proxy', 'http://127.0.0.1:1')
    with pytest.raises(BadAnswer, match='address is not valid'):
        fetched(url)


@pytest.fixture
def proxy(certificate, monkeypatch):
    """A proxy that asks for a password, and plays the servers behind it; what it was asked."""
    asked, answer = [], OK + b'Content-Length: 2\r\n\r\n{}'
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket, closing: Event) -> None:
        asked.append(connection.recv(4096).decode())
        if asked[-1].startswith('CONNECT'):
            connection.sendall(OK + b'\r\n')
            connection = context.wrap_socket(connection, server_side=True)
            asked.append(connection.recv(4096).decode())
        connection.sendall(answer)

    with answering(talk) as server:
        address = f'somebody:secret@127.0.0.1:{server.port}'  # mostly without http://
        monkeypatch.setenv('http_proxy', address)
        monkeypatch.setenv('https_proxy', address)
        monkeypatch.setenv('no_proxy', '')
        monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(certificate))
        yield asked


def test_a_proxy_gets_the_whole_address(proxy):
    """Many institutes let nobody out without one."""
    assert fetched(' http://user:password@archive.example/a b.fits?v=1') == b'{}'
    [request] = proxy
    assert 'password' not in request
    assert request.startswith('GET http://archive.example/a%20b.fits?v=1 HTTP/1.1')
    assert 'Proxy-Authorization: Basic' in request


def test_a_proxy_lets_tls_through_and_sees_nothing(proxy):
    """It gets its own password, and the server behind it does not."""
    assert fetched('https://127.0.0.1:1/a.fits?signature=5') == b'{}'
    to_proxy, to_server = proxy
    assert to_proxy.startswith('CONNECT 127.0.0.1:1 HTTP/1')
    assert 'Proxy-Authorization: Basic' in to_proxy
    assert to_server.startswith('GET /a.fits?signature=5 HTTP/1.1')
    assert 'Authorization' not in to_server


def test_certificates_that_are_not_there_are_named(self_signed, monkeypatch):
    """Or somebody looks for the fault at the archive."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', '/nowhere/bundle.pem')
    with pytest.raises(OSError, match=r'no certificates at /nowhere/bundle\.pem'):
        fetched(f'https://127.0.0.1:{self_signed.port}/a.fits')


# --- D7, D8: a quota, and a disk with little room ---


class Quota(BytesIO):
    """A file of somebody who may not write any more."""

    name = 'part'

    def write(self, data: bytes) -> int:
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')


@pytest.mark.django_db(transaction=True)
def test_a_quota_that_is_used_up_stops_downloads(sky, observed, monkeypatch):
    """D7: 100 of 100 downloads were begun."""
    for _ in range(20):
        observed(frames=2)
    accept_storage()

    @contextmanager
    def part_file() -> Iterator[Quota]:
        yield Quota()

    monkeypatch.setattr(storage, 'part_file', part_file)
    status, report = updatedata('--workers', '2')

    begun = [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]
    assert status == 1
    assert len(begun) <= 4  # those that were in flight when the first of them failed
    assert report['changed'] == 20, 'statuses need no room'
    assert report['failed'] + report['set_aside'] == report['due'] + 1
    assert any('quota exceeded' in failure['error'] for failure in report['failures'])
    monkeypatch.undo()
    assert updatedata()[1]['saved'] == 40


MB = 1_000_000
Usage = namedtuple('Usage', 'total used free')


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize('length', ['as it is', 'not told'])
def test_downloads_at_the_same_time_leave_the_room_that_is_to_stay(
    sky, observed, media, automation, monkeypatch, length
):
    """D8: eight at once went below MIN_FREE_BYTES, to zero: each had asked before the others wrote."""
    disk, least = 100 * MB, 50 * MB
    lowest = [disk]

    def usage(path: object) -> Usage:
        free = disk
        for file in media.rglob('*'):
            with suppress(OSError):
                free -= file.stat().st_size * file.is_file()
        lowest[0] = min(lowest[0], free)
        return Usage(disk, disk - free, free)

    monkeypatch.setattr(shutil, 'disk_usage', usage)
    automation.update(MIN_FREE_BYTES=least, WORKERS=8)
    for _ in range(8):
        record = observed(frames=0)
        sky.add_frame(int(record.observation_id), size=5000 * 2880)
    if length == 'not told':
        sky.break_('/store/', lambda call, reply: unmeasured(reply))

    status, report = updatedata()

    usage(media)
    assert lowest[0] >= least
    assert report['saved'] <= 3
    assert report['saved'] or length == 'not told'
    assert status == 1
    assert any('downloads stop' in failure['error'] for failure in report['failures'])
    assert report['changed'] == 8


def unmeasured(reply: Reply) -> Reply:
    headers = reply.headers | {'Transfer-Encoding': 'chunked'}
    return Reply(reply.status, headers, chunked(reply), reply.length * 2)


def chunked(reply: Reply) -> Iterator[bytes]:
    for chunk in reply.chunks():
        yield b'%x\r\n%b\r\n' % (len(chunk), chunk)
    yield b'0\r\n\r\n'


# --- E7: .netrc ---


@pytest.mark.parametrize('code', [301, 302, 303, 307, 308])
@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_no_credentials_of_netrc_go_along_with_a_download_or_its_redirect(
    tmp_path, monkeypatch, code, host
):
    """E7: on a redirect `requests` looks into .netrc again, and sent what it found there."""
    netrc = tmp_path / 'netrc'
    netrc.write_text(
        ''.join(f'machine {name} login me password secret\n' for name in ('127.0.0.1', 'localhost'))
        + 'default login me password secret\n'
    )
    monkeypatch.setenv('NETRC', str(netrc))
    heard: list[bytes] = []

    def end(connection: socket, closing: Event) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(OK + b'Content-Length: 3\r\n\r\n1,2')

    with answering(end) as there:
        location = f'http://{host}:{there.port}/there.csv'.encode()

        def begin(connection: socket, closing: Event) -> None:
            heard.append(connection.recv(4096))
            connection.sendall(
                b'HTTP/1.1 %d Elsewhere\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n'
                % (code, location)
            )

        with answering(begin) as here:
            assert fetched(f'http://127.0.0.1:{here.port}/here.csv', 'a.csv') == b'1,2'
    assert len(heard) == 2
    assert b'authorization' not in b''.join(heard).lower()


def test_a_gate_gets_back_the_cookie_that_it_gives_along_with_a_redirect():
    """And no other host does."""
    heard: list[bytes] = []

    def gate(connection: socket, closing: Event) -> None:
        heard.append(connection.recv(4096))
        if b'Cookie: seen=1' in heard[-1]:
            connection.sendall(OK + b'Content-Length: 3\r\n\r\n1,2')
        else:
            connection.sendall(
                b'HTTP/1.1 302 Elsewhere\r\nSet-Cookie: seen=1\r\nSet-Cookie: other=1; Domain=b.example\r\n'
                b'Location: /there.csv\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
            )

    with answering(gate) as there:
        assert fetched(f'http://127.0.0.1:{there.port}/here.csv', 'a.csv') == b'1,2'
    assert len(heard) == 2
    assert b'other' not in heard[1]


def test_what_is_written_no_longer_counts_as_reserved(media):
    """Two files that fit one after the other fit at the same time."""
    free = shutil.disk_usage(media).free
    half = free // 2
    limits = replace(LIMITS, MIN_FREE_BYTES=free - half - half // 2)
    with room_for(half, limits) as wrote:
        with pytest.raises(NoRoom), room_for(half, limits):
            pass
        wrote(half)
        with room_for(half, limits):
            pass
