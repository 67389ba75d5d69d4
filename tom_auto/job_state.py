"""The states of a job, and what there is to say of each."""

from dataclasses import dataclass
from datetime import UTC, datetime

from .models import UpdateRun

WORKING, FAILING, OVERDUE, UNWATCHED = 'working', 'failing', 'overdue', 'unwatched'
SLOW = 'slow'
NEVER, PAUSED, OFF = 'never', 'paused', 'off'
WORDS = {
    WORKING: 'is working',
    FAILING: 'is failing',
    OVERDUE: 'is overdue',
    SLOW: 'is much slower than usual',
    UNWATCHED: 'cannot be watched',
    NEVER: 'has never been run by the schedule',
    PAUSED: 'is paused',
    OFF: 'is not scheduled',
}


@dataclass(frozen=True)
class Health:
    """The state of one job, as far as one visitor may know it."""

    job: str
    state: str
    since: datetime | None = None
    reasons: tuple[str, ...] = ()
    last: UpdateRun | None = None
    running: UpdateRun | None = None
    next: datetime | None = None
    news: datetime | None = None  # when the first can come, where all awaited lies in the future
    failing: int = 0
    muted: int = 0  # failing records that somebody has muted
    troubles: tuple[str, ...] = ()  # the facilities in trouble, for alerts
    main: bool = False

    @property
    def words(self) -> str:
        """The state in words, such as "is failing"."""
        return WORDS[self.state]

    @property
    def words_since(self) -> str:
        """The same before a length of time, such as "has been failing"; without one, `words`."""
        return self.words.replace('is ', 'has been ', 1) if self.since else self.words

    @property
    def reason(self) -> str:
        """Why it is in that state, as part of a sentence; empty if it works."""
        return '; '.join(self.reasons)

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should do something."""
        return self.state in (FAILING, OVERDUE, UNWATCHED, SLOW)

    def sentence(self) -> str:
        """The whole answer in plain text."""
        since = f' since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC' if self.since else ''
        because = f', because {self.reason}' if self.reason else ''
        return f'{self.job} {self.words_since}{since}{because}.'
