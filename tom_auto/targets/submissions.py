"""The seam round `submit_observation`: what a cadence submits, it submits once for each trigger.

The intent is written and committed before anything is sent, the result after it. What was killed
in between, or got no clear answer, is uncertain, and is never sent again by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from socket import gaierror

import requests
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.models import DynamicCadence, ObservationRecord
from urllib3.exceptions import NewConnectionError

from ..models import Submission
from ..sync.errors import Ceiling, NotSubmitted, SyncError, Uncertain
from ..sync.explain import explained
from ..sync.facilities import facility_classes

A_DAY = timedelta(days=1)
#: After these nothing was accepted: the observatory said so, or was never reached.
REFUSALS = (
    ValidationError, ImproperCredentialsException, requests.ConnectTimeout, NewConnectionError,
    gaierror,
)  # fmt: skip
UNCLEAR = {408, 409}  # of the 4xx: these do not say that it was not accepted
IN_HAND = Submission.State.INTENDED, Submission.State.UNCERTAIN


class WouldSubmit(Exception):
    """What a dry run raises in the place of a submission."""


class Seam:
    """Passes on what strategies submit, for the trigger that was set last."""

    def __init__(self, claim: Callable[[], None], most: dict[str, int], dry_run: bool) -> None:
        """`claim` says that this run may still write."""
        self._claim, self._most, self._dry_run = claim, most, dry_run
        self._cadence: DynamicCadence | None = None
        self._trigger: ObservationRecord | None = None
        self._is_inside = False  # a class whose method calls that of another class
        self.sent = 0

    def set(self, cadence: DynamicCadence, trigger: ObservationRecord) -> None:
        """From now on what is submitted is for this."""
        self._cadence, self._trigger = cadence, trigger

    def submit(self, original: Callable, facility: object, payload: object) -> list:
        """What `original` answers; the intent is noted before, the result after it."""
        if self._is_inside:
            return original(facility, payload)
        if self._dry_run:
            raise WouldSubmit(name_of(payload))
        intent = self._intend(facility.name, payload)
        self._is_inside = True
        try:
            numbers = original(facility, payload)
            if not numbers:
                raise Uncertain(f'{facility.name} gave no number for {intent.name}')
        except BaseException as error:
            _note_failure(intent, error)
            raise
        finally:
            self._is_inside = False
        intent.state, intent.observation_ids = Submission.State.SUBMITTED, list(map(str, numbers))
        intent.save(update_fields=['state', 'observation_ids'])
        return numbers

    def _intend(self, facility: str, payload: object) -> Submission:
        since = timezone.now() - A_DAY
        today = Submission.objects.filter(created__gt=since).exclude(state=Submission.State.REFUSED)
        if self.sent >= self._most['run'] or today.count() >= self._most['day']:
            ceiling = f'{self._most["run"]} in a run, {self._most["day"]} in a day'
            raise Ceiling(f'no more is submitted now: {ceiling}')
        try:
            with transaction.atomic(durable=True):  # committed, or nothing is sent
                self._claim()
                self.sent += 1
                return Submission.objects.create(
                    cadence=self._cadence, trigger=self._trigger, facility=facility[:50],
                    name=name_of(payload), payload=payload, created=timezone.now(),
                )  # fmt: skip
        except IntegrityError as error:
            raise NotSubmitted('something was submitted for this observation already') from error


@contextmanager
def submitting(seam: Seam) -> Iterator[None]:
    """While this lasts, every installed facility class submits through `seam`."""
    classes = set(facility_classes()[0].values())
    originals = {one: one.submit_observation for one in classes}
    own = {one for one in classes if 'submit_observation' in vars(one)}

    def through_the_seam(original: Callable) -> Callable:
        return lambda facility, payload: seam.submit(original, facility, payload)

    for one, original in originals.items():
        one.submit_observation = through_the_seam(original)
    try:
        yield
    finally:
        for one, original in originals.items():
            if one in own:
                one.submit_observation = original
            else:
                del one.submit_observation


def name_of(payload: object) -> str:
    """What the observatory knows a request by."""
    return str(payload.get('name', '') if isinstance(payload, dict) else '')[:255]


def is_refusal(error: BaseException) -> bool:
    """Whether it is certain that nothing was accepted."""
    for cause in _wrapped(error):
        if isinstance(cause, REFUSALS):
            return True
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            status = cause.response.status_code
            return 400 <= status < 500 and status not in UNCLEAR
    return False


def _wrapped(error: object) -> Iterator[BaseException]:
    """`error`, and what it wraps; not what was met before it, and may have been overcome."""
    if isinstance(error, BaseException):
        yield error
        for inner in (error.__cause__, getattr(error, 'reason', None), *error.args):
            yield from _wrapped(inner)


def _note_failure(intent: Submission, error: BaseException) -> None:
    intent.state = Submission.State.REFUSED if is_refusal(error) else Submission.State.UNCERTAIN
    intent.error = str(explained(error, intent.facility))
    intent.save(update_fields=['state', 'error'])


def failure_of(intent: Submission) -> SyncError:
    """What is to be said of a submission that has no clear end."""
    return Uncertain(
        f'submission {intent.pk} ({intent.name}, {intent.created:%Y-%m-%d %H:%M} UTC) may have '
        f'been accepted: {intent.error or "the run was ended while it was sent"}'
    )
