"""Serves each data file to those who may see it.

tomtoolkit serves them only with DEBUG on, and then to everybody. If a web server or an object store
serves the files, this view is never called. With `DATA_BY_PROXY` it says who may have which, and
the web server in front sends them.
"""

import logging
import re
from contextlib import suppress
from datetime import datetime
from mimetypes import guess_type
from threading import Lock
from urllib.parse import quote

from django.core.files.storage import FileSystemStorage
from django.db.models import Q
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from django.views.decorators.http import require_safe

from .access import refuse_nul, visible_products
from .conf import automation
from .error_reports import unavailable
from .errors import StorageAway
from .explain import in_the_storage

logger = logging.getLogger(__name__)

SMALL = 256 * 1024  # bytes: the system takes them at once, however slowly the visitor reads
RETRY = 10  # seconds
RANGE = re.compile(r'bytes=(\d{0,18})-(\d{0,18})', re.ASCII)
#: Not all files come from an observatory: an uploaded file must not run as a web page.
SAFE = {'Content-Security-Policy': 'sandbox', 'X-Content-Type-Options': 'nosniff'}


@require_safe
def data_file(request: HttpRequest, name: str) -> HttpResponse:
    """The file `name` of a data product; 404 if it is missing or this visitor may not see it."""
    refuse_nul(name)
    product = visible_products(request.user).filter(Q(data=name) | Q(thumbnail=name)).first()
    if product is None:
        raise Http404(f'There is no file {name}.')
    return sent(request, product.data if product.data.name == name else product.thumbnail)


def sent(request: HttpRequest, field: FieldFile) -> HttpResponse:
    """The file in `field`, to somebody who may see it. Raises Http404."""
    name = field.name
    prefix = automation().DATA_BY_PROXY
    if prefix and isinstance(field.storage, FileSystemStorage):
        kind = guess_type(name)[0] or 'application/octet-stream'
        return HttpResponse(
            content_type=kind, headers=SAFE | {'X-Accel-Redirect': prefix + quote(name)}
        )
    try:
        with in_the_storage():
            field.open('rb')
        answer = _answer(request, field)
    except FileNotFoundError as error:
        raise Http404('The file is missing.') from error
    except StorageAway:
        text = 'The storage of the data does not answer. Try again in a moment.'
        return unavailable(request, text, {'Retry-After': str(RETRY)})
    except OSError as error:  # another owner's, or on a bad disk
        logger.warning('The file %s cannot be read: %s', name, error)
        return unavailable(request, 'The file cannot be read. The log of this TOM says why.')
    if answer.streaming is False:
        field.close()
    for header, value in SAFE.items():
        answer[header] = value
    return answer


def _answer(request: HttpRequest, field: FieldFile) -> HttpResponse:
    """The file, or the part of it that is asked for; or that the visitor has it already."""
    size, changed = field.file.size, _changed(field)
    etag = f'"{changed.timestamp():.6f}-{size}"' if changed else None
    seconds = int(changed.timestamp()) if changed else None
    known = HttpResponse(headers=_validators(etag, seconds))
    answer = get_conditional_response(request, etag, seconds, known)
    if answer is not known:
        return answer
    part = _part(request, size, known.headers)
    if part is not None and part.start >= part.stop:
        return HttpResponse(status=416, headers={'Content-Range': f'bytes */{size}'})
    answer = _sent(request, field, part or range(size))
    if part is not None and answer.status_code == 200:
        answer.status_code = 206
        answer['Content-Range'] = f'bytes {part.start}-{part.stop - 1}/{size}'
    for header, value in known.headers.items():
        answer.headers.setdefault(header, value)
    return answer


def _changed(field: FieldFile) -> datetime | None:
    """When the file was changed; None where its storage does not say."""
    with suppress(NotImplementedError):  # as Django has it for storages that keep no times
        return field.storage.get_modified_time(field.name)
    return None


def _validators(etag: str | None, seconds: int | None) -> dict[str, str]:
    headers = {'Accept-Ranges': 'bytes', 'Cache-Control': 'private, no-cache'}
    return headers | ({'ETag': etag, 'Last-Modified': http_date(seconds)} if etag else {})


def _part(request: HttpRequest, size: int, headers: dict) -> range | None:
    """The bytes that are asked for; None for the whole file, as for a list of parts.

    Also where the visitor has the beginning of another version.
    """
    asked = RANGE.fullmatch(request.headers.get('Range', '').strip())
    version = request.headers.get('If-Range')
    if not asked or not any(asked.groups()):
        return None
    if version and version not in (headers.get('ETag'), headers.get('Last-Modified')):
        return None
    first, last = asked.groups()
    if not first:  # the last so many
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None  # no range at all
    return range(int(first), min(size, int(last) + 1 if last else size))


def _sent(request: HttpRequest, field: FieldFile, part: range) -> HttpResponse:
    """The bytes `part`. Few of the web server's threads wait for visitors that read slowly."""
    kind = guess_type(field.name)[0] or 'application/octet-stream'
    length = {'Content-Length': str(len(part))}
    if request.method == 'HEAD':
        return HttpResponse(content_type=kind, headers=length)
    field.seek(part.start)
    if len(part) <= SMALL:
        return HttpResponse(field.read(len(part)), content_type=kind, headers=length)
    if not _downloads.begin(automation().DOWNLOADS):
        text = 'Many files are being downloaded. Try again in a moment.'
        return unavailable(request, text, {'Retry-After': str(RETRY)})
    return FileResponse(_Part(field, len(part)), content_type=kind, headers=length)


class _Downloads:
    """How many big files this process is sending."""

    def __init__(self) -> None:
        self._lock, self.count = Lock(), 0

    def begin(self, most: int) -> bool:
        with self._lock:
            if self.count >= most:
                return False
            self.count += 1
            return True

    def end(self) -> None:
        with self._lock:
            self.count -= 1


_downloads = _Downloads()


class _Part:
    """A file from where it stands, for so many bytes; to close it ends a download."""

    def __init__(self, field: FieldFile, length: int) -> None:
        self._field, self._left, self._is_open = field, length, True

    def read(self, size: int) -> bytes:
        data = self._field.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._field.close()
            _downloads.end()
