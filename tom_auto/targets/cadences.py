"""One run of `updatecadences`: each active cadence is let go on, through the seam.

First comes what earlier runs have left open, also of cadences that are switched off or deleted.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from django.db.models import QuerySet
from tom_observations.cadence import get_cadence_strategy
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.models import DynamicCadence, ObservationRecord

from ..conf import Automation
from ..errors import AnotherRun, CannotRepeat, Ceiling, NotSubmitted, SetAside, SyncError
from ..explain import explained
from ..models import Submission, UpdateRun
from ..running import runs
from ..running.failures import fail
from ..running.outcomes import Outcome, Report
from ..running.recorded_run import recorded_run
from .accepted_records import complete
from .ceiling import longest_ago_first
from .left_open import LeftOpen, see_the_time
from .one_record import MadeMeanwhile
from .report import CadencesReport
from .settle import failure_of, still_open
from .strategies import (
    in_utc,
    is_due,
    next_to_replace,
    refuse_what_is_missing,
    retries,
    triggers_of,
)
from .submissions import NotWanted, Seam, WouldSubmit, submission_for, submitting
from .what_it_sees import as_seen, one_at_a_time, undone

COMMAND = 'updatecadences'
State = Submission.State


def update_cadences(
    limits: Automation,
    dry_run: bool = False,
    only: tuple[int, ...] = (),
    switched_off: bool = False,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
) -> CadencesReport:
    """Let every active cadence submit what it has to. Raises AnotherRun if a run is in progress.

    `only`: the ids of those that the run is limited to; empty: all. `switched_off`: those of `only`
    need not be active.
    A dry run says what would be submitted, sends nothing, and leaves the database as it is.
    """
    report = CadencesReport(dry_run=dry_run)
    words = ', '.join(f'cadence {pk}' for pk in only)
    recorded = recorded_run(job, COMMAND, report, limits, words, begun, dry_run)
    with recorded as (run, deadline), in_utc():
        its = Submission.objects.filter(cadence__in=only) if only else Submission.objects.all()
        chosen = longest_ago_first(cadences_to_run(only, switched_off), 'cadence')
        _Run(run, report, limits, deadline, switched_off).go(chosen, its)
    return report


def cadences_to_run(only: tuple[int, ...] = (), switched_off: bool = False) -> list[DynamicCadence]:
    """The active cadences, of those in `only` unless that is empty."""
    rows = DynamicCadence.objects.select_related('observation_group').order_by('pk')
    rows = rows.filter(pk__in=only) if only else rows
    return list(rows if only and switched_off else rows.filter(active=True))


class _Run:
    def __init__(
        self,
        run: UpdateRun | None,
        report: CadencesReport,
        limits: Automation,
        deadline: float,
        switched_off: bool,
    ) -> None:
        self._run, self._report = run, report
        self._limits, self._deadline, self._switched_off = limits, deadline, switched_off
        self._claim = partial(runs.claim, run.pk) if run else lambda: None
        self._seam = Seam(self._claim, limits.MOST_SUBMISSIONS, run is None, switched_off)
        self._earlier = LeftOpen(self._claim, deadline)
        self._named: set[int] = set()

    def go(self, cadences: list[DynamicCadence], its: QuerySet[Submission]) -> None:
        """Settle what is open of `its`, let `cadences` go on, and name what stays open."""
        self._report.due = len(cadences)
        with runs.heartbeat(self._run, self._report):
            if self._run:
                self._report.settled = self._earlier.settle(its)
            left = still_open(its)
            with submitting(self._seam), one_at_a_time(self._failed_one):
                for cadence in cadences:
                    self._let_go_on(cadence)
            self._name([intent for intent in left if intent.pk not in self._named])

    def _name(self, left: list[Submission]) -> None:
        """Those that no cadence of this run has named: it is switched off, or deleted, say."""
        self._report.due += len(left)
        for intent in left:
            self._is_failing = False
            self._fail(intent.cadence, intent.facility, self._failure_of(intent))
            self._report.failed += 1

    def _failure_of(self, intent: Submission) -> SyncError:
        self._named.add(intent.pk)
        return failure_of(intent, self._earlier.troubles.get(intent.pk))

    def _let_go_on(self, cadence: DynamicCadence) -> None:
        self._is_failing = False
        try:
            see_the_time(self._deadline)
            strategy = get_cadence_strategy(cadence.cadence_strategy)
            due, named = triggers_of(cadence, strategy)
            for trigger in due:
                self._run_strategy(cadence, strategy, trigger)
            for record, reason in named:
                self._fail(cadence, record.facility, reason)
        except AnotherRun:
            raise
        except Exception as error:
            self._fail(cadence, 'cadence', error)
        self._report.failed += self._is_failing
        self._report.checked += not self._is_failing

    def _run_strategy(
        self, cadence: DynamicCadence, strategy: type, trigger: ObservationRecord
    ) -> None:
        if (before := submission_for(trigger)) is not None:
            self._say_what_is_open(cadence, strategy, before)
            return
        if not (now := cadences_to_run((cadence.pk,), self._switched_off)):
            return  # somebody has switched it off, or its own strategy has
        self._strategy = strategy
        self._go_on_from(cadence, strategy, trigger)
        try:
            with undone() if self._run is None else nullcontext():
                its = strategy(as_seen(now[0], trigger))
                # It may have read it again.
                as_seen(getattr(its, 'dynamic_cadence', now[0]), trigger)
                RetryFailedObservationsStrategy.run(its) if retries(strategy) else its.run()
        except WouldSubmit as would:
            self._report.submissions.append(f'{trigger.facility} {would}')
        except AnotherRun:  # whose records it is to make
            raise
        except (NotWanted, MadeMeanwhile):
            pass  # what is missing is made below, and what was submitted before is counted
        except Exception as error:
            self._fail(cadence, trigger.facility, self._reason(error, self._seam.trigger))
        self._note_submitted(cadence, self._seam.trigger)

    def _go_on_from(
        self, cadence: DynamicCadence, strategy: type, trigger: ObservationRecord
    ) -> None:
        still = partial(is_due, cadence, strategy, trigger)
        self._seam.set(cadence, trigger, still, is_seen_alone=retries(strategy))

    def _failed_one(self) -> ObservationRecord | None:
        """Which observation tomtoolkit's own `run` that replaces failed ones is to replace now.

        Where a class of the TOM's own has called it: the next one that nothing was submitted for.
        """
        trigger, cadence = self._seam.trigger, self._seam.cadence
        if retries(self._strategy):
            refuse_what_is_missing(trigger)  # others see to it that the form is valid
            return trigger
        self._note_submitted(cadence, trigger)
        following, named = next_to_replace(cadence)
        for record, reason in named:
            self._fail(cadence, record.facility, reason)
        for record in following:
            self._go_on_from(cadence, RetryFailedObservationsStrategy, record)
            return record
        return None

    def _reason(self, error: Exception, trigger: ObservationRecord) -> Exception:
        """Why nothing was submitted, or what is uncertain.

        A strategy only says which key it has not found, say.
        """
        intent = submission_for(trigger)
        if intent is not None and intent.state == State.UNCERTAIN:
            return self._failure_of(intent)
        if isinstance(error, LookupError | TypeError | ValueError) and intent is None:
            try:
                refuse_what_is_missing(trigger)
            except CannotRepeat as reason:
                return reason
        return error

    def _note_submitted(self, cadence: DynamicCadence, trigger: ObservationRecord) -> None:
        """Whatever else a strategy did: what was accepted has its records, and is counted.

        What is uncertain is named, also where the strategy has caught what was raised.
        """
        intent = submission_for(trigger)
        if intent and intent.state == State.UNCERTAIN and intent.pk not in self._named:
            self._fail(cadence, intent.facility, self._failure_of(intent))
        if self._run is None or intent is None or intent.state != State.SUBMITTED:
            return
        self._report.saved += 1
        self._report.submissions.append(f'{intent.facility} {intent.name}')
        try:
            complete(intent, self._claim)
        except AnotherRun:
            raise
        except Exception as error:  # the next run tries again
            self._fail(
                cadence, intent.facility, failure_of(intent, explained(error, intent.facility))
            )

    def _say_what_is_open(
        self, cadence: DynamicCadence, strategy: type, before: Submission
    ) -> None:
        if before.state != State.RECORDED:
            self._fail(cadence, before.facility, self._failure_of(before))
        elif not retries(strategy):
            words = f'submission {before.pk} is not in its group any more, so nothing follows'
            self._fail(cadence, before.facility, NotSubmitted(words))

    def _fail(self, cadence: DynamicCadence | None, facility: str, error: Exception) -> None:
        self._is_failing = True
        trouble = error if isinstance(error, SyncError) else explained(error, facility)
        is_limit = isinstance(trouble, Ceiling | SetAside)
        is_shared = is_limit and not getattr(trouble, 'is_of_one', False)
        name = f'{cadence.pk} ({cadence.observation_group})' if cadence else 'that was deleted'
        name = name if facility == 'cadence' else f'cadence {name}'
        label, words = '' if is_shared else name, str(trouble)
        known = {(one.observation_id, one.error) for one in self._report.failures}
        if is_limit and (label, words) in known:
            return
        outcome = Outcome(facility, observation_id=label, error=words, kind=trouble.kind)
        fail(self._run, self._report, outcome)
