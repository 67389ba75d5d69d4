"""Has the lists of the observatories read for all that is due, before the first record is checked: rule 17."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error as DatabaseTrouble

from ..db_retry import is_there_again
from ..observatories.facilities import Account
from ..running.threads import Job, Pool
from .facility_jobs import Facilities

logger = logging.getLogger(__name__)

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
        jobs: dict[Account, Job] = {}
        with _or_singly():
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
        with _or_singly():
            if account in known.lists:
                known.take_frame_lists(account, found)
            else:
                known.lists[account] = found
                job = known.archive_list_job(account, dict(self.waiting[account]))
        if job is None:
            return self.waiting.pop(account)
        self._pool.submit(job, (account, 1))
        return []


@contextmanager
def _or_singly() -> Iterator[None]:
    """Around what the lists need. Where it fails, each record will be asked for singly, and may fail."""
    try:
        yield
    except DatabaseTrouble as error:
        logger.warning('No lists are read: %s', error)
        is_there_again()
    except Exception:  # whatever one of all these records has: no other one needs the lists
        logger.exception('No lists are read')
