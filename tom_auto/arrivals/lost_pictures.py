"""Forgets pictures that somebody has removed: pages of tomtoolkit open each that a row names, or fail."""

import logging
import re
from contextlib import suppress

from django.core.cache import cache
from django.core.cache.utils import make_template_fragment_key
from tom_dataproducts.models import DataProduct

from ..files import storage
from ..files.storage_id import is_known
from .models import Arrival

logger = logging.getLogger(__name__)

FOLDER = 'previews'
OURS = re.compile(rf'({FOLDER}/[0-9]+)/[0-9]+-[0-9]+\.jpg')
CHUNK = 500
Picture = Arrival.Picture


def forget_lost(error: BaseException) -> bool:
    """If `error` says that a picture is missing: forget those that are; whether there were any.

    All that lay beside it, and in folders that are gone: a page shows many. Only where the storage is
    certainly the one that was there. They are drawn again when somebody looks.
    """
    found = isinstance(error, FileNotFoundError) and OURS.search(str(error).replace('\\', '/'))
    return bool(found) and is_known() and bool(_forget(found[1]))


def _forget(beside: str) -> int:
    rows = DataProduct.objects.filter(thumbnail__startswith=f'{FOLDER}/')
    # Before the folders are read: each file was there when its row was written.
    names = list(rows.values_list('thumbnail', flat=True))
    folders, files = storage.listed(FOLDER)[0], storage.listed(beside)[1]
    kept = {f'{FOLDER}/{each}' for each in folders} - {beside}
    there = {f'{beside}/{each}' for each in files}
    lost = [name for name in names if name not in there and name.rpartition('/')[0] not in kept]
    for first in range(0, len(lost), CHUNK):
        some = rows.filter(thumbnail__in=lost[first : first + CHUNK])
        for pk in some.values_list('pk', flat=True):
            forget_shown(pk)
        some.update(thumbnail='')
    if lost:
        logger.warning('Pictures are gone, and drawn again when somebody looks: %d', len(lost))
    return len(lost)


def draw_again(arrival: Arrival) -> None:
    """Its picture was not found: if it is gone, and not its storage away, the next look has it drawn."""
    name = arrival.product.thumbnail.name
    if arrival.picture == Picture.DRAWN and is_known() and not storage.exists(name):
        rows = DataProduct.objects.filter(pk=arrival.product_id, thumbnail=name)
        if rows.update(thumbnail=''):
            forget_shown(arrival.product_id)
            Arrival.objects.filter(pk=arrival.pk).update(picture=Picture.WAITING)


def forget_shown(product: int) -> None:
    """Let tomtoolkit's list show the picture that the product has now: it caches them without end."""
    with suppress(Exception):  # of whatever the cache is
        cache.delete(make_template_fragment_key('thumbnail', [product]))
