"""Brokers on this machine, as tomtoolkit's own data services ask them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import requests
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.dataservices import get_data_service_class
from tom_dataservices.models import DataServiceQuery
from tom_targets.models import Target

from .running import ran

Answer = tuple[int, object]
ALERCE, MPC, NED = 'api.alerce.online', 'data.minorplanetcenter.net', 'ned.ipac.caltech.edu'
TNS = 'tns'


class Brokers:
    """Answers for the hosts of brokers: whatever asks them through `requests` comes here."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()  # requests, by host
        self.hosts: dict[str, Callable[[str, dict], Answer]] = {}
        self.ended = Event()
        self.address = ''

    def answer(self, target: str, body: dict) -> Answer:
        """What the broker says whose host is the first part of the path."""
        host, _, path = target.lstrip('/').partition('/')
        self.asked[host] += 1
        return self.hosts[host](f'/{path}', body)

    def hang(self, path: str, body: dict) -> Answer:
        """An answer that does not come while the test lasts."""
        self.ended.wait(60)
        return 200, {}


@contextmanager
def brokers() -> Iterator[Brokers]:
    """Brokers that answer while this lasts."""
    own = Brokers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get('Content-Length') or 0)
            text = self.rfile.read(length).decode()
            form = (
                json.loads(text)
                if text.startswith('{')
                else {name: value[0] for name, value in parse_qs(text).items()}
            )
            status, answer = own.answer(self.path, form)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *words: object) -> None:
            """Nothing: a test prints nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *words: object) -> None:
            """Nothing: clients are killed."""

    server = Server(('127.0.0.1', 0), Handler)
    own.address = f'http://127.0.0.1:{server.server_port}'
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    request = requests.Session.request

    def to_here(session: requests.Session, method: str, url: str, **options: object) -> object:
        parts = urlsplit(url)
        if parts.hostname != '127.0.0.1':
            url = f'{own.address}/{parts.hostname}{parts.path}?{parts.query}'
        return request(session, method, url, **options)

    with patch('requests.Session.request', to_here):
        yield own
    own.ended.set()
    server.shutdown()
    server.server_close()


class Alerce:
    """ALeRCE, with objects and their light curves."""

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.curves: dict[str, dict] = {}

    def add(self, oid: str, ra: float = 10.0, dec: float = 20.0, **more: object) -> None:
        """An object with a light curve of two points."""
        self.objects[oid] = {'oid': oid, 'meanra': ra, 'meandec': dec, 'ndet': 2} | more
        points = [point(61000.1, 18.0), point(61001.1, 18.5)]
        self.curves[oid] = {'detections': points, 'non_detections': []}

    def __call__(self, path: str, body: dict) -> Answer:
        path = path.partition('?')[0]
        if path == '/ztf/v1/classifiers':
            return 200, [{'classifier_name': 'c', 'classifier_version': '1', 'classes': ['SN']}]
        if path.endswith('/lightcurve'):
            return 200, self.curves[path.split('/')[-2]]
        if path != '/ztf/v1/objects':
            return 200, self.objects[path.split('/')[-1]]
        return 200, {'items': list(self.objects.values())}


def point(mjd: float, magnitude: float, error: float = 0.1) -> dict:
    """A detection in a light curve of ALeRCE."""
    return {'mjd': mjd, 'magpsf': magnitude, 'sigmapsf': error, 'fid': 1}


def tns(*names: str, ra: float = 30.0, dec: float = -5.0) -> Callable[[str, dict], Answer]:
    """TNS, with supernovae of these names."""

    def answer(path: str, body: dict) -> Answer:
        if path.endswith('/search'):
            return 200, {'data': [{'objname': name, 'prefix': 'SN'} for name in names]}
        name = json.loads(body['data'])['objname']
        number = names.index(name)
        found = {'objname': name, 'name_prefix': 'SN', 'radeg': ra + number, 'decdeg': dec}
        return 200, {'data': found}

    return answer


def ned_table(name: str, ra: float, dec: float) -> bytes:
    """An answer of NED, a VOTable."""
    return f"""<?xml version="1.0"?><VOTABLE version="1.1"><RESOURCE><TABLE ID="NED">
    <FIELD name="Object Name" datatype="char" arraysize="30"/>
    <FIELD name="RA" datatype="double"/><FIELD name="DEC" datatype="double"/>
    <DATA><TABLEDATA><TR><TD>{name}</TD><TD>{ra}</TD><TD>{dec}</TD></TR></TABLEDATA></DATA>
    </TABLE></RESOURCE></VOTABLE>""".encode()


def save_query(service: str, name: str = '', **fields: object) -> DataServiceQuery:
    """A query, saved by the form of the service as tomtoolkit's page does it."""
    form = get_data_service_class(service).get_form_class()(
        {'data_service': service, 'query_save': 'on', 'query_name': name} | fields
    )
    assert form.is_valid(), form.errors
    return form.save()


def updatetargets(*arguments: str) -> tuple[int, dict]:
    """Run `updatetargets --json` with `arguments`; its exit status and what it printed."""
    return ran('updatetargets', *arguments)


def names() -> list[str]:
    """The names of all targets."""
    return sorted(Target.objects.values_list('name', flat=True))


def brightness(name: str) -> list[float]:
    """The points of a target, in the order of their times."""
    rows = PhotometryReducedDatum.objects.filter(target__name=name).order_by('timestamp')
    return list(rows.values_list('brightness', flat=True))
