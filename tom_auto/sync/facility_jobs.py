"""The facilities of a run: who asks each, and by which job."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..db_retry import patient
from ..errors import NotImportable, SetAside, SyncError, Unsupported
from ..hooks.owed import records_that_owe
from ..observatories import archive_lists
from ..observatories.archive_lists import Sight
from ..observatories.facilities import (
    Account,
    Stock,
    facility_classes,
    is_stock,
    overrides,
    usable_class,
)
from ..observatories.facility_process import CALLS, ClassProcess
from ..observatories.frames import Listed
from ..observatories.portal_lists import Found, read_lists, wanted_of
from ..running.threads import DISK, ROOM, Job
from . import frame_files
from .frame_plans import Plan, heard_of

logger = logging.getLogger(__name__)

#: What calls classes in their processes, each of which may use a connection to the database.
CLASSES = ('classes',)


class Facilities:
    """The facilities of a run, and what its checks share."""

    def __init__(self, names: Iterable[str], limits: Automation, user: User | None) -> None:
        self._limits, self._user = limits, user
        self._classes, self._broken = facility_classes()
        self._stock: dict[str, Stock] = {}
        self._sights: dict[Account, Sight] = {}
        self._processes: dict[str, ClassProcess] = {}
        self.unusable: dict[str, SyncError] = {}  # why, by facility
        self.trouble: NotImportable | None = None  # told once, whatever facilities it is about
        self.lists: dict[Account, Found] = {}  # of requests
        self.frame_lists: dict[Account, dict[str, Listed]] = {}  # by request
        self.having_frames: set[int] = set()  # records that a list was read for
        self.owing = patient(records_that_owe)()
        self.in_hand: set[tuple[str, str]] = set()  # frames that a record is storing now
        self.terminal: dict[tuple, tuple[str, ...]] = {}  # states, by facility and user
        for name in names:
            self._prepare(name)

    def _prepare(self, name: str) -> None:
        try:
            facility_class = usable_class(name, self._classes, self._broken)
            if is_stock(facility_class):
                self._stock[name] = stock = Stock(name, facility_class)
                self._sights.setdefault(stock.account, Sight(stock.ocs))
                if not stock.key:
                    logger.warning(
                        '%s has no API key, so it shows only what is public: %s',
                        name,
                        stock.wants_key,
                    )
            else:
                self._processes[name] = ClassProcess(name, facility_class)
                self._processes[name].start()
        except Unsupported as reason:
            self.unusable[name] = reason
        except NotImportable as error:
            self.unusable[name], self.trouble = SetAside(str(error)), error

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.kill()

    def restart_dead(self) -> None:
        """Start processes again that have crashed or were ended."""
        for process in self._processes.values():
            process.restart_if_dead()

    def stock(self, name: str) -> Stock | None:
        """The facility of that name, if it is of LCO's kind."""
        return self._stock.get(name)

    def archive_of(self, name: str) -> str:
        """Whose ids the frames of a facility have; its own name where nobody can tell."""
        stock, facility_class = self._stock.get(name), self._classes.get(name)
        if stock is None and facility_class is not None and is_stock(facility_class):
            with suppress(Unsupported):  # which is the trouble of its own records alone
                stock = Stock(name, facility_class)
        return (stock.archive_id if stock else name)[:100]

    def overrides(self, name: str, method: str) -> bool:
        """Whether the class has a method of its own."""
        return name in self._processes and overrides(self._classes[name], method)

    def list_jobs(self, due: dict[str, deque[int]]) -> dict[Account, Job]:
        """What reads the lists of each portal, by account, for the records that are due."""
        jobs = {}
        for account in {stock.account for stock in self._stock.values()}:
            stocks, keys = self._of_account(account, due)
            if wanted := wanted_of(keys, timezone.now() - self._limits.DATA_WINDOW):
                work = partial(read_lists, stocks[0].ocs, wanted)
                jobs[account] = self._portal_job(stocks[0], work, 'lists of requests')
        return jobs

    def archive_list_job(self, account: Account, due: dict[str, deque[int]]) -> Job | None:
        """What reads the archive's lists for the records of an account whose statuses are known.

        None where single calls cost less.
        """
        stocks, keys = self._of_account(account, due)
        first, since = stocks[0], timezone.now() - self._limits.DATA_WINDOW
        wanted, spans = archive_lists.spans_of(
            archive_lists.wanted_of(keys, self.lists[account], since, first.success_states())
        )
        if not spans:
            return None
        known, having = archive_lists.known_frames(keys, self.archive_of(first.name))
        self.having_frames |= having
        sight = self._sights[account]
        work = partial(archive_lists.read_frames, first.ocs, wanted, spans, known, sight)
        return self._archive_job(first, work, 'lists of frames')

    def take_frame_lists(self, account: Account, listed: dict[str, Listed]) -> None:
        """Keep what the archive's lists say, and of which of these frames somebody has heard."""
        stocks, _ = self._of_account(account, {})
        archive = self.archive_of(stocks[0].name)
        ids = (str(frame_id) for one in listed.values() for frame_id in one.new)
        heard = heard_of(ids, archive)
        for one in listed.values():
            one.are_new = heard.isdisjoint(map(str, one.new))
        self.frame_lists[account] = listed

    def _of_account(
        self, account: Account, due: dict[str, deque[int]]
    ) -> tuple[list[Stock], list[int]]:
        """The facilities that share an account, and their records that are due."""
        stocks = [stock for stock in self._stock.values() if stock.account == account]
        return stocks, [key for stock in stocks for key in due.get(stock.name, ())]

    def status_job(self, name: str, record: ObservationRecord) -> Job:
        """A job that asks for the status of `record`."""
        if (stock := self._stock.get(name)) is None:
            return self.class_job(name, record, 'status', record.observation_id)
        work = partial(stock.status, record.observation_id)
        return self._portal_job(stock, work, f'{name}: the status of {record.observation_id}')

    def frames_job(self, name: str, record: ObservationRecord) -> Job:
        """A job that asks for the frames of `record`."""
        if (stock := self._stock.get(name)) is None:
            return self.class_job(name, record, 'frames', record.observation_id)
        parameters = record.parameters if isinstance(record.parameters, dict) else {}
        proposal = parameters.get('proposal')
        shown = self._sights[stock.account].proposals
        work = partial(stock.frames, record.observation_id, proposal, shown)
        return self._archive_job(stock, work, f'the list of frames of {record.observation_id}')

    def download_job(self, name: str, plan: Plan) -> Job:
        """A job that fetches a frame."""
        work, doing = partial(frame_files.fetch, plan, self._limits), plan.frame.filename
        asked = f"{name}'s file server"
        return self._http_job(work, f'the download of {doing}', asked, plan.frame.url, DISK, ROOM)

    def disk_job(self, name: str, work: Callable[[], object], doing: str) -> Job:
        """A job that looks at stored files."""
        return Job(work, doing, name, (DISK,), ((DISK, self._limits.WORKERS),))

    def class_job(
        self, name: str, record: ObservationRecord, method: str, *arguments: object
    ) -> Job:
        """A job that calls a class in its process."""
        user, most = self._user or record.user, self._limits.WORKERS
        key, account = ('class', name), ('account', name, user.pk if user else 0)
        hosts = {
            ('host', urlsplit(value).netloc)
            for value in (settings.FACILITIES.get(name) or {}).values()
            if isinstance(value, str) and '://' in value
        }
        limits = (key, 1), (CLASSES, self._limits.CONNECTIONS - 2)
        limits += tuple((host, most) for host in sorted(hosts))
        seconds = self._limits.TRANSFER_TIMEOUT
        work = partial(self._processes[name].call, method, user, *arguments, seconds=seconds)
        return Job(work, f'{name}.{CALLS[method]}', name, (key, account), limits)

    def _portal_job(self, stock: Stock, work: Callable[[], object], doing: str) -> Job:
        account = 'account', stock.portal_host, stock.key
        return self._http_job(work, doing, stock.name, stock.portal, account)

    def _archive_job(self, stock: Stock, work: Callable[[], object], doing: str) -> Job:
        account = 'account', stock.archive_id, stock.key
        return self._http_job(work, doing, f"{stock.name}'s archive", stock.archive, account)

    def _http_job(
        self, work: Callable[[], object], doing: str, asked: str, address: str, *keys: tuple
    ) -> Job:
        """A job that only so many do at a time at the host of `address`."""
        host = 'host', urlsplit(address).netloc
        return Job(work, doing, asked, (host, *keys), ((host, self._limits.WORKERS),))
