"""Asks facility classes, each as it is, and turns what they answer into plain things.

Facility classes come in many shapes: some answer everything, some only part, some nothing. Those
of LCO's kind, as tomtoolkit has them, are asked in threads (`Stock`). Any other is asked as
tomtoolkit does, one call at a time, in a process of its own: see `facility_process`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isabstract
from urllib.parse import urlsplit

from dateutil.parser import parse
from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string
from django.utils.timezone import is_naive, make_aware
from tom_observations.facilities.lco_redirect import LCORedirectFacility
from tom_observations.facilities.ocs import OCSFacility
from tom_observations.facility import BaseRoboticObservationFacility
from tom_observations.models import ObservationRecord

from ..errors import AccessRefused, BrokenClass, NoKey, NotFound, NotImportable, Unsupported
from ..explain import explained, told
from .frames import Listing, listed_by_archive

#: What the states of a portal look like.
STATE = re.compile('[A-Z_]{1,40}')
STATUS_LENGTH = ObservationRecord._meta.get_field('status').max_length
TIMES = ('scheduled_start', 'scheduled_end')
Account = tuple[str, str, str]  # portal, archive and key
#: A class of LCO's kind that brings one of these itself is asked as any other.
ITS_OWN = {
    '__init__', 'set_user', 'get_observation_status', 'data_products', '_archive_frames',
    '_portal_headers', 'update_observation_status', 'save_data_products',
    'get_terminal_observing_states',
}  # fmt: skip


@dataclass(frozen=True)
class Status:
    """What became of an observation request, as the facility puts it."""

    state: str
    scheduled_start: datetime | None = None
    scheduled_end: datetime | None = None
    fault: str = ''  # of what else it said
    not_times: tuple[str, ...] = ()  # those of TIMES that this is about


def facility_classes() -> tuple[dict[str, type], dict[str, Exception]]:
    """The installed facility classes by name, and those entries that cannot be imported."""
    found, broken = {}, {}
    paths = list(getattr(settings, 'TOM_FACILITY_CLASSES', ()))
    for app in apps.get_app_configs():
        entries = getattr(app, 'observation_facilities', list)() or []
        paths += [entry['class'] for entry in entries if 'class' in entry]
    for path in paths:
        try:
            facility_class = import_string(path)
            found.setdefault(facility_class.name, facility_class)
        except Exception as error:  # whatever a module does when it is imported
            broken[path] = error
    return found, broken


def usable_class(
    name: str, classes: dict[str, type], broken: dict[str, Exception] | None = None
) -> type:
    """The class of facility `name`; raises Unsupported if it is missing or incomplete.

    Raises NotImportable where it may be among the `broken` entries: nobody can tell their names.
    """
    facility_class = classes.get(name)
    if facility_class is None and broken:
        entries = '; '.join(f'{path} ({told(error)})' for path, error in broken.items())
        raise NotImportable(f'TOM_FACILITY_CLASSES has what cannot be imported: {entries}')
    if facility_class is None:
        raise Unsupported(f'no facility {name} is installed: add its class to TOM_FACILITY_CLASSES')
    if isabstract(facility_class):
        lacking = ', '.join(sorted(facility_class.__abstractmethods__))
        raise Unsupported(f'{name} lacks what every facility class has to have: {lacking}')
    return facility_class


def is_stock(facility_class: type) -> bool:
    """Whether a class is of LCO's kind and asks as tomtoolkit's own does."""
    if not issubclass(facility_class, OCSFacility | LCORedirectFacility):
        return False
    foreign = [
        base
        for base in facility_class.__mro__
        if not base.__module__.startswith(('tom_observations.', 'abc', 'builtins'))
    ]
    return not any(ITS_OWN & set(vars(base)) for base in foreign)


def overrides(facility_class: type, method: str) -> bool:
    """Whether a class has a method of its own in place of tomtoolkit's."""
    own = getattr(facility_class, method, None)
    return own is not None and own is not getattr(BaseRoboticObservationFacility, method)


