"""How fresh the data of each facility is, and what is wrong with it.

Only records that are not settled count: reading a hundred thousand settled ones would slow the page
and say nothing new.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Min, Q

from ..access import Visitor, seen_by, sees_everything
from ..models import RecordSync, RunFailure, UpdateRun
from ..sync.errors import Unsupported, advice_for


@dataclass(frozen=True)
class Facility:
    """What a visitor may know of one facility."""

    name: str
    awaited: int = 0
    checked_at: datetime | None = None
    failing: int = 0
    failing_since: datetime | None = None
    trouble: str = ''
    advice: str = ''


def facilities(user: Visitor, last: UpdateRun | None) -> list[Facility]:
    """The facilities with unsettled records that `user` may see; `last` is the last whole run."""
    rows = (
        seen_by(user, RecordSync.objects.exclude(state=RecordSync.State.SETTLED), 'record')
        .values(name=F('record__facility'))
        .annotate(
            awaited=Count('pk'),
            newest=Max('checked_at'),
            failing=Count('pk', filter=Q(failing_since__isnull=False)),
            failing_since=Min('failing_since'),
            unsupported=Min('error', filter=Q(error_kind=Unsupported.kind)),
        )
        .order_by('name')
    )
    failed = RunFailure.objects.filter(run=last, observation_id='')
    troubles = {failure.facility: failure for failure in failed}
    return [
        Facility(
            name=row['name'],
            awaited=row['awaited'],
            checked_at=row['newest'],
            failing=row['failing'],
            failing_since=row['failing_since'],
            **_trouble(troubles.get(row['name']), row['unsupported'], user),
        )
        for row in rows
    ]


def _trouble(failure: RunFailure | None, unsupported: str | None, user: Visitor) -> dict[str, str]:
    """The error, for those who may see all records; for others, only that there is one."""
    if failure is None and unsupported:
        return {'trouble': f'not supported: {unsupported}', 'advice': Unsupported.advice}
    if failure is None:
        return {}
    if sees_everything(user):
        return {'trouble': failure.error, 'advice': advice_for(failure.error_kind)}
    return {'trouble': 'could not be checked', 'advice': 'Superusers of this TOM can see why.'}
