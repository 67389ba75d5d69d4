"""Whatever a facility answers, raises or calls its files: one record's trouble is its own.

Hypothesis invents the answers: JSON of any shape in the place of LCO's, or any Python object in
the place of what another facility class should return. Each example is a whole run, over HTTP
where there is an archive, and after each the same promises hold:

- the run ends with a report whose counts add up, and the history says the same;
- a status that was written is one that the class may report: text, printable, not too long, and
  for LCO one of the states that there are;
- every row has its file and every file its row, whole and inside the media folder;
- the tables that say what is due next contradict neither the records nor each other;
- when the nonsense is over, the frames come home.

The examples are the same in every run. With EXPLORE=500 in the environment they are new ones,
500 for each test, and Hypothesis prints how to repeat one that fails.
"""

import asyncio
import builtins
import itertools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from datetime import timezone as offset
from decimal import Decimal
from pathlib import Path, PurePosixPath
from unittest.mock import MagicMock
from urllib.error import URLError
from uuid import UUID

import numpy as np
import pytest
import requests
from django.core.exceptions import ValidationError
from django.core.files.storage import FileSystemStorage
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tom_common.exceptions import ImproperCredentialsException
from tom_dataproducts.models import DataProduct
from tom_observations.facility import BaseRoboticObservationFacility
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import faults
from simulated import Observatory
from tom_auto.files import file_names
from tom_auto.files.storage_id import MARK
from tom_auto.models import COUNTS, RunFailure, StoredFrame, UpdateRun
from tom_auto.running.outcomes import Ending
from tom_auto.simulator import archive
from tom_auto.sync.due import records_due
from unit.running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

EXPLORE = int(os.environ.get('EXPLORE', '0'))
FITS = b'SIMPLE  =                    T'.ljust(2880) * 2
LCO_STATES = [
    'PENDING', 'COMPLETED', 'WINDOW_EXPIRED', 'CANCELED', 'FAILURE_LIMIT_REACHED', 'NOT_ATTEMPTED',
]  # fmt: skip


def examples(count: int) -> settings:
    """So many examples, the same ones each time unless EXPLORE asks for others."""
    return settings(
        max_examples=EXPLORE or count,
        derandomize=not EXPLORE,
        phases=set(Phase) - {Phase.explain},  # which takes a minute, and says little here
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),  # `Scene` clears between two examples
    )


# --- what may come as JSON ---

#: JSON can spell half of a surrogate pair, which no file, database or terminal can hold.
ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=20),
    st.sampled_from(
        [
            '',
            ' ',
            '\x00',
            '\ud800',
            '../..',
            'x' * 300,
            '٣',
            '𠮷' * 90 + '.fits',
            'None',
            'a\u2028b',
            '-',
        ]
    ),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
WRITTEN_TIMES = st.sampled_from(
    [
        None, '2026-09-12T10:00:00Z', '2026-09-12', 'soon', '0000-00-00', '9999-12-31T23:59:59-12',
        '0001-01-01T00:00:00+14:00', '2026-09-12T10:00:00+99:99', '1' * 400, '10:00', 'NaN',
    ]
)  # fmt: skip
REQUEST = ANY_JSON | st.fixed_dictionaries({'state': st.sampled_from(LCO_STATES) | ANY_JSON})
BLOCK = ANY_JSON | st.fixed_dictionaries(
    {
        'state': st.sampled_from(['COMPLETED', 'PENDING', 'FAILED']) | ANY_JSON,
        'start': WRITTEN_TIMES | ANY_JSON,
        'end': WRITTEN_TIMES | ANY_JSON,
    }
)
OBSERVATIONS = ANY_JSON | st.lists(BLOCK, max_size=3)

