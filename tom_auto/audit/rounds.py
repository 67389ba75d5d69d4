"""Which files are read in a run: a round of all of them takes `AUDIT_ROUND`, a month by default.

A run reads as many as have become due since the run before it, so that the same schedule fits any
number of files. Where a round is stands in the database: the next run goes on from there.
"""

from datetime import datetime, timedelta
from math import ceil

from django.db.models import QuerySet
from tom_dataproducts.models import DataProduct

from ..models import AuditRound, UpdateRun

A_DAY = timedelta(days=1)
OPEN, CLOSED = AuditRound.State.OPEN, AuditRound.State.CLOSED


def round_to_go_on_with(now: datetime, length: timedelta, at_once: bool) -> AuditRound | None:
    """The round in progress, or a new one if it is time for one. `at_once`: a new one in any case,
    unless the one in progress has begun within a day.
    """
    latest = AuditRound.objects.first()
    if latest is None:
        return AuditRound(began=now)
    if latest.state == OPEN and not (at_once and now - latest.began > A_DAY):
        return latest
    if at_once or now - latest.began >= length:
        return AuditRound(began=now)
    return None


def round_before(current: AuditRound | None) -> datetime | None:
    """When the last whole round before `current` began."""
    rounds = AuditRound.objects.filter(state=CLOSED)
    if current is not None:
        rounds = rounds.filter(began__lt=current.began)
    return rounds.values_list('began', flat=True).first()


def begin(new: AuditRound) -> None:
    """Write down a new round; one that was in progress is given up for it."""
    if new.pk is None:
        AuditRound.objects.filter(state=OPEN).delete()
        new.save()


def left_in(current: AuditRound) -> QuerySet[DataProduct]:
    """The data products whose files are still to be read in a round."""
    return DataProduct.objects.filter(pk__gt=current.position).order_by('pk')


def share(current: AuditRound, run: UpdateRun, length: timedelta, at_once: bool) -> int:
    """How many files this run is to read of those that are left."""
    left = left_in(current).count()
    if at_once:
        return left
    earlier = UpdateRun.objects.filter(command=run.command, only='', started__lt=run.started)
    before = earlier.values_list('started', flat=True).first()
    gap = run.started - before if before else A_DAY
    elapsed = run.started - current.began
    due = ceil((left + current.files) * min(1.0, (elapsed + gap) / length)) if length else left
    return max(0, min(left, due - current.files))
