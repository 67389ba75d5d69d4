"""The pictures of the mails of a run: drawn and read for a limited time, whatever the store does.

Most are drawn while the run is at work, by `drawing_ahead`. A mail goes out without those that take
longer. One of each mail is drawn before a second of any.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, zip_longest
from time import monotonic

from django.db.models import Q, QuerySet
from django.utils import timezone

from ..channels import reason
from ..files import storage
from ..interrupt import within
from .choosing import wanted_frames
from .models import Arrival, Wish
from .pictures import drawing

logger = logging.getLogger(__name__)

SHOWN = 4  # pictures of a mail
LARGEST = 200_000  # bytes: with somebody's own, a server would refuse the mail at every run
#: After the first picture, at the end of a run, and what a mail takes of that: a run may take two
#: seconds longer for its mails.
DRAWING_SECONDS, A_MAIL = 1, 0.03
#: Seconds for drawing, and for reading what is drawn: a store may hold what is in hand.
DRAWING_LASTS, READING_LASTS = 1.2, 0.4
Picture = Arrival.Picture
#: Whoever saves a product that they read before takes its picture away.
HAS_PICTURE = Q(picture=Picture.DRAWN, product__thumbnail__gt='')
#: Gives the pictures of frames that there was time for: JPEGs, by the numbers of the frames.
PicturesOf = Callable[[Iterable[Arrival]], dict[int, bytes]]


def shown_by(wishes: list[Wish], newest: int) -> list[list[Arrival]]:
    """What the mail to each of these users is to show, of the frames up to the `newest`."""
    found: list[list[Arrival]] = []
    chosen: set[int] = set()
    for wish in wishes:
        if wish.user:
            found.append(_picked(wanted_frames(wish, wish.told_up_to, newest), chosen))
            chosen.update(each.pk for each in found[-1])
    return found


def _picked(frames: QuerySet[Arrival], for_others: Collection[int]) -> list[Arrival]:
    """Those of `frames` that a mail about them is to show, newest first of each kind.

    Pictures that are there come first, then frames that are drawn `for_others`: most mails can share.
    """
    may_be_tried = Q(not_before=None) | Q(not_before__lte=timezone.now())
    may_be_drawn = frames.filter(may_be_tried, picture__in=(Picture.WAITING, Picture.DRAWN))
    waiting, found = may_be_drawn.exclude(HAS_PICTURE), []
    for some in (drawn_of(frames), waiting.filter(pk__in=for_others), waiting):
        if len(found) < SHOWN:
            others = some.exclude(pk__in=[each.pk for each in found])
            found += others[: SHOWN - len(found)]
    return found


def drawn_of(frames: QuerySet[Arrival]) -> QuerySet[Arrival]:
    """Those that have a picture."""
    return frames.filter(HAS_PICTURE)


@contextmanager
def illustrating(of_mails: list[list[Arrival]]) -> Iterator[PicturesOf]:
    """Draws for these mails, in turn, and gives what gives pictures, each read once for all mails."""
    left, asked, found = READING_LASTS, set(), {}

    def pictures_of(arrivals: Iterable[Arrival]) -> dict[int, bytes]:
        nonlocal left
        some = [each for each in arrivals if each.picture == Picture.DRAWN]
        new = [each for each in some if each.pk not in asked]
        if new and left > 0:
            asked.update(each.pk for each in new)
            left -= _in_time(left, lambda: _read(new, found))
        return {each.pk: found[each.pk] for each in some if each.pk in found}

    to_draw = to_draw_of(of_mails)
    with drawing(max(A_MAIL, DRAWING_SECONDS - A_MAIL * len(of_mails))) as draw:
        if to_draw:
            _in_time(DRAWING_LASTS, lambda: draw(to_draw))
        yield pictures_of


def _in_time(seconds: float, work: Callable[[], None]) -> float:
    """Do `work`, within so many seconds; how many it took. A mail does without what takes longer."""
    begun = monotonic()
    try:
        within(seconds, work)
    except Exception as error:
        logger.warning('Mails go out without some pictures: %s', reason(error))
    return monotonic() - begun


def to_draw_of(of_mails: list[list[Arrival]]) -> list[Arrival]:
    """What is to be drawn: for each mail its first, then for each its second; each frame once."""
    each_turn = chain.from_iterable(zip_longest(*of_mails))
    found = {arrival.pk: arrival for arrival in each_turn if arrival}
    return [arrival for arrival in found.values() if arrival.is_to_draw]


def _read(arrivals: list[Arrival], found: dict[int, bytes]) -> None:
    for arrival in arrivals:
        if arrival.product.thumbnail:
            # It was removed, or the storage is away: the mail does without.
            with (
                suppress(*storage.UNREADABLE),
                storage.opened(arrival.product.thumbnail.name) as file,
            ):
                picture = file.read(LARGEST + 1)
                if len(picture) <= LARGEST:
                    found[arrival.pk] = picture
