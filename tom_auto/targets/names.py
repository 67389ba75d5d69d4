"""Which target has a name, an alias or a position: asked before anything is saved.

tomtoolkit's match manager reads every target and alias of the TOM for each name that it is asked
for. Here they are read once, and then only those that are new.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

from django.db.models import Q
from tom_targets.base_models import TargetMatchManager
from tom_targets.models import Target, TargetName

from .positions import separation

#: Targets and names whose ids are lower than the newest by more than this were committed long ago.
IN_FLIGHT = 1000


class Names:
    """The names and aliases of all targets, as the TOM's match manager compares them."""

    def __init__(self) -> None:
        own, stock = type(Target.matches), TargetMatchManager
        fuzzy = ('match_name', 'match_fuzzy_name')
        self._fuzzy = all(getattr(own, one) is getattr(stock, one) for one in fuzzy)
        #: Whether the manager may know a target whose names are all different.
        self.is_asked = not self._fuzzy or own.match_target is not stock.match_target
        self._owners: dict[str, int] = {}  # by name
        self._alike: dict[str, tuple[str, ...]] = {}  # names that differ in their spelling, by key
        self._read = {Target: _Read(), TargetName: _Read()}
        self._fresh: list[str] = []

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Forget what was read in this if it is undone: ids may be given once more."""
        before, self._fresh = {model: ids.copy() for model, ids in self._read.items()}, []
        try:
            yield
        except BaseException:
            self._read = before
            for name in self._fresh:
                if self._owners.pop(name, None) is not None:
                    key = self.key(name)
                    self._alike[key] = tuple(one for one in self._alike[key] if one != name)
            raise

    def read_new(self) -> None:
        """Read the names that have come since this was last called."""
        for model, owner in ((Target, 'pk'), (TargetName, 'target_id')):
            ids = self._read[model]
            rows = model.objects.filter(ids.are_new()).order_by('pk')
            for pk, name, target in rows.values_list('pk', 'name', owner).iterator():
                if name not in self._owners:
                    self._owners[name] = target
                    key = self.key(name)
                    self._alike[key] = (*self._alike.get(key, ()), name)
                    self._fresh.append(name)
                ids.note(pk)

    def find(self, names: Iterable[str]) -> int | None:
        """The target that has one of `names`: as it is, or else spelled a little otherwise.

        Those that come first count first.
        """
        names = list(names)
        exact = (self._owners.get(name) for name in names)
        alike = (pk for name in names for pk in self.alike(name))
        return next((pk for pk in chain(exact, alike) if pk is not None), None)

    def alike(self, name: str) -> list[int]:
        """The targets that have `name`, or one that differs in its spelling."""
        names = self._alike.get(self.key(name), ())
        return list(dict.fromkeys(self._owners[one] for one in names))

    def owner(self, name: str) -> int | None:
        """The target that has exactly this name."""
        return self._owners.get(name)

    def forget(self) -> None:
        """Read all names again: a target was deleted or got another name."""
        self._owners.clear(), self._alike.clear()
        self._read = {Target: _Read(), TargetName: _Read()}
        self.read_new()

    def known(self, candidate: Target, aliases: list[str]) -> Target | None:
        """The target that `candidate` is, by name, by alias, or as the match manager has it."""
        names = [candidate.name, *aliases]
        pk = next((pk for pk in map(self.owner, names) if pk is not None), None)
        found = [pk] if pk else list(dict.fromkeys(pk for name in names for pk in self.alike(name)))
        if found:
            if target := _nearest(Target.objects.filter(pk__in=found), candidate, found):
                return target
            self.forget()
            return self.known(candidate, aliases)
        return self._by_manager(candidate, aliases) if self.is_asked else None

    def is_taken(self, alias: TargetName) -> bool:
        """Whether a target has this name already."""
        taken = self.find([alias.name]) is not None
        return taken or (not self._fuzzy and Target.matches.match_name(alias.name).exists())

    def _by_manager(self, candidate: Target, aliases: list[str]) -> Target | None:
        found = Target.matches.match_target(candidate).order_by('pk').first()
        for name in aliases if found is None else ():
            if found := Target.matches.match_name(name).order_by('pk').first():
                break
        return found

    def key(self, name: str) -> str:
        """What is the same for names that differ in their spelling only."""
        return Target.matches.simplify_name(name) if self._fuzzy else name


def _nearest(targets: Iterable[Target], candidate: Target, order: list[int]) -> Target | None:
    """The one that is nearest to `candidate`; of those without a position the first of `order`."""

    def distance(target: Target) -> tuple[bool, float, int]:
        where = target.ra, target.dec, candidate.ra, candidate.dec
        is_known = None not in where
        return not is_known, separation(*where) if is_known else 0.0, order.index(target.pk)

    return min(targets, key=distance, default=None)


class _Read:
    """Which ids of a table were read.

    PostgreSQL gives an id when a row is inserted. Another transaction may commit a lower one later
    than one that was read: so ids that were passed over are looked for once more.
    """

    def __init__(self, newest: int = 0, passed_over: Iterable[int] = ()) -> None:
        self._newest, self._passed_over = newest, set(passed_over)

    def copy(self) -> '_Read':
        return _Read(self._newest, self._passed_over)

    def are_new(self) -> Q:
        """What is to be read."""
        return Q(pk__gt=self._newest) | Q(pk__in=sorted(self._passed_over))

    def note(self, pk: int) -> None:
        """Take note that `pk` was read."""
        self._passed_over.discard(pk)
        if pk > self._newest:
            oldest = max(self._newest, pk - IN_FLIGHT - 1)
            self._passed_over.update(range(oldest + 1, pk))
            self._newest = pk
            if len(self._passed_over) > IN_FLIGHT:
                self._passed_over = {one for one in self._passed_over if one > pk - IN_FLIGHT}
