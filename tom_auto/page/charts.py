"""The last weeks in charts: plain SVG, drawn by a template, without scripts."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from ..access import Visitor, seen_by
from ..models import StoredFrame, UpdateRun

DAYS = 28
WIDTH, HEIGHT = 560, 120  # of the drawing; it scales with the page
GAP = 4  # between two days


@dataclass(frozen=True)
class Bar:
    """One rectangle."""

    x: float
    y: float
    width: float
    height: float
    series: int


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

    def bars(self) -> Iterable[Bar]:
        """The rectangles to draw."""
        step, most = WIDTH / len(self.days), self.most
        for place, (_, numbers) in enumerate(self.days):
            top = float(HEIGHT)
            for series, number in enumerate(numbers):
                height = HEIGHT * number / most if most else 0
                top -= height
                if height:
                    x, width = place * step + GAP / 2, step - GAP
                    yield Bar(round(x, 1), round(top, 1), round(width, 1), round(height, 1), series)


def pictures(user: Visitor) -> list[Picture]:
    """The charts of the last weeks, with what `user` may see."""
    days = [timezone.localdate() - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    begin = timezone.make_aware(datetime.combine(days[0], time.min))
    runs = UpdateRun.objects.filter(started__gte=begin)
    frames = StoredFrame.objects.filter(stored_at__gte=begin, product__isnull=False)
    return [*_of_runs(days, runs), *_of_frames(days, frames, user)]


def _of_runs(days: list[date], runs: QuerySet) -> list[Picture]:
    # Counted here, row by row: SQLite would call Python for each date to truncate anyway.
    counts: Counter[tuple[date, str]] = Counter()
    longest: dict[date, float] = defaultdict(float)
    ended = runs.filter(finished__isnull=False).order_by()
    for started, finished, status in ended.values_list('started', 'finished', 'status').iterator():
        day = timezone.localdate(started)
        counts[day, status] += 1
        longest[day] = max(longest[day], (finished - started).total_seconds())
    statuses = [UpdateRun.Status.OK, UpdateRun.Status.FAILED, UpdateRun.Status.DIED]
    return [
        Picture(
            'Runs a day',
            [status.label for status in statuses],
            [(day, [counts[day, status] for status in statuses]) for day in days],
        ),
        Picture(
            'The longest run of each day',
            ['seconds'],
            [(day, [round(longest[day], 1)]) for day in days],
            unit='s',
        ),
    ]


def _of_frames(days: list[date], frames: QuerySet, user: Visitor) -> list[Picture]:
    rows = list(
        seen_by(user, frames, 'product__observation_record')
        .annotate(day=TruncDate('stored_at'))
        .values('day', facility=F('product__observation_record__facility'))
        .annotate(n=Count('pk'), size=Sum('size'))
        .order_by()
    )
    facilities = sorted({row['facility'] for row in rows if row['facility']})
    found = {(row['day'], row['facility']): row for row in rows}

    def picture(title: str, key: str, per: float, unit: str = '') -> Picture:
        return Picture(
            title,
            facilities,
            [
                (
                    day,
                    [
                        round((found.get((day, name)) or {}).get(key, 0) / per, 3)
                        for name in facilities
                    ],
                )
                for day in days
            ],
            unit,
        )

    if not facilities:
        return []
    return [picture('Frames a day', 'n', 1), picture('Data a day', 'size', 1e6, 'MB')]
