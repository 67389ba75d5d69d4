"""Which target has a name, an alias or a position: asked before anything is saved.

tomtoolkit's match manager reads every target and alias of the TOM for each name that it is asked
for. Here they are read once, and then only those that are new.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tom_targets.base_models import TargetMatchManager
from tom_targets.models import Target, TargetName


class Names:
    """The names and aliases of all targets, as the TOM's match manager compares them."""

    def __init__(self) -> None:
        own, stock = type(Target.matches), TargetMatchManager
        fuzzy = ('match_name', 'match_fuzzy_name')
        self._fuzzy = all(getattr(own, one) is getattr(stock, one) for one in fuzzy)
        #: Whether the manager may know a target whose names are all different.
        self._is_asked = not self._fuzzy or own.match_target is not stock.match_target
        self._targets: dict[str, int] = {}
        self._newest = {Target: 0, TargetName: 0}
        self._fresh: list[str] = []

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Forget what was read in this if it is undone: ids may be given once more."""
        newest, self._fresh = dict(self._newest), []
        try:
            yield
        except BaseException:
            self._newest = newest
            for key in self._fresh:
                self._targets.pop(key, None)
            raise

    def read_new(self) -> None:
        """Read the names that have come since this was last called."""
        for model, owner in ((Target, 'pk'), (TargetName, 'target_id')):
            rows = model.objects.filter(pk__gt=self._newest[model]).order_by('pk')
            for pk, name, target in rows.values_list('pk', 'name', owner).iterator():
                if (key := self._key(name)) not in self._targets:
                    self._targets[key] = target
                    self._fresh.append(key)
                self._newest[model] = pk

    def find(self, names: Iterable[str]) -> int | None:
        """The target that has one of `names`; those who come first count first."""
        for name in names:
            if (target := self._targets.get(self._key(name))) is not None:
                return target
        return None

    def forget(self) -> None:
        """Read all names again: a target was deleted or got another name."""
        self._targets.clear()
        self._newest = dict.fromkeys(self._newest, 0)
        self.read_new()

    def known(self, candidate: Target, aliases: list[str]) -> Target | None:
        """The target that `candidate` is, by name, by alias, or as the match manager has it."""
        names = [candidate.name, *aliases]
        if (pk := self.find(names)) is not None:
            if target := Target.objects.filter(pk=pk).first():
                return target
            self.forget()
            return self.known(candidate, aliases)
        return self._by_manager(candidate, aliases) if self._is_asked else None

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

    def _key(self, name: str) -> str:
        return Target.matches.simplify_name(name) if self._fuzzy else name
