"""Makes a target of a candidate, or refreshes the one that is known already.

What a person has changed since the service last spoke stays: rule 7. So what it said is kept.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

from django.core.exceptions import ValidationError
from django.db import DatabaseError, models, transaction
from tom_dataservices.dataservices import DataService, MissingDataException
from tom_targets.models import Target, TargetExtra, TargetName

from ..models import ServiceTarget
from ..new_targets import Access
from ..sync.errors import BadCandidate
from .names import Names
from .points import stored_once

logger = logging.getLogger(__name__)

NEW, REFRESHED, KNOWN = 'new', 'refreshed', 'known'
MISSING = object()
#: What a service does not change in a target that is known: a person may have named it.
IDENTITY = ('id', 'basetarget_ptr_id', 'name', 'type', 'created', 'modified', 'permissions')


@dataclass
class Candidate:
    """One result of a query: a target that is not saved, and what goes with it."""

    result: dict
    target: Target
    extras: dict
    aliases: list[TargetName]
    outcome: str = KNOWN
    points: int = 0
    trouble: list[Exception] = field(default_factory=list)  # with its data: it stays a target

    @property
    def names(self) -> list[str]:
        return [alias.name for alias in self.aliases]

    def told(self) -> dict[str, object]:
        """What the service says of it, as JSON can hold it."""
        said = {
            one.attname: value
            for one in _fields(self.target)
            if isinstance(value := getattr(self.target, one.attname), str | float | int)
            and value != one.get_default()
        }
        return said | {f'extra {name}': str(value) for name, value in self.extras.items()}


def candidate_of(service: DataService, result: dict) -> Candidate:
    """What `result` says, tidied; nothing is saved, and the service may be asked for aliases."""
    target = service.create_target_from_query(result)
    _tidy(target)
    extras = service.create_target_extras_from_query(result)
    aliases = result.get('aliases') or service.query_aliases(service.query_parameters, target)
    names = service.create_aliases_from_query(aliases or [])
    return Candidate(result, target, extras, [one for one in names if one.name != target.name])


class Keeper:
    """Keeps the candidates of one service; `claim` says that this run may still write."""

    def __init__(self, service: str, access: Access, claim: Callable[[], None]) -> None:
        self._service, self._access, self._claim = service, access, claim
        self._names, self._current = Names(), None
        with transaction.atomic():  # not while another process is in the middle of one
            claim()
            self._names.read_new()
        # A class may add to what tomtoolkit's own method does, and still does so.
        DataService.to_target = self._to_target

    def known(self, candidate: Candidate) -> Target | None:
        """The target that `candidate` is already."""
        self._names.read_new()
        return self._names.known(candidate.target, candidate.names)

    def keep(self, service: DataService, candidate: Candidate) -> None:
        """Save what is new of `candidate`, in one transaction."""
        if self._is_unchanged(service, candidate):
            return
        with self._names.as_saved(), transaction.atomic():
            self._claim()
            self._current = candidate
            target = service.to_target(candidate.result)
            if target is not None:
                self._note(target, candidate)
                self._keep_points(service, target, candidate)

    def _is_unchanged(self, service: DataService, candidate: Candidate) -> bool:
        """Whether all that the service says is here; most candidates of most runs are."""
        if candidate.result.get('reduced_datums') or overrides(type(service), 'to_target'):
            return False
        pk = self._names.find([candidate.target.name, *candidate.names])
        if pk is None or any(self._names.find([name]) is None for name in candidate.names):
            return False
        told = ServiceTarget.objects.filter(target=pk, service=self._service)
        return told.values_list('told', flat=True).first() == candidate.told()

    def _to_target(self, result: dict | None = None, **options: object) -> Target:
        """In the place of `DataService.to_target`."""
        candidate = self._current
        aliases, target = candidate.aliases, self.known(candidate)
        if target is None:
            target = self._made(candidate)
        else:
            # Under this name it is found the next time, whatever it was known by.
            aliases = [TargetName(name=candidate.target.name), *aliases]
            self._refresh(target, candidate)
        if self.add_aliases(target, aliases) and candidate.outcome == KNOWN:
            candidate.outcome = REFRESHED
        return target

    def _made(self, candidate: Candidate) -> Target:
        target, candidate.outcome = candidate.target, NEW
        if self._access.permission:
            target.permissions = self._access.permission
        target.save(extras=candidate.extras)
        for group in self._access.groups:
            target.give_user_access(group)
        return target

    def _refresh(self, target: Target, candidate: Candidate) -> None:
        """Take over what the service knows newly, except where a person has changed it."""
        rows = ServiceTarget.objects.filter(target=target, service=self._service)
        told, here = rows.values_list('told', flat=True).first() or {}, _here(target)
        news = {
            name: value
            for name, value in candidate.told().items()
            if here.get(name) != value and here.get(name) in (None, '', told.get(name, MISSING))
        }
        fields = [name for name in news if not name.startswith('extra ')]
        extras = [name for name in candidate.extras if f'extra {name}' in news]
        if news:
            for name in fields:
                setattr(target, name, news[name])
            its = {name: candidate.extras[name] for name in extras}
            target.save(update_fields=[*fields, 'modified'], extras=its)
            candidate.outcome = REFRESHED

    def add_aliases(self, target: Target, aliases: list[TargetName]) -> int:
        """Give `target` those of the names that no target has; how many they are."""
        added = 0
        for alias in aliases:
            self._names.read_new()
            alias.target = target
            if self._names.is_taken(alias) or not _is_legal(alias):
                continue
            alias.save()
            added += 1
        return added

    def _note(self, target: Target, candidate: Candidate) -> None:
        ServiceTarget.objects.update_or_create(
            target_id=target.pk, service=self._service, defaults={'told': candidate.told()}
        )

    def _keep_points(self, service: DataService, target: Target, candidate: Candidate) -> None:
        """Store the points that came along. One that cannot be stored does not undo the target."""
        if not (data := candidate.result.get('reduced_datums')):
            return
        candidate.points, trouble = keep_points(service, target, data)
        candidate.trouble += trouble


def keep_points(service: DataService, target: Target, data: object) -> tuple[int, list[Exception]]:
    """Store the reduced data of `target`: how many points are new or changed, and what failed."""
    before, trouble = transaction.savepoint(), []
    with stored_once() as counts:
        try:
            service.to_reduced_datums(target, data)
        except MissingDataException:
            pass
        except Exception as error:
            trouble.append(error)
            if isinstance(error, DatabaseError):  # or nothing more could be done
                transaction.savepoint_rollback(before)
                return 0, trouble
    return counts.made + counts.changed, trouble


def _is_legal(alias: TargetName) -> bool:
    try:
        alias.clean_fields(exclude=['target'])
    except ValidationError as error:
        logger.warning('%s: alias %r: %s', alias.target, alias.name, '; '.join(error.messages))
        return False
    return True


def overrides(service_class: type[DataService], method: str) -> bool:
    """Whether the class has a method of its own."""
    return getattr(service_class, method) is not getattr(DataService, method)


def _fields(target: Target) -> list[models.Field]:
    return [one for one in target._meta.concrete_fields if one.attname not in IDENTITY]


def _here(target: Target) -> dict[str, object]:
    """What the TOM has of `target`, by the names of `Candidate.told`."""
    extras = TargetExtra.objects.filter(target=target).values_list('key', 'value')
    fields = {one.attname: getattr(target, one.attname) for one in _fields(target)}
    return fields | {f'extra {name}': value for name, value in extras}


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
