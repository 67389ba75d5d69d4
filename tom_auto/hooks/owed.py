"""Which saved data products owe hooks, and which records a hook may end a run for: rule 10."""

from datetime import timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Now

from ..errors import HookFailed, OutOfTime
from ..models import RecordSync, SharedFrame, StoredFrame
from .calls import OF_PRODUCTS, OF_STATUS, is_plain

DEAD = Value('the process that ran it has died', output_field=TextField())
KEEP_FAILING = 2  # failures in a row, after which a person should look


def owed() -> QuerySet[StoredFrame]:
    """The frames for whose products hooks are owed."""
    return StoredFrame.objects.filter(hooks_owed=True, product__isnull=False)


def due() -> QuerySet[StoredFrame]:
    """Those of them that a worker may begin now.

    What nobody has tried is due whatever its time: that is by the clock of the host that saved it.
    """
    untried = Q(hooks_holder='', hooks_failures=0)
    return owed().filter(untried | Q(hooks_due__lte=Now()))


def note_failure(
    rows: QuerySet[StoredFrame], failures: int, error: str | Value, wait: timedelta
) -> None:
    """Note so many failures of `rows`, the last with `error`: nobody has them in hand, and they wait."""
    rows.update(
        hooks_holder='',
        hooks_due=Now() + wait,
        hooks_failures=failures,
        hooks_error=error,
    )


def keep_failing() -> QuerySet[StoredFrame]:
    """Those whose hooks fail again and again."""
    return owed().filter(hooks_failures__gte=KEEP_FAILING)


def records_that_owe(*which: Q) -> set[int]:
    """The records whose saved products hooks are owed for, since an earlier run.

    Those as well that share such a product: its own record may be settled, and not asked any more.
    `which`: of which of their rows.
    """
    owing = owed().filter(*which)
    records = set(owing.values_list('record', flat=True))
    if records:
        sharing = SharedFrame.objects.filter(Exists(_of_frame(owing)))
        records |= set(sharing.values_list('record', flat=True))
    return records


def suspected_records(by_workers: bool) -> set[int]:
    """The records that owe a hook of this TOM which a run began, perhaps, and did not come to an end of.

    Not where it raised, or where a run gave its record up at the deadline: that is noted. `by_workers`:
    they run the hooks of products.
    """
    records: set[int] = set()
    if not is_plain(OF_STATUS):
        # Noted before a class was asked, which failed.
        unchanged = Q(status_before=F('record__status'))
        noted = Q(error_kind__in=[HookFailed.kind, OutOfTime.kind])
        owing = RecordSync.objects.filter(owes_hook=True).exclude(unchanged | noted)
        records.update(owing.values_list('record', flat=True))
    if not is_plain(*OF_PRODUCTS):
        died = ~Q(hooks_holder='') & Q(hooks_due__lte=Now())
        given_up = Q(record__sync__error_kind=OutOfTime.kind)
        records |= records_that_owe(died if by_workers else Q(hooks_failures=0), ~given_up)
    return records


def products_owed(record: int) -> list[int]:
    """The products that hooks are owed for, of `record` or shared by it."""
    shared = Exists(_of_frame(SharedFrame.objects.filter(record=record)))
    return list(owed().filter(Q(record=record) | shared).values_list('product', flat=True))


def _of_frame(rows: QuerySet) -> QuerySet:
    return rows.filter(archive=OuterRef('archive'), frame_id=OuterRef('frame_id'))
