"""Checks one record: asks for its status, fetches its frames, and says what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import lru_cache

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as DatabaseTrouble
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.base_models import BaseTarget

from ..conf import Automation
from .errors import BrokenClass, FacilityDown, NoAnswer, PartFailed, SyncError, Unsupported
from .explain import explained
from .facilities import Gateway
from .file_names import safe_name
from .frames import Frame, in_batches
from .hooks import announce_products, refresh_status
from .http import Turns
from .outcomes import Outcome
from .portal_lists import Sweep
from .prefetch import Ahead
from .products import discard_broken, known_products, store_frame


class Checker:
    """Checks records of one facility, one after another. Each thread needs one of its own."""

    def __init__(
        self,
        facility: str,
        limits: Automation,
        user: User | None,
        ahead: Ahead,
        sweep: Sweep,
        turns: Turns,
    ) -> None:
        """`user`: whose credentials are used, in place of each record's own user.

        Shared by all threads of the facility: `ahead` has the records, `sweep` answers for many
        of them at once, and `turns` says who may ask the facility now.
        """
        self.facility = facility
        self._ahead, self._sweep, self._turns = ahead, sweep, turns
        self._limits = limits
        self._user = user
        self._target = lru_cache(maxsize=100)(BaseTarget.objects.get)  # many records have the same
        self._gateways: dict[int | None, Gateway] = {}
        self._at_work: Gateway | None = None
        self._busy = ''

    @property
    def doing(self) -> str:
        """What it is at, or what the facility class was asked last: where it hangs, if it does."""
        return self._busy or (self._at_work.doing if self._at_work else self.facility)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        self._busy = what
        try:
            yield
        finally:
            self._busy = ''

    def check(self, pk: int) -> Outcome:
        """What came of checking the record `pk`. Never raises: one record's trouble is its own.

        The outcome has no record where the facility as a whole is in trouble, and where the
        record has been deleted meanwhile.
        """
        outcome = Outcome(self.facility, pk)
        try:
            record = self._ahead.take(pk)
            record.target = self._target(pk=record.target_id)
            outcome.observation_id = record.observation_id
            self._check(record, outcome)
        except Unsupported as reason:
            outcome.unsupported = outcome.unsupported or str(reason)
        except BaseException as error:  # a facility class may even call sys.exit()
            return self._failed(pk, error, outcome)
        return outcome

    def _failed(self, pk: int, error: BaseException, outcome: Outcome) -> Outcome:
        if not self._exists(pk):
            return Outcome(self.facility)
        trouble = explained(error, self.facility)
        if isinstance(trouble, FacilityDown):
            return Outcome(self.facility, error=str(trouble), kind=trouble.kind)
        outcome.note(trouble)
        outcome.no_answer = isinstance(trouble, NoAnswer)
        return outcome

    def _exists(self, pk: int) -> bool:
        """Whether there still is a record `pk`, as far as the database can say."""
        try:
            return ObservationRecord.objects.filter(pk=pk).exists()
        except DatabaseTrouble:
            return True

    def _check(self, record: ObservationRecord, outcome: Outcome) -> None:
        outcome.status = record.status
        try:
            self._ask(record, outcome)
        finally:  # whatever became of that: the hooks are owed for what is stored
            if outcome.found or record.owes_hooks:
                self._announce(record, outcome)
        outcome.checked = not outcome.error and not outcome.unsupported

    def _ask(self, record: ObservationRecord, outcome: Outcome) -> None:
        gateway = self._gateway(record)
        outcome.terminal = gateway.is_terminal(record.status)
        try:
            refresh_status(record, gateway)
        except Unsupported as reason:
            outcome.unsupported = str(reason)
        except PartFailed as error:
            outcome.note(error)  # and still: the data is wanted
        outcome.changed = record.status != outcome.status
        outcome.status = record.status
        outcome.terminal = gateway.is_terminal(record.status)
        self._fetch(record, gateway, outcome)

    def _announce(self, record: ObservationRecord, outcome: Outcome) -> None:
        try:
            with self._doing('a hook for saved data products'):
                announce_products(record)
        except PartFailed as error:
            outcome.note(error)

    def _gateway(self, record: ObservationRecord) -> Gateway:
        key = self._user.pk if self._user else record.user_id
        if key not in self._gateways:
            user = self._user or record.user
            self._at_work = gateway = Gateway(self.facility, self._sweep, self._turns)
            if user:
                gateway.act_for(user)
            self._gateways[key] = gateway
        self._at_work = self._gateways[key]
        return self._at_work

    def _fetch(self, record: ObservationRecord, gateway: Gateway, outcome: Outcome) -> None:
        if gateway.saves_products_itself():
            _let_it_save(record, gateway, outcome)
            return
        if not (gateway.may_have_frames(record) or record.has_products):
            return
        troubles: list[SyncError] = []
        for some in in_batches(filter(self._is_wanted, gateway.frames(record))):
            outcome.found += len(some)
            known = known_products(some)
            for frame in some:
                try:
                    self._store(record, frame, known.get(frame.product_id), outcome)
                except Exception as error:
                    troubles.append(explained(error, self.facility))
        if troubles:
            first = troubles[0]
            raise type(first)(f'{len(troubles)} of {outcome.found} frames: {first}') from first

    def _store(
        self, record: ObservationRecord, frame: Frame, known: DataProduct | None, outcome: Outcome
    ) -> None:
        with self._doing(f'the download of {safe_name(frame.filename)}'):
            stored = store_frame(record, frame, self._limits, known)
            if getattr(settings, 'AUTO_THUMBNAILS', False):
                self._make_preview(record, frame)
        outcome.saved += stored == 'saved'
        outcome.repaired += stored == 'repaired'

    def _make_preview(self, record: ObservationRecord, frame: Frame) -> None:
        from .previews import make_preview

        make_preview(record, frame, self._limits)

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
        raise BrokenClass(f'{gateway.name} saved a broken file: {faults[0]}')
