"""One run of `updatetargets`: which queries, which targets, what came of each.

Each service works in a process of its own, which keeps what it finds. The main thread says what
is next, and writes the history. A problem with a service stays there: rule 3.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from time import monotonic

from django.utils import timezone
from tom_dataservices.dataservices import get_data_service_classes

from .. import errors
from ..conf import Automation
from ..models import UpdateRun
from ..new_target_access import Access, access_to_new_targets, is_hidden
from ..observatories.facility_process import ClassProcess
from ..running import runs
from ..running.failures import fail
from ..running.heartbeat import Heartbeat
from ..running.outcomes import Outcome
from ..running.recorded_run import recorded_run
from ..running.threads import Job, Pool
from ..sync.check_due import LAST_SECONDS, TICK
from ..sync.facility_jobs import CLASSES
from .report import TargetsReport, failures_of
from .selection import (
    Selection,
    has_data,
    queries_of,
    services_with_targets,
    targets_to_ask,
)
from .service_process import CALLS, AtWork, Batch, Orders

logger = logging.getLogger(__name__)

COMMAND = 'updatetargets'
Item = tuple[str, int, str]  # method, id, name
Answer = tuple[Batch | None, Exception | None]


def update_targets(
    selection: Selection,
    limits: Automation,
    dry_run: bool = False,
    progress: Callable[[TargetsReport], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
) -> TargetsReport:
    """Run the selected queries, keep what they find, and ask for the data of known targets.

    A dry run asks the services as well, and writes nothing. Raises AnotherRun where a run is in
    progress already. Otherwise whatever happens to a candidate, query or service is in the report.
    """
    access, only = access_to_new_targets(), selection.words()
    report = TargetsReport(dry_run=dry_run, are_hidden=is_hidden(access))
    recorded = recorded_run(job, COMMAND, report, limits, only, begun, dry_run)
    with recorded as (run, deadline):
        _Run(run, report, limits, deadline, progress).go(selection, access)
    return report


class _Run:
    """The main thread's work in one run."""

    def __init__(
        self,
        run: UpdateRun | None,
        report: TargetsReport,
        limits: Automation,
        deadline: float,
        progress: Callable[[TargetsReport], None],
    ) -> None:
        self._run, self._report, self._limits = run, report, limits
        self._deadline, self._progress = deadline, progress
        self._outcomes: list[Outcome] = []
        self._processes: dict[str, ClassProcess] = {}
        self._active: dict[str, Generator[Job, Answer, None]] = {}

    def go(self, selection: Selection, access: Access) -> None:
        """Ask every service at the same time, each for one thing after another."""
        queries = queries_of(selection)
        self._report.due = sum(map(len, queries.values()))
        installed = get_data_service_classes()
        names = set(queries)
        if self._run is not None:
            names |= services_with_targets(selection)
        claim = partial(runs.claim, self._run.pk) if self._run else lambda: None
        orders = Orders(access, claim, selection.limit, dry_run=self._run is None)
        with ExitStack() as at_the_end:
            for name in sorted(names & set(installed)):
                put_to_work = partial(AtWork, orders=orders)
                process = ClassProcess(name, installed[name], put_to_work, CALLS)
                self._processes[name] = process
                at_the_end.callback(process.kill)
                process.start()
                its = [('ask', pk, label) for pk, label in queries.get(name, ())]
                self._active[name] = self._work_of(name, its, installed[name], selection)
            self._refuse_unknown(queries, installed)
            heart = at_the_end.enter_context(runs.heartbeat(self._run, self._report))
            self._pool = Pool(max(1, len(self._active)), self._deadline)
            at_the_end.callback(self._pool.stop)
            self._work(heart)

    def _work(self, heart: Heartbeat) -> None:
        for name in list(self._active):
            self._go_on(name, None)
        while self._active:
            heart.insist()
            for name, result, error in self._pool.finished(TICK):
                self._go_on(name, (result, error))
            self._write_outcomes()
            for name in self._active:
                self._processes[name].restart_if_dead()
        self._write_outcomes()

    def _go_on(self, name: str, answer: Answer | None) -> None:
        try:
            self._pool.submit(self._active[name].send(answer), name)
        except StopIteration:
            del self._active[name]
            self._processes[name].kill()

    def _work_of(
        self, name: str, queries: list[Item], service_class: type, selection: Selection
    ) -> Generator[Job, Answer, None]:
        """What is to be asked of a service: its queries, and then the data of targets."""
        for items in (queries, None):
            if items is None:
                items = self._targets(name, service_class, selection)
                self._report.due += len(items)
            for number, item in enumerate(items):
                trouble = yield from self._item(name, item)
                if isinstance(trouble, errors.OutOfTime):
                    self._not_reached(name, len(items) - number)
                    return
                if isinstance(trouble, errors.OF_THE_SERVICE):
                    self._report.set_aside += len(items) - number - 1
                    if not isinstance(trouble, errors.NoAnswer):
                        return
                    break  # it may be too much for that query alone, at every run

    def _targets(self, name: str, service_class: type, selection: Selection) -> list[Item]:
        if self._run is None or not has_data(service_class):
            return []
        found = targets_to_ask(name, selection, timezone.now(), self._limits.DATA_TARGETS)
        return [('data', pk, label) for pk, label in found]

    def _item(self, name: str, item: Item) -> Generator[Job, Answer, Exception | None]:
        """Ask one thing until all of its answer has come; what went wrong with it, if anything."""
        while True:
            batch, error = yield self._job(name, item)
            if error is not None:
                if not isinstance(error, errors.OutOfTime):
                    self._fail(name, item, error)
                return error
            self._report.take(name, batch)
            self._outcomes += failures_of(name, batch)
            if batch.is_last:
                self._report.checked += not batch.is_gone
                self._report.gone += batch.is_gone
                return None

    def _job(self, name: str, item: Item) -> Job:
        method, pk, label = item
        left = self._deadline + LAST_SECONDS - monotonic()
        seconds = max(0.1, min(self._limits.TRANSFER_TIMEOUT, left))
        work = partial(self._processes[name].call, method, None, pk, seconds=seconds)
        limits = (CLASSES, self._limits.CONNECTIONS - 2)
        return Job(work, f'{name}.{CALLS[method]} for {label}', name, limits=(limits,))

    def _fail(self, name: str, item: Item, error: Exception) -> None:
        """Note a failure: that of a service as a whole has no name of a query or target."""
        label = '' if isinstance(error, errors.OF_THE_SERVICE) else item[2]
        self._report.failed_items += 1
        self._outcomes.append(
            Outcome(name, observation_id=label[:255], error=str(error), kind=error.kind)
        )

    def _not_reached(self, name: str, count: int) -> None:
        self._report.not_reached += count
        things = '1 query or target was' if count == 1 else f'{count} queries and targets were'
        error = f'{things} not reached before the deadline'
        self._outcomes.append(Outcome(name, error=error, kind=errors.OutOfTime.kind))

    def _refuse_unknown(self, queries: dict[str, list], installed: dict[str, type]) -> None:
        for name in sorted(set(queries) - set(installed)):
            choice = ', '.join(sorted(installed)) or 'none'
            error = errors.BadQuery(
                f'{name} is not installed in this TOM. The data services are: {choice}'
            )
            for pk, label in queries[name]:
                self._fail(name, ('ask', pk, label), error)

    def _write_outcomes(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        fail(self._run, self._report, *outcomes)
        self._progress(self._report)
