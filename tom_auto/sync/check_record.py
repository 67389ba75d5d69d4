"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from collections.abc import Callable, Iterator

from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, StoredFrame
from . import class_saves, hooks, storage
from .bring_frames import RecordFrames
from .errors import BrokenClass, OutOfTime, PartFailed, SetAside, SyncError, Unsupported
from .facilities import TIMES, Stock
from .facility_jobs import Facilities, Jobs, one
from .outcomes import Ending, Outcome
from .workers import Job


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
        self._frames = RecordFrames(self.outcome, facilities, limits)
        self._unsupported: Unsupported | None = None

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
            yield from self._part(self._ask(record))
        except OutOfTime:
            outcome.ending = Ending.NOT_REACHED
        except SyncError as error:
            outcome.note(error)
            if isinstance(error, SetAside):
                outcome.ending = Ending.SET_ASIDE
        self._pay(hooks.pay_product_hooks, record.pk, self._frames.saved)
        if outcome.ending is Ending.CHECKED and outcome.error:
            outcome.ending = Ending.FAILED
        elif outcome.ending is Ending.CHECKED and self._unsupported:  # which hides no failure
            outcome.note(self._unsupported)
            outcome.ending = Ending.UNSUPPORTED

    def _part(self, steps: Jobs, otherwise: object = None) -> Jobs:
        """What one part of the check comes to; where it cannot be done, the rest goes on."""
        try:
            return (yield from steps)
        except Unsupported as reason:
            self._unsupported = self._unsupported or reason
        except PartFailed as error:
            self.outcome.note(error)
        return otherwise

    def _pay(self, pay: Callable[..., None], *arguments: object) -> None:
        """Run hooks; one that fails is noted, and the rest goes on."""
        try:
            pay(*arguments)
        except PartFailed as error:
            self.outcome.note(error)

    def _ask(self, record: ObservationRecord) -> Jobs:
        name, outcome = self.outcome.facility, self.outcome
        if reason := self._facilities.unsupported.get(name):
            raise Unsupported(reason)
        stock = self._facilities.stock(name)
        if stock is not None and not record.observation_id.isdecimal():
            raise Unsupported(f'{record.observation_id!r} is not the number of a request')
        self._pay(hooks.pay_status_hook, record.pk)
        # Whatever becomes of the status, the data is wanted.
        begun = yield from self._part(self._refresh_status(record, stock), otherwise=True)
        outcome.changed, outcome.status = record.status != outcome.status, record.status
        self._pay(hooks.pay_status_hook, record.pk)
        outcome.terminal = yield from self._part(self._is_terminal(record, stock), otherwise=False)
        outcome.ended = record.scheduled_end if outcome.terminal else None
        if self._facilities.overrides(name, 'save_data_products'):
            yield from self._let_it_save(record)
        elif begun or StoredFrame.objects.filter(record=record).exists():
            yield from self._frames.bring(record, stock)
        success = stock.is_success(record.status) if stock else record.status == 'COMPLETED'
        if success and not outcome.found:
            outcome.has_data = DataProduct.objects.filter(observation_record=record).exists()

    def _refresh_status(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        """Have the status of `record` written; whether it may have frames."""
        name, news = self.outcome.facility, None
        if self._facilities.overrides(name, 'update_observation_status'):
            hooks.note_owed(record)
            job = self._facilities.class_job(name, record, 'update', record.observation_id)
            try:
                yield from one(job)
            finally:
                record.refresh_from_db(fields=['status', *TIMES])
            return True
        if stock is not None:
            found = self._facilities.lists.get((stock.portal, stock.key), {})
            news = found.get(record.observation_id)
        if news is not None and news.status_then == record.status:
            times = {field: getattr(record, field) for field in TIMES}
            status, begun = stock.status_of(times | news.answer), news.begun
        else:
            status = yield from one(self._facilities.status_job(name, record))
            begun = True
        if status.fault:
            self.outcome.note(BrokenClass(status.fault))
        if not hooks.write_status(record, status):
            record.refresh_from_db(fields=['status', *TIMES])  # a newer one: it is due again
        return begun

    def _is_terminal(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        if stock is not None:
            return stock.is_terminal(record.status)
        key, known = (self.outcome.facility, record.user_id), self._facilities.terminal
        if key not in known:
            job = self._facilities.class_job(key[0], record, 'terminal_states')
            known[key] = yield from one(job)
        return record.status in known[key]

    def _let_it_save(self, record: ObservationRecord) -> Jobs:
        """Let a class save by itself, and see that what it saved are files."""
        name, facilities = self.outcome.facility, self._facilities
        # Not while the storage is away: what has no file there would count as missing.
        yield from one(facilities.disk_job(name, storage.the_storage, 'the storage'))
        class_saves.note_begun(record)
        faults = self._take_over(record)  # from a call that was killed
        [(_, error)] = yield [facilities.class_job(name, record, 'save', record.pk)]
        faults += self._take_over(record)
        RecordSync.objects.filter(pk=record.pk).update(saving=False)
        self.outcome.found = DataProduct.objects.filter(observation_record=record).count()
        if error is not None:
            raise error
        if faults:
            raise BrokenClass(f'{name} saved a broken file: {faults[0]}')

    def _take_over(self, record: ObservationRecord) -> list[str]:
        faults, archive = [], self._facilities.archive_of(self.outcome.facility)
        for kept, fault in class_saves.taken_over(record, archive):
            self.outcome.saved += kept
            faults += [fault] if fault else []
        return faults
