"""The faults that `docs/faults.md` lists, as data: what goes wrong, and the message of the run.

A fault that the run recovers from by itself has no message. `MATRIX` has the faults of single
records, `CIRCUMSTANCES` those of the same run as a whole, `APART` those that need a run of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import faults
from faults import Fault
from simulated import Observatory
from tom_auto.simulator.messages import Call, Reply

#: Another host, which answers everything with a page, as the log-in page of a network does.
ELSEWHERE = Observatory()


@dataclass(frozen=True)
class Trouble:
    """What one record meets: a fault for one kind of request, or odd frames.

    `name` and `says` are as in `docs/faults.md`; ` | ` separates two possible messages. The kinds of
    request are the `status`, the `schedule`, the `list` of frames and the first `file` in it.
    """

    name: str
    says: str = ''
    meets: dict[str, Fault] = field(default_factory=dict)
    times: int | None = None
    filenames: tuple[str, ...] = ('', '')  # empty: the observatory's own names
    facility: str = ''  # empty: any
    later: Callable[[Observatory, int], object] = lambda sky, request: None


def elsewhere(call: Call, reply: Reply) -> Reply:
    """A redirect to another host."""
    return faults.redirect(f'{ELSEWHERE.url}/login')(call, reply)


def then(do: Callable[[], object]) -> Fault:
    """Not a fault of the observatory: `do` happens to the TOM during the request."""

    def fault(call: Call, reply: Reply) -> Reply:
        do()
        return reply

    return fault


def without(key: str) -> Fault:
    """The right answer, or the first frame of a list, without `key`."""

    def remove(answer: dict) -> None:
        del answer.get('results', [answer])[0][key]

    return faults.edit(remove)


def unsummed(answer: dict) -> None:
    """Take the checksums out of a list of frames."""
    for frame in answer['results']:
        frame['version_set'] = []


def an_hour_ago() -> str:
    """A Retry-After of a server whose clock is behind."""
    return format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)


def frame_arrives(sky: Observatory, request: int) -> None:
    """The first frame of a request that had none."""
    sky.add_frame(request, content=b'SIMPLE  = late'.ljust(2880))


def frame_vanishes(sky: Observatory, request: int) -> None:
    """The archive withdraws the first frame."""
    del sky.frames[sky.frames_of[request].pop(0).id]


#: Faults that pass: the request is repeated, and answered.
PASSING = {
    '500 once': faults.status(500),
    '503 with a short Retry-After': faults.status(503, retry_after=1),
    'connection reset once': faults.reset(),
}

#: What goes wrong with an answer in JSON, and lasts.
ANSWERS = [
    ('500', 'answered 500', faults.status(500)),
    ('404', 'does not know it', faults.status(404)),
    ('429', 'asks us to try again later', faults.status(429)),
    ('503 with a long Retry-After', 'answered 503', faults.status(503, retry_after=3600)),
    (
        '503 with a Retry-After in the past',
        'answered 503',
        faults.status(503, retry_after=an_hour_ago()),
    ),
    (
        '503 with an invalid Retry-After',
        'answered 503',
        faults.status(503, retry_after='so'),
    ),
    ('connection reset', 'does not answer', faults.reset()),
    ('truncated JSON', 'not JSON', faults.broken_json()),
    ('broken off', 'does not answer', faults.truncated()),
    ('HTML with 200', 'not JSON', faults.html()),
    ('nothing with 200', 'not JSON', faults.empty()),
    ('a gzip that lies', 'does not answer', faults.lying_gzip()),
    ('a slow drip', 'does not answer', faults.drip(0.05)),
    ('a redirect to another host', 'not JSON', elsewhere),
    ('a redirect loop', 'does not answer', faults.redirect_loop()),
]

#: What goes wrong with a file, and lasts.
FILES = [
    ('500', 'answered 500', faults.status(500)),
    ('404', 'answered 404', faults.status(404)),
    ('429', 'answered 429', faults.status(429)),
    ('503 with a long Retry-After', 'answered 503', faults.status(503, retry_after=3600)),
    ('connection reset', 'did not arrive', faults.reset()),
    ('truncated', 'did not arrive', faults.truncated()),
    ('HTML with 200', "its checksum is not the archive's", faults.html()),
    ('a wrong md5', "its checksum is not the archive's", faults.corrupt()),
    ('zero bytes', "its checksum is not the archive's", faults.empty()),
    ('a gzip that lies', '', faults.lying_gzip()),
    ('a slow drip', 'did not arrive', faults.drip(0.05)),
    ('a Content-Length of 10 GB', 'did not arrive | no room', faults.huge(10**10)),
    ('a redirect to another host', "its checksum is not the archive's", elsewhere),
    ('a redirect loop', 'in circles', faults.redirect_loop()),
]

MATRIX = [
    *(
        Trouble(f'{question}: {name}', '', {question: fault}, times=1)
        for question in ('status', 'list', 'file')
        for name, fault in PASSING.items()
    ),
    *(
        Trouble(f'{question}: {name}', says, {question: fault})
        for question, troubles in (('status', ANSWERS), ('list', ANSWERS), ('file', FILES))
        for name, says, fault in troubles
    ),
    Trouble(
        'status: a missing key',
        "failed on the answer or a setting: KeyError: 'state'",
        {'status': without('state')},
    ),
    Trouble('status: a list instead of an object', 'TypeError', {'status': faults.answer([])}),
    Trouble(
        'status: unknown state',
        'which is not known',
        {'status': faults.edit(lambda request: request.update(state='SCHEDULED'))},
    ),
    Trouble(
        'status: a state that is not text',
        'reports no status',
        {'status': faults.edit(lambda request: request.update(state={'name': 'COMPLETED'}))},
    ),
    Trouble('schedule: 500', 'answered 500', {'schedule': faults.status(500)}),
    Trouble(
        'schedule: an invalid time',
        'that is not a time',
        {'schedule': faults.edit(lambda observations: observations[0].update(start='soon'))},
    ),
    Trouble(
        'list: a missing key', 'without an id, a file name or an address', {'list': without('url')}
    ),
    Trouble(
        'list: a list instead of an object',
        'other than a list of frames',
        {'list': faults.answer([])},
    ),
    Trouble('list: an endless chain of pages', 'has no end', {'list': faults.endless_next()}),
    Trouble('list: 2,000 frames', filenames=tuple(f'{number:04}.fits' for number in range(2000))),
    Trouble('list: no frames yet', filenames=(), later=frame_arrives),
    Trouble(
        'file: HTML with 200, and no checksum in the list',
        'it is a web page',
        {'list': faults.edit(unsummed), 'file': faults.html()},
    ),
    Trouble(
        'file: gone from the archive',
        'answered 404',
        {'file': faults.status(404)},
        later=frame_vanishes,
    ),
    Trouble('name: with ../', filenames=('../../../up.fits', '..\\..\\up.fits')),
    Trouble('name: absolute', filenames=('/etc/cron.d/tom.fits', 'C:\\tom.fits')),
    Trouble('name: 300 characters', filenames=('n' * 295 + '.fits', 'n' * 295 + '.fits')),
    Trouble(
        'name: the same twice in one request',
        filenames=('image.fits', 'image.fits'),
        facility='LCO',
    ),
    Trouble('name: the same in another request', filenames=('image.fits',), facility='LCO'),
]

CIRCUMSTANCES = {
    'credentials: expired in the middle of a run': 'refuses | shows this account no frames',
    "clock: the observatory's is five hours ahead": '',
    "clock: the observatory's is five hours behind": '',
    "clock: the TOM's is five hours ahead for one run": '',
}

APART = {
    'disk: full': 'a file cannot be read or written: No space left on device',
    'disk: less than MIN_FREE_BYTES free': 'downloads stop',
    'disk: read-only': 'a file cannot be read or written',
    'database: locked for 15 s': '',
    'database: locked for longer than it waits': 'the database of this TOM could not be used',
    'database: gone for a while': 'the database of this TOM could not be used',
}
