"""What is known of each file: the checksum of its content, and when that was last right.

For a frame, its own row says it. For uploads, files that their owners have changed, and files in
trouble, the audit keeps a row of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone
from tom_dataproducts.models import DataProduct

from ..models import StoredFrame
from ..sync.frame_plans import is_preview

CHUNK = 500  # rows in memory
FIELDS = (
    'pk', 'data', 'product_id', 'observation_record', 'observation_record__facility',
    'stored_frame__state', 'stored_frame__name', 'stored_frame__md5', 'stored_frame__size',
    'stored_frame__stored_at', 'stored_frame__frame_id', 'stored_frame__archive_md5',
    'audited__verdict', 'audited__name', 'audited__md5', 'audited__size', 'audited__right_at',
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """One file, and what is known of it; `md5` is empty where it was never read."""

    product: int
    name: str
    record: int | None
    facility: str
    md5: str
    size: int
    right_at: datetime
    is_upload: bool  # no observatory has it
    is_changed: bool  # by its owner: what is known is the content that they gave it
    is_archives: bool  # what is known is what the archive has
    was: str  # the verdict so far; empty where there is no row of the audit


def known_files(products: QuerySet[DataProduct], read_before: datetime | None) -> Iterator[Known]:
    """What is known of the files of these products, in the order of the products.

    `read_before`: when the round before this one began, which has found sound what has no row.
    """
    last = 0
    while rows := list(products.filter(pk__gt=last).order_by('pk').values_list(*FIELDS)[:CHUNK]):
        last = rows[-1][0]
        for values in rows:
            yield _known(dict(zip(FIELDS, values, strict=True)), read_before)


def _known(row: dict, read_before: datetime | None) -> Known:
    name, stored_at = row['data'] or '', row['stored_frame__stored_at']
    right_at, was = row['audited__right_at'], row['audited__verdict'] or ''
    # A row that names another file than the one that was stored is its owner's.
    has_frame = stored_at is not None and row['stored_frame__name'] == name
    is_newer = has_frame and (right_at is None or stored_at > right_at)
    its = {
        'product': row['pk'], 'name': name, 'record': row['observation_record'],
        'facility': row['observation_record__facility'] or '',
        'is_upload': stored_at is None and not row['product_id'], 'was': was,
    }  # fmt: skip
    # Previews are drawn here, and what somebody had edited before it was adopted is theirs.
    may_be_archives = has_frame and not is_preview(row['stored_frame__frame_id'])
    may_be_archives &= row['stored_frame__archive_md5'] in ('', row['stored_frame__md5'])
    if is_newer and row['stored_frame__state'] == StoredFrame.State.STORED:
        seen = right_at or read_before
        return Known(
            **its, md5=row['stored_frame__md5'], size=row['stored_frame__size'],
            right_at=max(stored_at, seen) if seen else stored_at, is_changed=False,
            is_archives=may_be_archives,
        )  # fmt: skip
    if right_at is not None and row['audited__name'] == name:
        md5 = row['audited__md5']
        is_archives = may_be_archives and md5 == row['stored_frame__md5']
        return Known(
            **its, md5=md5, size=row['audited__size'], right_at=right_at,
            is_changed=has_frame and md5 != row['stored_frame__md5'], is_archives=is_archives,
        )  # fmt: skip
    return Known(
        **its, md5='', size=0, right_at=stored_at or timezone.now(), is_changed=False,
        is_archives=has_frame,
    )  # fmt: skip
