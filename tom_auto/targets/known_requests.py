"""Which requests at a portal this TOM has records of, or will have: a cadence has submitted them."""

from collections.abc import Iterable

from dateutil.parser import parse
from tom_observations.models import ObservationRecord

from ..models import Submission
from .portal_rows import OddRequest, PortalRequest
from .portal_shows import may_be
from .submissions import IN_HAND


def known_among(
    requests: Iterable[PortalRequest | OddRequest], facilities: Iterable[str]
) -> set[str]:
    """The numbers of those that `facilities`, which share a portal, have or will have.

    A request that is listed was submitted, if a cadence did, before this is asked. So the
    submissions are read first: one that is not in hand any more has its records by now.
    """
    states = [*IN_HAND, Submission.State.SUBMITTED]
    rows = Submission.objects.filter(facility__in=facilities, state__in=states)
    awaited = {request.number for request in requests if any(_may_be(one, request) for one in rows)}
    numbers = [request.number for request in requests]
    records = ObservationRecord.objects.filter(facility__in=facilities, observation_id__in=numbers)
    return awaited | set(records.values_list('observation_id', flat=True))


def _may_be(intent: Submission, request: PortalRequest | OddRequest) -> bool:
    if intent.observation_ids:
        return request.number in intent.observation_ids
    if isinstance(request, OddRequest):
        return False
    return may_be(intent, request.name, request.proposal, parse(request.created))
