"""What earlier runs of `updatecadences` have left open, settled where that is possible."""

from collections.abc import Callable
from time import monotonic

from django.db.models import QuerySet

from ..errors import OF_THE_SERVICE, AnotherRun, OutOfTime, SyncError
from ..explain import explained
from ..models import Submission
from .accepted_records import complete
from .portals import sharing_a_portal
from .settle import look_up, open_submissions

State = Submission.State


class LeftOpen:
    """Settles what is open before `deadline`. `troubles`: by submission, why it stays open."""

    def __init__(self, claim: Callable[[], None], deadline: float) -> None:
        """`claim` raises if this run was taken over."""
        self.troubles: dict[int, Exception] = {}
        self._away: dict[str, SyncError] = {}  # by facility: why its portal is not asked again
        self._claim, self._deadline = claim, deadline

    def settle(self, its: QuerySet[Submission]) -> int:
        """Settle what is open of `its`; how many uncertain ones have an end now."""
        return sum([self._settle(intent) for intent in open_submissions(its, self._claim)])

    def _settle(self, intent: Submission) -> bool:
        """Whatever goes wrong with it is its own trouble: it stays open, and is named."""
        try:
            see_the_time(self._deadline)
            if intent.state == State.SUBMITTED:
                complete(intent, self._claim)
            elif away := self._away.get(intent.facility):
                self.troubles[intent.pk] = away
            elif reason := look_up(intent, self._claim):
                self.troubles[intent.pk] = SyncError(reason)
            else:
                return True
        except AnotherRun:
            raise
        except Exception as error:  # the portal does not answer, for one
            self.troubles[intent.pk] = trouble = explained(error, intent.facility)
            if isinstance(trouble, OF_THE_SERVICE) and intent.state == State.UNCERTAIN:
                self._away |= dict.fromkeys(sharing_a_portal(intent.facility), trouble)
        return False


def see_the_time(deadline: float) -> None:
    """Raise OutOfTime if it is later than `deadline`, in the seconds of `monotonic()`."""
    if monotonic() > deadline:
        raise OutOfTime('not reached before the deadline')
