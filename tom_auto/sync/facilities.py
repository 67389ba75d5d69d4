"""Asks facility classes, each as it is, and turns what they answer into two plain things.

Facility classes come in many shapes: some answer everything, some only part, some nothing. The
gateway finds out what a class can do, honours what its author has overridden, improves on what
is tomtoolkit's own (frames are listed by `request_id`, with their checksums), and turns the
errors of all of them into this package's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isabstract, signature

from dateutil.parser import parse
from django.contrib.auth.models import User
from django.utils.timezone import is_naive, make_aware
from tom_observations.facilities.lco_redirect import LCORedirectFacility
from tom_observations.facilities.ocs import OCSFacility
from tom_observations.facility import BaseRoboticObservationFacility, get_service_classes
from tom_observations.models import ObservationRecord

from .errors import BrokenClass, Unsupported
from .frames import Frame, archived_frames, frame_of
from .http import Turns
from .portal_lists import News, Sweep

STATUS_LENGTH = ObservationRecord._meta.get_field('status').max_length

TIMES = ('scheduled_start', 'scheduled_end')


@dataclass(frozen=True)
class Status:
    """What became of an observation request, as the facility puts it."""

    state: str
    scheduled_start: datetime | None
    scheduled_end: datetime | None


class Gateway:
    """One facility class at work, for one user or with the TOM's own credentials."""

    def __init__(self, name: str, sweep: Sweep | None = None, turns: Turns | None = None) -> None:
        """`sweep`, where it is given, answers for many records at once; `turns` are kept with
        whoever else asks this facility, by whichever means.

        Raises Unsupported where no facility `name` is installed, or its class is not whole."""
        facility_class = get_service_classes().get(name)
        if facility_class is None:
            raise Unsupported(
                f'no facility {name} is installed: add its class to TOM_FACILITY_CLASSES'
            )
        if isabstract(facility_class):
            lacking = ', '.join(sorted(facility_class.__abstractmethods__))
            raise Unsupported(f'{name} lacks what every facility class has to have: {lacking}')
        self.name = name
        self.doing = name  # what the facility class is being asked: where it hangs, if it does
        self._facility = facility_class()
        self._sweep, self._turns = sweep, turns

    def act_for(self, user: User) -> None:
        """Use the credentials of `user`, where the class knows users: some log in at once."""
        if hasattr(self._facility, 'set_user'):
            self._ask('set_user', user)

    def is_terminal(self, status: str) -> bool:
        """Whether the facility counts `status` as one that will not change by itself."""
        try:
            states = self._ask('get_terminal_observing_states')
        except Unsupported:
            return False
        return status in tuple(states or ())

    def writes_status_itself(self) -> bool:
        """Whether the class has an `update_observation_status` of its own."""
        return self._overrides('update_observation_status')

    def update_status(self, record: ObservationRecord) -> None:
        """Let the class's own `update_observation_status` do its work."""
        self._ask('update_observation_status', record.observation_id)

    def status(self, record: ObservationRecord) -> Status:
        """What became of `record`.

        Raises Unsupported where the class cannot say, PartFailed where it says what cannot be
        a status, and whatever the class raises.
        """
        news = self._news(record)
        answer = news.answer if news else self._ask('get_observation_status', record.observation_id)
        if isinstance(answer, str):  # as facility classes did before they told the times as well
            answer = {'state': answer}
        state = answer.get('state') if isinstance(answer, dict) else None
        ocs = self._ocs()
        if not isinstance(state, str) or not state.strip():
            # A portal of LCO's kind has one for every request: without it the answer is broken.
            raise (BrokenClass if ocs else Unsupported)(f'{self.name} reports no status')
        if len(state) > STATUS_LENGTH or not state.isprintable():
            raise BrokenClass(f'{self.name} reports a status that is not valid')
        if ocs is not None and state not in ocs.facility_settings.get_observing_states():
            raise BrokenClass(f'{self.name} reports the state {state}, which is not known')
        times = (answer.get(name, getattr(record, name) if news else None) for name in TIMES)
        return Status(state, *map(_moment, times))

    def saves_products_itself(self) -> bool:
        """Whether the class has a `save_data_products` of its own."""
        return self._overrides('save_data_products')

    def save_products(self, record: ObservationRecord) -> None:
        """Let the class's own `save_data_products` do its work."""
        self._ask('save_data_products', record)

    def may_have_frames(self, record: ObservationRecord) -> bool:
        """False where the facility has said that nothing of `record` was observed yet."""
        news = self._news(record)
        return news is None or news.begun

    def frames(self, record: ObservationRecord) -> Iterator[Frame]:
        """The frames of `record` that the facility's archive has now.

        Raises Unsupported where the class has no archive to ask, SyncError or whatever the
        class raises where it should have answered.
        """
        ocs = self._stock_ocs('data_products', '_archive_frames')
        if ocs is not None:
            self.doing = f'{self.name}.data_products'
            yield from archived_frames(ocs, record)
            return
        answer = self._ask('data_products', record.observation_id)
        for product in answer or ():
            yield frame_of(product, self.name)

    def _news(self, record: ObservationRecord) -> News | None:
        """What the portal's lists say of `record`, where the class asks as tomtoolkit does."""
        ocs = self._stock_ocs('get_observation_status')
        if self._sweep is None or ocs is None or self.writes_status_itself():
            return None
        self.doing = f"{self.name}'s lists of requests"
        return self._sweep.news(ocs, record.observation_id)

    def _overrides(self, method: str) -> bool:
        own = getattr(type(self._facility), method, None)
        return own is not None and own is not getattr(BaseRoboticObservationFacility, method)

    def _stock_ocs(self, *methods: str) -> OCSFacility | None:
        """The facility behind this one, where `methods` of both are tomtoolkit's own."""
        facility, ocs = self._facility, self._ocs()
        if ocs is None:
            return None
        own = [getattr(type(ocs), method) is not getattr(OCSFacility, method) for method in methods]
        if ocs is not facility:
            own += [
                getattr(type(facility), method) is not getattr(LCORedirectFacility, method)
                for method in methods
                if hasattr(LCORedirectFacility, method)
            ]
        return None if any(own) else ocs

    def _ocs(self) -> OCSFacility | None:
        """The facility of LCO's kind that this one is, or that it stands for."""
        facility = self._facility
        if isinstance(facility, LCORedirectFacility):
            facility = facility.lco_facility
        return facility if isinstance(facility, OCSFacility) else None

    def _ask(self, method: str, *arguments: object) -> object:
        """Call a method of the class; raises Unsupported where it has none that takes these."""
        self.doing = f'{self.name}.{method}'
        function = getattr(self._facility, method, None)
        if function is None:
            raise Unsupported(f'{self.name} has no {method}')
        try:
            signature(function).bind(*arguments)
        except TypeError:
            raise Unsupported(f'{self.name}.{method} cannot be called for one record') from None
        end_turn = self._turns.take(self.name) if self._turns else None
        try:
            return function(*arguments)
        except NotImplementedError:
            raise Unsupported(f'{self.name} does not implement {method}') from None
        finally:
            if end_turn:
                end_turn()


def _moment(value: object) -> datetime | None:
    """A time that a facility gave, as a datetime or as text; None where it gave none.

    tomtoolkit stores the text itself, and then receivers that expect a datetime fail.
    """
    if value is None or value == '':
        return None
    try:
        moment = value if isinstance(value, datetime) else parse(str(value))
        # In UTC, as it will be stored: there are times on the verge that have no place there.
        return (make_aware(moment) if is_naive(moment) else moment).astimezone(UTC)
    except Exception:  # whatever dateutil makes of nonsense
        raise BrokenClass('the facility gave a time that is not valid') from None
