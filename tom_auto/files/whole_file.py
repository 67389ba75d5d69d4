"""Is a file whole, and what its name promises? Archives send error pages and stumps instead."""

import bz2
import gzip
import hashlib
import json
import lzma
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import IO

from django.conf import settings

FITS = ('.fits', '.fit', '.fts', '.fz')
PACKED_FITS = tuple(fits + packed for fits in FITS for packed in ('.gz', '.bz2'))
OPENED = {'.gz': gzip.open, '.tgz': gzip.open, '.bz2': bz2.open, '.xz': lzma.open}
PACKED = (*OPENED, '.zip', '.fz')
MAGIC = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open}  # under a plain name as well: astropy reads it
IMAGES = {
    '.jpg': b'\xff\xd8\xff', '.jpeg': b'\xff\xd8\xff', '.png': b'\x89PNG\r\n', '.gif': b'GIF8',
}  # fmt: skip
PAGES = ('.html', '.htm', '.xhtml')
XML = ('.xml', '.vot', '.votable', '.xhtml', '.svg')
SIGNATURE = b'SIMPLE  ='  # the first card of a file: FITS standard 4.0, section 3.3.1
BLOCK = 2880  # bytes: the FITS standard, section 3.1
HEAD = BLOCK  # bytes kept of a file's beginning
CHUNK = 256 * 1024  # bytes read of a file at a time
BIG = 8 * 1024 * 1024  # bytes: for a file of so many, a thread of its own pays
AHEAD = 16  # chunks that wait for it in memory
LONGEST_MESSAGE = 64 * 1024  # bytes: JSON that is longer is data


@dataclass(frozen=True)
class Received:
    """What is known of a file that was received whole; `head` is its beginning."""

    size: int
    md5: str
    head: bytes
    content_type: str = ''


def received_from(chunks: Iterable[bytes]) -> Received:
    """What is known of a file that comes in `chunks`."""
    # Not for security: it is the checksum that the archive publishes.
    digest, size, head = hashlib.md5(usedforsecurity=False), 0, b''
    with ExitStack() as at_the_end:
        take = digest.update
        for chunk in chunks:
            if size < BIG <= size + len(chunk):
                take = at_the_end.enter_context(_beside(take))
            take(chunk)
            size += len(chunk)
            head += chunk[: HEAD - len(head)]
    return Received(size, digest.hexdigest(), head)


@contextmanager
def _beside(act: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """`act`, done in a thread while the next chunk comes: MD5 takes longer than all else for a big file."""
    with ThreadPoolExecutor(1, 'checksum') as thread:
        try:
            waiting = deque([thread.submit(act, b'')])
        except RuntimeError:  # this user or this machine may have no more threads
            yield act
            return

        def act_in_turn(chunk: bytes) -> None:
            waiting.append(thread.submit(act, chunk))
            if len(waiting) > AHEAD:
                waiting.popleft().result()

        yield act_in_turn


def read(file: IO[bytes]) -> Received:
    """What `fault` needs to know of a file that is already stored."""
    return received_from(iter(partial(file.read, CHUNK), b''))


def fault(filename: str, file: IO[bytes], received: Received, md5: str = '') -> str:
    """What is wrong with a `file` that is called `filename`; empty where nothing is.

    `md5`, where it is given, is the archive's checksum and settles the matter. Otherwise the
    structure that the name promises decides.
    """
    name = filename.lower()
    if md5:
        return '' if received.md5 == md5 else "its checksum is not the archive's"
    if message := no_file(name, file, received):
        return message
    try:
        file.seek(0)
        return _structure(name, file, received)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile) as error:
        return f'it breaks off, or is damaged ({type(error).__name__})'


def no_file(filename: str, file: IO[bytes], received: Received) -> str:
    """Whether it is what servers send in place of a file; empty where it is not."""
    name = filename.lower()
    if received.size == 0:
        return 'the file is empty'
    head = received.head.lstrip(b'\xef\xbb\xbf \t\r\n')
    page = head[:512].lower()
    is_page = page.startswith((b'<!doctype html', b'<html', b'<head', b'<body'))
    is_page |= page.startswith(b'<!--') and b'<html' in received.head.lower()
    if not name.endswith(PAGES) and (is_page or received.content_type == 'text/html'):
        return 'it is a web page'
    if not name.endswith((*XML, *PAGES)) and page.startswith((b'<?xml', b'<error')):
        return 'it is an XML message'  # such as an object store's error
    small = received.size <= LONGEST_MESSAGE
    if small and head[:1] in (b'{', b'[') and not name.endswith('json'):
        file.seek(0)
        try:
            json.loads(file.read())
        except ValueError:
            return ''
        return 'it is a JSON message'
    return ''


def _structure(name: str, file: IO[bytes], received: Received) -> str:
    if name.endswith(FITS):
        packed = [opened for magic, opened in MAGIC.items() if received.head.startswith(magic)]
        try:
            return _packed_fits(packed[0](file)) if packed else _fits(file, received.size)
        except gzip.BadGzipFile:
            return 'it is not a FITS file'
    for ending, opened in OPENED.items():
        if name.endswith(ending):
            if name.endswith(PACKED_FITS):
                return _packed_fits(opened(file))
            with opened(file) as unpacked:
                read(unpacked)
            return ''
    if name.endswith('.zip'):
        with zipfile.ZipFile(file) as archive:
            return 'it is damaged' if archive.testzip() else ''
    for ending, signature in IMAGES.items():
        if name.endswith(ending) and not received.head.startswith(signature):
            return 'it is not an image'
    return ''


def _packed_fits(opened: IO[bytes]) -> str:
    with opened as unpacked:
        is_fits = read(unpacked).head.startswith(SIGNATURE)
    return '' if is_fits else 'it is not a compressed FITS file'


def _fits(file: IO[bytes], size: int) -> str:
    """By its headers: whole if the last byte of data is there, padded or not."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return 'it is not a FITS file'
    from astropy.io import fits  # here: where the archive gives a checksum it is not needed

    file.seek(0)
    # astropy refuses a file that could be written to, and closes any other
    reading = SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
    as_it_is = {'memmap': False, 'lazy_load_hdus': False, 'disable_image_compression': True}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with fits.open(reading, **as_it_is) as units:
            place = units[-1].fileinfo()
            ends = place['datLoc'] + units[-1].size
            padded = place['datLoc'] + place['datSpan']
    file.seek(min(padded, size))
    is_whole = size >= ends and not file.read(BLOCK).strip(b'\0 ')
    return '' if is_whole else 'it is a FITS file that breaks off'


def data_product_type(filename: str) -> str:
    """The type that tomtoolkit shows, by the name; empty where the TOM has no such type."""
    name, kinds = filename.lower(), {'fits_file': FITS + PACKED_FITS, 'image_file': tuple(IMAGES)}
    known = {kind for kind, _ in settings.DATA_PRODUCT_TYPES.values()}
    fitting = (kind for kind, endings in kinds.items() if name.endswith(endings))
    return next((kind for kind in fitting if kind in known), '')
