"""Tells a frame from what archives send in its stead: error pages, stumps, other bytes."""

import hashlib
import zlib
from typing import IO

from django.conf import settings

from .http import CHUNK, HEAD, Received

FITS = ('.fits', '.fit', '.fts', '.fits.fz', '.fit.fz', '.fz')
ZIPPED_FITS = ('.fits.gz', '.fit.gz', '.fts.gz')
IMAGES = ('.jpg', '.jpeg', '.png', '.gif')
PAGES = ('.html', '.htm', '.xhtml')
XML = ('.xml', '.vot', '.votable', '.xhtml', '.svg')
# The FITS standard (4.0, section 3.3.1): the first card of a file.
SIGNATURE = b'SIMPLE  ='
BLOCK = 2880  # bytes: the FITS standard, section 3.1


def fault(filename: str, received: Received, md5: str = '') -> str:
    """What is wrong with a received file that is called `filename`; empty where nothing is.

    `md5`, where it is given, is the archive's checksum and settles the matter of the content.
    """
    name = filename.lower()
    if received.size == 0:
        return 'the file is empty'
    if md5 and received.md5 != md5:
        return "its checksum is not the archive's"
    if not name.endswith(PAGES) and _starts_with(received.head, b'<!doctype html', b'<html'):
        return 'it is a web page'
    if not name.endswith(XML) and _starts_with(received.head, b'<?xml'):
        return 'it is an XML message'  # such as an object store's error
    if name.endswith(FITS) and not received.head.startswith(SIGNATURE):
        return 'it is not a FITS file'
    if name.endswith(ZIPPED_FITS) and not _unzipped(received.head).startswith(SIGNATURE):
        return 'it is not a compressed FITS file'
    if name.endswith(FITS) and not md5 and received.size % BLOCK:
        return 'it is a FITS file that breaks off'
    return ''


def read(file: IO[bytes]) -> Received:
    """What `fault` needs to know of a file that is already stored."""
    digest, size, head = hashlib.md5(usedforsecurity=False), 0, b''
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        head += chunk[: HEAD - len(head)]
    return Received(size, digest.hexdigest(), head)


def data_product_type(filename: str) -> str:
    """The type that tomtoolkit shows, by the name; empty where the TOM has no such type."""
    name = filename.lower()
    wanted = ''
    if name.endswith(FITS + ZIPPED_FITS):
        wanted = 'fits_file'
    elif name.endswith(IMAGES):
        wanted = 'image_file'
    known = {kind for kind, _ in settings.DATA_PRODUCT_TYPES.values()}
    return wanted if wanted in known else ''


def _starts_with(head: bytes, *beginnings: bytes) -> bool:
    return head.lstrip(b'\xef\xbb\xbf \t\r\n').lower().startswith(beginnings)


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, len(SIGNATURE))
    except zlib.error:
        return b''
