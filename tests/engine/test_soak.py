"""Three weeks of an hourly job: 500 runs against an observatory that fails a tenth of the time.

Everything passes in one process, with fresh connections for each run and a clock that moves on
an hour in between. Of all questions, one in ten meets a fault, of every kind there is. Meanwhile
requests are added, observed, expire and are rejected, frames arrive up to six days late, and the
pipeline runs again over old ones.

Promised: at the end every frame is home, bit by bit; what was stored at any time was a frame; and
neither memory, nor tables, nor files, nor threads grow with the number of runs.

Sizes: 29 records, 99 frames of 5,760 to 8,640 bytes, some 6,600 questions, 650 faults.
"""

import gc
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest
from _pytest.logging import LogCaptureHandler
from django.db import connection, connections
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import faults
from home import everything_is_home, two_clean_runs
from simulated import Observatory
from tom_auto.models import Arrival, RecordSync, RunFailure, StoredFrame, UpdateRun
from tom_auto.simulator.messages import Call, Reply, json_reply
from unit.running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 20260912
RUNS, HOUR = 500, timedelta(hours=1)
WARM = 100  # runs, after which nothing may grow any more
STOP_ADDING = 288  # runs: frames come for a week after that
EVERY = 10  # runs: a new record
KEEP_RUNS = timedelta(days=3)
SHARE = 0.1  # of all questions that meet a fault
FACILITIES = ('LCO', 'LCORedirect', 'SOAR', 'BLANCO')


