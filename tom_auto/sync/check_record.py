"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..errors import BrokenClass, OutOfTime, PartFailed, SetAside, SyncError, Unsupported
from ..hooks import product_hooks
from ..hooks.attempts import note_attempt
from ..hooks.calls import OF_PRODUCTS, OF_STATUS, is_plain
from ..hooks.owed import products_owed
from ..models import StoredFrame
from ..observatories.facilities import TIMES, Stock
from ..running.database_jobs import DatabaseJob, Jobs, one
from ..running.outcomes import Ending, Outcome
from ..running.sharing import HandOut
from ..running.threads import Job
from . import record_status
from .bring_frames import RecordFrames
from .facility_jobs import Facilities
from .facility_saves import let_it_save

_numbers = count(1)  # in the order in which checks begin


class Records:
    """Records whose checks begin together: read in one question, when the first is wanted."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self._found: dict[int, ObservationRecord] | None = None

    def get(self, pk: int) -> ObservationRecord | None:
        """The record `pk`; None where it is gone."""
        if self._found is None:
            rows = ObservationRecord.objects.select_related('sync', 'target')
            self._found = rows.in_bulk(self.keys)
        return self._found.pop(pk, None)


class Check:
    """The check of one record, as far as it has come."""

    def __init__(
        self,
        name: str,
        pk: int,
        records: Records,
        facilities: Facilities,
        limits: Automation,
        hand_out: HandOut,
    ) -> None:
        self.outcome, self.number = Outcome(name, pk), next(_numbers)
        self._records = records
        self.ended = False
        self.doing = name
        self._facilities, self._limits, self._hand_out = facilities, limits, hand_out
        self._steps = self._run()
        self._results: list = []
        self._open = 0
        self._frames = RecordFrames(self.outcome, facilities, limits)
        self._unsupported: Unsupported | None = None
        self._has_attempted = False

    def advance(self) -> Iterator[tuple[int, Job | DatabaseJob]]:
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
        record = self._records.get(outcome.record)
        if record is None:
            outcome.ending = Ending.GONE
            return
        outcome.observation_id, outcome.status = record.observation_id, record.status
        outcome.ending = Ending.CHECKED
        try:
            with self._noted():
                yield from self._ask(record)
        except OutOfTime:
            outcome.ending = Ending.NOT_REACHED
        except SyncError as error:
            outcome.note(error)
            if isinstance(error, SetAside):
                outcome.ending = Ending.SET_ASIDE
        try:
            with self._noted():
                yield from self._pay_product_hooks(record)
        except OutOfTime as error:
            if outcome.ending is Ending.CHECKED and not outcome.error:
                outcome.ending = Ending.NOT_REACHED
            outcome.note(error)
        if outcome.ending is Ending.CHECKED and outcome.error:
            outcome.ending = Ending.FAILED
        elif outcome.ending is Ending.CHECKED and self._unsupported:  # which hides no failure
            outcome.note(self._unsupported)
            outcome.ending = Ending.UNSUPPORTED

    def _pay_product_hooks(self, record: ObservationRecord) -> Jobs:
        products = set(self._frames.saved)
        lease, holder = 0, product_hooks.RUN
        if self._limits.TASK_ENGINE != 'none' and not is_plain(*OF_PRODUCTS):
            lease, holder = self._limits.LEASE, product_hooks.this_process()
        saves = self._facilities.overrides(self.outcome.facility, 'save_data_products')
        if saves or record.pk in self._facilities.owing:
            products.update(products_owed(record.pk))
            lease = self._limits.LEASE  # some have failed, or workers had them, before
        if products and not self._hand_out(products):
            if record.pk in self._facilities.owing:
                self._note_attempt(record, *OF_PRODUCTS)
            yield from product_hooks.pay_product_hooks(record.pk, products, lease, holder)

    def _note_attempt(self, record: ObservationRecord, *hooks: str) -> None:
        """Before hooks that are owed since an earlier run: once a check, and of the TOM's own."""
        if not (self._has_attempted or is_plain(*hooks)):
            self._has_attempted = True
            note_attempt(record.pk)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Around a part of the check: where it cannot be done, the rest goes on."""
        try:
            yield
        except Unsupported as reason:
            self._unsupported = self._unsupported or reason
        except PartFailed as error:
            self.outcome.note(error)

    def _ask(self, record: ObservationRecord) -> Jobs:
        name, outcome = self.outcome.facility, self.outcome
        if error := self._facilities.unusable.get(name):
            raise error.with_traceback(None)  # or it would keep those of all records
        stock = self._facilities.stock(name)
        if stock is not None and not record.observation_id.isdecimal():
            raise Unsupported(f'{record.observation_id!r} is not the number of a request')
        if record.sync.owes_hook:
            if record.status != record.sync.status_before:
                self._note_attempt(record, OF_STATUS)
            with self._noted():
                yield from record_status.pay_status_hook(record.pk)
        begun = True  # where a part of this is not possible, the data is wanted all the same
        with self._noted():
            begun = yield from self._refresh_status(record, stock)
        outcome.changed, outcome.status = record.status != outcome.status, record.status
        if self._facilities.overrides(name, 'update_observation_status'):
            with self._noted():
                yield from record_status.pay_status_hook(record.pk)
        with self._noted():
            outcome.terminal = yield from self._is_terminal(record, stock)
        outcome.ended = record.scheduled_end if outcome.terminal else None
        if self._facilities.overrides(name, 'save_data_products'):
            yield from let_it_save(record, outcome, self._facilities)
        elif begun or StoredFrame.objects.filter(record=record).exists():
            yield from self._frames.bring(record, stock)
        success = stock.is_success(record.status) if stock else record.status == 'COMPLETED'
        if success and not outcome.found:
            outcome.has_data = DataProduct.objects.filter(observation_record=record).exists()

    def _refresh_status(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        """Have the status of `record` written; whether it may have frames."""
        name, news = self.outcome.facility, None
        if self._facilities.overrides(name, 'update_observation_status'):
            record_status.note_owed([record])
            job = self._facilities.class_job(name, record, 'update', record.observation_id)
            [(_, error)] = yield [job]
            record.refresh_from_db(fields=['status', *TIMES])
            if error is not None:
                raise error
            return True
        if stock is not None:
            found = self._facilities.lists.get(stock.account, {})
            news = found.get(record.observation_id)
        if news is not None and news.then == (record.status, *(getattr(record, f) for f in TIMES)):
            status, begun = stock.status_of(news.answer), news.begun
        else:
            status = yield from one(self._facilities.status_job(name, record))
            begun = True
        if status.fault:
            self.outcome.note(BrokenClass(status.fault))
        if not (yield from record_status.write_status(record, status)):
            record.refresh_from_db(fields=['status', *TIMES])  # somebody's, and newer
        return begun

    def _is_terminal(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        if stock is not None:
            return stock.is_terminal(record.status)
        key, known = (self.outcome.facility, record.user_id), self._facilities.terminal
        if key not in known:
            job = self._facilities.class_job(key[0], record, 'terminal_states')
            known[key] = yield from one(job)
        return record.status in known[key]
