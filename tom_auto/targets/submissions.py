"""The seam round `submit_observation`: what a cadence submits, it submits once for each trigger.

The intent is written and committed before anything is sent, the result after it. What was killed
in between, or got no clear answer, is uncertain, and is never sent again by itself.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q
from django.db.models.signals import post_init, pre_save
from django.utils import timezone
from tom_observations.models import DynamicCadence, ObservationRecord

from ..db_retry import patient
from ..errors import AnotherRun, NotCancelled, NotNoted, NotSubmitted, Uncertain
from ..explain import explained
from ..models import Submission
from ..running.runs import TAKEN_OVER
from .ceiling import OfARun
from .facility_calls import refreshed, through
from .one_record import MadeMeanwhile, in_one_place, others_of, without_halves
from .portals import has_numbers_of_its_own, sends_it_as_it_is_to, sharing_a_portal
from .wire import Sent, is_refusal, watched

logger = logging.getLogger(__name__)

ALREADY = 'something was submitted for this observation already'
IN_HAND = Submission.State.INTENDED, Submission.State.UNCERTAIN


class WouldSubmit(Exception):
    """What a dry run raises in the place of a submission, or of a cancellation."""


class NotWanted(Exception):
    """The cadence was switched off during the run, say, or goes on from another observation now."""


class Seam:
    """Passes on what strategies submit, for the trigger that was set last."""

    def __init__(
        self,
        claim: Callable[[], None],
        most: dict[str, int],
        dry_run: bool,
        switched_off: bool = False,
    ) -> None:
        """`claim` says that this run may still write; `switched_off`: cadences need not be active."""
        self._claim, self._dry_run, self._ceiling = claim, dry_run, OfARun(most, dry_run)
        self._switched_off = switched_off
        # What is submitted is for this cadence, because of this observation.
        self.cadence: DynamicCadence | None = None
        self.trigger: ObservationRecord | None = None
        self._is_due: Callable[[], bool] = bool
        self._is_seen_alone = True
        self._is_inside = False  # a class whose method calls that of another class

    def set(
        self,
        cadence: DynamicCadence,
        trigger: ObservationRecord,
        is_due: Callable[[], bool],
        is_seen_alone: bool,
    ) -> None:
        """From now on what is submitted is for this, as long as `is_due()`.

        `is_seen_alone`: the strategy knows of no other observation because of which it may submit.
        """
        self.cadence, self.trigger, self._is_due = cadence, trigger, is_due
        self._is_seen_alone = is_seen_alone

    def submit(self, original: Callable, facility: object, payload: object) -> list:
        """What `original` answers; the intent is noted before, the result after it."""
        if self._is_inside:
            return original(payload)
        same = None if self._is_seen_alone else self._same(facility.name, payload)
        if self._dry_run:
            self._ceiling.see(facility.name, payload)
            self._ceiling.count(payload)
            raise WouldSubmit(name_of(payload))
        portal = sends_it_as_it_is_to(original, facility)
        intent, sent = self._intend(facility.name, payload, portal, same), Sent()
        self._ceiling.count(payload)
        self._is_inside = True
        try:
            with watched(partial(self._begin, intent)) as sent:
                numbers = original(payload)
            if not numbers:
                raise Uncertain(f'{facility.name} gave no number for {intent.name}')
        except BaseException as error:
            if _note_failure(intent, error, sent) == Submission.State.REFUSED:
                self._ceiling.count_refused(facility.name, payload)
            raise
        finally:
            self._is_inside = False
        _save_answer(intent, list(map(str, numbers)))
        self._claim()  # or the records are for the other run to make
        return numbers

    def cancel(self, original: Callable, facility: object, number: object) -> object:
        """What `original` answers. To make room for what may not be submitted, nothing is cancelled."""
        if not self._is_inside:
            with transaction.atomic():
                self._claim()
                self._see_what_it_makes_room_for(facility.name, number)
            if self._dry_run:
                raise WouldSubmit(f'cancellation of {number}')
        return original(number)

    def claim_new(self, instance: ObservationRecord, **signal: object) -> None:
        """Receives `pre_save`: a run that was taken over makes no records, and none makes a second.

        Somebody may have made one with tomtoolkit's page since the portal has accepted it.
        """
        if instance._state.adding:
            instance.parameters = without_halves(instance.parameters)
            self._claim()
            if others_of(instance).filter(target=instance.target_id).exists():
                raise MadeMeanwhile

    def _intend(
        self, facility: str, payload: object, portal: str, same: Submission | None
    ) -> Submission:
        self._ceiling.see(facility, payload)
        try:
            with transaction.atomic(durable=True):  # committed, or nothing is sent
                self._claim()
                self._see_what_it_is_for()
                if submission_for(self.trigger):
                    raise NotSubmitted(ALREADY)
                if same:
                    raise NotSubmitted(f'submission {same.pk} is the same, and has not ended')
                return Submission.objects.create(
                    cadence=self.cadence, trigger=self.trigger,
                    trigger_number=self.trigger.observation_id,
                    trigger_facility=self.trigger.facility, facility=facility[:50],
                    name=name_of(payload), payload=payload, portal=portal, created=timezone.now(),
                )  # fmt: skip
        except IntegrityError as error:
            with transaction.atomic():
                self._see_what_it_is_for()
            raise NotSubmitted(ALREADY) from error

    def _same(self, facility: str, payload: object) -> Submission | None:
        """What the cadence has submitted in the same words, the window among them, and is open."""
        words = json.loads(json.dumps(payload, cls=DjangoJSONEncoder))
        rows = Submission.objects.filter(cadence=self.cadence, facility=facility[:50])
        rows = rows.filter(name=name_of(payload)).exclude(state=Submission.State.REFUSED)
        return next((one for one in rows if one.payload == words and _is_open(one)), None)

    def _see_what_it_is_for(self) -> None:
        """Raise NotWanted if somebody has switched the cadence off since this run read it, say."""
        cadence = DynamicCadence.objects.select_for_update().filter(pk=self.cadence.pk).first()
        is_on = cadence is not None and (cadence.active or self._switched_off)
        if not (is_on and self._is_due()):
            raise NotWanted

    def _see_what_it_makes_room_for(self, facility: str, number: object) -> None:
        """Raise Ceiling or NotCancelled if nothing may follow, unless that is submitted already."""
        before = submission_for(self.trigger)
        if before is not None and before.state not in IN_HAND:
            return
        self._ceiling.see(facility)
        try:
            self._see_what_it_is_for()
        except NotWanted as error:
            why = 'its cadence was switched off, or goes on from another observation now'
            raise NotCancelled(f'observation {number} is not cancelled: {why}') from error

    def _begin(self, intent: Submission) -> None:
        """Note that it is sent now. Raises AnotherRun if another run has it in hand."""
        with transaction.atomic():
            self._claim()
            rows = Submission.objects.filter(pk=intent.pk, state=Submission.State.INTENDED)
            if not rows.update(created=timezone.now()):
                raise AnotherRun(TAKEN_OVER)


@contextmanager
def submitting(seam: Seam) -> Iterator[None]:
    """While this lasts, every installed facility class submits and cancels through `seam`."""
    pre_save.connect(seam.claim_new, sender=ObservationRecord)
    post_init.connect(in_one_place, sender=ObservationRecord)
    try:
        with (
            through('submit_observation', seam.submit),
            through('cancel_observation', seam.cancel),
            through('update_observation_status', refreshed),
        ):
            yield
    finally:
        post_init.disconnect(in_one_place, sender=ObservationRecord)
        pre_save.disconnect(seam.claim_new, sender=ObservationRecord)


def submission_for(trigger: ObservationRecord) -> Submission | None:
    """What was submitted because of `trigger`, by whatever cadence, and not refused.

    Also if the record of `trigger` was deleted and made again, or if its request has two records.
    """
    facilities = sharing_a_portal(trigger.facility)
    same = Q(trigger_number=trigger.observation_id, trigger_facility__in=facilities)
    if not has_numbers_of_its_own(trigger.facility):  # a record that is here is of something else
        same &= Q(trigger=None)
    rows = Submission.objects.filter(Q(trigger=trigger) | same).order_by('pk')
    rows = rows.exclude(state=Submission.State.REFUSED)
    return min(rows, key=lambda one: one.state == Submission.State.RECORDED, default=None)


def _is_open(before: Submission) -> bool:
    """Whether not all of its observations have ended, as far as that is known."""
    its = ObservationRecord.objects.filter(
        facility=before.facility, observation_id__in=before.observation_ids
    )
    return not its or not all(record.terminal for record in its)


def name_of(payload: object) -> str:
    """What the observatory knows a request by."""
    return str(payload.get('name', '') if isinstance(payload, dict) else '')[:255]


def _note_failure(intent: Submission, error: BaseException, sent: Sent) -> str:
    """Note what came of it, unless another run has found that out meanwhile; and give that state."""
    # What tomtoolkit's own method sends is seen whole; a log may be sent over the network meanwhile.
    is_seen = bool(intent.portal) or not sent.is_elsewhere
    is_refused = is_seen and is_refusal(error, sent)
    state = Submission.State.REFUSED if is_refused else Submission.State.UNCERTAIN
    words = str(explained(error, intent.facility))
    if sent.is_in_part_accepted:
        words = f'{intent.facility} has accepted a part of it: {words}'
    rows = Submission.objects.filter(pk=intent.pk, state=Submission.State.INTENDED)
    rows.update(state=state, error=words)
    return state


def _save_answer(intent: Submission, numbers: list[str]) -> None:
    """Note under which numbers it was accepted.

    Raises AnotherRun where another run has settled it otherwise, and NotNoted if it cannot be saved.
    """
    answer = f'{intent.facility} has accepted {intent.name} as {", ".join(numbers)}, and that'
    rows = Submission.objects.filter(pk=intent.pk)
    ours = rows.filter(state__in=IN_HAND)
    try:
        is_noted = patient(ours.update)(state=Submission.State.SUBMITTED, observation_ids=numbers)
        if is_noted or rows.filter(observation_ids=numbers).exists():
            return
    except DatabaseError as error:
        logger.error('%s cannot be saved: %s', answer, error)
        raise NotNoted(f'{answer} cannot be saved') from error
    words = f'{answer} came when submission {intent.pk} was settled already'
    logger.error(words)
    raise AnotherRun(f'{TAKEN_OVER} {words}: look it up there.')
