"""Makes a target of a candidate, or refreshes the one that is known already.

What a person has changed or removed since the service last spoke stays so: rule 7. So what it said is
kept.
"""

import logging
from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.db import transaction
from tom_dataservices.dataservices import DataService
from tom_targets.models import Target, TargetExtra, TargetName

from ..errors import BadCandidate
from ..models import ServiceTarget
from ..new_target_access import Access
from .names import Names
from .positions import separation
from .reduced_data import keep_points
from .report import KNOWN, NEW, REFRESHED
from .results import CALLED, GIVEN, Candidate, told_fields

logger = logging.getLogger(__name__)

#: Degrees: what is farther away, under a name that is spelled otherwise, is another object.
SAME_OBJECT = 1 / 60


class Keeper:
    """Keeps the candidates of one service; `claim` says that this run may still write."""

    def __init__(self, service: str, access: Access, claim: Callable[[], None]) -> None:
        self._service, self._access, self._claim = service, access, claim
        self._names, self._current = Names(), None
        self.key = self._names.key
        self._called: dict[int, str] = {}  # in this run, by target
        self._told_names: dict[str, int] | None = None  # targets by what the service called them
        self._new: dict[str, str] = {}  # what a dry run would make, by each of its names
        with transaction.atomic():  # not while another process is in the middle of one
            claim()
            self._names.read_new()
        # A class may add to what tomtoolkit's own method does, and still does so.
        DataService.to_target = self._to_target

    def known(self, candidate: Candidate) -> Target | None:
        """The target that `candidate` is already; a person may have given it another name."""
        self._names.read_new()
        known = self._names.known(candidate.target, candidate.names)
        return known or self._renamed(candidate.target.name)

    def foreseen(self, candidate: Candidate) -> str:
        """The target that `candidate` is already, or would be by then in a dry run; or empty."""
        if known := self.known(candidate):
            return str(known)
        keys = {self._names.key(name) for name in (candidate.target.name, *candidate.names)}
        new = next((self._new[key] for key in keys if key in self._new), '')
        self._new |= dict.fromkeys(keys, new or candidate.target.name)
        return new

    def _renamed(self, name: str) -> Target | None:
        """The target that the service has called so."""
        if self._told_names is None:
            rows = ServiceTarget.objects.filter(service=self._service).order_by('-pk')
            self._told_names = {
                told.get(CALLED): pk for pk, told in rows.values_list('target', 'told')
            }
        return Target.objects.filter(pk=self._told_names.get(name)).first()

    def keep(self, service: DataService, candidate: Candidate) -> None:
        """Save what is new of `candidate`, in one transaction."""
        if self._is_unchanged(service, candidate):
            return
        with self._names.as_saved(), transaction.atomic():
            self._claim()
            self._current = candidate
            target = service.to_target(candidate.result)
            if target is not None:
                if not candidate.is_again:
                    self._note(target, candidate)
                self._keep_points(service, target, candidate)
        if target is not None:
            self._called.setdefault(target.pk, candidate.target.name)

    def _is_unchanged(self, service: DataService, candidate: Candidate) -> bool:
        """Whether all that the service says is here; most candidates of most runs are."""
        if candidate.result.get('reduced_datums') or overrides(type(service), 'to_target'):
            return False
        pk = self._names.find([candidate.target.name, *candidate.names])
        if pk is None:
            return False
        told = self._told(pk)
        new = set(candidate.names).difference(told.pop(GIVEN, ()))
        if any(self._names.find([name]) is None for name in new):
            return False
        if is_unchanged := told == candidate.noted():
            self._called.setdefault(pk, candidate.target.name)
        return is_unchanged

    def _told(self, pk: int) -> dict[str, object]:
        """What the service has said of a target."""
        rows = ServiceTarget.objects.filter(target=pk, service=self._service)
        return rows.values_list('told', flat=True).first() or {}

    def _to_target(self, result: dict | None = None, **options: object) -> Target:
        """In the place of `DataService.to_target`."""
        candidate = self._current
        aliases, target = candidate.aliases, self.known(candidate)
        if target is None:
            target = self._made(candidate)
        else:
            told, name = self._told(target.pk), candidate.target.name
            _refuse_a_twin(target, candidate, told)
            # Under this name it is found the next time, whatever it was known by.
            aliases = [TargetName(name=name), *aliases]
            candidate.is_again = self._called.get(target.pk, name) != name
            if not candidate.is_again:
                self._refresh(target, candidate, told)
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

    def _refresh(self, target: Target, candidate: Candidate, told: dict[str, object]) -> None:
        """Take over what the service knows newly, except where a person has changed it."""
        here = _here(target)
        news = {
            name: value
            for name, value in candidate.told().items()
            if here.get(name) != value and _is_untouched(name, here, told)
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
        """Give `target` those of the names that no target has; how many they are.

        Not those that it had from this service before: somebody has removed them.
        """
        told, added = self._told(target.pk), []
        given = told.get(GIVEN, [])
        for alias in aliases:
            self._names.read_new()
            alias.target = target
            if alias.name in given or self._names.is_taken(alias) or not _is_legal(alias):
                continue
            alias.save()
            added.append(alias.name)
        if added:
            self._write_told(target, told | {GIVEN: [*given, *added]})
        return len(added)

    def _note(self, target: Target, candidate: Candidate) -> None:
        before = self._told(target.pk)
        given = {GIVEN: before[GIVEN]} if GIVEN in before else {}
        self._write_told(target, candidate.noted() | given)

    def _write_told(self, target: Target, told: dict[str, object]) -> None:
        ServiceTarget.objects.update_or_create(
            target_id=target.pk, service=self._service, defaults={'told': told}
        )

    def _keep_points(self, service: DataService, target: Target, candidate: Candidate) -> None:
        """Store the points that came along. One that cannot be stored does not undo the target."""
        if not (data := candidate.result.get('reduced_datums')):
            return
        candidate.points, trouble = keep_points(service, target, data)
        candidate.trouble += trouble


def _is_legal(alias: TargetName) -> bool:
    try:
        alias.clean_fields(exclude=['target'])
    except ValidationError as error:
        logger.warning('%s: alias %r: %s', alias.target, alias.name, '; '.join(error.messages))
        return False
    return True


def _refuse_a_twin(target: Target, candidate: Candidate, told: dict[str, object]) -> None:
    """Raise BadCandidate for another object, whose name is the target's but for case or spaces.

    They would overwrite each other at every run.
    """
    name, where = candidate.target.name, (told.get('ra'), told.get('dec'))
    if told.get(CALLED, name) == name or None in where or candidate.target.ra is None:
        return
    exact = {target.name, *target.aliases.values_list('name', flat=True)}
    there = separation(*where, candidate.target.ra, candidate.target.dec)
    if name not in exact and there > SAME_OBJECT:
        words = (
            f'{name} has the same name as {target.name}, which is elsewhere, but for its spelling'
        )
        raise BadCandidate(words)


def overrides(service_class: type[DataService], method: str) -> bool:
    """Whether the class has a method of its own."""
    return getattr(service_class, method) is not getattr(DataService, method)


def _is_untouched(name: str, here: dict[str, object], told: dict[str, object]) -> bool:
    """Whether the TOM has what the service has said before, be it nothing."""
    if name in told:
        return here.get(name) == told[name]
    return here.get(name) in (None, '')


def _here(target: Target) -> dict[str, object]:
    """What the TOM has of `target`, by the names of `Candidate.told`."""
    extras = TargetExtra.objects.filter(target=target).values_list('key', 'value')
    fields = {one.attname: getattr(target, one.attname) for one in told_fields(target)}
    return fields | {f'extra {name}': value for name, value in extras}