class Clock:
    """The time of the TOM and of the observatory, which passes only when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 9, 12, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def junk(**changes: object) -> faults.Fault:
    """An answer in which these keys hold what they should not."""

    def fault(call: Call, reply: Reply) -> Reply:
        if call.path.startswith('/store/') or 'observations' in call.path:
            return json_reply(changes)
        return faults.edit(lambda answer: answer.update(changes))(call, reply)

    return fault


class Trouble:
    """Lets a share of all questions meet a fault: which, depends on the seed and on no thread."""

    def __init__(self, elsewhere: Observatory) -> None:
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._kinds: dict[str, faults.Fault] = {
            **{f'status {code}': faults.status(code) for code in (400, 404, 500, 502, 503, 504)},
            'status 401': faults.status(401),
            'status 403': faults.status(403),
            'status 429, retry at once': faults.status(429, retry_after=0),
            'status 429, retry in an hour': faults.status(429, retry_after=3600),
            'status 503, retry some day': faults.status(503, retry_after='some day'),
            'html with 200': faults.html(),
            'html with 503': faults.html(503),
            'a list': faults.answer([]),
            'an empty object': faults.answer({}),
            'null': faults.answer(None),
            'junk for a state': junk(state='\x00', results=[{'id': None}]),
            'an unknown state': junk(state='RESTING', results=[7]),
            'half of the JSON': faults.broken_json(),
            'another page': faults.endless_next(),
            'to another host': faults.redirect(elsewhere.url),
            'in circles': faults.redirect_loop(),
            'reset': faults.reset(),
            'truncated': faults.truncated(),
            'silence': faults.hang(1),
            'silence in the middle': faults.hang(1, after=100),
            'drop by drop': faults.drip(0.05, size=8),
            'corrupt': faults.corrupt(),
            'empty': faults.empty(),
            'huge': faults.huge(),
            'lying gzip': faults.lying_gzip(),
        }

    def __call__(self, call: Call, reply: Reply) -> Reply:
        with self._lock:
            self.asked[call.path] += 1
            dice = Random(f'{SEED} {call.path} {self.asked[call.path]}')
            kind = dice.choice(list(self._kinds)) if dice.random() < SHARE else None
            self.met[kind or 'none'] += 1
        try:
            return self._kinds[kind](call, reply) if kind else reply
        except (ValueError, AttributeError):  # a fault of JSON where there is none
            return json_reply(None)


class Weeks:
    """What happens at the observatory in these weeks, an hour at a time."""

    def __init__(self, sky: Observatory, clock: Clock, add_record: Callable) -> None:
        self.sky, self.clock, self.add_record = sky, clock, add_record
        self.dice = Random(SEED)
        self.begun: dict[int, datetime] = {}  # when each request was observed first
        self.happened: Counter[str] = Counter()

    def go_on(self, run: int) -> None:
        """Let the next hour pass."""
        self.clock.time += HOUR
        if run % EVERY == 0 and run < STOP_ADDING:
            record = self.add_record(self.dice.choice(FACILITIES))
            self.sky.add_request(int(record.observation_id))
            self.happened['added'] += 1
        for request in list(self.sky.requests.values()):
            if request.state == 'PENDING' and (run >= STOP_ADDING or self.dice.random() < 0.15):
                self.observe_or_not(request.id)
            elif request.state == 'COMPLETED' and self.young(request.id, days=2):
                self.reject(request.id)
        for frame in list(self.sky.frames.values()):
            if self.young(frame.request.id, days=6) and self.dice.random() < 0.003:
                self.sky.reprocess(frame, content=self.content())
                self.happened['reprocessed'] += 1

    def young(self, request_id: int, days: float) -> bool:
        begun = self.begun.get(request_id)
        return begun is not None and self.clock.time - begun < timedelta(days=days)

    def observe_or_not(self, request_id: int) -> None:
        if request_id not in self.begun and self.dice.random() < 0.1:
            self.sky.set_state(request_id, 'WINDOW_EXPIRED')
            self.happened['expired'] += 1
            return
        self.sky.observe(request_id, self.clock.time)
        self.begun.setdefault(request_id, self.clock.time)
        self.happened['observed'] += 1
        for _ in range(self.dice.choice((1, 2, 4))):
            late = timedelta(days=self.dice.choice((0, 0, 0.1, 1, 5)))
            self.happened['late frames'] += bool(late)
            self.sky.add_frame(
                request_id, content=self.content(), available_from=self.clock.time + late
            )

    def reject(self, request_id: int) -> None:
        if self.dice.random() < 0.01:
            self.sky.reject(request_id)
            self.happened['rejected'] += 1

    def content(self) -> bytes:
        blocks = self.dice.choice((1, 2))
        return b'SIMPLE  =                    T'.ljust(2880) + self.dice.randbytes(2880 * blocks)


@dataclass
class Sizes:
    """What must not grow."""

    run: int
    memory: int  # MB
    objects: int  # in thousands
    descriptors: int
    threads: int
    runs: int  # rows, from here on
    failures: int
    syncs: int
    claims: int
    notes: int
    other: int
    seconds: float

    def __str__(self) -> str:
        return ' '.join(f'{getattr(self, field.name):>11}' for field in fields(self))


def descriptors() -> int:
    """How many files and connections this process has open."""
    return len(list(Path('/proc/self/fd').iterdir()))


def threads_left() -> int:
    """How many threads there are, after those that the last run has let go had half a second to end."""
    counts = []
    for _ in range(6):
        counts.append(threading.active_count())
        sleep(0.1)
    return min(counts)


def sizes(run: int, begun: float) -> Sizes:
    gc.collect()
    with connection.cursor() as cursor:
        rows = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT COUNT(*) FROM {connection.ops.quote_name(table)}')
            rows[table] = cursor.fetchone()[0]
    proportional = [
        rows.pop(model._meta.db_table)
        for model in (
            UpdateRun,
            RunFailure,
            RecordSync,
            StoredFrame,
            DataProduct,
            Arrival,
            ObservationRecord,
        )
    ]
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    connections.close_all()
    return Sizes(
        run=run,
        memory=pages * os.sysconf('SC_PAGE_SIZE') // 1_000_000,
        objects=len(gc.get_objects()) // 1000,
        descriptors=descriptors(),
        threads=threads_left(),
        runs=proportional[0],
        failures=proportional[1],
        syncs=proportional[2],
        claims=proportional[3],
        notes=proportional[-1],
        other=sum(rows.values()),
        seconds=round(monotonic() - begun, 1),
    )


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Moves the time of Django, and with it that of the whole TOM, by hand."""
    clock = Clock()
    monkeypatch.setattr(timezone, 'now', clock)
    return clock


