"""Notes each frame as its row is written, and follows its target: pages and mails show what is noted."""

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_targets.models import BaseTarget

from .models import Arrival, Wish
from .numbers import say_one_is_to_come

CHUNK = 500


def follow(instance: DataProduct, created: bool, **saved: object) -> None:
    """When a product is saved: it may have got another target, as when two targets are merged."""
    if not created:
        arrivals = Arrival.objects.filter(product=instance.pk)
        arrivals.exclude(target=instance.target_id).update(target=instance.target_id)


def follow_all() -> None:
    """Let all frames follow their products: whoever moves those by a statement tells nobody.

    To be called where nobody waits: it looks at all frames, in 0.1 s for 200,000.
    """
    rows = Arrival.objects.exclude(Arrival.in_step).order_by()
    of_product = DataProduct.objects.filter(pk=OuterRef('product')).values('target')
    moved = list(rows.values_list('pk', flat=True))
    for first in range(0, len(moved), CHUNK):
        some = moved[first : first + CHUNK]
        Arrival.objects.filter(pk__in=some).update(target=Subquery(of_product))


def hand_on(instance: BaseTarget, **deleted: object) -> None:
    """When a target is deleted: if another bears its name, as after a merge, that one is chosen now."""
    wishes = list(Wish.objects.filter(targets=instance.pk))
    if wishes:
        heirs = BaseTarget.objects.filter(aliases__name=instance.name).exclude(pk=instance.pk)
        for wish in wishes:
            wish.targets.add(*heirs)


def note_arrivals(came: list[tuple[str, DataProduct]]) -> None:
    """Note each product that came in, of a facility, unless that is known: a new version is no new frame.

    In the transaction of its row, so that no kill leaves one without the other.
    """
    arrivals = [
        Arrival(product=product, target_id=product.target_id, facility=facility, at=timezone.now())
        for facility, product in came
    ]
    if arrivals:
        with transaction.atomic(savepoint=False):
            say_one_is_to_come()
            Arrival.objects.bulk_create(arrivals, ignore_conflicts=True)
