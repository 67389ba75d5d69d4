"""How fresh the data of each facility is, and what is wrong with it.

Only records that are not settled count: reading a hundred thousand settled ones would slow the page
and say nothing new.
"""

from typing import Any

from django.db.models import Count, F, Max, Min, Q

from ..access import Visitor, seen_by, sees_everything
from ..conf import advice
from ..errors import Unsupported
from ..models import RecordSync, RunFailure, UpdateRun


def facilities(user: Visitor, last: UpdateRun | None) -> list[dict[str, Any]]:
    """The facilities with unsettled records that `user` may see; `last` is the last whole run.

    Each has `name`, `awaited`, `checked_at`, `failing`, `failing_since`, `trouble` and `advice`.
    """
    rows = (
        seen_by(user, RecordSync.objects.exclude(state=RecordSync.State.SETTLED), 'record')
        .values(name=F('record__facility'))
        .annotate(
            awaited=Count('pk'),
            checked_at=Max('checked_at'),
            failing=Count('pk', filter=Q(failing_since__isnull=False)),
            failing_since=Min('failing_since'),
            unsupported=Min('error', filter=Q(error_kind=Unsupported.kind)),
        )
        .order_by('name')
    )
    failed = RunFailure.objects.filter(run=last, observation_id='')
    troubles = {failure.facility: failure for failure in failed}
    found = []
    for row in rows:
        unsupported = row.pop('unsupported')
        found.append(row | _trouble(troubles.get(row['name']), unsupported, user))
    return found


def _trouble(failure: RunFailure | None, unsupported: str | None, user: Visitor) -> dict[str, str]:
    """The error, for those who may see all records; for others, only that there is one."""
    if failure is None and unsupported:
        return {'trouble': f'not supported: {unsupported}', 'advice': Unsupported.advice}
    if failure is None:
        return {'trouble': '', 'advice': ''}
    if sees_everything(user):
        return {
            'trouble': failure.error,
            'advice': advice(failure.error_kind),
        }
    return {'trouble': 'could not be checked', 'advice': 'Superusers of this TOM can see why.'}
