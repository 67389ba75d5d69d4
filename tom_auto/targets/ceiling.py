"""How much cadences submit: in a run, in a day, and to a facility that refuses it.

What a facility refuses is tried again at every run, and some cadences have something to submit in
each: they must not keep others from their turn.
"""

from collections import Counter
from datetime import timedelta
from typing import TypeVar

from django.db.models import Max
from django.utils import timezone
from tom_observations.models import DynamicCadence, ObservationRecord

from ..errors import Ceiling, SetAside
from ..models import Submission

A_DAY = timedelta(days=1)
MOST_REFUSED = 10  # by a facility in a run: after that it is left alone until the next one
Row = TypeVar('Row', DynamicCadence, ObservationRecord)
REFUSED = Submission.State.REFUSED


class OfARun:
    """What a run has submitted so far, or would have in a dry run."""

    def __init__(self, most: dict[str, int], dry_run: bool) -> None:
        self._most, self._dry_run = most, dry_run
        self._sent, self._refused = 0, Counter()

    def see(self, facility: str, payload: object = None) -> None:
        """Raise Ceiling or SetAside if `payload` may not be submitted to `facility`, or no more at all."""
        since, most = timezone.now() - A_DAY, self._most
        rows = Submission.objects.filter(created__gt=since).exclude(state=REFUSED)
        today = sum(map(observations_in, rows.values_list('payload', flat=True)))
        planned, more = self._sent if self._dry_run else 0, observations_in(payload)
        ceiling = f'{most["run"]} in a run, {most["day"]} in a day'
        if more > max(1, min(most.values())):
            raise Ceiling(
                f'these are {more} observations at once, and no more is allowed than {ceiling}',
                is_of_one=True,
            )
        if self._sent + more > most['run'] or today + planned + more > most['day']:
            raise Ceiling(f'no more is submitted now: {ceiling}')
        if (refused := self._refused[facility]) >= MOST_REFUSED:
            raise SetAside(
                f'{facility} has refused {refused} submissions: the next run goes on with the others'
            )

    def count(self, payload: object) -> None:
        """It is sent; whether it is accepted is not known yet."""
        self._sent += observations_in(payload)

    def count_refused(self, facility: str, payload: object) -> None:
        """It was not accepted: another may be sent in its place."""
        self._sent -= observations_in(payload)
        self._refused[facility] += 1


def observations_in(payload: object) -> int:
    """How many observations are submitted with `payload`: a form may make several requests at once."""
    its = payload.get('requests') if isinstance(payload, dict) else payload
    return max(1, len(its)) if isinstance(its, list) else 1


def longest_ago_first(rows: list[Row], what: str) -> list[Row]:
    """`rows` in the order in which something was last submitted, or refused; first those without.

    `what` they are to a submission: its cadence, or its trigger.
    """
    sent = Submission.objects.filter(**{f'{what}__in': rows})
    newest = dict(sent.values_list(what).annotate(Max('created')))
    return sorted(rows, key=lambda row: newest[row.pk].timestamp() if row.pk in newest else 0)
