"""Which facilities of this TOM share a portal of LCO's kind: a request there is one request."""

from collections.abc import Callable

from tom_observations.facilities import ocs
from tom_observations.facilities.lco_redirect import LCORedirectFacility
from tom_observations.facilities.ocs import OCSFacility

from ..errors import SyncError
from ..observatories.facilities import Stock, facility_classes, is_stock, usable_class


def with_lists() -> dict[str, type]:
    """The installed facility classes whose portals list requests; LCO's own comes first."""
    found = {}
    for name, own in facility_classes()[0].items():
        try:
            usable = usable_class(name, {name: own})
        except SyncError:  # `updatedata` says so
            continue
        if issubclass(usable, OCSFacility | LCORedirectFacility):
            found[name] = usable
    return dict(sorted(found.items(), key=lambda item: item[0] != 'LCO'))


def sharing_a_portal(facility: str) -> tuple[str, ...]:
    """The facilities whose records have requests of the portal of `facility`, which is the first."""
    classes = with_lists()
    if facility not in classes or not (portal := portal_of(facility, classes[facility])):
        return (facility,)
    others = (name for name in classes if name != facility)
    return (facility, *(name for name in others if portal_of(name, classes[name]) == portal))


def has_numbers_of_its_own(facility: str) -> bool:
    """Whether a number of a request is never given again, as by the portals of LCO's kind."""
    return facility in with_lists()


def sends_it_as_it_is_to(submit: Callable, facility: object) -> str:
    """The portal that gets a payload as it is by `submit` of `facility`; empty if nobody can tell.

    Only of tomtoolkit's own method is it known what it sends, and where to.
    """
    own = facility if isinstance(facility, type) else type(facility)
    if getattr(submit, '__globals__', None) is not vars(ocs) or not is_stock(own):
        return ''
    return portal_of(own.name, own)


def portal_of(name: str, own: type) -> str:
    """The address of the portal of a facility class; empty if nobody knows it."""
    try:
        return Stock(name, own).portal.rstrip('/')
    except Exception:  # of a class that is not tomtoolkit's
        return ''
