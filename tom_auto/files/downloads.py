"""Fetches files in constant memory and without credentials; each arrives whole, or not at all."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import urljoin

import requests
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header
from requests.utils import default_headers
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from ..conf import Automation
from ..errors import BadAnswer, NoAnswer, NoRoom
from ..explain import certificate_fault
from ..observatories.http import MAX_ANSWER, USER_AGENT, ask, chunks_of
from ..observatories.turns import let_others_ask
from .disk_room import room_for
from .whole_file import PACKED, Received, received_from

BIG = 8 * 1024 * 1024  # bytes: after so many it is time to look at the disk again
#: A compressed transfer would hide how many bytes the file has.
HEADERS = {**default_headers(), 'User-Agent': USER_AGENT, 'Accept-Encoding': 'identity'}
MOST_REDIRECTS = 30  # as many as requests follows


def download(
    url: str, filename: str, into: BinaryIO, limits: Automation, md5: str = ''
) -> Received:
    """Stream what `url` names into `into`, in constant memory, as it comes over the wire.

    Raises NoAnswer if the server does not answer or breaks off, BadAnswer if it answers without
    the file, and NoRoom if the disk is too full. The caller checks that the bytes are those of the
    frame.
    """
    try:
        with _asked(url) as response:
            if response.status != requests.codes.ok:
                raise BadAnswer(f'the archive answered {response.status} for the file')
            with room_for(response.length_remaining or BIG, limits) as wrote:
                received = received_from(_written(response, into, limits, wrote))
    except ValueError:  # of urllib3, or of the codec for host names
        raise BadAnswer('the download address is not valid') from None
    except (HTTPError, requests.RequestException) as error:
        cause = getattr(error, 'reason', None)  # of its retries
        name = type(cause if isinstance(cause, Exception) else error).__name__
        reason = certificate_fault(error) or name
        raise NoAnswer(f'the download did not arrive ({reason})') from error
    let_others_ask()
    # Packed for the transfer, or a packed file that was labelled so: see rule 6.
    is_packed = response.headers.get('Content-Encoding', '').lower() in ('gzip', 'x-gzip')
    if is_packed and received.md5 != md5 and (md5 or not filename.lower().endswith(PACKED)):
        received = _unpacked(into, received)
    kind = response.headers.get('Content-Type', '').partition(';')[0].strip().lower()
    return replace(received, content_type=kind)


def _asked(url: str) -> BaseHTTPResponse:
    """The answer for `url`, wherever that leads.

    An archive's URLs are presigned, and refuse credentials: none go along, not even those of .netrc.
    """
    cookies = RequestsCookieJar()  # a gate may want back what it gives along with a redirect
    for _ in range(MOST_REDIRECTS + 1):
        cookie = get_cookie_header(cookies, requests.Request('GET', url)) if cookies else None
        response = ask(url, HEADERS | {'Cookie': cookie} if cookie else HEADERS)
        if not (location := response.get_redirect_location()):
            return response
        extract_cookies_to_jar(cookies, requests.Request('GET', url), response)
        response.close()
        # The bytes of a header are read as Latin-1, and mostly are UTF-8.
        url = urljoin(url, location.encode('latin-1').decode())
    raise BadAnswer('the archive sent the download in circles')


def _written(
    response: BaseHTTPResponse, into: BinaryIO, limits: Automation, wrote: Callable[[int], None]
) -> Iterator[bytes]:
    """What comes, written into the file. Where no length is promised: is there still room?

    The system writes a big file while the rest of it arrives: a tenth faster than at the end.
    """
    flushed, is_promised = into.tell(), response.length_remaining is not None
    for chunk in chunks_of(response, decode=False):
        if is_promised:  # before it is written: counted twice, it might stop what has room
            wrote(len(chunk))
        into.write(chunk)
        yield chunk
        if into.tell() < flushed + BIG:
            continue
        if not is_promised:
            with room_for(BIG, limits):
                pass
        into.flush()
        with suppress(OSError, AttributeError):  # a wish: some systems and files know it not
            os.posix_fadvise(into.fileno(), flushed, 0, os.POSIX_FADV_DONTNEED)
        flushed = into.tell()


def _unpacked(file: BinaryIO, packed: Received) -> Received:
    """Unpack `file` in place, through a copy of it in memory: nobody does that to big files."""
    if packed.size > MAX_ANSWER:
        raise NoRoom('a file of this size cannot be unpacked')
    file.seek(0)
    try:
        data = zlib.decompress(file.read(), wbits=zlib.MAX_WBITS | 16)
    except zlib.error:
        return packed
    file.seek(0)
    file.truncate()
    file.write(data)
    return received_from([data])
