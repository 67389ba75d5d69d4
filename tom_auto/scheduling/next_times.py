"""Computes when a job runs next, and puts its expression into words. Needs packages of the TOM."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from cron_descriptor import Options, get_description
from cronsim import CronSim

#: The time zone of cron. Not $TZ: Django sets that to the TIME_ZONE of the settings.
LOCALTIME = Path('/etc/localtime')


def next_run(expression: str, after: datetime) -> datetime:
    """When cron first starts such a job after `after`, an aware time."""
    return next(runs(expression, after))


def runs(expression: str, after: datetime) -> Iterator[datetime]:
    """All such times. Changes of clocks are handled as in Debian's cron."""
    return CronSim(expression, after.astimezone(machine_zone()))


def machine_zone() -> tzinfo:
    """The time zone of this machine; UTC if it has none, as in most containers."""
    try:
        with LOCALTIME.open('rb') as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


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
