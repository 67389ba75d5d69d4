"""How runs went, and since when, as far as a visitor may know.

A run in which only something failed that is hidden from them reads to them like one that went well:
its outcome, the page's "working since", and whatever else would tell that something hidden has failed.
"""

from datetime import datetime

from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from .access import Visitor, knows_outcomes, seen_by
from .models import RunFailure, UpdateRun

ENDED = 'ended'  # in place of the status of a run


def with_outcomes(user: Visitor | None, runs: QuerySet[UpdateRun]) -> QuerySet[UpdateRun]:
    """`runs`, each with `shown`: its status as far as `user` may know it.

    Who does not know how runs went is told that a run of `updatedata` has failed only by a failure
    that they see. Otherwise it has `ended`, also if it went well: the difference would tell.
    """
    if knows_outcomes(user):
        return runs.annotate(shown=F('status'))
    ended = _is_well() | (_failed() & ~_is_known(user))
    return runs.annotate(shown=Case(When(ended, then=Value(ENDED)), default=F('status')))


def _is_well() -> Q:
    return Q(command='updatedata', status=UpdateRun.Status.OK)


def _failed() -> Q:
    return Q(command='updatedata', status=UpdateRun.Status.FAILED)


def _is_known(user: Visitor) -> Q:
    """Whether the visitor sees one of the failures of a run."""
    failures = RunFailure.objects.filter(run=OuterRef('pk'))
    return Q(Exists(seen_by(user, failures, 'record')))


def working_since(user: Visitor | None, runs: QuerySet[UpdateRun]) -> datetime | None:
    """When the first of `runs`, newest first, started of those that have gone well without a break."""
    return _first_after(runs, runs.filter(~_seems_well(user)).first())


def failing_since(user: Visitor | None, runs: QuerySet[UpdateRun]) -> datetime | None:
    """The same for runs that failed; None if the newest run went well, or if there are no runs."""
    well = runs.filter(_seems_well(user)).first()
    return None if well and well == runs.first() else _first_after(runs, well)


def _seems_well(user: Visitor | None) -> Q:
    """Whether a run went well, or only something failed in it that is hidden from `user`."""
    well = Q(status=UpdateRun.Status.OK)
    if knows_outcomes(user):
        return well
    named = RunFailure.objects.filter(run=OuterRef('pk'))
    # Everybody is told that a facility could not be checked, and of a run that failed as a whole.
    told = Q(Exists(named.filter(observation_id='')))
    told |= Q(exit_status__isnull=False) & ~Q(exit_status=0) & ~Q(Exists(named))
    return well | (_failed() & ~told & ~_is_known(user))


def _first_after(runs: QuerySet[UpdateRun], run: UpdateRun | None) -> datetime | None:
    """When the first run after `run` started; without one, the first of all."""
    streak = runs.filter(started__gt=run.started) if run else runs
    return streak.order_by('started').values_list('started', flat=True).first()
