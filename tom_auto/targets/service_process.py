"""A data service at work in a process of its own: its queries, and the data of targets.

A new instance of the class serves each query and each target: some keep the answer of the call
before, and would store it for another target.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, tzset

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from tom_dataservices.dataservices import DataService, NotConfiguredError, QueryServiceError
from tom_dataservices.models import DataServiceQuery
from tom_targets import base_models
from tom_targets.models import Target

from ..errors import (
    OF_THE_SERVICE,
    AccessRefused,
    BadAnswer,
    BadQuery,
    NoAnswer,
    NotConfigured,
    SyncError,
)
from ..explain import explained, told
from ..hooks.calls import run_own_hook
from ..models import ServiceTarget
from ..new_target_access import Access
from .candidates import Keeper, overrides
from .hidden_faults import answered_badly, overheard_faults, tell
from .reduced_data import keep_points
from .report import KNOWN, NEW
from .results import Candidate, aliases_of, candidate_of

#: What the methods of `AtWork` call in the class.
CALLS = {'ask': 'query_targets', 'data': 'query_reduced_data'}
#: What may be wrong with one candidate alone, unless the next one has it as well.
MAY_BE_OF_ONE = NoAnswer, AccessRefused
MOMENT = 1.0  # seconds: then a query says how far it is, and goes on


@dataclass
class Batch:
    """What came of a part of a query, or of asking for the data of a target."""

    found: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    points: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)  # name, text, kind
    #: Of a dry run: its name, outcome, target, and what is the same however it is spelled.
    names: list[tuple[str, str, str, str]] = field(default_factory=list)
    is_last: bool = False
    is_gone: bool = False  # somebody has deleted it meanwhile

    def count(self, candidate: Candidate) -> None:
        """Count `candidate`."""
        self.outcomes[candidate.outcome] = self.outcomes.get(candidate.outcome, 0) + 1
        self.points += candidate.points

    def fail(self, name: str, error: SyncError) -> None:
        """Note what failed with a candidate or a target of that name."""
        self.failures.append((name, str(error), error.kind))


@dataclass(frozen=True)
class Orders:
    """What the process of a service is told of its run."""

    access: Access
    claim: Callable[[], None]
    limit: int | None = None
    dry_run: bool = False


class AtWork:
    """One data service, asked one thing after another."""

    def __init__(self, name: str, service_class: type[DataService], orders: Orders) -> None:
        self._name, self._class, self._orders = name, service_class, orders
        self._keeper = Keeper(name, orders.access, orders.claim)
        self._asking: tuple[int, Iterator[Batch]] | None = None
        self._is_silent = False  # it did not answer about the candidate before
        os.environ['TZ'] = 'UTC'  # as which some services take the time of the machine
        tzset()
        with suppress(ImportError):  # or what NED said is a week old
            from astroquery import cache_conf

            cache_conf.cache_active = False
        base_models.run_hook = run_own_hook

    def ask(self, user: None, pk: int) -> Batch:
        """Begin the query `pk`, or go on with it: what came of it in this moment."""
        if self._asking is None or self._asking[0] != pk:
            self._asking = pk, self._candidates(pk)
        try:
            return next(self._asking[1])
        except BaseException:
            self._asking = None
            raise

    def data(self, user: None, pk: int) -> Batch:
        """Ask for the reduced data and the aliases of the target `pk`, and keep them."""
        if (target := Target.objects.filter(pk=pk).first()) is None:
            return Batch(is_last=True, is_gone=True)
        asked = ServiceTarget.objects.filter(target=pk, service=self._name)
        asked.update(asked_at=timezone.now())  # first: one that hangs is not the first next time
        try:
            return self._data(target, asked)
        except Exception as error:
            raise self._explained(error) from error

    def _data(self, target: Target, asked: QuerySet[ServiceTarget]) -> Batch:
        batch = Batch(is_last=True)
        with overheard_faults(self._name, self._class) as heard:
            service = self._class()
            data, aliases = service.query_reduced_data(target), []
            if not any((data or {}).values()):
                tell(heard, self._name)
            if overrides(self._class, 'query_aliases'):
                aliases = aliases_of(service, service.query_aliases(target=target))
        with transaction.atomic():
            self._orders.claim()
            batch.points, trouble = keep_points(service, target, data)
            self._keeper.add_aliases(target, aliases)
            asked.update(answered_at=timezone.now())
        if any((data or {}).values()) and (fault := answered_badly(heard)):
            trouble.append(fault)  # it came in part
        for error in trouble:
            batch.fail(target.name, self._explained(error))
        return batch

    def _candidates(self, pk: int) -> Iterator[Batch]:
        if (query := DataServiceQuery.objects.filter(pk=pk).first()) is None:
            yield Batch(is_last=True, is_gone=True)
            return
        try:
            with overheard_faults(self._name, self._class) as heard:
                yield from self._batches(query, heard)
        except Exception as error:
            raise self._explained(error) from error

    def _batches(self, query: DataServiceQuery, heard: list) -> Iterator[Batch]:
        service, batch, found, made = self._class(), Batch(), 0, 0
        parameters = self._parameters(service, query)
        if not self._orders.dry_run:
            DataServiceQuery.objects.filter(pk=query.pk).update(last_run=timezone.now())
        end, self._is_silent = monotonic() + MOMENT, False
        for result in service.query_targets(parameters) or ():
            found += 1
            batch.found += 1
            try:
                made += self._keep(service, result, batch)
            except SyncError:
                yield batch  # what was kept before
                raise
            if self._orders.limit and made >= self._orders.limit:
                break
            if monotonic() > end:
                yield batch
                batch, end = Batch(), monotonic() + MOMENT
        if not found:
            tell(heard, self._name)
        batch.is_last = True
        yield batch

    def _parameters(self, service: DataService, query: DataServiceQuery) -> object:
        try:
            return service.build_query_parameters(query.parameters)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            words = f'its saved parameters are not of this version of {self._name}: {told(error)}'
            raise BadQuery(words) from error

    def _keep(self, service: DataService, result: dict, batch: Batch) -> bool:
        """Keep one candidate; whether it is a new one. Whatever fails is its own failure.

        Raises what fails of the service as a whole: the next candidate would fail as well.
        """
        name = 'a candidate'
        try:
            candidate = candidate_of(service, result)
            name = candidate.target.name
            if self._orders.dry_run:
                known = self._keeper.foreseen(candidate)
                candidate.outcome = KNOWN if known else NEW
                key = self._keeper.key(name)
                batch.names.append((name, candidate.outcome, known, key))
            else:
                self._keeper.keep(service, candidate)
            batch.count(candidate)
            for error in candidate.trouble:
                batch.fail(name, self._explained(error))
            self._is_silent = False
            return candidate.outcome == NEW
        except Exception as error:
            trouble, was_silent = self._explained(error), self._is_silent
            self._is_silent = isinstance(trouble, MAY_BE_OF_ONE)
            if isinstance(trouble, OF_THE_SERVICE) and (was_silent or not self._is_silent):
                raise trouble from error
            batch.fail(name, trouble)
            return False

    def _explained(self, error: Exception) -> SyncError:
        if isinstance(error, NotConfiguredError):  # its text is HTML, for a page
            return NotConfigured(f'DATA_SERVICES[{self._name!r}] is not in the settings')
        known = explained(error, self._name)
        if isinstance(error, QueryServiceError) and type(known) is SyncError:
            return BadAnswer(f'{self._name}: {told(error)}')
        return known