GONE = '(this key is left out)'
ADDRESSES = st.sampled_from(
    [
        'http://127.0.0.1:9/',
        'file:///etc/passwd',
        'http://[',
        'http://',
        'data:,x',
        '//',
        '/frames/',
    ]
)
#: What becomes of some keys of an object that is otherwise right.
CHANGES = st.dictionaries(
    st.sampled_from(['id', 'filename', 'url', 'basename', 'version_set', 'md5']),
    ANY_JSON | ADDRESSES | st.just(GONE),
    max_size=3,
)
PAGE_CHANGES = st.dictionaries(
    st.sampled_from(['count', 'next', 'results']),
    ANY_JSON | st.sampled_from([GONE, '?offset=1', '/frames/?limit=1', 'http://127.0.0.1:9/?a=b']),
    max_size=2,
)


def alter(value: dict, changes: dict) -> None:
    """Put `changes` into `value`."""
    for key, new in changes.items():
        if new == GONE:
            value.pop(key, None)
        else:
            value[key] = new


def page_with(of_frames: list[dict], of_page: dict) -> Callable[[dict], None]:
    """What makes, of a right page of the archive's list, one with these changes."""

    def change(page: dict) -> None:
        for frame, changes in zip(page['results'], of_frames, strict=False):
            alter(frame['version_set'][0], {'md5': changes['md5']} if 'md5' in changes else {})
            alter(frame, {key: new for key, new in changes.items() if key != 'md5'})
        alter(page, of_page)

    return change


# --- what may come from a Python class ---


class NoText(Exception):
    """Raised by code that makes even its message badly."""

    def __str__(self) -> str:
        raise ValueError('no text')


