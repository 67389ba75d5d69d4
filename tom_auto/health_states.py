"""The states of a job, and what there is to say of each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from django.db.models import QuerySet

from .models import UpdateRun
from .scheduling.next_times import A_MINUTE, LATE_AFTER

#: A run is slow if it takes so many times as long as the median of so many runs before it.
MUCH_SLOWER, RUNS_COMPARED = 10, 10

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
    def last_outcome(self) -> str:
        """How its last run ended. Where something fails, one that has not asked for it did not go well."""
        went_well = self.last.outcome == UpdateRun.Status.OK.label
        return 'nothing new failed' if self.failing and went_well else self.last.outcome

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should do something."""
        return self.state in (FAILING, OVERDUE, UNWATCHED, SLOW)

    def sentence(self) -> str:
        """The whole answer in plain text."""
        since = f' since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC' if self.since else ''
        because = f', because {self.reason}' if self.reason else ''
        return f'{self.job} {self.words_since}{since}{because}.'


def slower_than_usual(
    run: UpdateRun, runs: QuerySet[UpdateRun], between: timedelta, now: datetime
) -> str:
    """How slow `run`, in progress or ended, is beside the `runs` before it; empty unless very slow.

    `between`: the time from one start of the job to the next.
    """
    earlier = runs.filter(finished__isnull=False).exclude(pk=run.pk)[:RUNS_COMPARED]
    took = (run.finished or now) - run.started
    if len(earlier) < RUNS_COMPARED:
        whole = [each.took for each in earlier if each.status != UpdateRun.Status.DIED]
        return '' if run.finished else _hangs(took, whole, between)
    usual = median(each.took for each in earlier)
    if took < max(MUCH_SLOWER * usual, usual + LATE_AFTER):
        return ''
    return f'a run takes {_minutes(took)} instead of the usual {_minutes(usual)}'


def _hangs(took: timedelta, times: list[timedelta], between: timedelta) -> str:
    """The same of a run in progress, where only a few `times` are known of others, or none."""
    longest = max(times, default=between)
    if took < max(MUCH_SLOWER * longest, between + LATE_AFTER):
        return ''
    if not times:
        return f'its first run has taken {_minutes(took)} so far'
    return f'a run has taken {_minutes(took)} so far; the longest before took {_minutes(longest)}'


def _minutes(span: timedelta) -> str:
    return f'{max(1, round(span / A_MINUTE))} min'
