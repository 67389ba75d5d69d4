"""Runs the hooks for saved data products, and owes those that fail: rule 10.

A saved product owes its hooks, by its row in the database, until they have ended. Who runs them
claims them first, for the time of a lease, which is prolonged while they run: the run itself, or
any number of workers on any number of hosts. The claims of one that has died lapse with its lease.
What a run of a TOM without workers has just saved need not be claimed: nobody else runs its hooks.

In the run a hook that failed is owed until the next check of its record. Workers try it again at
once, then after half an hour, an hour, and so on up to a day, until it succeeds. So they do where
it kills its process.
"""

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from math import inf
from time import monotonic

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, IntegerField, Q, QuerySet, When
from django.db.models.functions import Now
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..errors import HookFailed, OutOfTime
from ..interrupt import seconds_left
from ..models import StoredFrame
from ..running.backoff import backoff
from ..running.database_jobs import DatabaseJob, Jobs, alone, one
from ..running.heartbeat import Heartbeat
from .calls import OF_PRODUCTS, TO_CALL, is_plain, run_own_hook
from .owed import DEAD, due, note_failure, owed

RUN = 'the run'  # who holds what a run without workers has claimed: there is only one
CHUNK = 10  # products of one record, which a worker claims together


def this_process() -> str:
    """Who holds what a process has claimed, of the many that have workers beside them."""
    return f'{socket.gethostname()} {os.getpid()}'


def pay_product_hooks(
    record: int, products: Collection[int], lease: float, holder: str = RUN
) -> Jobs:
    """Run the hooks that these products of `record` are owed, but for those that a worker has in hand.

    After a failure a hook may run twice, but it is never skipped. Raises HookFailed, after all
    have been tried, where one raised, and OutOfTime where the run has no time for some.

    No `lease`: the run has just saved them, and the TOM has no workers. Then nobody else has them,
    and they need not be claimed: two statements fewer.
    """
    claim = Claim(holder if lease else '', lease)
    if lease:
        free = Q(hooks_holder__in=['', holder]) | Q(hooks_due__lte=Now())
        claim.take(owed().filter(free, product__in=products))
        with claim.kept():  # a lease must not wait for others
            alone(claim.pay(record, products))
    else:
        claim.hold(products)
        yield from claim.pay(record, products)
    if claim.failure is not None:
        raise claim.failure
    if claim.not_reached:
        raise OutOfTime(f'the hooks for {claim.not_reached} files were not reached')


def pay_next(holder: str, lease: float, until: float, most: int = 1) -> int:
    """Claim what is due next, and run its hooks; how many products that were.

    Claims the products of one record, or of several, until it has `most`. After `until`, in the
    seconds of `monotonic()`, none is begun any more, and the rest is left to others.
    """
    claim = Claim(holder, lease)
    with transaction.atomic():
        chosen = _next(most)
        if not chosen:
            return 0
        claim.take(owed().filter(pk__in=[key for keys in chosen.values() for key in keys]))
    with claim.kept():
        frames = StoredFrame.objects.order_by('product')
        for record, keys in chosen.items():
            try:
                products = frames.filter(pk__in=keys).values_list('product', flat=True)
                alone(claim.pay(record, list(products), until))
            except Exception:  # this record's trouble is not the others'
                claim.give_back(besides=keys)
                raise
    return sum(map(len, chosen.values()))


def _next(most: int) -> dict[int, list[int]]:
    """What is due next, by record, in a transaction that nobody else gets it in."""
    rows = due().select_for_update(skip_locked=True)
    oldest = rows.order_by('hooks_due')[:most]
    first = list(oldest)
    while _put_off(first):
        first = list(oldest.all())
    if not first:
        return {}
    if first[0].hooks_failures or first[0].hooks_holder:  # it may well end this process, too
        return {first[0].record_id: [first[0].pk]}
    chosen: dict[int, list[int]] = {}
    for record in dict.fromkeys(frame.record_id for frame in first):
        if sum(map(len, chosen.values())) >= most:
            break
        alike = rows.filter(record=record, hooks_failures=0, hooks_holder='').order_by('pk')
        if keys := list(alike.values_list('pk', flat=True)[:CHUNK]):
            chosen[record] = keys
    return chosen


def _put_off(frames: list[StoredFrame]) -> bool:
    """Have those wait that had failed before, and now killed a process; whether there were any."""
    again = [frame for frame in frames if frame.hooks_holder and frame.hooks_failures]
    for frame in again:
        failures = frame.hooks_failures + 1
        note_failure(owed().filter(pk=frame.pk), failures, DEAD, backoff(failures))
    return bool(again)


