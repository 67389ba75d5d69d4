"""The file store: the frames, by presigned URL (`/store/`).

It answers as Amazon's S3 does. Measured: an address is good for 48 hours, and refuses a request
that carries an Authorization header as well (400).
"""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from .messages import Call, Reply
from .model import Frame, Version
from .night import Night

GOOD_FOR = timedelta(hours=48)
TIME_FORMAT = '%Y%m%dT%H%M%SZ'
SECRET = secrets.token_bytes()


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


def answer(night: Night, call: Call) -> Reply:
    """The file, or why not. A presigned address is for GET alone: HEAD gets 403."""
    if call.has_token:
        return refusal(400, 'InvalidArgument', 'Only one auth mechanism allowed.')
    query, _, signed = urlsplit(call.target).query.rpartition('&X-Amz-Signature=')
    if not hmac.compare_digest(signed.encode(), signature(call.method, call.path, query).encode()):
        return refusal(403, 'SignatureDoesNotMatch', 'The signature does not match.')
    parameters = dict(parse_qsl(query))
    signed_at = datetime.strptime(parameters['X-Amz-Date'], TIME_FORMAT).replace(tzinfo=UTC)
    if night.now() > signed_at + GOOD_FOR:
        return refusal(403, 'AccessDenied', 'Request has expired')
    version = night.versions[parameters['versionId']]
    return file_reply(version, call.headers.get('Range', ''))


def file_reply(version: Version, wanted: str) -> Reply:
    """The whole body, or the one range of bytes that the header Range asks for."""
    body = version.body
    headers = {
        'Content-Type': 'binary/octet-stream',
        'ETag': f'"{body.md5}"',
        'Last-Modified': f'{version.created:%a, %d %b %Y %H:%M:%S GMT}',
        'Accept-Ranges': 'bytes',
    }
    asked = re.fullmatch(r'bytes=(\d*)-(\d*)', wanted)
    if not asked or asked[0] == 'bytes=-':
        return Reply(200, headers, body.chunks(), body.size)
    if asked[1]:
        start = int(asked[1])
        stop = min(int(asked[2]) + 1, body.size) if asked[2] else body.size
    else:
        start, stop = max(body.size - int(asked[2]), 0), body.size
    if start >= stop:
        return refusal(416, 'InvalidRange', 'The requested range is not satisfiable')
    headers['Content-Range'] = f'bytes {start}-{stop - 1}/{body.size}'
    return Reply(206, headers, body.chunks(start, stop), stop - start)


def refusal(status: int, code: str, message: str) -> Reply:
    """An error of S3: XML."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    )
    return Reply(status, {'Content-Type': 'application/xml'}, text.encode())
