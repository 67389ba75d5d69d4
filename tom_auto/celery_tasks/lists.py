"""The lists of the observatories, which a run reads once, and of which each worker is told its part."""

import json
from collections import deque
from collections.abc import Collection
from datetime import datetime
from time import monotonic

from tom_observations.models import ObservationRecord

from ..observatories.frames import Listed, Shelf
from ..observatories.portal_lists import News
from ..running.heartbeat import Heartbeat
from ..running.threads import Pool
from ..sync.facility_jobs import Facilities
from ..sync.reading_lists import ListReading

TICK = 0.5  # seconds between two looks at the clock


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


def what_the_lists_say(facilities: Facilities, name: str, keys: Collection[int]) -> str:
    """What the lists say of these records of a facility, for the worker that checks them.

    Whatever text that is: JSON in ASCII, which any database keeps as it is. PostgreSQL's own JSON
    refuses some of what an observatory may say, such as "\\u0000" and NaN.
    """
    stock = facilities.stock(name)
    account = stock and stock.account  # without it no list was read: its records say why
    rows = ObservationRecord.objects.filter(pk__in=keys)
    requests = set(rows.values_list('observation_id', flat=True))
    statuses = facilities.lists.get(account, {})
    frames = facilities.frame_lists.get(account, {})
    what = {
        'statuses': {one: _told_of_status(statuses[one]) for one in requests & statuses.keys()},
        'frames': {one: _told_of_frames(frames[one]) for one in requests & frames.keys()},
        'having_frames': sorted(facilities.having_frames.intersection(keys)),
    }
    return json.dumps(what)


def take(name: str, said: str, facilities: Facilities) -> list[str]:
    """Let `facilities` know `what_the_lists_say`, in place of reading lists; of which of them this is."""
    stock, shelf, what = facilities.stock(name), Shelf(), json.loads(said)
    if stock is None:  # this worker's settings have another class of that name
        return [name]
    facilities.lists[stock.account] = {
        one: News(answer, begun, (status, *map(_time, times)), proposal)
        for one, (answer, begun, status, times, proposal) in what['statuses'].items()
    }
    facilities.frame_lists[stock.account] = {
        one: _listed(shelf, *values) for one, values in what['frames'].items()
    }
    facilities.having_frames.update(what['having_frames'])
    return [name]


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
