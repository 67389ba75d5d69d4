"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from collections import deque
from collections.abc import Generator, Iterator
from fnmatch import fnmatch
from functools import partial
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, StoredFrame
from . import hooks, products, storage
from .class_process import CALLS, ClassProcess
from .errors import (
    BrokenClass,
    NoKey,
    OutOfTime,
    PartFailed,
    SetAside,
    SyncError,
    Unsupported,
)
from .facilities import TIMES, Status, Stock, facility_classes, is_stock, overrides, usable_class
from .frames import Frame, Listing
from .outcomes import Ending, Outcome
from .portal_lists import Found, read_lists, wanted_of
from .products import Action, Plan
from .whole_file import Received
from .workers import DISK, ROOM, Job

BATCH = 100  # frames that are looked at together
#: What calls classes in their processes, each of which may use a connection to the database.
CLASSES = ('classes',)
Jobs = Generator[list[Job], list[tuple[Any, Exception | None]], Any]


class Facilities:
    """The facilities of a run: who asks each, and by which job."""

    def __init__(self, due: dict[str, deque[int]], limits: Automation, user: User | None) -> None:
        self._limits, self.user = limits, user
        self._classes, self.broken = facility_classes()
        self._stock: dict[str, Stock] = {}
        self._processes: dict[str, ClassProcess] = {}
        self.unsupported: dict[str, str] = {}
        self.lists: dict[tuple[str, str], Found] = {}  # by portal and key
        self.in_hand: set[tuple[str, str]] = set()  # frames that a record is storing now
        self.terminal: dict[tuple, tuple[str, ...]] = {}  # states, by facility and user
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
            self.unsupported[name] = (
                f'{reason}. Not importable: {entries}' if entries else str(reason)
            )

    def list_jobs(self, due: dict[str, deque[int]]) -> dict[tuple[str, str], Job]:
        """What reads the lists of each portal, by portal and key, for the records that are due."""
        keys: dict[tuple[str, str], list[int]] = {}
        for name, stock in self._stock.items():
            keys.setdefault((stock.portal, stock.key), []).extend(due.get(name, ()))
        return {
            account: self.portal_job(
                stock, partial(read_lists, stock.ocs, wanted_of(keys[account])), 'lists of requests'
            )
            for stock in self._stock.values()
            if keys.get(account := (stock.portal, stock.key))
        }

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
            (DISK, ROOM, host),
            ((host, self._limits.WORKERS),),
        )

    def disk_job(self, facility: str, work: object, doing: str) -> Job:
        """A job that looks at stored files."""
        return Job(work, doing, facility, (DISK,), ((DISK, self._limits.WORKERS),))

    def class_job(
        self, name: str, record: ObservationRecord, method: str, *arguments: object
    ) -> Job:
        """A job that calls a class in its process."""
        user, process = self.user or record.user, self._processes[name]
        key, account = ('class', name), ('account', name, user.pk if user else 0)
        others = {
            urlsplit(value).netloc
            for value in (settings.FACILITIES.get(name) or {}).values()
            if isinstance(value, str) and '://' in value
        }
        return Job(
            lambda: process.call(method, user, *arguments, seconds=self._limits.TRANSFER_TIMEOUT),
            f'{name}.{CALLS[method]}',
            name,
            (key, account),
            (
                (key, 1),
                (CLASSES, self._limits.CONNECTIONS - 2),
                *((('host', host), self._limits.WORKERS) for host in sorted(others)),
            ),
        )


def wants_previews() -> bool:
    """Whether each image is to have a JPEG."""
    return getattr(settings, 'AUTO_THUMBNAILS', False)