@pytest.fixture
def sky(clock, settings) -> Iterator[Observatory]:
    with Observatory(clock=clock) as sky:
        facilities = {name: sky.settings() for name in ('LCO', 'SOAR', 'BLANCO')}
        settings.FACILITIES = settings.FACILITIES | facilities
        yield sky


@pytest.fixture
def elsewhere() -> Iterator[Observatory]:
    with Observatory() as elsewhere:
        yield elsewhere


def test_five_hundred_runs(sky, elsewhere, clock, add_record, settings, monkeypatch):
    settings.TOM_AUTO |= {
        'RETRIES': 1, 'READ_TIMEOUT': 0.15, 'TRANSFER_TIMEOUT': 0.25, 'KEEP_RUNS': KEEP_RUNS,
    }  # fmt: skip
    forget_log_records(monkeypatch)
    trouble, weeks = Trouble(elsewhere), Weeks(sky, clock, add_record)
    sky.break_('', trouble)
    ended, measured, begun = Counter(), [], monotonic()
    print('\n' + ' '.join(f'{field.name:>11}' for field in fields(Sizes)))  # noqa: T201
    for run in range(RUNS):
        weeks.go_on(run)
        status, report = updatedata()
        ended[status] += 1
        assert report['status'] == ('failed' if status else 'ok')
        connections.close_all()
        sky.forget()
        if (run + 1) % WARM == 0:
            only_whole_files_are_stored(sky)
            measured.append(sizes(run + 1, begun))
            print(measured[-1])  # noqa: T201
    print(f'seed {SEED}; at the observatory: {dict(weeks.happened)}')  # noqa: T201
    print(f'exit statuses: {dict(ended)}; questions and faults: {dict(trouble.met)}')  # noqa: T201

    assert ended[0] + ended[1] == RUNS
    assert all(trouble.met[kind] for kind in trouble._kinds), 'a kind of fault was never met'
    assert not any(seen.had_token for seen in elsewhere.requests_seen)
    nothing_has_grown(measured)

    settings.TOM_AUTO |= {'READ_TIMEOUT': 10, 'TRANSFER_TIMEOUT': 60}
    sky.mend()
    clock.time += timedelta(days=2)  # longer than anything backs off
    two_clean_runs(sky)
    everything_is_home(sky)
    assert (
        RecordSync.objects.count() == ObservationRecord.objects.count() == weeks.happened['added']
    )
    for record in ObservationRecord.objects.all():
        assert record.status == sky.requests[int(record.observation_id)].state
    no_descriptor_is_left(measured[0])


def forget_log_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away pytest's handlers, which keep each traceback, and with it a connection or two."""
    root = logging.getLogger()
    kept = [each for each in root.handlers if not isinstance(each, LogCaptureHandler)]
    monkeypatch.setattr(root, 'handlers', kept)


def only_whole_files_are_stored(sky: Observatory) -> None:
    """Every file is, bit by bit, a version of a frame that the archive has had."""
    versions = {b''.join(version.body.chunks()) for version in sky.versions.values()}
    stored = files()
    assert set(stored.values()) <= versions
    assert set(stored) == set(DataProduct.objects.values_list('data', flat=True))


def nothing_has_grown(measured: list[Sizes]) -> None:
    """From the first look on, with the process warm."""
    first, last = measured[0], measured[-1]
    assert last.memory - first.memory < 15, 'MB'
    assert last.objects - first.objects < 5, 'thousand'
    assert last.runs <= KEEP_RUNS / HOUR + 2
    assert last.notes <= last.syncs, 'of records that a run has caught up with'
    assert last.other == first.other
    assert last.threads <= first.threads + 1
    assert last.descriptors <= first.descriptors + 2


def no_descriptor_is_left(first: Sizes) -> None:
    """When the last connections have closed, which the observatory notices a moment later."""
    connections.close_all()
    end = monotonic() + 5
    while descriptors() > first.descriptors and monotonic() < end:
        sleep(0.05)
    assert descriptors() <= first.descriptors
