"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from collections import deque
from collections.abc import Generator, Iterator
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, StoredFrame
from . import hooks, products, storage
from .class_process import ClassProcess
from .errors import BadAnswer, BrokenClass, HookFailed, NoKey, OutOfTime, SetAside, SyncError, Unsupported
from .facilities import Status, Stock, facility_classes, is_stock, overrides, usable_class
from .frames import Frame, Listing
from .outcomes import Ending, Outcome
from .portal_lists import PortalLists
from .products import Action, Plan
from .workers import DISK, Job

BATCH = 100  # frames that are looked at together
Jobs = Generator[list[Job], list[tuple[Any, Exception | None]], Any]


class Facilities:
    """The facilities of a run: who asks each, and by which job."""

    def __init__(self, due: dict[str, deque[int]], limits: Automation, user: User | None) -> None:
        self._limits, self.user = limits, user
        self._classes, self.broken = facility_classes()
        self._stock: dict[str, Stock] = {}
        self._processes: dict[str, ClassProcess] = {}
        self.unsupported: dict[str, str] = {}
        self.lists = PortalLists(due, limits)
        self._terminal: dict[tuple, tuple[str, ...]] = {}
        for name in due:
            self._prepare(name)

    def _prepare(self, name: str) -> None:
        try:
            facility_class = usable_class(name, self._classes)
            if is_stock(facility_class):
                self._stock[name] = Stock(name, facility_class)
            else:
                self._processes[name] = ClassProcess(name, facility_class)
                self._processes[name].start()
        except Unsupported as reason:
            entries = '; '.join(f'{path}: {error}' for path, error in self.broken.items())
            self.unsupported[name] = f'{reason}. Not importable: {entries}' if entries else str(reason)

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.kill()

    def restart_dead(self) -> None:
        """Start processes again that have crashed or were ended."""
        for process in self._processes.values():
            if process.is_dead:
                process.kill()
                process.start()

    def stock(self, name: str) -> Stock | None:
        """The facility of that name, if it is of LCO's kind."""
        return self._stock.get(name)

    def archive_of(self, name: str) -> str:
        """Whose ids the frames of a facility have."""
        facility_class = self._classes.get(name)
        if name not in self._stock and facility_class is not None and is_stock(facility_class):
            self._stock[name] = Stock(name, facility_class)
        stock = self._stock.get(name)
        return (stock.archive_id if stock else name)[:100]

    def overrides(self, name: str, method: str) -> bool:
        """Whether the class has a method of its own."""
        return name in self._processes and overrides(self._classes[name], method)

    def portal_job(self, stock: Stock, work: object, doing: str) -> Job:
        """A job that asks a portal."""
        return self._http_job(stock, stock.portal, work, doing)

    def archive_job(self, stock: Stock, work: object, doing: str) -> Job:
        """A job that asks an archive."""
        return self._http_job(stock, stock.archive, work, doing, "'s archive")

    def _http_job(
        self, stock: Stock, address: str, work: object, doing: str, what: str = ''
    ) -> Job:
        host = 'host', urlsplit(address).netloc
        keys = host, ('account', host[1], stock.key)
        return Job(work, doing, stock.name + what, keys, ((host, self._limits.WORKERS),))

    def download_job(self, facility: str, plan: Plan) -> Job:
        """A job that fetches a frame."""
        host = 'host', urlsplit(plan.frame.url).netloc
        return Job(
            lambda: products.fetch(plan, self._limits),
            f'the download of {plan.frame.filename}',
            f"{facility}'s file server",
            (DISK, host),
            ((host, self._limits.WORKERS),),
        )

    def disk_job(self, facility: str, work: object, doing: str) -> Job:
        """A job that looks at stored files."""
        return Job(work, doing, facility, (DISK,), ((DISK, self._limits.WORKERS),))

    def class_job(self, name: str, record: ObservationRecord, method: str, argument: object) -> Job:
        """A job that calls a class in its process."""
        user, process = self.user or record.user, self._processes[name]
        key, account = ('class', name), ('account', name, user.pk if user else 0)
        others = {
            urlsplit(value).netloc
            for value in (settings.FACILITIES.get(name) or {}).values()
            if isinstance(value, str) and '://' in value
        }
        return Job(
            lambda: process.call(method, user, argument, seconds=self._limits.TRANSFER_TIMEOUT),
            f'{name}.{method}',
            name,
            (key, account),
            ((key, 1), *((('host', host), self._limits.WORKERS) for host in sorted(others))),
        )
