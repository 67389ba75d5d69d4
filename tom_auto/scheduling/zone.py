"""The time zone of the schedule: that of the machine whose cron starts the jobs.

A container does not have the host's zone. So `.env`, which both of them read, names it there.
"""

import os
import re
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .definition import ScheduleError

VARIABLE = 'SCHEDULE_ZONE'
#: The time zone of cron. Not $TZ: Django sets that to the TIME_ZONE of the settings.
LOCALTIME = Path('/etc/localtime')
#: Clocks that agree on these days of a year, at noon, count as the same.
DAYS = [datetime(2026, month, day, 12, tzinfo=UTC) for month in range(1, 13) for day in (1, 15)]


def schedule_zone() -> tzinfo:
    """The zone in which the jobs are due. Raises ScheduleError if `.env` names an invalid one."""
    name = os.environ.get(VARIABLE, '').strip()
    return _named(name) if name else machine_zone()


def _named(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            f'{VARIABLE}={name} is not a time zone that this machine knows. In .env, write one such '
            'as Europe/Berlin, or leave it empty for the zone of the machine itself.'
        ) from None


def machine_zone() -> tzinfo:
    """The time zone of this machine; UTC if it has none, as in most containers."""
    try:
        with LOCALTIME.open('rb') as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def machine_zone_name() -> str:
    """The name of that zone, such as Europe/Berlin; empty if nothing says it."""
    # realpath: systems link the link, and the database of zones as well.
    name = os.path.realpath(LOCALTIME).partition('/zoneinfo/')[2]
    return name.removeprefix('posix/').removeprefix('right/')


def disagreement(project: Path) -> str:
    """How the zone that the containers have differs from this machine's, if it does.

    For the host of containers: its cron starts the jobs, and they judge whether that was on time.
    """
    name = _in_file(project / '.env')
    inside = _named(name) if name else UTC
    here = machine_zone()
    if all(day.astimezone(inside).utcoffset() == day.astimezone(here).utcoffset() for day in DAYS):
        return ''
    return (
        f'the containers read the schedule in {name or "UTC"}, but this machine is in a different '
        'time zone, so runs would be reported as overdue. In .env, set '
        f'{VARIABLE}={machine_zone_name() or "the zone of this machine"}; then type: '
        'docker compose up --detach --wait'
    )


def _in_file(file: Path) -> str:
    try:
        text = file.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
    found = re.findall(rf'(?m)^\s*{VARIABLE}\s*=\s*["\']?([^"\'\s#]*)', text)
    return found[-1] if found else ''
