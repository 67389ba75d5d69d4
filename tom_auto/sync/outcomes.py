"""What came of checking one record, and of a whole run."""

from dataclasses import asdict, dataclass, field, replace

from .errors import SyncError

#: What `--json` prints of each failure.
FAILURE = ('record', 'observation_id', 'facility', 'error', 'kind')
MOST_NAMED = 10  # failures in the one-line summary; the rest is counted


@dataclass
class Outcome:
    """What came of checking one record, or (without a record) what became of a facility."""

    facility: str
    record: int | None = None
    observation_id: str = ''
    status: str = ''
    terminal: bool = False
    checked: bool = False
    changed: bool = False
    found: int = 0
    saved: int = 0
    repaired: int = 0
    error: str = ''
    kind: str = ''  # of the error
    unsupported: str = ''
    no_answer: bool = False  # the error is that the facility could not be reached

    def sentence(self) -> str:
        """What failed, and why."""
        return f'{self.facility} {self.observation_id}'.rstrip() + f': {self.error}'

    def note(self, error: SyncError) -> None:
        """Add `error` to what went wrong; the first one gives the kind."""
        self.error = f'{self.error}; {error}' if self.error else str(error)
        self.kind = self.kind or error.kind


@dataclass
class Report:
    """What came of a run: the counts, the failures and what is not supported, by facility."""

    run: int | None = None
    status: str = 'ok'
    due: int = 0
    checked: int = 0
    changed: int = 0
    found: int = 0
    saved: int = 0
    repaired: int = 0
    failed: int = 0
    unsupported: int = 0
    seconds: float = 0.0
    failures: list[Outcome] = field(default_factory=list)
    unsupported_facilities: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count `outcome`."""
        self.checked += outcome.checked
        self.changed += outcome.changed
        self.found += outcome.found
        self.saved += outcome.saved
        self.repaired += outcome.repaired
        if outcome.unsupported:
            self.unsupported += 1
            self.unsupported_facilities.setdefault(outcome.facility, outcome.unsupported)
        if outcome.error:
            self.failed += 1
            self.status = 'failed'
            self.failures.append(outcome)

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        failures = [{name: getattr(failure, name) for name in FAILURE} for failure in self.failures]
        return asdict(replace(self, failures=[])) | {'failures': failures}

    def counts(self) -> dict[str, int]:
        """The counts alone, under the names that they have in the run's row."""
        names = ('due', 'checked', 'changed', 'found', 'saved', 'repaired', 'failed', 'unsupported')
        return {name: getattr(self, name) for name in names}

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        if not self.due and not self.failed:
            return 'Success! Nothing was due.'
        counts = (
            f'{self.due} due, {self.checked} checked, {self.changed} changed; '
            f'{self.found} frames found, {self.saved} saved, {self.repaired} repaired; '
            f'{self.failed} failed, {self.unsupported} unsupported; {self.seconds:.1f} s.'
        )
        if not self.failed:
            return f'Success! {counts}'
        named = '; '.join(failure.sentence() for failure in self.failures[:MOST_NAMED])
        more = f'; and {self.failed - MOST_NAMED} more' if self.failed > MOST_NAMED else ''
        return f'Failed: {counts} {named}{more}'
