"""Computes when a job runs next, and puts its expression into words. Needs packages of the TOM."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cron_descriptor import Options, get_description
from cronsim import CronSim

from .zone import schedule_zone

#: How late a job may start: the machine may be starting, or another run may be in progress.
LATE_AFTER = timedelta(minutes=30)
A_MINUTE = timedelta(minutes=1)  # within which cron starts a job that is due


def next_run(expression: str, after: datetime) -> datetime:
    """When cron first starts such a job after `after`, an aware time."""
    return next(runs(expression, after))


def runs(expression: str, after: datetime) -> Iterator[datetime]:
    """All such times. Changes of clocks are handled as in Debian's cron."""
    return CronSim(expression, after.astimezone(schedule_zone()))


def late_since(
    expression: str, started: datetime, finished: datetime, now: datetime
) -> datetime | None:
    """When the run after one that `started` and `finished` was due, if it is late; else None.

    The two clocks of cron's host and of this one may differ by up to a minute.
    """
    # In UTC: within a zone Python adds to the clock on the wall, across a change of clocks as well.
    expected = next_run(expression, max(finished, started + A_MINUTE)).astimezone(UTC)
    return expected if expected + LATE_AFTER < now else None


def sentence(expression: str) -> str:
    """The five fields of an expression in words."""
    minute, hour, day, month, weekday = expression.split()
    if day.startswith('*') or weekday.startswith('*'):
        return _described(expression)
    # A day of the month or a weekday is enough for cron, but cron_descriptor would say "and".
    on_days = _described(f'{minute} {hour} {day} {month} *')
    on_weekdays = _described(f'{minute} {hour} * {month} {weekday}')
    return f'{on_days}; and also: {on_weekdays}'


def _described(expression: str) -> str:
    options = Options(use_24hour_time_format=True, locale_code='en_US')
    return get_description(expression, options)
