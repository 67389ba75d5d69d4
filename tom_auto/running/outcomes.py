"""What came of checking one record, and of a whole run."""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from ..errors import SyncError

MOST_NAMED = 10  # reasons in the one-line summary; the rest is counted
MOST_ALIKE = 3  # records that failed for one reason; the rest is counted
#: What `--json` prints of each failure.
FAILURE = ('record', 'observation_id', 'facility', 'error', 'kind')
#: What is counted of each record, and added up.
ADDED = 'changed', 'found', 'saved', 'repaired', 'filtered', 'adopted', 'damaged', 'missing'


class Ending(StrEnum):
    """Where a due record went: each goes to one of these, and the sum is checked (rule 16)."""

    CHECKED = 'checked'
    FAILED = 'failed'
    UNSUPPORTED = 'unsupported'
    SET_ASIDE = 'set_aside'
    NOT_REACHED = 'not_reached'
    GONE = 'gone'


@dataclass
class Outcome:
    """What came of checking one record, or (without a record) what became of something shared."""

    facility: str
    record: int | None = None
    observation_id: str = ''
    ending: Ending = Ending.NOT_REACHED
    status: str = ''
    terminal: bool = False
    ended: object = None  # when the observation ended, as far as the facility said
    changed: bool = False
    found: int = 0
    saved: int = 0
    repaired: int = 0
    filtered: int = 0
    adopted: int = 0  # files that others had stored, and that are whole
    damaged: int = 0  # and that are not
    missing: int = 0  # and that are not there
    has_data: bool = True
    error: str = ''
    kind: str = ''  # of the error

    def note(self, error: SyncError) -> None:
        """Add `error` to what went wrong; the first one gives the kind."""
        self.error = f'{self.error}; {error}' if self.error else str(error)
        self.kind = self.kind or error.kind


class Alike(list[Outcome]):
    """Outcomes of one facility that failed for one reason, which is said once."""

    def sentence(self) -> str:
        """What failed, and why."""
        numbers = [outcome.observation_id for outcome in self]
        named, more = ', '.join(filter(None, numbers[:MOST_ALIKE])), len(numbers) - MOST_ALIKE
        more_named = f' and {more} more' if more > 0 else ''
        who = f'{self[0].facility} {named}{more_named}'.strip()
        return f'{who}: {self[0].error}' if who else self[0].error


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
    set_aside: int = 0
    not_reached: int = 0
    gone: int = 0
    filtered: int = 0
    adopted: int = 0
    damaged: int = 0
    missing: int = 0
    waiting_after_failures: int = 0
    seconds: float = 0.0
    next_news: datetime | None = None  # where all awaited observations lie in the future
    failures: list[Outcome] = field(default_factory=list)
    unsupported_facilities: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count `outcome`."""
        for name in ADDED:
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        if outcome.record is not None:
            setattr(self, outcome.ending, getattr(self, outcome.ending) + 1)
        if outcome.ending is Ending.UNSUPPORTED:
            self.unsupported_facilities.setdefault(outcome.facility, outcome.error)
        elif outcome.error and outcome.ending is not Ending.SET_ASIDE:
            self.failed += outcome.record is None
            self.failures.append(outcome)
            self.status = 'failed'

    def still_open(self) -> int:
        """How many due records have gone nowhere yet; at the end of a run, none (rule 16)."""
        return self.due - sum(getattr(self, ending) for ending in Ending) + self._shared()

    @property
    def failed_records(self) -> int:
        """How many due records have failed: `failed` counts what they share as well."""
        return self.failed - self._shared()

    def _shared(self) -> int:
        return sum(failure.record is None for failure in self.failures)

    def as_dict(self) -> dict:
        """The object that `--json` prints."""
        failures = [{name: getattr(failure, name) for name in FAILURE} for failure in self.failures]
        news = self.next_news.isoformat() if self.next_news else None
        return asdict(replace(self, failures=[])) | {'failures': failures, 'next_news': news}

    def reasons(self) -> list[Alike]:
        """The failures, those of one facility and for one reason together."""
        found: dict[tuple[str, str], Alike] = {}
        for failure in self.failures:
            found.setdefault((failure.facility, failure.error), Alike()).append(failure)
        return list(found.values())

    def counts(self) -> dict[str, int]:
        """The counts alone, under the names that they have in the run's row."""
        from ..models import COUNTS

        return {name: getattr(self, name) for name in COUNTS}

    def words_of_others_files(self) -> str:
        """How many of the files that other commands had stored are whole, in words; empty if there were no such files."""
        if not (self.adopted or self.damaged or self.missing):
            return ''
        return (
            f'; of the files stored by other commands {self.adopted} are whole, '
            f'{self.damaged} were damaged, {self.missing} were missing'
        )

    def words_of_waiting(self) -> str:
        """How many records were not due yet because their checks have failed, in words."""
        records = 'record is' if self.waiting_after_failures == 1 else 'records are'
        return f'{self.waiting_after_failures} {records} backing off after failures'

    def sentence(self) -> str:
        """The one-line summary, which names what failed."""
        waiting = f' {self.words_of_waiting()}.' if self.waiting_after_failures else ''
        if self.next_news:
            waiting += f' The next observation begins at {self.next_news:%Y-%m-%d %H:%M} UTC.'
        if not self.due and not self.failed:
            return f'{"" if self.waiting_after_failures else "Success! "}Nothing was due.{waiting}'
        counts = (
            f'{self.due} due, {self.checked} checked, {self.changed} changed; '
            f'{self.found} frames found, {self.saved} saved, {self.repaired} repaired; '
            f'{self.failed_records} failed, {self.unsupported} unsupported'
        )
        others = {'set aside': self.set_aside, 'not reached': self.not_reached,
                  'gone': self.gone, 'frames not wanted': self.filtered}  # fmt: skip
        counts += ''.join(f', {number} {name}' for name, number in others.items() if number)
        counts += self.words_of_others_files()
        counts += f'; {self.seconds:.1f} s.'
        unsupported = ''.join(
            f' Not supported at {name}: {reason}.'
            for name, reason in self.unsupported_facilities.items()
        )
        if self.status == 'ok':
            return f'{"" if self.waiting_after_failures else "Success! "}{counts}{unsupported}{waiting}'
        reasons = self.reasons()
        named = '; '.join(alike.sentence() for alike in reasons[:MOST_NAMED])
        more = sum(map(len, reasons[MOST_NAMED:]))
        return f'Failed: {counts} {named}{f"; and {more} more" if more > 0 else ""}{unsupported}'
