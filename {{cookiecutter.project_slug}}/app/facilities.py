"""How fresh the data of each facility is, and what is wrong with it.

Only of records that something is still awaited of: of a hundred thousand that are settled there is
nothing to say, and reading them all would take the page its time.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Min, Q

from .models import RecordSync, RunFailure, UpdateRun
from .visible import Visitor, seen_by, sees_everything


@dataclass(frozen=True)
class Facility:
    """What a visitor may know of one facility."""

    name: str
    awaited: int = 0
    checked_at: datetime | None = None
    failing: int = 0
    failing_since: datetime | None = None
    trouble: str = ''


def facilities(user: Visitor, last: UpdateRun | None) -> list[Facility]:
    """Each facility that `user` may know to be awaited; `last` is the last whole run."""
    rows = (
        seen_by(user, RecordSync.objects.filter(next_check__isnull=False), 'record')
        .values(name=F('record__facility'))
        .annotate(
            awaited=Count('pk'),
            newest=Max('checked_at'),
            failing=Count('pk', filter=Q(failing_since__isnull=False)),
            failing_since=Min('failing_since'),
        )
        .order_by('name')
    )
    troubles = dict(
        RunFailure.objects.filter(run=last, observation_id='').values_list('facility', 'error')
    )
    return [
        Facility(
            name=row['name'],
            awaited=row['awaited'],
            checked_at=row['newest'],
            failing=row['failing'],
            failing_since=row['failing_since'],
            trouble=_told(troubles.get(row['name'], ''), user),
        )
        for row in rows
    ]


def _told(error: str, user: Visitor) -> str:
    """`error`, to those who may read what names any record; to others, that there is one."""
    return error if not error or sees_everything(user) else 'could not be asked'
