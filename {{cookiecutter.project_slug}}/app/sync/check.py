"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from fnmatch import fnmatch

from django.contrib.auth.models import User
from django.db import DatabaseError
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from .announce import announce_products
from .errors import FacilityDown, NoAnswer, PartFailed, SyncError, Unsupported
from .explain import explained
from .gateway import Frame, Gateway
from .outcomes import Outcome
from .previews import make_preview
from .products import discard_broken, store_frame
from .statuses import refresh_status


class Checker:
    """Checks records of one facility, one after another. Each thread needs one of its own."""

    def __init__(self, facility: str, limits: Automation, user: User | None = None) -> None:
        """`user`: whose credentials are used, in place of each record's own user."""
        self.facility = facility
        self._limits = limits
        self._user = user
        self._gateways: dict[int | None, Gateway] = {}
        self._at_work: Gateway | None = None

    @property
    def doing(self) -> str:
        """What the facility class was asked last: where it hangs, if it does."""
        return self._at_work.doing if self._at_work else self.facility

    def check(self, pk: int) -> Outcome:
        """What came of checking the record `pk`. Never raises: one record's trouble is its own.

        The outcome has no record where the facility as a whole is in trouble, and where the
        record has been deleted meanwhile.
        """
        outcome = Outcome(self.facility)
        try:
            record = ObservationRecord.objects.select_related('target', 'user').get(pk=pk)
            outcome.record, outcome.observation_id = record.pk, record.observation_id
            self._check(record, outcome)
        except Unsupported as reason:
            outcome.unsupported = str(reason)
        except Exception as error:
            return self._failed(pk, error, outcome)
        return outcome

    def _failed(self, pk: int, error: Exception, outcome: Outcome) -> Outcome:
        if not self._exists(pk):
            return Outcome(self.facility)
        trouble = explained(error, self.facility)
        if isinstance(trouble, FacilityDown):
            return Outcome(self.facility, error=str(trouble))
        outcome.note(str(trouble))
        outcome.no_answer = isinstance(trouble, NoAnswer)
        return outcome

    def _exists(self, pk: int) -> bool:
        """Whether there still is a record `pk`, as far as the database can say."""
        try:
            return ObservationRecord.objects.filter(pk=pk).exists()
        except DatabaseError:
            return True

    def _check(self, record: ObservationRecord, outcome: Outcome) -> None:
        outcome.status = record.status
        gateway = self._gateway(self._user or record.user)
        outcome.terminal = gateway.is_terminal(record.status)
        try:
            refresh_status(record, gateway)
        except Unsupported as reason:
            outcome.unsupported = str(reason)
        except PartFailed as error:
            outcome.note(str(error))  # and still: the data is wanted
        outcome.changed = record.status != outcome.status
        outcome.status = record.status
        outcome.terminal = gateway.is_terminal(record.status)
        self._fetch(record, gateway, outcome)
        outcome.checked = not outcome.error and not outcome.unsupported

    def _gateway(self, user: User | None) -> Gateway:
        key = user.pk if user else None
        if key not in self._gateways:
            self._gateways[key] = Gateway(self.facility, user)
        self._at_work = self._gateways[key]
        return self._at_work

    def _fetch(self, record: ObservationRecord, gateway: Gateway, outcome: Outcome) -> None:
        if gateway.saves_products_itself():
            _let_it_save(record, gateway, outcome)
            return
        troubles = []
        for frame in gateway.frames(record):
            if not self._is_wanted(frame):
                continue
            outcome.found += 1
            try:
                stored = store_frame(record, frame, self._limits)
                make_preview(record, frame, stored, self._limits)
            except Exception as error:
                troubles.append(explained(error, self.facility))
            else:
                outcome.saved += stored == 'saved'
                outcome.repaired += stored == 'repaired'
        try:
            announce_products(record)
        except PartFailed as error:
            outcome.note(str(error))
        if troubles:
            first = troubles[0]
            raise type(first)(f'{len(troubles)} of {outcome.found} frames: {first}') from first

    def _is_wanted(self, frame: Frame) -> bool:
        patterns = self._limits.WANTED_FRAMES.get(self.facility)
        return patterns is None or any(fnmatch(frame.filename, pattern) for pattern in patterns)


def _let_it_save(record: ObservationRecord, gateway: Gateway, outcome: Outcome) -> None:
    """Let a class save by itself, and see that what it saved are files."""
    outcome.repaired = len(discard_broken(record))
    products = DataProduct.objects.filter(observation_record=record)
    before = products.count()
    gateway.save_products(record)
    faults = discard_broken(record)
    outcome.found = products.count()
    outcome.saved = max(0, outcome.found - before)
    if faults:
        raise SyncError(f'{gateway.name} saved what is no file: {faults[0]}')
