"""Requests as the portals of LCO's kind list them, as far as a record needs it."""

from dataclasses import dataclass
from math import isfinite

from dateutil.parser import parse
from django.utils import timezone

from ..explain import one_line, told

#: What reading an odd request may raise: of dates and numbers there are some that no machine can hold.
ODD = LookupError, TypeError, ValueError, AttributeError, OverflowError
LONGEST_NUMBER = 255


@dataclass(frozen=True)
class Place:
    """What a request points at; a moving target has no position."""

    name: str
    ra: float | None = None
    dec: float | None = None


@dataclass(frozen=True)
class PortalRequest:
    """One request at a portal, as far as a record needs it."""

    number: str
    name: str
    proposal: str
    state: str
    created: str
    instrument: str
    places: tuple[Place, ...]
    window: dict[str, str]


@dataclass(frozen=True)
class OddRequest:
    """One request that is not as portals list them, and why. It hides no other."""

    number: str
    fault: str


def key_of(group: object) -> str:
    """What tells a group from the others of a list."""
    known = (
        [group[name] for name in ('id', 'name') if group.get(name)]
        if isinstance(group, dict)
        else []
    )
    return one_line(known[0])[:50] if known else '(without a number)'


def rows_of(group: dict) -> list[PortalRequest | OddRequest]:
    """The requests of a group."""
    try:
        return [_row(group, request) for request in group['requests']]
    except ODD as error:
        return [OddRequest(f'group {key_of(group)}', told(error))]


def _row(group: dict, request: dict) -> PortalRequest | OddRequest:
    try:
        number = _number(request['id'])
    except ODD as error:
        return OddRequest(f'one of group {key_of(group)}', told(error))
    try:
        if not group['proposal']:
            raise ValueError('it has no proposal')
        parse(str(group['created'])) - timezone.now()  # of times without a zone nobody knows when
        return PortalRequest(
            number=number,
            name=str(group['name']),
            proposal=str(group['proposal']),
            state=str(request['state']),
            created=str(group['created']),
            instrument=str(request['configurations'][0]['instrument_type']),
            places=tuple(dict.fromkeys(map(_place, request['configurations']))),
            window={edge: str(request['windows'][0][edge]) for edge in ('start', 'end')},
        )
    except ODD as error:
        return OddRequest(number, told(error))


def _number(value: object) -> str:
    text = str(value)
    if not isinstance(value, int | str) or not 0 < len(text) <= LONGEST_NUMBER:
        raise ValueError(f'{one_line(text)[:50]} is no number of a request')
    if not text.isprintable():
        raise ValueError('its number cannot be printed')
    return text


def _place(configuration: dict) -> Place:
    target = configuration['target']
    is_fixed = target.get('ra') is not None and target.get('dec') is not None
    where = (float(target['ra']), float(target['dec'])) if is_fixed else (None, None)
    if is_fixed and not (isfinite(where[0]) and -90 <= where[1] <= 90):
        raise ValueError(f'RA {where[0]}, Dec {where[1]} is not a position in degrees')
    return Place(str(target.get('name') or ''), *where)
