"""Has the pictures of frames drawn, each once, and keeps them as tomtoolkit's thumbnails.

A picture is drawn when somebody wants to see it: for a mail by the run; for a page in the background,
when the page that was sent asks for it, by POST. `drawing` does it, in a process of its own.
"""

import base64
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock, Thread
from time import monotonic

from django.db import DatabaseError, connections
from django.db.models import Q
from django.utils import timezone
from tom_dataproducts.models import DataProduct

from ..errors import StorageAway
from ..files import storage
from ..files.local_file import local_file
from ..files.storage_id import is_known
from ..files.whole_file import FITS, PACKED_FITS
from .drawing_program import SLOWEST, Program
from .lost_pictures import FOLDER, forget_shown
from .models import Arrival

logger = logging.getLogger(__name__)

BIGGEST = 300_000_000  # bytes of a file that is fetched from a store only to be drawn
MOST_AT_ONCE = 24  # that one look at a page has drawn
AWAY = 'the storage of the data does not answer'
PAUSE = timedelta(minutes=10)  # until a file is tried again that could not be read
Picture = Arrival.Picture

_drawing = Lock()


def draw_soon(arrivals: Collection[int]) -> bool:
    """Have these drawn in the background; False if this process is drawing others."""
    if not arrivals or not _drawing.acquire(blocking=False):
        return False
    Thread(target=_in_background, args=(list(arrivals)[:MOST_AT_ONCE],), daemon=True).start()
    return True


def _in_background(arrivals: list[int]) -> None:
    try:
        draw(arrivals, seconds=MOST_AT_ONCE * SLOWEST)
    except DatabaseError as error:
        logger.warning('Pictures could not be kept: %s', error)
    finally:
        connections.close_all()
        _drawing.release()


def draw(arrivals: Collection[int], seconds: float) -> None:
    """Draw those of these arrivals that are not drawn yet, for so many seconds at most."""
    rows = Arrival.objects.filter(pk__in=arrivals).select_related('product')
    with drawing(seconds) as draw_each:
        draw_each(rows)


@contextmanager
def drawing(
    seconds: float, program: Program | None = None
) -> Iterator[Callable[[Iterable[Arrival]], None]]:
    """Gives what draws those that it is given and that are not drawn yet, for so many seconds in all.

    The first picture does not count: the program is started for it.
    """
    program, left, is_first = program or Program(), seconds, True

    def draw_each(arrivals: Iterable[Arrival]) -> None:
        nonlocal left, is_first
        for arrival in arrivals:
            if arrival.is_to_draw and left > 0:
                begun = monotonic()
                _draw_one(arrival, program)
                left -= 0 if is_first else monotonic() - begun
                is_first = False

    try:
        yield draw_each
    finally:
        program.end()


def _draw_one(arrival: Arrival, program: Program) -> None:
    """Draw one, or note why there is no picture. What cannot be drawn is said once."""
    name = arrival.product.data.name or ''
    try:
        answer = _answer(name, program)
        if 'jpeg' in answer:
            _keep(arrival, base64.b64decode(answer['jpeg']))
    except storage.UNREADABLE as error:
        # The storage is away or full, or a run that begins has removed the part.
        _put_off(arrival, error)
        return
    if 'jpeg' in answer:
        _note(arrival, Picture.DRAWN, **answer['facts'])
    elif 'none' in answer:
        _note(arrival, Picture.NO_IMAGE)
    elif 'gone' in answer:
        if arrival.picture != Picture.GONE:
            logger.info('There is no picture of %s: its file is gone', name)
            _note(arrival, Picture.GONE)
    else:
        logger.info('There is no picture of %s: %s', name, answer['broken'])
        _note(arrival, Picture.BROKEN, trouble=answer['broken'])


def _answer(name: str, program: Program) -> dict:
    """What the program says of the file `name`, if it is for it at all."""
    if not name.lower().endswith(FITS + PACKED_FITS):
        return {'none': 'it is not a FITS file'}
    if not storage.exists(name):
        if is_known():
            return {'gone': name}  # when it is there again, it is drawn
        raise FileNotFoundError('the file is not there')
    with local_file(name, BIGGEST) as path:
        answer = program.draw(path) if path else {'broken': 'it is too big'}
    if 'unreadable' in answer:  # a disk that is away for a moment, or no memory
        raise OSError(answer['unreadable'])
    return answer


def _put_off(arrival: Arrival, error: Exception) -> None:
    """It could not be read or kept: a look after a while tries again. Each reason is said once.

    Visitors read it: what the system or a store says has the place of the file in it, which may name a
    target that is hidden from them.
    """
    is_away = isinstance(error, StorageAway)
    trouble = AWAY if is_away else getattr(error, 'strerror', None) or str(error)
    if arrival.trouble != trouble[:200]:
        logger.warning('No picture of %s yet: %s', arrival.product.data.name, error)
    _note(arrival, arrival.picture, trouble=trouble, not_before=timezone.now() + PAUSE)


def _note(arrival: Arrival, picture: str, **fields: str | datetime) -> None:
    """Note how it stands, unless a newer version of the file has come meanwhile."""
    columns = {field.name: field.max_length for field in Arrival._meta.concrete_fields}
    known = {'trouble': '', 'not_before': None} | fields
    known = {
        name: value[: columns[name]] if isinstance(value, str) else value
        for name, value in known.items()
    }
    same = Arrival.objects.filter(pk=arrival.pk, product__modified=arrival.product.modified)
    if Arrival.objects.filter(pk__in=same.values('pk')).update(picture=picture, **known):
        for name, value in {'picture': picture, **known}.items():
            setattr(arrival, name, value)


def _keep(arrival: Arrival, picture: bytes) -> None:
    """Keep a picture as the thumbnail of its product, unless it has one, or a newer version has come.

    Each version has a place of its own: whoever draws an old one cannot replace the new picture.
    """
    pk, modified = arrival.product_id, arrival.product.modified
    place = f'{FOLDER}/{pk // 1000}/{pk}-{modified:%y%m%d%H%M%S%f}.jpg'
    rows = DataProduct.objects.filter(Q(thumbnail=None) | Q(thumbnail=''), pk=pk, modified=modified)
    if rows.exists():
        with storage.part_file() as file:
            file.write(picture)
            storage.move_into_place(file, place, len(picture))
        if rows.update(thumbnail=place):
            arrival.product.thumbnail = place
            forget_shown(pk)
        elif not DataProduct.objects.filter(thumbnail=place).exists():
            storage.delete(place)
