"""Which saved data products owe hooks: rule 10."""

from django.db.models import QuerySet
from django.db.models.functions import Now

from ..models import StoredFrame

KEEP_FAILING = 2  # failures in a row, after which a person should look


def owed() -> QuerySet[StoredFrame]:
    """The frames for whose products hooks are owed."""
    return StoredFrame.objects.filter(hooks_owed=True, product__isnull=False)


def due() -> QuerySet[StoredFrame]:
    """Those of them that a worker may begin now."""
    return owed().filter(hooks_due__lte=Now())


def keep_failing() -> QuerySet[StoredFrame]:
    """Those whose hooks fail again and again."""
    return owed().filter(hooks_failures__gte=KEEP_FAILING)


def records_that_owe() -> set[int]:
    """The records whose saved products hooks are owed for, since an earlier run."""
    return set(owed().values_list('record', flat=True))


def products_owed(record: int) -> list[int]:
    """The products of `record` that hooks are owed for."""
    return list(owed().filter(record=record).values_list('product', flat=True))
