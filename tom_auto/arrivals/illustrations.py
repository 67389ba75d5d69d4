"""The pictures of the mails of a run: drawn and read for a limited time, whatever the store does.

A mail goes out without those that take longer. One of each mail is drawn before a second of any.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, zip_longest
from time import monotonic

from ..channels import reason
from ..interrupt import within
from ..sync import storage
from .models import Arrival
from .pictures import drawing

logger = logging.getLogger(__name__)

#: After the first picture: with more, a run would take longer for its mails than two seconds.
DRAWING_SECONDS = 0
LONGEST = 1.2  # seconds for all of them: a store may hold the one that is in hand
Picture = Arrival.Picture
#: Gives the pictures of frames that there was time for: JPEGs, by the numbers of the frames.
PicturesOf = Callable[[Iterable[Arrival]], dict[int, bytes]]


@contextmanager
def illustrating(of_mails: list[list[Arrival]]) -> Iterator[PicturesOf]:
    """Draws for these mails, in turn, and gives what gives pictures, each read once for all mails."""
    left, asked, found = LONGEST, set(), {}

    def in_time(work: Callable[[], None]) -> None:
        nonlocal left
        begun = monotonic()
        try:
            within(left, work)
        except Exception as error:
            logger.warning('Mails go out without some pictures: %s', reason(error))
        left -= monotonic() - begun

    def pictures_of(arrivals: Iterable[Arrival]) -> dict[int, bytes]:
        some = [each for each in arrivals if each.picture == Picture.DRAWN]
        new = [each for each in some if each.pk not in asked]
        if new and left > 0:
            asked.update(each.pk for each in new)
            in_time(lambda: _read(new, found))
        return {each.pk: found[each.pk] for each in some if each.pk in found}

    to_draw = [each for each in _in_turn(of_mails) if each.is_to_draw]
    with drawing(DRAWING_SECONDS) as draw:
        if to_draw:
            in_time(lambda: draw(to_draw))
        yield pictures_of


def _in_turn(of_mails: list[list[Arrival]]) -> list[Arrival]:
    """The first of each mail, then the second of each, and so on; each frame once."""
    each_turn = chain.from_iterable(zip_longest(*of_mails))
    return list({arrival.pk: arrival for arrival in each_turn if arrival}.values())


def _read(arrivals: list[Arrival], found: dict[int, bytes]) -> None:
    for arrival in arrivals:
        if arrival.product.thumbnail:
            # It was removed, or the storage is away: the mail does without.
            with (
                suppress(*storage.UNREADABLE),
                storage.opened(arrival.product.thumbnail.name) as file,
            ):
                found[arrival.pk] = file.read()
