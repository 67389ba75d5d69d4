"""Has the lists of the observatories read, and hands on what they say: rule 17.

A run reads them for all that is due before the first record is checked. Where workers check a part
of the records, they are told what the lists said of these, and need not read them again.
"""

import logging
from collections import deque
from collections.abc import Collection
from datetime import datetime
from time import monotonic

from django.db import Error as DatabaseTrouble
from tom_observations.models import ObservationRecord

from ..db_retry import is_there_again
from ..observatories.facilities import Account
from ..observatories.frames import Listed, Shelf
from ..observatories.portal_lists import News
from ..running.heartbeat import Heartbeat
from ..running.threads import Pool
from .facility_jobs import Facilities

logger = logging.getLogger(__name__)

TICK = 0.5  # seconds between two looks at the clock
Queue = tuple[str, deque[int]]  # a facility, and its records that are due


class ListReading:
    """The lists that are read at the moment, by account, and the queues that wait for them."""

    def __init__(self, facilities: Facilities, pool: Pool) -> None:
        self._facilities, self._pool = facilities, pool
        self.waiting: dict[Account, list[Queue]] = {}

    def begin(self, due: dict[str, deque[int]]) -> list[Queue]:
        """Have the portals' lists read for these records; gives the queues that wait for none."""
        free: list[Queue] = []
        for name, keys in due.items():
            stock = self._facilities.stock(name)
            waiting = self.waiting.setdefault(stock.account, []) if stock else free
            waiting.append((name, keys))
        jobs = self._facilities.list_jobs(due)
        for account in list(self.waiting):
            if account in jobs:
                self._pool.submit(jobs[account], (account, 0))
            else:
                free += self.go_on(account, {})
        return free

    def go_on(self, account: Account, found: dict) -> list[Queue]:
        """After the portal's lists those of the archive; gives the queues that wait no longer."""
        known, job = self._facilities, None
        try:
            if account in known.lists:
                known.take_frame_lists(account, found)
            else:
                known.lists[account] = found
                job = known.archive_list_job(account, dict(self.waiting[account]))
        except DatabaseTrouble as error:  # each record will be asked for singly, and may fail
            logger.warning('No lists of frames are read: %s', error)
            is_there_again()
        if job is None:
            return self.waiting.pop(account)
        self._pool.submit(job, (account, 1))
        return []


def read_all(
    due: dict[str, deque[int]], facilities: Facilities, deadline: float, heart: Heartbeat
) -> None:
    """Read the lists for these records into `facilities`, as far as there is time.

    Raises AnotherRun where the `heart` says that this process has lost the run.
    """
    facilities.lists.clear()
    facilities.frame_lists.clear()
    facilities.having_frames.clear()
    pool = Pool(len(due), deadline)
    try:
        reading = ListReading(facilities, pool)
        reading.begin(due)
        while reading.waiting and monotonic() < deadline:
            heart.insist()
            for (account, _), result, _ in pool.finished(TICK):
                reading.go_on(account, result or {})
    finally:
        pool.stop()


def what_the_lists_say(facilities: Facilities, name: str, keys: Collection[int]) -> dict:
    """What the lists say of these records of a facility, for the worker that checks them: JSON."""
    account = facilities.stock(name).account
    rows = ObservationRecord.objects.filter(pk__in=keys)
    requests = set(rows.values_list('observation_id', flat=True))
    statuses = facilities.lists.get(account, {})
    frames = facilities.frame_lists.get(account, {})
    return {
        'statuses': {one: _told_of_status(statuses[one]) for one in requests & statuses.keys()},
        'frames': {one: _told_of_frames(frames[one]) for one in requests & frames.keys()},
        'having_frames': sorted(facilities.having_frames.intersection(keys)),
    }


def take(facilities: Facilities, name: str, what: dict) -> None:
    """Let `facilities` know `what_the_lists_say`, in place of reading lists."""
    stock, shelf = facilities.stock(name), Shelf()
    if stock is None:  # this worker's settings have another class of that name
        return
    facilities.lists[stock.account] = {
        one: News(answer, begun, (status, *map(_time, times)), proposal)
        for one, (answer, begun, status, times, proposal) in what['statuses'].items()
    }
    facilities.frame_lists[stock.account] = {
        one: _listed(shelf, *values) for one, values in what['frames'].items()
    }
    facilities.having_frames.update(what['having_frames'])


def _told_of_status(news: News) -> list:
    status, *times = news.then
    times = [time and time.isoformat() for time in times]
    return [news.answer, news.begun, status, times, news.proposal]


def _told_of_frames(listed: Listed) -> list:
    return [listed.is_all, listed.are_new, list(listed.known), list(listed.entries().values())]


def _listed(
    shelf: Shelf, is_all: bool, are_new: bool, known: list[int], entries: list[dict]
) -> Listed:
    listed = Listed(shelf, is_all, are_new)
    listed.known.extend(known)
    for entry in entries:
        listed.new.append(entry['id'])
        listed.places.append(shelf.put(entry))
    return listed


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
