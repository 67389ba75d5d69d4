"""What a result of a query says: a target that is not saved, and what goes with it."""

from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral

from django.db import models
from tom_dataservices.dataservices import DataService
from tom_targets.models import Target, TargetName

from ..errors import BadCandidate
from .report import KNOWN

#: What a service does not change in a target that is known: a person may have named it.
IDENTITY = ('id', 'basetarget_ptr_id', 'name', 'type', 'created', 'modified', 'permissions')
#: In what is kept of what a service said: what it calls the target, and the aliases that it gave it.
CALLED, GIVEN = 'name', 'aliases'


@dataclass
class Candidate:
    """One result of a query: a target that is not saved, and what goes with it."""

    result: dict
    target: Target
    extras: dict
    aliases: list[TargetName]
    outcome: str = KNOWN
    is_again: bool = False  # the service has this target already in this run, by another name
    points: int = 0
    trouble: list[Exception] = field(default_factory=list)  # with its data: it stays a target

    @property
    def names(self) -> list[str]:
        return [alias.name for alias in self.aliases]

    def told(self) -> dict[str, object]:
        """What the service says of it, as JSON can hold it."""
        said = {
            one.attname: value
            for one in told_fields(self.target)
            if isinstance(value := getattr(self.target, one.attname), str | float | int)
            and value != one.get_default()
        }
        return said | {f'extra {name}': str(value) for name, value in self.extras.items()}

    def noted(self) -> dict[str, object]:
        """The same, and what the service calls it."""
        return self.told() | {CALLED: self.target.name}


def candidate_of(service: DataService, result: dict) -> Candidate:
    """What `result` says, tidied; nothing is saved, and the service may be asked for aliases."""
    target = service.create_target_from_query(result)
    _tidy(target)
    extras = service.create_target_extras_from_query(result)
    aliases = result.get('aliases') or service.query_aliases(service.query_parameters, target)
    names = aliases_of(service, aliases)
    return Candidate(result, target, extras, [one for one in names if one.name != target.name])


def aliases_of(service: DataService, answer: list | None) -> list[TargetName]:
    """The names in the service's answer: texts, and whole numbers as text. Anything else is left out."""
    aliases = service.create_aliases_from_query(answer or [])
    for alias in aliases:
        if isinstance(alias.name, Integral):
            alias.name = str(alias.name)
    return [alias for alias in aliases if isinstance(alias.name, str) and alias.name.strip()]


def told_fields(target: Target) -> list[models.Field]:
    return [one for one in target._meta.concrete_fields if one.attname not in IDENTITY]


def _tidy(target: Target) -> None:
    """Turn numpy's numbers into plain ones, and NaN and infinity into nothing. Raises BadCandidate."""
    name = str(target.name or '').strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise BadCandidate(f'{name[:100]!r} cannot be the name of a target')
    target.name = name
    for one in target._meta.concrete_fields:
        if isinstance(one, models.FloatField):
            setattr(target, one.attname, _number(one.attname, getattr(target, one.attname)))
    if target.type == Target.SIDEREAL and not _is_on_the_sky(target):
        raise BadCandidate(f'RA {target.ra}, Dec {target.dec} is not a position in degrees')


def _number(name: str, value: object) -> float | None:
    if value is None or getattr(value, 'mask', False):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadCandidate(f'{name} is {value!r:.50}, which is not a number') from None
    return number if isfinite(number) else None


def _is_on_the_sky(target: Target) -> bool:
    there = target.ra is not None and target.dec is not None
    return there and 0 <= target.ra <= 360 and -90 <= target.dec <= 90
