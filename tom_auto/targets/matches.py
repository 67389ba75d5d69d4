"""Which target of the TOM a request points at: by name, or else by position."""

from bisect import bisect_left
from dataclasses import dataclass

from tom_targets.models import Target

from .names import Names
from .portal_rows import Place, PortalRequest
from .positions import separation

SAME_PLACE = 2 / 3600  # degrees
SAME_FIELD = 0.5  # degrees: a target of that name, but farther away, is another one


@dataclass(frozen=True)
class Match:
    """The target of a request (0: none), and how it was found; or why there is none."""

    target: int
    how: str


class Matches:
    """All targets, read once."""

    def __init__(self) -> None:
        self._names = Names()
        self._names.read_new()
        self._titles = dict(Target.objects.values_list('pk', 'name'))
        rows = Target.objects.filter(ra__isnull=False, dec__isnull=False)
        self._where = {pk: (ra, dec) for pk, ra, dec in rows.values_list('pk', 'ra', 'dec')}
        self._by_dec = sorted((dec, pk) for pk, (_, dec) in self._where.items())

    def title(self, pk: int) -> str:
        """The name of a target; empty if there is none."""
        return self._titles.get(pk, '')

    def match(self, request: PortalRequest) -> Match:
        """The one target that the configurations of `request` point at."""
        found = dict(filter(None, map(self._target_of, request.places)))
        if len(found) == 1:
            [(pk, how)] = found.items()
            return Match(pk, how)
        if found:
            return Match(0, 'it points at several targets')
        return Match(0, 'no target has its name or position')

    def _target_of(self, place: Place) -> tuple[int, str] | None:
        """Its own name counts most, then its own position, and then a name that is like it."""
        named = self._names.alike(place.name) if place.name.strip() else []
        named = [pk for pk in named if self._is_in_the_field(pk, place)]
        if (owner := self._names.owner(place.name)) in named:
            return owner, 'name'
        near = self._near(place.ra, place.dec) if place.ra is not None else None
        if near is not None:
            return near, 'name' if near in named else 'position'
        if len(named) == 1:
            return named[0], 'name'
        if named:
            return 0, 'several targets have a name like its own'
        if place.ra is None:
            return None
        candidate = Target(name=place.name, type=Target.SIDEREAL, ra=place.ra, dec=place.dec)
        known = Target.matches.match_target(candidate) if self._names.is_asked else ()
        return next(((target.pk, 'match manager') for target in known[:1]), None)

    def _is_in_the_field(self, pk: int, place: Place) -> bool:
        if place.ra is None or pk not in self._where:
            return True
        return separation(*self._where[pk], place.ra, place.dec) < SAME_FIELD

    def _near(self, ra: float, dec: float) -> int | None:
        """The nearest target within SAME_PLACE."""
        near = []
        start = bisect_left(self._by_dec, (dec - SAME_PLACE, 0))
        for its_dec, pk in self._by_dec[start:]:
            if its_dec > dec + SAME_PLACE:
                break
            near.append((separation(self._where[pk][0], its_dec, ra, dec), pk))
        distance, pk = min(near, default=(SAME_PLACE, None))
        return pk if distance < SAME_PLACE else None
