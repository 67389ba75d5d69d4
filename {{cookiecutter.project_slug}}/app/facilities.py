"""How fresh the data of each facility is, and what is wrong with it."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Min, Q

from .models import RecordSync, RunFailure, UpdateRun
from .visible import Visitor, seen_by, sees_everything


@dataclass(frozen=True)
class Facility:
    """What a visitor may know of one facility."""

    name: str
    records: int = 0
    awaited: int = 0
    checked_at: datetime | None = None
    failing: int = 0
    failing_since: datetime | None = None
    trouble: str = ''


def facilities(user: Visitor, last: UpdateRun | None) -> list[Facility]:
    """Each facility that `user` may know to have records; `last` is the last whole run."""
    rows = (
        seen_by(user, RecordSync.objects.all(), 'record')
        .values(name=F('record__facility'))
        .annotate(
            records=Count('pk'),
            awaited=Count('pk', filter=Q(settled_at=None)),
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
            records=row['records'],
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
