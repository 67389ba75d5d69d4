"""One run of `updatedata`: which records are due, what becomes of each, what came of it.

The main thread does all that touches the database, one record after another. What asks an
observatory or fetches a file is a job for the threads of `workers`. Checking a record is written
as one function, `check_record`, which yields the jobs that it needs and gets their results.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from time import monotonic

from django.contrib.auth.models import User
from django.db import Error as DatabaseTrouble
from django.db.models import F

from ..conf import Automation
from ..interrupt import ended_after
from ..models import RecordSync, UpdateRun
from . import runs, storage
from .check_record import Check
from .db_retry import connect_again, limited_waits
from .due import Selection, enrol, records_due
from .errors import AnotherRun, OutOfTime, StorageAway, SyncError
from .explain import explained
from .facilities import Account
from .facility_jobs import Facilities
from .http import limited_requests
from .outcomes import Ending, Outcome, Report
from .storage_id import insist_on_storage
from .workers import DISK, Pool

logger = logging.getLogger(__name__)

JOB = 'updatedata'
TICK = 0.5  # seconds between two looks at the clock
GATHER = 0.3  # seconds: the outcomes of so long are written together
LAST_SECONDS = 3  # after the deadline, for what is under way
HELD_UP = 25  # seconds after the deadline: a run that something holds is ended, whatever it is


def update(
    selection: Selection,
    limits: Automation,
    user: User | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
) -> Report:
    """Check every selected record that is due, and bring home the frames that there are.

    `user`: whose credentials are used, in place of each record's own user. `begun` is called when
    this is known to be the only run, `progress` as outcomes come. Raises AnotherRun where a run is
    in progress already, or has taken over from this one. Otherwise whatever happens to a record or
    a facility is in the report.
    """
    start = monotonic()
    deadline = start + limits.DEADLINE
    begin = runs.the_only_run(JOB, limits, selection.words())
    held_up = ended_after(limits.DEADLINE + HELD_UP)
    with held_up, limited_waits(), begin as run, limited_requests(limits, deadline):
        begun()
        enrol()
        report = Report()
        _Run(run, report, limits, user, deadline, progress).go(due_by_facility(run, selection))
        waiting = RecordSync.objects.filter(failing_since__isnull=False, next_check__gt=run.started)
        report.waiting_after_failures = waiting.exclude(asked_at=run.started).count()
        report.seconds = round(monotonic() - start, 3)
        runs.close(run, report)
    return report


def due_by_facility(run: UpdateRun, selection: Selection) -> dict[str, deque[int]]:
    """The primary keys of the records that are due, by facility.

    Those that were asked longest ago come first, so that a deadline starves none of them.
    """
    asked = F('sync__asked_at').asc(nulls_first=True)
    records = records_due(run.started, selection).order_by(asked, 'pk')
    by_facility: dict[str, deque[int]] = {}
    for facility, pk in records.values_list('facility', 'pk').iterator():
        by_facility.setdefault(facility, deque()).append(pk)
    return by_facility


class _Run:
    """The main thread's work in one run."""

    def __init__(
        self,
        run: UpdateRun,
        report: Report,
        limits: Automation,
        user: User | None,
        deadline: float,
        progress: Callable[[Report], None],
    ) -> None:
        self._run, self._report, self._limits = run, report, limits
        self._user, self._deadline, self._progress = user, deadline, progress
        self._active: dict[int, Check] = {}
        self._reading: dict[Account, list] = {}  # queues that wait for a portal's lists
        self._outcomes: list[Outcome] = []
        self._not_reached: Counter[str] = Counter()  # records, by facility
        self._written = monotonic()

    def go(self, due: dict[str, deque[int]]) -> None:
        """Check every record of `due`, facilities in turn, until all are done or time is up."""
        self._report.due = sum(map(len, due.values()))
        with ExitStack() as at_the_end:
            self._facilities = Facilities(due, self._limits, self._user)
            at_the_end.callback(self._facilities.stop)
            heart = runs.Heart(self._run, self._report)
            at_the_end.callback(heart.stop)
            self._pool = Pool(2 * self._limits.WORKERS, self._deadline)
            at_the_end.callback(self._pool.stop)
            self._insist_on_storage()
            self._work(self._read_lists(due), heart)
            self._say_what_was_not_reached()
            self._write_outcomes(at_once=True)
            self._account()

    def _work(self, queues: deque, heart: runs.Heart) -> None:
        while self._active or queues or self._reading:
            if heart.lost:
                raise AnotherRun(runs.TAKEN_OVER)
            self._begin_more(queues)
            for (pk, number), result, error in self._pool.finished(TICK):
                if pk in self._active:
                    self._resume(self._active[pk], number, result, error)
                elif pk in self._reading:
                    self._go_on_reading(pk, result or {}, queues)
            self._write_outcomes(at_once=not self._active)
            if monotonic() > self._deadline and self._is_over(queues):
                break

    def _insist_on_storage(self) -> None:
        try:
            insist_on_storage()
            storage.empty_parts()
        except StorageAway as error:
            self._pool.set_aside[DISK] = str(error)
            self._outcomes.append(Outcome('', error=str(error), kind=error.kind))

    def _read_lists(self, due: dict[str, deque[int]]) -> deque:
        """Have the portals' lists read; gives the queues of the facilities that wait for none."""
        jobs, waiting = self._facilities.list_jobs(due), {}
        for name, keys in due.items():
            stock = self._facilities.stock(name)
            account = stock.account if stock else None
            waiting.setdefault(account if account in jobs else None, []).append((name, keys))
        for account, job in jobs.items():
            self._pool.submit(job, (account, 0))
        now = deque(waiting.pop(None, ()))
        self._reading = waiting
        return now

    def _go_on_reading(self, account: Account, found: dict, queues: deque) -> None:
        """After the portal's lists those of the archive; then the records that waited for them."""
        if account not in self._facilities.lists:
            self._facilities.lists[account] = found
            job = None
            try:
                job = self._facilities.archive_list_job(account, dict(self._reading[account]))
            except DatabaseTrouble as error:  # each record will be asked for singly, and may fail
                logger.warning('No lists of frames are read: %s', error)
                self._connect_again()
            if job is not None:
                self._pool.submit(job, (account, 1))
                return
        else:
            self._facilities.frame_lists[account] = found
        queues.extend(self._reading.pop(account))

    def _begin_more(self, queues: deque) -> None:
        """Take more records in hand, one of each facility in turn."""
        most = 4 * self._limits.WORKERS
        while queues and len(self._active) < most and monotonic() < self._deadline:
            name, keys = queues.popleft()
            check = Check(name, keys.popleft(), self._facilities, self._limits)
            if keys:
                queues.append((name, keys))
            self._active[check.outcome.record] = check
            self._step(check)

    def _resume(self, check: Check, number: int, result: object, error: Exception | None) -> None:
        if check.receive(number, result, error):
            self._step(check)

    def _step(self, check: Check) -> None:
        """Let a check go on until it needs something, or has ended."""
        try:
            for number, job in check.advance():
                self._pool.submit(job, (check.outcome.record, number))
        except Exception as error:
            check.fail(explained(error, check.outcome.facility))
            if isinstance(error, DatabaseTrouble):
                self._connect_again()
        if check.ended:
            del self._active[check.outcome.record]
            self._outcomes.append(check.outcome)
            if check.outcome.ending is Ending.NOT_REACHED:
                self._not_reached[check.outcome.facility] += 1

    def _connect_again(self) -> None:
        """Perhaps the database has gone: the next record would fail as well."""
        with suppress(DatabaseTrouble):
            connect_again()

    def _write_outcomes(self, at_once: bool) -> None:
        for facility, reason, kind in self._pool.news:
            self._outcomes.append(Outcome(facility, error=reason, kind=kind))
        self._pool.news.clear()
        if self._outcomes and (at_once or monotonic() - self._written > GATHER):
            outcomes, self._outcomes, self._written = self._outcomes, [], monotonic()
            runs.record_outcomes(self._run, outcomes, self._limits)
            for outcome in outcomes:
                self._report.add(outcome)
            self._progress(self._report)
        self._facilities.restart_dead()

    def _is_over(self, queues: deque) -> bool:
        """After the deadline: give up what is under way when it had time to end."""
        if self._active and monotonic() < self._deadline + LAST_SECONDS:
            return False
        held = {pk: (job, since) for (pk, _), (job, since) in self._pool.in_hand.items()}
        for pk, check in list(self._active.items()):
            job, since = held.get(pk, (None, 0))
            doing = job.doing if job else check.doing
            waited = f' in {monotonic() - since:.0f} s' if job else ''
            check.fail(OutOfTime(f'given up at the deadline: {doing} has not ended{waited}'))
            self._outcomes.append(check.outcome)
        self._active.clear()
        for job, since in (held[account] for account in self._reading if account in held):
            waited = f'{monotonic() - since:.0f} s'
            error = f'given up at the deadline: the {job.doing} have not ended in {waited}'
            self._outcomes.append(Outcome(job.facility, error=error, kind=OutOfTime.kind))
        for name, keys in [*queues, *(one for some in self._reading.values() for one in some)]:
            self._report.not_reached += len(keys)
            self._not_reached[name] += len(keys)
        queues.clear()
        self._reading.clear()
        return True

    def _say_what_was_not_reached(self) -> None:
        for name, count in self._not_reached.items():
            records = '1 record was' if count == 1 else f'{count} records were'
            error = f'{records} not reached before the deadline'
            self._outcomes.append(Outcome(name, error=error, kind=OutOfTime.kind))

    def _account(self) -> None:
        """See that every record went somewhere: rule 16."""
        if missing := self._report.unaccounted():
            error = f'{missing} due records are not accounted for. Please report this'
            outcome = Outcome('', error=error, kind=SyncError.kind, ending=Ending.FAILED)
            runs.record_outcomes(self._run, [outcome], self._limits)
            self._report.add(outcome)
