"""Makes a file's name and place out of what an archive calls it: rule 9."""

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from pathlib import PurePosixPath

from django.core.exceptions import SuspiciousFileOperation
from django.utils.text import get_valid_filename, slugify
from tom_dataproducts.models import DataProduct, data_product_path

LONGEST = DataProduct._meta.get_field('data').max_length
LONGEST_FILE = 80  # characters of a file's own name, so that its directory keeps some
LONGEST_ID = 40  # characters of a frame's id that its folder shows
MOST_BYTES = 200  # of a name: file systems take 255
#: What belongs together at the end of a name: tools go by all of it.
EXTENSION = re.compile(r'(\.[A-Za-z0-9]{1,8}){1,2}$')


def place(product: DataProduct, archive: str, frame_id: str, filename: str) -> str:
    """Where in the storage a frame goes: a folder of its own, named after its id.

    `product` need not be saved. `filename` comes from outside: it may hold a path, characters
    that no file system takes, or nothing. DATA_PRODUCT_PATH is honoured, made to fit the column
    and to be relative. Another archive's frame of the same id has another folder.
    """
    mark = sha256(f'{archive} {frame_id}'.encode()).hexdigest()[:10]
    name = safe_name(filename) or f'frame-{mark}'
    wanted = PurePosixPath(data_product_path(product, name))
    parts = [part for part in wanted.parent.parts if part not in ('/', '..', '.')]
    if wanted.is_absolute():
        parts.insert(0, f'target-{product.target_id}')
    facility = slugify(product.observation_record.facility)
    folder = frame_id if re.fullmatch(r'[A-Za-z0-9_-]+', frame_id) else ''
    if not folder or len(folder) > LONGEST_ID or facility not in map(slugify, parts):
        folder = f'{folder[:LONGEST_ID]}-{mark}'.lstrip('-')
    last = wanted.name if len(wanted.name) <= LONGEST_FILE else safe_name(wanted.name)
    room = LONGEST - len(last) - len('/-99')  # see `beside`
    if len(folder) > room:
        folder = mark
    directory = '/'.join(parts)[: max(0, room - len(folder) - 1)].rstrip('/')
    return '/'.join(filter(None, [directory, folder, last]))


def beside(place: str) -> Iterator[str]:
    """`place`, and then names beside it that fit the column, without end."""
    yield place
    folder, slash, name = place.rpartition('/')
    stem, extension = split(name)
    for number in count(2):
        yield f'{folder}{slash}{stem}-{number}{extension}'


def safe_name(filename: str) -> str:
    """The last part of `filename` in characters that every file system takes; may be empty."""
    last = filename.replace('\\', '/').rsplit('/', 1)[-1]
    try:
        name = get_valid_filename(last).lstrip('.-')
    except SuspiciousFileOperation:
        return ''
    stem, extension = split(name)
    stem = stem[: LONGEST_FILE - len(extension)]
    return stem.encode()[: MOST_BYTES - len(extension)].decode(errors='ignore') + extension


def split(name: str) -> tuple[str, str]:
    """`name` as its stem and its whole extension: ('image', '.fits.fz')."""
    found = EXTENSION.search(name)
    cut = found.start() if found and found.start() else len(name)
    return name[:cut], name[cut:]
