"""What came of a run of `updatetargets`."""

from dataclasses import dataclass, field

from ..new_targets import HIDDEN
from ..sync.outcomes import MOST_NAMED, Outcome, Report
from .at_work import Batch
from .candidates import KNOWN, NEW, REFRESHED

#: What `--json` prints beside the failures.
PRINTED = (
    'run', 'status', 'due', 'checked', 'found', 'new', 'refreshed', 'known', 'points', 'failed',
    'set_aside', 'not_reached', 'gone', 'seconds', 'dry_run', 'candidates',
)  # fmt: skip


@dataclass
class TargetsReport(Report):
    """The counts and failures of a run. What is due: queries, and targets to ask data for.

    In the run's row new targets count as saved, and refreshed ones as changed.
    """

    dry_run: bool = False
    known: int = 0
    points: int = 0
    are_hidden: bool = False  # whether nobody but superusers would see a new target
    failed_items: int = 0
    candidates: list[dict] = field(default_factory=list)  # of a dry run

    @property
    def new(self) -> int:
        return self.saved

    @property
    def refreshed(self) -> int:
        return self.changed

    def take(self, service: str, batch: Batch) -> None:
        """Count what came of a part of a query."""
        self.found += batch.found
        self.points += batch.points
        self.saved += batch.outcomes.get(NEW, 0)
        self.changed += batch.outcomes.get(REFRESHED, 0)
        self.known += batch.outcomes.get(KNOWN, 0)
        self.candidates += [
            {'service': service, 'name': name, 'outcome': outcome, 'target': target}
            for name, outcome, target in batch.names
        ]

    def still_open(self) -> int:
        """How many queries and targets have gone nowhere yet: at the end of a run, none."""
        ended = self.checked, self.failed_items, self.set_aside, self.not_reached, self.gone
        return self.due - sum(ended)

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        failures = super().as_dict()['failures']
        return {name: getattr(self, name) for name in PRINTED} | {'failures': failures}

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        made = 'would be new' if self.dry_run else 'new'
        counts = (
            f'{self.checked} of {self.due} queries and targets asked; {self.found} candidates: '
            f'{self.saved} {made}, {self.changed} refreshed, {self.known} known; '
            f'{self.points} points stored; {self.failed} failed'
        )
        others = {'set aside': self.set_aside, 'not reached': self.not_reached, 'gone': self.gone}
        counts += ''.join(f', {number} {name}' for name, number in others.items() if number)
        counts += f'; {self.seconds:.1f} s.'
        hidden = f' {HIDDEN}' if self.are_hidden and self.saved else ''
        if not self.failed:
            return f'Success! {counts if self.due else "There was nothing to ask."}{hidden}'
        reasons = self.reasons()
        named = '; '.join(alike.sentence() for alike in reasons[:MOST_NAMED])
        more = sum(map(len, reasons[MOST_NAMED:]))
        return f'Failed: {counts} {named}{f"; and {more} more" if more else ""}{hidden}'


def failures_of(service: str, batch: Batch) -> list[Outcome]:
    """The failures of single candidates or targets in `batch`."""
    return [
        Outcome(service, observation_id=name, error=error, kind=kind)
        for name, error, kind in batch.failures
    ]
