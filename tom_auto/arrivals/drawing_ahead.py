"""Draws pictures for the mails of a run while it is at work, and mostly waits for an observatory.

At its end all that is left is to send them: whoever waits for the run waits for few pictures.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from threading import Event, Thread
from time import monotonic

from django.db import connections
from django.urls import reverse
from django.utils import timezone

from ..channels import reason
from .choosing import can_be_told, is_due_after_run
from .drawing_program import NobodyWaits, Program
from .illustrations import SHOWN, Picture, shown_by, to_draw_of
from .models import Arrival, Wish
from .numbers import newest_frame
from .pictures import drawing

logger = logging.getLogger(__name__)

FIRST_LOOK = 2  # seconds; then ever more rarely, as each look asks for each user
GROWTH = 0.2  # of the time that the run has taken
MOST_SECONDS = 60  # of drawing for one run
NICENESS = 10  # the run comes first
ENDING = 1  # seconds that a run waits for the picture in hand


@contextmanager
def drawing_ahead() -> Iterator[None]:
    """While this lasts, pictures are drawn for those who will be told. Never raises of itself."""
    program, over = Program(NICENESS), Event()
    thread = Thread(target=_draw_until, args=(over, program), daemon=True, name='drawing ahead')
    thread.start()
    try:
        yield
    finally:
        over.set()
        program.end()
        thread.join(ENDING)


def _draw_until(over: Event, program: Program) -> None:
    begun, ahead = monotonic(), _Ahead(over)
    try:
        with drawing(MOST_SECONDS, program) as draw_each:
            while not over.wait(FIRST_LOOK + GROWTH * (monotonic() - begun)):
                ahead.look(draw_each)
                connections.close_all()
    except NobodyWaits:
        pass
    except Exception as error:  # the mails go out with what there is
        logger.warning('Pictures are not drawn ahead: %s', reason(error))
    finally:
        connections.close_all()


class _Ahead:
    """Looks what has come in, and has drawn what mails about it will show."""

    def __init__(self, over: Event) -> None:
        self._over = over
        self._has_all: set[int] = set()  # the wishes whose mails have as many as they show
        self._seen = -1

    def look(self, draw_each: Callable[[Iterable[Arrival]], None]) -> None:
        newest = newest_frame()
        if newest == self._seen:
            return
        wishes = [each for each in _wishes(newest) if each.pk not in self._has_all]
        shown = shown_by(wishes, newest)
        draw_each(takewhile(lambda arrival: not self._over.is_set(), to_draw_of(shown)))
        if any(shown):
            reverse('automation:home')  # loads the addresses for the mails, which takes a second
        for wish, frames in zip(wishes, shown, strict=True):
            if len(frames) == SHOWN and all(each.picture == Picture.DRAWN for each in frames):
                self._has_all.add(wish.pk)
        # What turned out to be no image is replaced at the next look.
        is_done = all(not each.is_to_draw for frames in shown for each in frames)
        self._seen = newest if is_done else -1


def _wishes(newest: int) -> list[Wish]:
    """Those of users who are told at the end of the run, if there is something to tell."""
    now = timezone.now()
    users = Wish.objects.filter(receiver=Wish.Receiver.USER, told_up_to__lt=newest)
    wishes = users.exclude(when=Wish.When.NEVER)
    some = wishes.select_related('user')
    return [each for each in some if is_due_after_run(each, now) and can_be_told(each)]
