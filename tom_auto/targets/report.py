"""What came of a run of `updatetargets`, `updatecadences` or `findrequests`.

In each of them the counts add up: everything that was due, and everything that was found, is
counted once.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..new_target_access import HIDDEN
from ..running.outcomes import MOST_NAMED, Outcome, Report

if TYPE_CHECKING:  # a TOM without data services has cadences all the same
    from .service_process import Batch

NEW, REFRESHED, KNOWN = 'new', 'refreshed', 'known'  # what became of a candidate


@dataclass
class _Told(Report):
    """A report that prints some of its counts. `printed`: what `--json` has beside the failures."""

    printed = ()

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        failures = super().as_dict()['failures']
        return {name: getattr(self, name) for name in self.printed} | {'failures': failures}

    def ended(self, counts: str, nothing: str = '') -> str:
        """The one-line summary: `counts`, and what failed; `nothing` if there was nothing to do."""
        counts = f'{counts}; {self.seconds:.1f} s.'
        if not self.failures:
            return f'Success! {nothing if nothing and not self.due else counts}'
        reasons = self.reasons()
        named = '; '.join(alike.sentence() for alike in reasons[:MOST_NAMED])
        more = sum(map(len, reasons[MOST_NAMED:]))
        return f'Failed: {counts} {named}{f"; and {more} more" if more else ""}'


def _others(**counts: int) -> str:
    """Those counts that are not zero, in words."""
    return ''.join(
        f', {number} {name.replace("_", " ")}' for name, number in counts.items() if number
    )


def _counted(number: int, one: str, several: str) -> str:
    return f'{number} {one if number == 1 else several}'


@dataclass
class TargetsReport(_Told):
    """The counts and failures of a run of `updatetargets`.

    What is due: queries, and targets to ask data for: due = checked + failed_items + set_aside +
    not_reached + gone. And found = new + refreshed + known + not_kept. In the run's row new targets
    count as saved, refreshed ones as changed, and failed is the number of failures.
    """

    dry_run: bool = False
    known: int = 0
    points: int = 0
    are_hidden: bool = False  # whether nobody but superusers would see a new target
    failed_items: int = 0
    candidates: list[dict] = field(default_factory=list)  # of a dry run
    _new: dict[str, str] = field(default_factory=dict)  # of it: what would be made, by its key

    printed = (
        'run', 'status', 'due', 'checked', 'failed_items', 'set_aside', 'not_reached', 'gone',
        'found', 'new', 'refreshed', 'known', 'not_kept', 'points', 'failed', 'seconds', 'dry_run',
        'candidates',
    )  # fmt: skip

    @property
    def new(self) -> int:
        return self.saved

    @property
    def refreshed(self) -> int:
        return self.changed

    @property
    def not_kept(self) -> int:
        """Candidates that failed."""
        return self.found - self.new - self.refreshed - self.known

    def take(self, service: str, batch: 'Batch') -> None:
        """Count what came of a part of a query."""
        self.found += batch.found
        self.points += batch.points
        self.saved += batch.outcomes.get(NEW, 0)
        self.changed += batch.outcomes.get(REFRESHED, 0)
        self.known += batch.outcomes.get(KNOWN, 0)
        for name, outcome, target, key in batch.names:
            self._foresee(service, name, outcome, target, key)

    def _foresee(self, service: str, name: str, outcome: str, target: str, key: str) -> None:
        """What two services would make anew in a dry run is made once."""
        if outcome == NEW and key in self._new:
            outcome, target = KNOWN, self._new[key]
            self.saved -= 1
            self.known += 1
        elif outcome == NEW:
            self._new[key] = name
        self.candidates.append(
            {'service': service, 'name': name, 'outcome': outcome, 'target': target}
        )

    def still_open(self) -> int:
        """How many queries and targets have gone nowhere yet: at the end of a run, none."""
        ended = self.checked, self.failed_items, self.set_aside, self.not_reached, self.gone
        return self.due - sum(ended)

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        made = 'would be new' if self.dry_run else 'new'
        items = _others(
            failed=self.failed_items, set_aside=self.set_aside, not_reached=self.not_reached,
            gone=self.gone,
        )  # fmt: skip
        counts = (
            f'{_counted(self.due, "query or target", "queries and targets")}: {self.checked} asked{items}; '
            f'{_counted(self.found, "candidate", "candidates")}: '
            f'{self.new} {made}, {self.refreshed} refreshed, {self.known} known'
            f'{_others(not_kept=self.not_kept)}; {self.points} points stored'
        )
        hidden = f' {HIDDEN}' if self.are_hidden and self.saved else ''
        return self.ended(counts, 'There was nothing to ask.') + hidden


@dataclass
class CadencesReport(_Told):
    """What came of a run of `updatecadences`. What is due: the active cadences.

    due = checked + failed; a cadence with several failures failed once. Submissions count as saved.
    """

    dry_run: bool = False
    settled: int = 0  # uncertain submissions of earlier runs
    submissions: list[str] = field(default_factory=list)

    printed = (
        'run', 'status', 'due', 'checked', 'failed', 'settled', 'seconds', 'dry_run', 'submitted',
        'submissions',
    )  # fmt: skip

    @property
    def submitted(self) -> int:
        return self.saved

    def add(self, outcome: Outcome) -> None:
        """Take note of a failure: who calls this counts the cadences."""
        self.failures.append(outcome)
        self.status = 'failed'

    def sentence(self) -> str:
        """The one-line summary, which names what was submitted and what failed."""
        would = 'would be submitted' if self.dry_run else 'submitted'
        named = f' ({", ".join(self.submissions)})' if self.submissions else ''
        cadences = f'{_counted(self.due, "cadence", "cadences")}: {self.checked} went well, {self.failed} failed'
        return self.ended(f'{cadences}; {len(self.submissions)} {would}{named}')


@dataclass
class RequestsReport(_Told):
    """What came of a run of `findrequests`. What is due: proposals, and accounts that did not say
    which they have.

    due = checked + not_read + not_reached; found = known + matched + unmatched + odd. With
    `--add` matched = saved + refused.
    """

    adds: bool = False
    known: int = 0
    matched: int = 0
    unmatched: int = 0
    odd: int = 0  # not as portals list them
    refused: int = 0  # by this TOM: a hook, for one
    not_read: int = 0
    is_cut: bool = False  # by the limit
    proposals: dict[str, list[str]] = field(default_factory=dict)  # by facility
    requests: list[dict] = field(default_factory=list)

    printed = (
        'run', 'status', 'due', 'checked', 'not_read', 'not_reached', 'found', 'known', 'matched',
        'unmatched', 'odd', 'adds', 'saved', 'refused', 'is_cut', 'seconds', 'proposals', 'requests',
    )  # fmt: skip

    def still_open(self) -> int:
        """How many proposals have gone nowhere yet: at the end of a run, none."""
        return self.due - self.checked - self.not_read - self.not_reached

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        added = f'{self.saved} added' if self.adds else f'{self.matched} could be added'
        proposals = _others(not_read=self.not_read, not_reached=self.not_reached)
        return self.ended(
            f'{_counted(self.due, "proposal", "proposals")}: {self.checked} read{proposals}; '
            f'{_counted(self.found, "request", "requests")}: '
            f'{self.known} known, {added}{_others(refused_by_this_TOM=self.refused)}, '
            f'{self.unmatched} without a target{_others(not_readable=self.odd)}{"; stopped at the limit" if self.is_cut else ""}'
        )


def failures_of(service: str, batch: 'Batch') -> list[Outcome]:
    """The failures of single candidates or targets in `batch`."""
    return [
        Outcome(service, observation_id=name, error=error, kind=kind)
        for name, error, kind in batch.failures
    ]