class Check:
    """The check of one record, as far as it has come."""

    def __init__(self, name: str, pk: int, facilities: Facilities, limits: Automation) -> None:
        self.outcome = Outcome(name, pk)
        self.ended = False
        self.doing = name
        self._facilities, self._limits = facilities, limits
        self._steps = self._run()
        self._results: list = []
        self._open = 0
        self._saved: list[int] = []  # stored frames that hooks are owed for
        self._unsupported: list[Unsupported] = []

    def advance(self) -> Iterator[tuple[int, Job]]:
        """Go on with the results of the last jobs; gives the next ones, numbered."""
        try:
            jobs = self._steps.send(self._results or None)
        except StopIteration:
            self.ended = True
            return
        self.doing = jobs[0].doing
        self._results, self._open = [None] * len(jobs), len(jobs)
        yield from enumerate(jobs)

    def receive(self, number: int, result: object, error: Exception | None) -> bool:
        """Take the result of a job; whether it was the last that was missing."""
        self._results[number] = result, error
        self._open -= 1
        return not self._open

    def fail(self, error: SyncError) -> None:
        """End the check: `error` keeps it from going on."""
        self.outcome.note(error)
        self.outcome.ending, self.ended = Ending.FAILED, True
        self._steps.close()

    def _run(self) -> Jobs:
        outcome = self.outcome
        rows = ObservationRecord.objects.select_related('user', 'sync')
        record = rows.filter(pk=outcome.record).first()
        if record is None:
            outcome.ending = Ending.GONE
            return
        outcome.observation_id, outcome.status = record.observation_id, record.status
        outcome.ending = Ending.CHECKED
        try:
            yield from self._ask(record)
        except Unsupported as reason:
            self._unsupported.append(reason)
        except SetAside as reason:
            outcome.note(reason)
            outcome.ending = Ending.SET_ASIDE
        except OutOfTime:
            outcome.ending = Ending.NOT_REACHED
        except SyncError as error:
            outcome.note(error)
        self._pay(hooks.pay_product_hooks, record.pk, self._saved)
        if outcome.ending is Ending.CHECKED:
            self._end()

    def _end(self) -> None:
        """End a check that came to its end: what is not supported must hide no failure."""
        if self.outcome.error:
            self.outcome.ending = Ending.FAILED
        elif self._unsupported:
            self.outcome.note(self._unsupported[0])
            self.outcome.ending = Ending.UNSUPPORTED

    def _pay(self, pay: object, *arguments: object) -> None:
        """Run hooks; one that fails is noted, and the rest goes on."""
        try:
            pay(*arguments)
        except PartFailed as error:
            self.outcome.note(error)

    def _one(self, job: Job) -> Jobs:
        """The result of one job."""
        [(result, error)] = yield [job]
        if error is not None:
            raise error
        return result

    def _ask(self, record: ObservationRecord) -> Jobs:
        name, outcome = self.outcome.facility, self.outcome
        if reason := self._facilities.unsupported.get(name):
            raise Unsupported(reason)
        stock = self._facilities.stock(name)
        if stock is not None and not record.observation_id.isdecimal():
            raise Unsupported(f'{record.observation_id!r} is not the number of a request')
        self._pay(hooks.pay_status_hook, record.pk)
        asked = self._ask_portal(record, stock) if stock else self._ask_class(record)
        begun = yield from self._part(asked, otherwise=True)  # still: the data is wanted
        outcome.changed, outcome.status = record.status != outcome.status, record.status
        self._pay(hooks.pay_status_hook, record.pk)
        outcome.terminal = yield from self._part(self._is_terminal(record, stock), otherwise=False)
        outcome.ended = record.scheduled_end if outcome.terminal else None
        if self._facilities.overrides(name, 'save_data_products'):
            yield from self._let_it_save(record)
        elif begun or StoredFrame.objects.filter(record=record).exists():
            yield from self._bring_frames(record, stock)
        self._see_whether_it_has_data(record, stock)

    def _part(self, steps: Jobs, otherwise: bool) -> Jobs:
        """What one part of the check comes to; where it cannot be done, the rest goes on."""
        try:
            return (yield from steps)
        except Unsupported as reason:
            self._unsupported.append(reason)
        except PartFailed as error:
            self.outcome.note(error)
        return otherwise

    def _ask_portal(self, record: ObservationRecord, stock: Stock) -> Jobs:
        """Refresh the status of `record`; whether it may have frames."""
        news = self._facilities.lists.get((stock.portal, stock.key), {}).get(record.observation_id)
        if news is not None and news.status_then == record.status:
            times = {name: getattr(record, name) for name in TIMES}
            status = stock.status_of(times | news.answer)
        else:
            news = None
            work = partial(stock.status, record.observation_id)
            doing = f'{stock.name}: the status of {record.observation_id}'
            status = yield from self._one(self._facilities.portal_job(stock, work, doing))
        self._write(record, status)
        return news is None or news.begun

    def _ask_class(self, record: ObservationRecord) -> Jobs:
        """The same, of a class that is not of LCO's kind."""
        name = self.outcome.facility
        if self._facilities.overrides(name, 'update_observation_status'):
            hooks.note_owed(record)
            job = self._facilities.class_job(name, record, 'update', record.observation_id)
            try:
                yield from self._one(job)
            finally:
                record.refresh_from_db(fields=['status', *TIMES])
        else:
            job = self._facilities.class_job(name, record, 'status', record.observation_id)
            self._write(record, (yield from self._one(job)))
        return True

    def _write(self, record: ObservationRecord, status: Status) -> None:
        if status.fault:
            self.outcome.note(BrokenClass(status.fault))
        if not hooks.write_status(record, status):
            record.refresh_from_db(fields=['status', *TIMES])  # a newer one: it is due again
            self.outcome.changed = False

    def _is_terminal(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        if stock is not None:
            return stock.is_terminal(record.status)
        name, user = self.outcome.facility, record.user_id
        known = self._facilities.terminal
        if (name, user) not in known:
            job = self._facilities.class_job(name, record, 'terminal_states')
            known[name, user] = yield from self._one(job)
        return record.status in known[name, user]

    def _bring_frames(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        """Fetch the frames of `record` that are wanted and not here yet."""
        outcome, name = self.outcome, self.outcome.facility
        if stock is not None:
            work = partial(stock.frames, record.observation_id)
            doing = f'the list of frames of {record.observation_id}'
            job = self._facilities.archive_job(stock, work, doing)
        else:
            job = self._facilities.class_job(name, record, 'frames', record.observation_id)
        listing: Listing = yield from self._one(job)
        if stock and stock.is_success(record.status) and not listing.frames and not stock.key:
            raise NoKey(f'no frames can be seen without an API key: set {name}_API_KEY in .env')
        patterns = self._limits.WANTED_FRAMES.get(name)
        wanted = [
            frame
            for frame in listing.frames
            if patterns is None or any(fnmatch(frame.filename, pattern) for pattern in patterns)
        ]
        outcome.filtered = len(listing.frames) - len(wanted)
        outcome.found = len(wanted)
        troubles: list[SyncError] = list(listing.faults)
        for start in range(0, len(wanted), BATCH):
            yield from self._store(record, wanted[start : start + BATCH], troubles)
        if troubles:
            troubles.sort(key=lambda trouble: isinstance(trouble, OutOfTime | SetAside))
            first, count = troubles[0], len(troubles)
            text = str(first) if count == 1 else f'{count} of {outcome.found} frames: {first}'
            raise type(first)(text) from first

    def _store(
        self, record: ObservationRecord, frames: list[Frame], troubles: list[SyncError]
    ) -> Jobs:
        archive = self._facilities.archive_of(self.outcome.facility)
        in_hand = self._facilities.in_hand
        while frames:
            mine = [frame for frame in frames if (archive, frame.id) not in in_hand]
            frames = [frame for frame in frames if (archive, frame.id) in in_hand]
            if not mine:  # another record that has the same frames is storing them
                yield from self._one(Job(partial(sleep, 0.1), 'another record', archive))
                continue
            keys = {(archive, frame.id) for frame in mine}
            in_hand |= keys
            try:
                yield from self._store_mine(record, archive, mine, troubles)
            finally:
                in_hand -= keys

    def _store_mine(
        self,
        record: ObservationRecord,
        archive: str,
        frames: list[Frame],
        troubles: list[SyncError],
    ) -> Jobs:
        name = self.outcome.facility
        plans = products.plans(record, archive, frames, self._facilities.archive_of)
        names = [name for plan in plans for name in (plan.name, plan.preview) if name]
        sizes = {}
        if names:
            work = partial(storage.sizes, names)
            sizes = yield from self._one(self._facilities.disk_job(name, work, 'stored files'))
        todo: list[Plan] = []
        for plan in plans:
            try:
                products.decide(plan, record, sizes)
            except SyncError as clash:
                troubles.append(clash)
            if plan.action is not Action.NOTHING:
                todo.append(plan)
            elif plan.stored and plan.product:
                products.share(record, plan.stored)
                if wants_previews() and plan.preview and sizes[plan.preview] is None:
                    preview, drawn = yield from self._draw(record, plan)
                    if drawn is not None:
                        products.write(record, preview, drawn, hooks_owed=False)
        if todo and record.sync.is_settled:  # if this is killed, the next run goes on with it
            RecordSync.objects.filter(pk=record.pk).update(state=RecordSync.State.WAITING)
        while todo:
            for plan in todo:
                products.note_broken(record, plan)
            results = yield [self._job_for(plan) for plan in todo]
            again = []
            for plan, (received, error) in zip(todo, results, strict=True):
                if error is not None:
                    troubles.append(error)
                elif received is not None:
                    kept = yield from self._keep(record, plan, received)
                    if not kept and products.found_meanwhile(plan):
                        again.append(plan)
                elif plan.action is Action.ADOPT:
                    plan.action, plan.place = Action.FETCH, plan.name
                    again.append(plan)
            todo = again

    def _job_for(self, plan: Plan) -> Job:
        if plan.action is Action.ADOPT:
            work, doing = partial(products.adopt, plan), f'the file {plan.name}'
            return self._facilities.disk_job(self.outcome.facility, work, doing)
        return self._facilities.download_job(self.outcome.facility, plan)

    def _keep(self, record: ObservationRecord, plan: Plan, received: Received) -> Jobs:
        """Have a preview made, and write the rows of one frame; whether they are written."""
        owes_hooks, was_there = plan.owes_hooks, plan.product is not None
        preview = drawn = None
        if owes_hooks and wants_previews():
            preview, drawn = yield from self._draw(record, plan)
        with transaction.atomic():
            stored = products.write(record, plan, received)
            if stored is not None and drawn is not None:
                products.write(record, preview, drawn, hooks_owed=False)
        if stored is not None and owes_hooks:
            new = not was_there or plan.action is Action.RENEW
            self._saved.append(stored.pk)
            self.outcome.saved += new
            self.outcome.repaired += not new
        return stored is not None

    def _draw(self, record: ObservationRecord, plan: Plan) -> Jobs:
        from . import previews  # here: without previews it is not needed, and takes half a second

        frame = previews.preview_of(plan)
        [preview] = products.plans(record, plan.archive, [frame], self._facilities.archive_of)
        preview.place = f'{plan.place.rpartition("/")[0]}/{frame.filename}'.lstrip('/')
        preview.action = Action.FETCH
        work = partial(previews.draw, plan.place, preview.place)
        job = self._facilities.disk_job(self.outcome.facility, work, f'a preview of {plan.place}')
        [(drawn, _)] = yield [job]
        return preview, drawn

    def _let_it_save(self, record: ObservationRecord) -> Jobs:
        """Let a class save by itself, and see that what it saved are files."""
        name, faults = self.outcome.facility, []
        # Not while the storage is away: what has no file there would count as missing.
        yield from self._one(self._facilities.disk_job(name, storage.the_storage, 'the storage'))
        if products.before_a_class_saves(record):
            faults += self._take_over(record)
        [(_, error)] = yield [self._facilities.class_job(name, record, 'save', record.pk)]
        faults += self._take_over(record)
        RecordSync.objects.filter(pk=record.pk).update(saving=False)
        self.outcome.found = DataProduct.objects.filter(observation_record=record).count()
        if error is not None:
            raise error
        if faults:
            raise BrokenClass(f'{name} saved a broken file: {faults[0]}')

    def _take_over(self, record: ObservationRecord) -> Iterator[str]:
        """Give what a class has saved what every frame gets; what is wrong with it."""
        archive = self._facilities.archive_of(self.outcome.facility)
        for product, fault in products.saved_by_class(record, archive):
            if fault:
                yield fault
            if product.pk:
                self._saved.append(products.take_over(record, product, archive))
                self.outcome.saved += 1

    def _see_whether_it_has_data(self, record: ObservationRecord, stock: Stock | None) -> None:
        success = stock.is_success(record.status) if stock else record.status == 'COMPLETED'
        if success and not self.outcome.found:
            self.outcome.has_data = DataProduct.objects.filter(observation_record=record).exists()
