"""One run of `updatecadences`: each active cadence is let go on, through the seam.

A strategy is `run()` without arguments, and does not say why it submits. So it is run for one
trigger at a time: a failed observation, or the newest one of its group.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from dateutil.parser import parse
from django.db import transaction
from tom_observations import models as observation_models
from tom_observations.cadence import get_cadence_strategy
from tom_observations.cadences import resume_cadence_after_failure, retry_failed_observations
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.models import DynamicCadence, ObservationRecord

from ..conf import Automation
from ..models import Submission, UpdateRun
from ..sync import runs
from ..sync.errors import Ceiling, NotSubmitted, OutOfTime, SyncError
from ..sync.explain import explained
from ..sync.outcomes import Outcome, Report
from ..sync.recorded_run import recorded_run
from .settle import complete, look_up, open_submissions
from .submissions import Seam, WouldSubmit, failure_of, submitting

COMMAND = 'updatecadences'
State = Submission.State


@dataclass
class CadencesReport(Report):
    """What came of a run. What is due: the active cadences; submissions count as saved."""

    dry_run: bool = False
    settled: int = 0  # uncertain submissions of earlier runs
    submissions: list[str] = field(default_factory=list)

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        names = 'run', 'status', 'due', 'checked', 'failed', 'settled', 'seconds', 'dry_run'
        found = {name: getattr(self, name) for name in names}
        return found | {
            'submitted': self.saved,
            'submissions': self.submissions,
            'failures': super().as_dict()['failures'],
        }

    def sentence(self) -> str:
        """The one-line summary, which names what was submitted and what failed."""
        would = 'would be submitted' if self.dry_run else 'submitted'
        named = f' ({", ".join(self.submissions)})' if self.submissions else ''
        counts = (
            f'{self.due} cadences; {len(self.submissions)} {would}{named}; {self.failed} failed'
        )
        if not self.failed:
            return f'Success! {counts}; {self.seconds:.1f} s.'
        reasons = '; '.join(alike.sentence() for alike in self.reasons())
        return f'Failed: {counts}; {self.seconds:.1f} s. {reasons}'


def update_cadences(
    limits: Automation,
    dry_run: bool = False,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
) -> CadencesReport:
    """Let every active cadence submit what it has to. Raises AnotherRun if a run is in progress.

    A dry run says what would be submitted, sends nothing, and leaves the database as it is.
    """
    report = CadencesReport(dry_run=dry_run)
    recorded = recorded_run(job, COMMAND, report, limits, begun=begun, dry_run=dry_run)
    with recorded as (run, deadline), in_utc():
        _Run(run, report, limits, deadline).go()
    return report


class _Run:
    def __init__(
        self, run: UpdateRun | None, report: CadencesReport, limits: Automation, deadline: float
    ) -> None:
        self._run, self._report = run, report
        self._limits, self._deadline = limits, deadline
        claim = partial(runs.claim, run.pk) if run else lambda: None
        self._seam = Seam(claim, limits.MOST_SUBMISSIONS, dry_run=run is None)

    def go(self) -> None:
        cadences = DynamicCadence.objects.filter(active=True).select_related('observation_group')
        active = list(cadences.order_by('pk'))
        self._report.due = len(active)
        heart = runs.Heart(self._run, self._report) if self._run else None
        try:
            if self._run:
                self._settle()
            with submitting(self._seam):
                for cadence in active:
                    self._let_go_on(cadence)
        finally:
            if heart:
                heart.stop()

    def _settle(self) -> None:
        """First what earlier runs have left open."""
        for intent in Submission.objects.filter(state=State.SUBMITTED):
            complete(intent)
        for intent in open_submissions():
            try:
                self._report.settled += look_up(intent)
            except Exception as error:  # the portal does not answer: it stays uncertain
                explained(error, intent.facility)

    def _let_go_on(self, cadence: DynamicCadence) -> None:
        try:
            if monotonic() > self._deadline:
                raise OutOfTime('not reached before the deadline')
            strategy = get_cadence_strategy(cadence.cadence_strategy)
            for trigger in _triggers(cadence, strategy):
                self._run_strategy(cadence, strategy, trigger)
        except Exception as error:
            self._fail(cadence, 'cadence', error)
        else:
            self._report.checked += 1

    def _run_strategy(
        self, cadence: DynamicCadence, strategy: type, trigger: ObservationRecord
    ) -> None:
        its = Submission.objects.filter(cadence=cadence, trigger=trigger)
        before = its.exclude(state=State.REFUSED).first()
        if before is not None:
            self._say_what_is_open(cadence, strategy, before)
            return
        self._seam.set(cadence, trigger)
        try:
            with _undone() if self._run is None else nullcontext():
                strategy(_Seen(cadence, strategy, trigger)).run()
        except WouldSubmit as would:
            self._report.submissions.append(f'{trigger.facility} {would}')
        except Exception as error:
            self._fail(cadence, trigger.facility, error)
        finally:
            if self._run is not None:
                self._note_submitted(its)

    def _note_submitted(self, its: object) -> None:
        """Whatever else a strategy did: what was accepted has its records, and is counted."""
        for intent in its.filter(state=State.SUBMITTED):
            complete(intent)
            self._report.saved += 1
            self._report.submissions.append(f'{intent.facility} {intent.name}')

    def _say_what_is_open(
        self, cadence: DynamicCadence, strategy: type, before: Submission
    ) -> None:
        if before.state != State.RECORDED:
            self._fail(cadence, before.facility, failure_of(before))
        elif not issubclass(strategy, RetryFailedObservationsStrategy):
            words = f'submission {before.pk} is not in its group any more, so nothing follows'
            self._fail(cadence, before.facility, NotSubmitted(words))

    def _fail(self, cadence: DynamicCadence, facility: str, error: Exception) -> None:
        trouble = error if isinstance(error, SyncError) else explained(error, facility)
        shared = isinstance(trouble, Ceiling)
        label = '' if shared else f'cadence {cadence.pk} ({cadence.observation_group})'
        if shared and any(one.kind == trouble.kind for one in self._report.failures):
            return
        outcome = Outcome(facility, observation_id=label, error=str(trouble), kind=trouble.kind)
        if self._run is not None:
            runs.record_outcomes(self._run, [outcome], self._limits)
        self._report.add(outcome)


def _triggers(cadence: DynamicCadence, strategy: type) -> list[ObservationRecord]:
    """The observations because of which `strategy` may submit something."""
    records = cadence.observation_group.observation_records.order_by('-created', '-pk')
    if issubclass(strategy, RetryFailedObservationsStrategy):
        return [record for record in records if record.failed]
    if (newest := records.first()) is None:
        raise NotSubmitted('its group has no observations to go on from')
    return [newest]


class _Seen:
    """A cadence as a strategy sees it: one that retries failed observations, with one of them."""

    def __init__(self, cadence: DynamicCadence, strategy: type, trigger: ObservationRecord) -> None:
        self._cadence, self.observation_group = cadence, cadence.observation_group
        if issubclass(strategy, RetryFailedObservationsStrategy):
            self.observation_group = _Group(cadence.observation_group, trigger)

    def __getattr__(self, name: str) -> object:
        return getattr(self._cadence, name)


class _Group:
    def __init__(self, group: object, trigger: ObservationRecord) -> None:
        self._group = group
        self.observation_records = _Records(group.observation_records, trigger)

    def __getattr__(self, name: str) -> object:
        return getattr(self._group, name)


class _Records:
    """Reads one record, adds to all."""

    def __init__(self, records: object, trigger: ObservationRecord) -> None:
        self._seen, self.add = records.filter(pk=trigger.pk), records.add

    def __getattr__(self, name: str) -> object:
        return getattr(self._seen, name)


@contextmanager
def in_utc() -> Iterator[None]:
    """While this lasts, tomtoolkit's strategies reckon in UTC, as portals do.

    They take the machine's time for it, and cannot compare it with a time that has a zone.
    """
    modules = resume_cadence_after_failure, retry_failed_observations
    before = os.environ.get('TZ')
    os.environ['TZ'] = 'UTC'
    time.tzset()
    for module in modules:
        module.parse = _parsed_in_utc
    try:
        yield
    finally:
        for module in modules:
            module.parse = parse
        del os.environ['TZ']
        if before is not None:
            os.environ['TZ'] = before
        time.tzset()


def _parsed_in_utc(text: str) -> datetime:
    moment = parse(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


@contextmanager
def _undone() -> Iterator[None]:
    """Undo what is written in this, and call no hook for it."""
    call, observation_models.run_hook = observation_models.run_hook, lambda *arguments: None
    try:
        with transaction.atomic():
            try:
                yield
            finally:
                transaction.set_rollback(True)
    finally:
        observation_models.run_hook = call