class ExitingText(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class OddDict(dict):
    def get(self, key: object, default: object = None) -> object:
        raise LookupError(key)


def breaks_off() -> Iterator[dict]:
    yield {'id': 'first', 'filename': 'first.fits', 'url': 'http://127.0.0.1:9/'}
    raise GeneratorExit


GOOD = '(the address of a frame)'
MAKERS: list[Callable[[], object]] = [
    object, dict, OddDict, MagicMock, Exception, itertools.count, breaks_off,
    lambda: np.array([1, 2]), lambda: np.float64('nan'), lambda: np.int64(7), lambda: Decimal('7'),
    lambda: b'DONE', lambda: iter('DONE'), lambda: {'DONE'}, lambda: (None,), lambda: print,
    lambda: UUID(int=7), lambda: PurePosixPath('a/b.fits'), lambda: defaultdict(list),
    lambda: datetime.max, lambda: datetime.min, lambda: date.max,  # noqa: DTZ901
    lambda: datetime.min.replace(tzinfo=offset(timedelta(hours=14))),
    lambda: datetime(2026, 9, 12, tzinfo=UTC), lambda: float, lambda: 10**5000,
]  # fmt: skip
#: Made anew for each call: an iterator can be read only once.
ANYTHING = st.sampled_from(MAKERS) | ANY_JSON.map(lambda value: lambda: deepcopy(value))


def made(value: object) -> object:
    """`value` with every maker in it called."""
    if isinstance(value, dict):
        return {key: made(part) for key, part in value.items()}
    if isinstance(value, list):
        return [made(part) for part in value]
    return value() if callable(value) else value


STATUS = ANYTHING | st.fixed_dictionaries(
    {
        'state': st.just('DONE') | ANYTHING,
        'scheduled_start': WRITTEN_TIMES | ANYTHING,
        'scheduled_end': WRITTEN_TIMES | ANYTHING,
    }
)
PRODUCT = ANYTHING | st.fixed_dictionaries(
    {
        'id': st.sampled_from([1, 'one']) | ANYTHING,
        'filename': st.sampled_from(['a.fits', 'b.csv']) | ANYTHING,
        'url': st.just(GOOD) | ADDRESSES | ANYTHING,
    }
)
PRODUCTS = ANYTHING | st.lists(PRODUCT, max_size=3)
#: Not every number there is: looking for a status among them would take for ever.
TERMINAL = st.just(['DONE']) | ANYTHING.filter(lambda make: make is not itertools.count)


def exceptions() -> dict[str, Callable[[str], BaseException]]:
    """How to make every exception that Python has, and some that it has not, with a text."""
    special: dict[str, Callable[[str], BaseException]] = {
        'UnicodeDecodeError': lambda text: UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid'),
        'UnicodeEncodeError': lambda text: UnicodeEncodeError('ascii', '\ud800', 0, 1, 'invalid'),
        'UnicodeTranslateError': lambda text: UnicodeTranslateError('\ud800', 0, 1, 'invalid'),
        'ExceptionGroup': lambda text: ExceptionGroup('two', [ValueError(text), NoText()]),
        'BaseExceptionGroup': lambda text: BaseExceptionGroup('two', [SystemExit(1), NoText()]),
        'OSError with a number': lambda text: OSError(28, text, text),
        'OSError of objects': lambda text: OSError(object(), object()),
        'HTTPError without an answer': lambda text: requests.HTTPError(text),
        'ValidationError': lambda text: ValidationError({'field': [text]}),
    }
    plain = [each for each in vars(builtins).values() if isinstance(each, type)]
    plain = [each for each in plain if issubclass(each, BaseException)]
    plain += [
        asyncio.CancelledError, requests.Timeout, requests.TooManyRedirects, URLError,
        ImproperCredentialsException, OperationalError, InterfaceError, NoText, ExitingText,
        DataProduct.DoesNotExist,
    ]  # fmt: skip
    return {each.__name__: each for each in plain} | special


EXCEPTIONS = exceptions()
ASKED = ['__init__', 'get_terminal_observing_states', 'get_observation_status', 'data_products']


class Odd(BaseRoboticObservationFacility):
    """A facility class that returns and raises what a test puts into `acts`, by method."""

    name = 'Odd'
    acts: dict[str, object] = {}
    get_form = submit_observation = validate_observation = None
    get_observing_sites = get_observation_url = None

    def __init__(self) -> None:
        super().__init__()
        self.act('__init__')

    def act(self, method: str) -> object:
        what = self.acts.get(method)
        if isinstance(what, BaseException):
            raise what
        return made(what)

    def get_terminal_observing_states(self) -> object:
        return self.act('get_terminal_observing_states')

    def get_observation_status(self, observation_id: str) -> object:
        return self.act('get_observation_status')

    def data_products(self, observation_id: str, product_id: str | None = None) -> object:
        return self.act('data_products')


# --- the promises ---


class Scene:
    """An observatory and a TOM with nothing in them, for each example anew."""

    def __init__(self, sky: Observatory, observed: Callable, add_record: Callable, root: Path):
        self.sky, self.observed, self.add_record, self.root = sky, observed, add_record, root

    def clear(self) -> None:
        """Forget the example before."""
        self.sky.mend()
        for things in (self.sky.requests, self.sky.groups, self.sky.observations, self.sky.frames):
            things.clear()
        self.sky.frames_of.clear()
        for model in (DataProduct, StoredFrame, ObservationRecord, UpdateRun):
            model.objects.all().delete()
        for name in files():
            (self.root / 'data' / name).unlink()
        Odd.acts = {}

    def run(self, *arguments: str) -> dict:
        """One run, after which all promises hold; its report."""
        status, report = updatedata(*arguments)
        assert status == (1 if report['failed'] else 0)
        self.counts_add_up(report)
        self.states_agree(report)
        self.rows_are_files()
        return report

    def counts_add_up(self, report: dict) -> None:
        run = UpdateRun.objects.latest('pk')
        for name in (*COUNTS, 'status'):
            assert getattr(run, name) == report[name], name
        assert run.status == ('failed' if report['failed'] else 'ok')
        errors = list(RunFailure.objects.filter(run=run).values_list('error', flat=True))
        assert sorted(errors) == sorted(failure['error'] for failure in report['failures'])
        assert len(errors) == report['failed']
        for error in errors:
            assert error and error.isprintable()
            assert 'deadline' not in error, 'a thread was lost'
        shared = sum(failure['record'] is None for failure in report['failures'])
        endings = sum(report[ending] for ending in Ending)
        assert report['due'] == endings - shared == ObservationRecord.objects.count()
        assert report['not_reached'] == report['gone'] == 0
        assert report['saved'] + report['repaired'] <= report['found']

    def states_agree(self, report: dict) -> None:
        due = set(records_due(timezone.now()).values_list('pk', flat=True))
        for record in ObservationRecord.objects.select_related('sync'):
            sync = record.sync
            assert_usable(record)
            assert (sync.status, sync.owes_hook, sync.saving) == (record.status, False, False)
            assert sync.state != 'new'
            fails, unsupported = sync.failing_since is not None, sync.error_kind == 'unsupported'
            assert bool(sync.error) == (fails or unsupported)
            assert not (fails and unsupported), 'what is not supported is no failure'
            assert fails == (sync.state == 'backing off')
            assert sync.state == 'settled' or sync.failures > 1 or record.pk in due
            if record.facility == 'LCO' and not sync.error:
                terminal = record.status in LCO_STATES[1:]
                assert (sync.terminal_since is not None) == terminal

    def rows_are_files(self) -> None:
        stored, whole = files(), set(contents(self.sky))
        products = {product.pk: product for product in DataProduct.objects.all()}
        assert {product.data.name for product in products.values()} == set(stored)
        assert len(products) == len(stored)
        assert all(content in whole for content in stored.values())
        kept = list(StoredFrame.objects.all())
        assert {frame.product_id for frame in kept} == set(products)
        for frame in kept:
            assert frame.name == products[frame.product_id].data.name
            assert frame.size == len(stored[frame.name])
        outside = {path.name for path in self.root.rglob('*') if path.is_file()}
        outside -= {Path(name).name for name in stored}
        assert outside == {MARK, '.updatedata.lock'}, 'a file outside the media folder'

    def product_ids(self) -> set[str]:
        return set(DataProduct.objects.values_list('product_id', flat=True))

    def ends_well(self) -> None:
        """Without the nonsense, every frame comes home."""
        self.sky.mend()
        report = self.run('--recheck')
        assert report['failures'] == []
        assert set(contents(self.sky)) <= set(files().values())


def assert_usable(record: ObservationRecord) -> None:
    """Assert that the status of `record` is none yet, or one that its facility may report."""
    status = record.status
    if not status:
        return
    assert status.strip()
    assert status.isprintable()
    assert len(status) <= 200
    assert record.facility != 'LCO' or status in LCO_STATES


@pytest.fixture
def scene(sky, observed, add_record, settings, tmp_path) -> Scene:
    settings.TOM_FACILITY_CLASSES = [*settings.TOM_FACILITY_CLASSES, f'{__name__}.Odd']
    settings.TOM_AUTO |= {'RETRIES': 0, 'READ_TIMEOUT': 5}
    return Scene(sky, observed, add_record, tmp_path)


# --- LCO's portal and archive ---


@examples(60)
@given(request=REQUEST, observations=OBSERVATIONS)
def test_any_answer_of_the_portal(scene, request, observations):
    scene.clear()
    record = scene.observed(frames=1, status='')
    scene.sky.break_(rf'/api/requests/{record.observation_id}/$', faults.answer(request))
    scene.sky.break_(r'/api/requests/\d+/observations/', faults.answer(observations))
    scene.run()
    scene.ends_well()
    record.refresh_from_db()
    assert record.status == 'COMPLETED'


@examples(30)
@given(page=ANY_JSON)
def test_any_answer_of_the_archive(scene, page):
    scene.clear()
    scene.observed(frames=1, status='')
    scene.sky.break_('/frames/', faults.answer(page), times=1)
    scene.run()
    scene.ends_well()


@examples(60)
@given(of_frames=st.lists(CHANGES, max_size=2), of_page=PAGE_CHANGES)
def test_any_list_of_frames(scene, of_frames, of_page):
    scene.clear()
    scene.observed(frames=2, status='')
    scene.sky.break_('/frames/', faults.edit(page_with(of_frames, of_page)), times=1)
    scene.run()
    offered = [*scene.sky.frames, *(changes.get('id') for changes in of_frames)]
    assert scene.product_ids() <= {str(each) for each in offered if is_id(each)}
    scene.ends_well()


def is_id(value: object) -> bool:
    """Whether two frames that are called so are one, as they are not where both are null."""
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ''


@examples(30)
@given(filenames=st.lists(ANY_TEXT, min_size=1, max_size=3))
def test_any_name_of_a_file(scene, filenames):
    """Whatever the name, the frame is kept under one that fits, and no other is in its way."""
    scene.clear()
    record = scene.observed(frames=0, status='')
    for number in range(len(filenames) + 1):
        content = FITS + bytes([number]) * 2880
        scene.sky.add_frame(int(record.observation_id), filename='x.fits', content=content)
    scene.sky.break_('/frames/', faults.edit(lambda page: rename(page, filenames)))
    report = scene.run()
    assert (report['failed'], report['saved']) == (0, len(filenames) + 1)
    assert sorted(files().values()) == contents(scene.sky)


def rename(page: dict, filenames: list[str]) -> None:
    for frame, filename in zip(page['results'], [*filenames, filenames[0]], strict=True):
        frame['filename'] = filename


# --- other classes ---


@examples(80)
@given(status=STATUS, terminal=TERMINAL)
def test_any_status_of_any_class(scene, status, terminal):
    scene.clear()
    scene.add_record('Odd', status='')
    Odd.acts = {'get_observation_status': status, 'get_terminal_observing_states': terminal}
    scene.run()


@examples(60)
@given(products=PRODUCTS)
def test_any_products_of_any_class(scene, products):
    scene.clear()
    scene.add_record('Odd', status='')
    number = int(scene.add_record('Nobody').observation_id)
    scene.sky.add_request(number)
    frame = scene.sky.add_frame(number, content=FITS)
    address = archive.presigned(scene.sky, frame, frame.versions[0], scene.sky.url)
    for product in products if isinstance(products, list) else ():
        if isinstance(product, dict) and product.get('url') == GOOD:
            product['url'] = address
    Odd.acts = {'get_observation_status': {'state': 'DONE'}, 'data_products': products}
    scene.run()
    assert not scene.product_ids() & {'', 'None', 'True', 'False', 'nan', '[]', '{}'}
    before = scene.product_ids()
    scene.run('--recheck')
    assert scene.product_ids() == before, 'the same frames are others at the next look'


@examples(100)
@given(
    name=st.sampled_from(sorted(EXCEPTIONS)),
    method=st.sampled_from(ASKED),
    text=ANY_TEXT,
    workers=st.sampled_from(['1', '4']),
)
def test_any_exception_of_any_class(scene, name, method, text, workers):
    """Even what ends a program, as sys.exit() does, ends neither the run nor its thread."""
    scene.clear()
    records = [scene.add_record('Odd', status='') for _ in range(3)]
    good = scene.observed(frames=1, status='')
    Odd.acts = {'get_observation_status': {'state': 'DONE'}, method: EXCEPTIONS[name](text)}
    report = scene.run('--workers', workers)
    good.refresh_from_db()
    assert (good.status, report['saved']) == ('COMPLETED', 1)
    named = {failure['record'] for failure in report['failures']}
    assert report['unsupported'] == 3 or named
    assert named <= {record.pk for record in records} | {None}


# --- names ---


@examples(200)
@given(
    filename=ANY_TEXT | st.text(max_size=120),
    target=st.text(max_size=120),
    facility=st.text(max_size=50),
    ids=st.lists(st.text(max_size=60), min_size=2, max_size=2, unique=True),
)
def test_every_place_is_one_where_a_file_can_be(tmp_path, filename, target, facility, ids):
    """Inside the media folder, no longer than the column and the file system take, not hidden."""
    record = ObservationRecord(facility=facility)
    places = [
        file_names.place(
            DataProduct(target=Target(name=target), observation_record=record),
            'archive.lco.global',
            each,
            filename,
        )
        for each in ids
    ]
    assert places[0] != places[1], 'two frames want one place'
    for number, place in enumerate(places):
        storage = FileSystemStorage(location=tmp_path / str(number))
        assert len(place) <= 100
        path = Path(storage.path(place))  # raises where it is outside
        assert '..' not in path.parts
        assert not path.name.startswith('.')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
        shutil.rmtree(storage.location)
