"""The science archive: which frames there are (`/frames/`), and the files themselves (`/store/`).

Measured on science archive 2.7.2. A bad token: 401. No token, or one that was revoked: 200 and
only what is public, which is mostly nothing. A missing frame and a forbidden one: the same 404.
Pages of 100 frames, never more than 1000, whatever the limit asked for.

Where a list does not count exactly, it takes the query planner's estimate for the count, and so
for whether there is a next page: 1,500 frames of a `REQNUM` were seen to come back as `count: 1`,
1,000 results, `next: null`. Give the night an `estimate` to have that here. See `is_exact`.

The default order, by the time of the exposure, is not unique: which of the frames of one time are
on a page is open, so that some come twice and others never. `ordering=id` is right.

The file store answers as Amazon's S3 does. Measured: a presigned address is good for 48 hours,
and refuses a request that carries an Authorization header as well (400).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from .lists import BadFilter, Filter, moment, narrow, number, page, stamp
from .messages import Call, Reply, html_reply, json_reply, redirect_reply
from .model import Account, Frame, Version, plain
from .night import Night

DEFAULT_LIMIT, MAXIMUM_LIMIT = 100, 1000
PRIVATE_YEARS = 999  # until frames become public, for proposals that keep their data
GOOD_FOR = timedelta(hours=48)  # an address of the file store
TIME_FORMAT = '%Y%m%dT%H%M%SZ'
SECRET = secrets.token_bytes()

#: The fields of a frame, each with its old name, which the archive gives and answers to as well.
FIELDS: dict[str, tuple[str, Callable[[Frame], Any]]] = {
    'observation_date': ('DATE_OBS', lambda frame: stamp(frame.observed_at)),
    'observation_day': ('DAY_OBS', lambda frame: f'{frame.observed_at:%Y-%m-%d}'),
    'proposal_id': ('PROPID', lambda frame: frame.proposal),
    'instrument_id': ('INSTRUME', lambda frame: frame.request.telescope.camera),
    'target_name': ('OBJECT', lambda frame: plain(frame.request.target)),
    'reduction_level': ('RLEVEL', lambda frame: frame.reduction_level),
    'site_id': ('SITEID', lambda frame: frame.request.telescope.site),
    'telescope_id': ('TELID', lambda frame: frame.request.telescope.code),
    'exposure_time': ('EXPTIME', lambda frame: frame.request.exposure),
    'primary_optical_element': ('FILTER', lambda frame: frame.request.filter),
    'configuration_type': ('OBSTYPE', lambda frame: 'EXPOSE'),
    'observation_id': ('BLKUID', lambda frame: frame.observation_id),
    'request_id': ('REQNUM', lambda frame: frame.request.id),
}


def equals(value: Callable[[Frame], Any]) -> Filter[Frame]:
    """The filter that wants this `value`: a number, or text."""
    return lambda frame, values: (
        value(frame) == (number(values) if isinstance(value(frame), int) else values[-1])
    )


NO_FILTERS = ('observation_date', 'observation_day', 'exposure_time')
FILTERS = {name: equals(value) for name, (_, value) in FIELDS.items() if name not in NO_FILTERS}
FILTERS |= {
    'target_name': lambda frame, values: values[-1].lower() in frame.request.target.lower(),
    'basename': lambda frame, values: values[-1].lower() in frame.basename.lower(),
    'basename_exact': lambda frame, values: frame.basename == values[-1],
    'target_name_exact': lambda frame, values: frame.request.target == values[-1],
    'start': lambda frame, values: frame.observed_at >= moment(values),
    'end': lambda frame, values: frame.observed_at <= moment(values),
}
FILTERS |= {old: FILTERS[name] for name, (old, _) in FIELDS.items() if name in FILTERS}


def answer(night: Night, call: Call) -> Reply:
    if call.token not in (None, *night.accounts):
        return json_reply({'detail': 'Invalid token.'}, 401, {'WWW-Authenticate': 'Token'})
    if call.method not in ('GET', 'HEAD'):
        return json_reply({'detail': f'Method "{call.method}" not allowed.'}, 405)
    if not call.path.endswith('/'):
        return redirect_reply(f'{call.path}/{call.target[len(call.path) :]}')
    account = night.accounts.get(call.token)
    if call.path == '/frames/':
        return all_frames(night, account, call)
    found = re.fullmatch(r'/frames/(\d+)/', call.path)
    if not found:
        return html_reply('Not Found', 404)
    frame = night.frames.get(int(found[1]))
    if frame is None or not _may_see(night, account, frame):
        return json_reply({'detail': 'Not found.'}, 404)
    return json_reply(show_frame(night, frame, call))


def all_frames(night: Night, account: Account | None, call: Call) -> Reply:
    """A page of the frames in sight, latest exposure first."""
    try:
        rows = narrow(_candidates(night, call), call.query, FILTERS)
    except BadFilter as error:
        return json_reply(error.body, 400)
    rows = [frame for frame in rows if _may_see(night, account, frame)]
    if call.query.get('ordering') == ['id']:
        rows.sort(key=lambda frame: frame.id)
    else:
        start = call.query.get('offset', ['0'])[-1]
        rows.sort(key=lambda frame: hash((frame.id, start)))
        rows.sort(key=lambda frame: frame.observed_at, reverse=True)
    exact = is_exact(call.query)
    shown = page(
        rows,
        call,
        lambda frame: show_frame(night, frame, call),
        default=DEFAULT_LIMIT,
        maximum=MAXIMUM_LIMIT,
        count=None if exact else night.estimate,
    )
    return json_reply(shown | {'count_estimated': not exact})


def is_exact(query: dict[str, list[str]]) -> bool:
    """Whether the archive counts what it finds for this `query`, rather than estimate it."""
    if query.keys() & {'request_id', 'observation_id', 'basename_exact'}:
        return True
    if not query.keys() >= {'start', 'end'}:
        return False
    narrowed = query.keys() & {'proposal_id', 'target_name_exact'}
    most = timedelta(weeks=9) if narrowed else timedelta(days=7)
    return moment(query['end']) - moment(query['start']) <= most


def profile(night: Night, call: Call) -> Reply:
    """Whose token this is, and which proposals it may see: none, once the portal has revoked it."""
    if call.token is None:
        return json_reply({'username': '', 'profile': {}, 'is_staff': False})
    if call.token not in night.accounts:
        return json_reply({'detail': 'Invalid token.'}, 401, {'WWW-Authenticate': 'Token'})
    account = night.accounts[call.token]
    proposals = sorted(account.proposals) if account else []
    name = account.username if account else ''
    return json_reply({'username': name, 'profile': {'proposals': proposals}, 'is_staff': False})


def _candidates(night: Night, call: Call) -> list[Frame]:
    """The frames to look at: those of one request, where the call names one."""
    wanted = call.query.get('request_id', call.query.get('REQNUM', ['']))[-1]
    if wanted.isdecimal():
        return night.frames_of.get(int(wanted), [])
    return list(night.frames.values())


def _may_see(night: Night, account: Account | None, frame: Frame) -> bool:
    return frame.available_from <= night.now() and night.may_see(account, frame.proposal)


def show_frame(night: Night, frame: Frame, call: Call) -> dict[str, Any]:
    """A frame as JSON. There is no field for its size. Its `url` differs in every answer."""
    private = timedelta(days=0 if frame.proposal in night.public else 365 * PRIVATE_YEARS)
    public_date = stamp(frame.observed_at + private)
    fields = {name: value(frame) for name, (_, value) in FIELDS.items()}
    fields |= {old: fields[name] for name, (old, _) in FIELDS.items()}
    versions = [
        {
            'id': version.id,
            'created': stamp(version.created),
            'key': version.key,
            'md5': version.body.md5,
            'extension': version.extension,
            'url': presigned(night, frame, version, call.base),
        }
        for version in frame.versions
    ]
    related = call.query.get('include_related_frames', ['true'])[-1].lower()
    if related not in ('false', '0', 'no'):
        fields['related_frames'] = frame.related
    return {
        'id': frame.id,
        'basename': frame.basename,
        'filename': frame.filename,
        'area': None,
        **fields,
        'public_date': public_date,
        'L1PUBDAT': public_date,
        'version_set': versions,
        'url': versions[0]['url'],
    }


def presigned(night: Night, frame: Frame, version: Version, base: str) -> str:
    """An address for this version of `frame`, never the same twice."""
    kind = 'processed' if frame.reduction_level else 'raw'
    telescope = frame.request.telescope
    folder = f'{telescope.site}/{telescope.camera}/{frame.observed_at:%Y%m%d}/{kind}'
    path = f'/store/{folder}/{quote(frame.basename + version.extension, safe="")}'
    query = urlencode(
        {
            'versionId': version.key,
            'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
            'X-Amz-Date': night.now().strftime(TIME_FORMAT),
            'X-Amz-Expires': int(GOOD_FOR.total_seconds()),
            'X-Amz-Security-Token': secrets.token_hex(8),
            'X-Amz-SignedHeaders': 'host',
        }
    )
    return f'{base}{path}?{query}&X-Amz-Signature={signature("GET", path, query)}'


def signature(method: str, path: str, query: str) -> str:
    """The signature of this question: another method, path or query needs another one."""
    return hmac.new(SECRET, f'{method} {path}?{query}'.encode(), hashlib.sha256).hexdigest()


def file(night: Night, call: Call) -> Reply:
    """The file, or why not. A presigned address is for GET alone: HEAD gets 403."""
    if call.token is not None:
        return refusal(400, 'InvalidArgument', 'Only one auth mechanism allowed.')
    query, _, signed = urlsplit(call.target).query.rpartition('&X-Amz-Signature=')
    if not hmac.compare_digest(signed.encode(), signature(call.method, call.path, query).encode()):
        return refusal(403, 'SignatureDoesNotMatch', 'The signature does not match.')
    parameters = dict(parse_qsl(query))
    signed_at = datetime.strptime(parameters['X-Amz-Date'], TIME_FORMAT).replace(tzinfo=UTC)
    if night.now() > signed_at + GOOD_FOR:
        return refusal(403, 'AccessDenied', 'Request has expired')
    version = night.versions[parameters['versionId']]
    headers = {
        'Content-Type': 'binary/octet-stream',
        'ETag': f'"{version.body.md5}"',
        'Last-Modified': f'{version.created:%a, %d %b %Y %H:%M:%S GMT}',
    }
    return Reply(200, headers, version.body.chunks(), version.body.size)


def refusal(status: int, code: str, message: str) -> Reply:
    """An error of S3: XML."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    )
    return Reply(status, {'Content-Type': 'application/xml'}, text.encode())
