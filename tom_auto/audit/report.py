"""What came of a run of `auditdata`."""

from dataclasses import dataclass, field, replace

from ..models import AuditedFile
from ..running.outcomes import MOST_NAMED, Report

Verdict = AuditedFile.Verdict
#: The verdicts that somebody should do something about.
BAD = (Verdict.ROTTED, Verdict.DAMAGED, Verdict.MISSING, Verdict.RENAMED, Verdict.UNREADABLE)
#: What `--json` prints beside the failures.
PRINTED = (
    'run', 'status', 'due', 'checked', 'bytes', 'verdicts', 'changed_files', 'repaired', 'failed',
    'not_reached', 'round_began', 'round_ended', 'round_files', 'left', 'seconds', 'not_repaired',
)  # fmt: skip


@dataclass
class AuditReport(Report):
    """The counts and failures of a run. What is due: the files to read."""

    bytes: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)  # of the files that were read
    changed_files: list[str] = field(default_factory=list)  # by their owners, since the last round
    round_began: str | None = None
    round_ended: str | None = None
    round_files: int = 0  # read in this round
    left: int = 0  # to be read in this round
    not_repaired: str = ''  # why nothing could be fetched

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        failures = super().as_dict()['failures']
        return {name: getattr(self, name) for name in PRINTED} | {'failures': failures}

    def after_repair(self, again: 'AuditReport', reason: str) -> 'AuditReport':
        """What there is to say when the files in trouble were read `again`."""
        repaired = sum(self.verdicts[bad] - again.verdicts[bad] for bad in BAD)
        return replace(
            self, run=again.run, repaired=repaired, failed=again.failed, failures=again.failures,
            status=again.status, seconds=round(self.seconds + again.seconds, 3), not_repaired=reason,
        )  # fmt: skip

    def still_open(self) -> int:
        """How many files are left to read in this run."""
        return self.due - self.checked - self.not_reached

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        found = ', '.join(f'{number} {name}' for name, number in self.verdicts.items() if number)
        counts = f'{self.checked} of {self.due} files read ({self.bytes / 1e6:.1f} MB)'
        counts += f': {found}' if found else ''
        counts += f'; {self.repaired} repaired' if self.repaired else ''
        left = f'{self.left} left in this round' if self.left else 'the round has ended'
        if self.round_began is None:
            left = 'the next round has not begun'
        counts += f'; {left}; {self.seconds:.1f} s.'
        if self.changed_files:
            more = len(self.changed_files) - MOST_NAMED
            names = ', '.join(self.changed_files[:MOST_NAMED])
            counts += f' Changed by their owners: {names}{f" and {more} more" if more > 0 else ""}.'
        if not self.failed and not self.due:
            return f'Success! No file had to be read; {left}.'
        if not self.failed:
            return f'Success! {counts}'
        reasons = self.reasons()
        named = '; '.join(alike.sentence() for alike in reasons[:MOST_NAMED])
        more = sum(map(len, reasons[MOST_NAMED:]))
        more_named = f'; and {more} more' if more else ''
        why = f' Nothing was fetched: {self.not_repaired}' if self.not_repaired else ''
        return f'Failed: {counts} {named}{more_named}{why}'