class Stock:
    """A facility of LCO's kind, with the TOM's own credentials."""

    def __init__(self, name: str, facility_class: type) -> None:
        """Raises Unsupported where the class, or its settings, are of no use."""
        self.name = name
        try:
            facility = facility_class()
            self.ocs = getattr(facility, 'lco_facility', facility)
            setting = self.ocs.facility_settings.get_setting
            self.portal, self.archive = setting('portal_url') or '', setting('archive_url') or ''
            self.portal_host = urlsplit(self.portal).netloc
            self.archive_id = urlsplit(self.archive).netloc
        except Exception as error:  # whatever a class does
            reason = f'{name} cannot be used as settings.py has it: {told(error)}'
            raise Unsupported(reason) from error
        self.key = setting('api_key') or ''
        self.account = self.portal, self.archive, self.key
        #: What to do where there is no key. LCORedirect uses LCO's.
        self.wants_key = f'set {self.ocs.facility_settings.facility_name}_API_KEY in .env'

    def is_terminal(self, status: str) -> bool:
        """Whether `status` will not change by itself."""
        return status in self.ocs.get_terminal_observing_states()

    def is_success(self, status: str) -> bool:
        """Whether an observation with `status` should have data."""
        return status in self.success_states()

    def success_states(self) -> list[str]:
        """The states of observations that have all their data."""
        return self.ocs.facility_settings.get_successful_observing_states()

    def status(self, observation_id: str) -> Status:
        """What the portal says of one request. Raises NoKey if it is hidden for want of a key."""
        try:
            answer = self.ocs.get_observation_status(observation_id)
        except Exception as error:
            known = explained(error, self.name)
            if not self.key and isinstance(known, NotFound | AccessRefused):
                raise NoKey(f'{self.name} shows it only to its owner: {self.wants_key}') from error
            raise known from error
        return self.status_of(answer)

    def status_of(self, answer: object) -> Status:
        """What an answer of the portal, or of its lists, amounts to."""
        try:
            status = status_of(answer, self.name)
        except Unsupported as reason:  # a portal has a status for every request
            raise BrokenClass(str(reason)) from None
        if status.state not in self.ocs.facility_settings.get_observing_states():
            if not STATE.fullmatch(status.state):  # anything may be in it, even a secret
                raise BrokenClass(f'{self.name} reports a status that is not valid')
            raise BrokenClass(f'{self.name} reports the state {status.state}, which is not known')
        return status

    def frames(
        self,
        observation_id: str,
        proposal: object,
        shown: Callable[[], frozenset[str] | None],
    ) -> Listing:
        """What the archive lists for one request.

        `shown` gives the proposals that the archive shows: nothing is believed only of these.
        """
        listing = listed_by_archive(self.ocs, observation_id, f"{self.name}'s archive")
        if listing.frames or not self.key or (proposals := shown()) is None:
            return listing
        if not proposals or (isinstance(proposal, str) and proposal not in proposals):
            of = f'of {proposal}' if proposals else 'at all'
            raise AccessRefused(f"{self.name}'s archive shows this account no frames {of}")
        return listing


def status_of(answer: object, facility: str) -> Status:
    """What an answer of `get_observation_status` amounts to; the part that is good is kept."""
    if isinstance(answer, str):  # as facility classes did before they gave the times as well
        answer = {'state': answer}
    state = answer.get('state') if isinstance(answer, dict) else None
    if not isinstance(state, str) or not state.strip():
        raise Unsupported(f'{facility} reports no status')
    if len(state) > STATUS_LENGTH or not state.isprintable():
        raise BrokenClass(f'{facility} reports a status that is not valid')
    moments, not_times = {}, []
    for name in TIMES:
        try:
            moments[name] = moment(answer.get(name))
        except Exception:  # whatever dateutil makes of nonsense
            not_times.append(name)
    fault = '; '.join(
        f'{facility} gave a {name.replace("_", " ")} that is not a time' for name in not_times
    )
    return Status(state, **moments, fault=fault, not_times=tuple(not_times))


def moment(value: object) -> datetime | None:
    """A time that a facility gave, as a datetime or as text; None where it gave none.

    tomtoolkit stores the text itself, and then receivers that expect a datetime fail.
    """
    if value is None or value == '':
        return None
    if not isinstance(value, datetime | str):
        raise TypeError(type(value))
    try:  # what nearly all write, and twenty times faster
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        time = parse(value)
    # In UTC, as it will be stored: there are times on the verge that have no place there.
    return (make_aware(time) if is_naive(time) else time).astimezone(UTC)