class Claim:
    """The hooks that one process has in hand."""

    def __init__(self, holder: str, lease: float) -> None:
        self.failure: HookFailed | None = None
        self.not_reached = 0  # products whose hooks there was no time for
        self._holder, self._lease = holder, lease
        self._failures: dict[int, int] = {}  # so far, by product
        self._paid: set[int] = set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While this lasts, the claim is prolonged; what is left of it then is given back."""
        with self._prolonged():
            yield
        if self._lease and self._paid < self._failures.keys():
            self.give_back()

    def give_back(self, besides: Collection[int] = ()) -> None:
        """Let others have what is claimed and not paid, but for the frames `besides`."""
        self._mine().exclude(pk__in=besides).update(hooks_holder='', hooks_due=Now())

    def take(self, rows: QuerySet[StoredFrame]) -> None:
        """Claim `rows`. Where another had them, that one has died, which counts as a failure."""
        died = ~Q(hooks_holder='')
        deaths = Case(When(died, then=1), default=0, output_field=IntegerField())
        rows.update(
            hooks_holder=self._holder,
            hooks_due=self._end_of_lease(),
            hooks_failures=F('hooks_failures') + deaths,
            hooks_error=Case(When(died, then=DEAD), default=F('hooks_error')),
        )
        mine = rows.filter(hooks_holder=self._holder)
        self._failures |= mine.values_list('product', 'hooks_failures')

    def hold(self, products: Collection[int]) -> None:
        """Have in hand what nobody else can have, and what has never failed."""
        self._failures = dict.fromkeys(products, 0)

    def pay(
        self,
        record: int,
        products: Collection[int],
        until: float = inf,
    ) -> Jobs:
        """Run them for those of these products of `record` that are claimed.

        As tomtoolkit's page does that saves chosen products: one call for each, and one with all.
        Then `frames_arrived`, with the record and all that came for it.
        """
        is_own = not is_plain(*OF_PRODUCTS)
        mine = self._failures.keys() & set(products)
        found = yield from one(DatabaseJob(_read, mine, by_itself=is_own))
        heard = []
        # What has failed comes last: hooks that hang would have nobody else's called.
        for number, key in enumerate(sorted(found, key=lambda key: (self._failures[key], key))):
            if monotonic() > until or (is_own and seconds_left() < TO_CALL):
                self.not_reached = len(found) - number
                break
            if self._heard('data_product_post_save', [found[key]]):
                heard.append(key)
        if is_own and heard:  # anew, and at once: a hook may have deleted some, and time may be up
            [found] = _read([heard])
        together = [found[key] for key in heard if key in found]
        if together and self._all_heard(record, together):
            self._paid.update(heard)
            if is_own:
                _strike_out([(self._holder, heard)])
            else:
                yield from one(DatabaseJob(_strike_out, (self._holder, heard)))

    def _all_heard(self, record: int, products: list[DataProduct]) -> bool:
        if not self._heard('multiple_data_products_post_save', products):
            return False
        if not settings.HOOKS.get('frames_arrived'):
            return True
        fresh = ObservationRecord.objects.select_related('target').filter(pk=record).first()
        return fresh is None or self._heard('frames_arrived', products, fresh)  # deleted

    def _heard(self, hook: str, products: list[DataProduct], *first: object) -> bool:
        """Run a hook for `products`; False, when that is noted, where it raised."""
        keys = [product.pk for product in products]
        try:
            run_own_hook(hook, *first, products)
        except HookFailed as error:
            if DataProduct.objects.filter(pk__in=keys).exists():  # or a hook has deleted it
                self.failure = error
            for key in keys:
                self._note_failure(key, str(error))
            return False
        return True

    def _note_failure(self, product: int, error: str) -> None:
        failures = self._failures[product] + 1
        note_failure(self._mine().filter(product=product), failures, error, backoff(failures))

    def _mine(self) -> QuerySet[StoredFrame]:
        return owed().filter(hooks_holder=self._holder, product__in=list(self._failures))

    def _end_of_lease(self) -> object:
        return Now() + timedelta(seconds=self._lease)

    def _prolonged(self) -> AbstractContextManager:
        if not self._lease:
            return nullcontext()
        return Heartbeat(self._prolong, self._lease / 3)

    def _prolong(self) -> int:
        return self._mine().update(hooks_due=self._end_of_lease())


def _read(wanted: list[Collection[int]]) -> list[dict[int, DataProduct]]:
    """The products with each of these keys, as far as they are there."""
    found = DataProduct.objects.in_bulk({key for keys in wanted for key in keys})
    return [{key: found[key] for key in sorted(keys) if key in found} for keys in wanted]


def _strike_out(paid: list[tuple[str, Collection[int]]]) -> list[None]:
    """Note for each holder that hooks have ended, of products that it had claimed."""
    for holder in {holder for holder, _ in paid}:
        keys = [key for who, some in paid if who == holder for key in some]
        owed().filter(hooks_holder=holder, product__in=keys).update(
            hooks_owed=False, hooks_holder='', hooks_failures=0, hooks_error=''
        )
    return [None] * len(paid)
