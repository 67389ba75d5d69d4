"""The last weeks in charts: plain SVG, drawn by a template, without scripts."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Count, F, Sum, TextField
from django.db.models.functions import Cast, Substr
from django.utils import timezone

from ..access import Visitor, knows_outcomes, products_seen_by
from ..known_outcomes import ENDED, with_outcomes
from ..models import StoredFrame, UpdateRun

DAYS = 28
WIDTH, HEIGHT = 560, 120  # of the drawing; it scales with the page
GAP = 4  # between two days
MINUTE = '2026-05-01 12:00'  # a time as both databases keep it, in UTC, without its seconds


@dataclass(frozen=True)
class Picture:
    """A chart: a bar for each day, a colour for each series, and the same numbers as a table."""

    title: str
    series: list[str]
    days: list[tuple[date, list[float]]]
    unit: str = ''

    @property
    def most(self) -> float:
        """The value of the highest bar."""
        return round(max((sum(numbers) for _, numbers in self.days), default=0), 1)

    @property
    def filled(self) -> list[tuple[date, list[float]]]:
        """The days that are not empty, newest first."""
        return [(day, numbers) for day, numbers in reversed(self.days) if any(numbers)]

    def bars(self) -> Iterable[dict[str, float]]:
        """The rectangles: their place and size in the drawing, and their series."""
        step, most = WIDTH / len(self.days), self.most
        for place, (_, numbers) in enumerate(self.days):
            x, top = place * step + GAP / 2, float(HEIGHT)
            for series, number in enumerate(numbers):
                height = HEIGHT * number / most if most else 0
                top -= height
                if height:
                    bar = {'x': x, 'y': top, 'width': step - GAP, 'height': height}
                    yield {name: round(value, 1) for name, value in bar.items()} | {
                        'series': series
                    }


def pictures(user: Visitor) -> list[Picture]:
    """The charts of the last weeks, with what `user` may see."""
    days = [timezone.localdate() - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    begin = timezone.make_aware(datetime.combine(days[0], time.min))
    return [*_of_runs(days, begin, user), *_of_frames(days, begin, user)]


def _picture(
    title: str, series: list[str], days: list[date], numbers: dict[tuple, float], unit: str = ''
) -> Picture:
    rows = [(day, [numbers.get((day, one), 0) for one in series]) for day in days]
    return Picture(title, series, rows, unit)


def _of_runs(days: list[date], begin: datetime, user: Visitor) -> list[Picture]:
    # Counted here, row by row: SQLite would call Python for each date to truncate anyway.
    counts: Counter[tuple] = Counter()
    longest: dict[tuple, float] = defaultdict(float)
    ended = UpdateRun.objects.filter(started__gte=begin, finished__isnull=False).order_by()
    ended = with_outcomes(user, ended).values_list('started', 'finished', 'shown')
    labels = dict(UpdateRun.Status.choices)
    for started, finished, shown in ended.iterator():
        day = timezone.localdate(started)
        counts[day, labels.get(shown, shown)] += 1
        seconds = round((finished - started).total_seconds(), 1)
        longest[day, 'seconds'] = max(longest[day, 'seconds'], seconds)
    outcomes = [labels[status] for status in ('ok', 'failed', 'died')]
    if not knows_outcomes(user):
        outcomes.append(ENDED)
    return [
        _picture('Runs a day', outcomes, days, counts),
        _picture('The longest run of each day', ['seconds'], days, longest, 's'),
    ]


def _of_frames(days: list[date], begin: datetime, user: Visitor) -> list[Picture]:
    frames = StoredFrame.objects.filter(stored_at__gte=begin, product__isnull=False)
    # By minute, and only then by day: SQLite would call Python for each frame to truncate its time.
    rows = list(
        products_seen_by(user, frames, 'product')
        .annotate(minute=Substr(Cast('stored_at', TextField()), 1, len(MINUTE)))
        .values('minute', facility=F('product__observation_record__facility'))
        .annotate(n=Count('pk'), size=Sum('size'))
        .order_by()
    )
    facilities = sorted({row['facility'] for row in rows if row['facility']})
    if not facilities:
        return []
    counts: Counter[tuple] = Counter()
    sizes: Counter[tuple] = Counter()
    for row in rows:
        day = timezone.localdate(datetime.fromisoformat(row['minute']).replace(tzinfo=UTC))
        counts[day, row['facility']] += row['n']
        sizes[day, row['facility']] += row['size'] / 1e6
    sizes = {key: round(size, 3) for key, size in sizes.items()}
    return [
        _picture('Frames a day', facilities, days, counts),
        _picture('Data a day', facilities, days, sizes, 'MB'),
    ]
