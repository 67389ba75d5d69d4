"""Makes a file's name and place out of what an archive calls it: rule 9."""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import PurePosixPath

from django.core.exceptions import SuspiciousFileOperation
from django.utils.text import get_valid_filename
from tom_dataproducts.models import DataProduct, data_product_path

LONGEST = DataProduct._meta.get_field('data').max_length
LONGEST_FILE = 80  # characters of a file's own name, so that its directory keeps some
MOST_BYTES = 200  # of it: file systems take 255, of which a mark and `.part` need some
#: What belongs together at the end of a name: tools go by all of it.
EXTENSION = re.compile(r'(\.[A-Za-z0-9]{1,8}){1,2}$')


def places(product: DataProduct, filename: str) -> Iterator[str]:
    """Where in the storage the file of `product` may go: the wish first, then a sure one.

    `product` need not be saved. `filename` comes from outside: it may hold a path, characters
    that no file system takes, or nothing. The second place holds a mark made from the product's
    id, so that two frames of one name never want it both. Each place fits the column.
    """
    mark = sha256(product.product_id.encode()).hexdigest()[:10]
    name = safe_name(filename) or f'frame-{mark}'
    yield _place(product, name)
    stem, extension = split(name)
    yield _place(product, f'{stem}-{mark}{extension}')


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


def _place(product: DataProduct, name: str) -> str:
    """The place that tomtoolkit (or DATA_PRODUCT_PATH) gives, made to fit and to be relative.

    The slug of a target's name without any ASCII letter is empty; that of a long one is too
    long for the column.
    """
    wanted = PurePosixPath(data_product_path(product, name))
    parts = [part for part in wanted.parent.parts if part not in ('/', '..', '.')]
    if wanted.is_absolute():
        parts.insert(0, f'target-{product.target_id}')
    directory = '/'.join(parts)[: LONGEST - len(wanted.name) - 1].rstrip('/')
    return f'{directory}/{wanted.name}' if directory else wanted.name
