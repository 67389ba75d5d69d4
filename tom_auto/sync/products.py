"""Keeps frames as data products: a row means a whole, verified file (rules 6 to 9).

A frame's place is claimed in the database (`claims`) before its download, the file is received
beside its place (`storage`), verified, flushed and moved there, and the `DataProduct` row comes
last. A process may be killed between any two of these steps.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import IO, Literal

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.db import IntegrityError, transaction
from django.utils import timezone
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import StoredFrame
from . import claims, file_names, storage, whole_file
from .errors import BadAnswer
from .frames import Frame
from .http import Received, download

RIGHTS = ('view', 'change', 'delete')
Stored = Literal['present', 'saved', 'repaired']


def store_frame(
    record: ObservationRecord, frame: Frame, limits: Automation, known: DataProduct | None
) -> Stored:
    """See to it that `frame` is kept, whole and in its newest version.

    `known`: its row, as of a moment ago. A frame is known by its product id alone: one that
    another record or target already has is present. Raises SyncError, with nothing changed,
    where the file cannot be had.
    """

    def receive(file: IO[bytes]) -> Received:
        return download(frame.url, file, limits, storage.room(limits))

    if known is not None and is_whole(known, frame):
        share(record, known)
        return 'present'
    return keep(record, frame, receive, limits, new=known is None)


def keep(
    record: ObservationRecord,
    frame: Frame,
    receive: Callable[[IO[bytes]], Received],
    limits: Automation,
    new: bool = False,
    derived: bool = False,
) -> Stored:
    """Keep what `receive` writes into a file as the data product of `frame`.

    One that is there already stays, unless it is not whole or not the version that `frame` is.
    One that is most likely `new` is claimed first, and looked for only where that fails. One that
    is `derived` from another is always made anew, and no hook hears of it.
    """
    with claims.alone_with(frame.product_id, limits.TRANSFER_TIMEOUT):
        product, claim = None, claims.claim_new(record, frame) if new else None
        if claim is None:
            product = known_products([frame]).get(frame.product_id)
            if product is not None and not derived and is_whole(product, frame):
                share(record, product)
                return 'present'
            claim = claims.claim_place(record, frame, product)
        try:
            received = _receive_into_place(frame, claim, receive)
        except Exception:
            claims.give_up(claim, product)
            raise
        return _write_row(record, frame, claim, received, hooks_owed=not derived)


def known_products(frames: list[Frame]) -> dict[str, DataProduct]:
    """The rows of those `frames` that have one, by product id, each with its claim if it has one."""
    ids = [frame.product_id for frame in frames]
    rows = DataProduct.objects.select_related('stored_frame').filter(product_id__in=ids)
    return {product.product_id: product for product in rows.order_by()}


def _receive_into_place(
    frame: Frame, claim: StoredFrame, receive: Callable[[IO[bytes]], Received]
) -> Received:
    with storage.part_file(claim) as file:
        claims.insist_on(claim)  # or nobody would know of the part file
        received = receive(file)
        fault = whole_file.fault(frame.filename, received, frame.md5)
        if fault:
            raise BadAnswer(f'{file_names.safe_name(frame.filename)} is not stored: {fault}')
        claims.insist_on(claim)
        storage.move_into_place(file, claim, received.size)
    return received


def is_whole(product: DataProduct, frame: Frame) -> bool:
    """Whether the file of `product` is there and is the `frame` that the archive has now."""
    if not product.data or not storage.exists(product.data.name):
        return False
    claim = getattr(product, 'stored_frame', None)
    if claim is None or claim.frame_id != frame.product_id:
        claim = StoredFrame.objects.filter(frame_id=frame.product_id).first()
    if claim is not None and claim.name != product.data.name:
        claims.abandon(claim)  # others have stored the frame elsewhere meanwhile
        claim = None
    if claim is None:
        return _adopt(product, frame)
    if claim.stored_at is None or (frame.md5 and frame.md5 != claim.md5):
        return False
    return storage.the_storage().size(claim.name) == claim.size


def _adopt(product: DataProduct, frame: Frame) -> bool:
    """Take over a file that others have stored, if it is what its row says."""
    received = _read(product.data.name)
    if whole_file.fault(frame.filename, received, frame.md5):
        return False
    with suppress(IntegrityError), transaction.atomic():
        StoredFrame.objects.update_or_create(
            frame_id=frame.product_id,
            defaults=_stored(product.data.name, product, received),
        )
    return True


def _stored(name: str, product: DataProduct, received: Received) -> dict:
    return {
        'name': name,
        'product': product,
        'md5': received.md5,
        'size': received.size,
        'stored_at': timezone.now(),
    }


def _write_row(
    record: ObservationRecord,
    frame: Frame,
    claim: StoredFrame,
    received: Received,
    hooks_owed: bool,
) -> Stored:
    """Write the row of a file that is in its place; returns what that amounts to."""
    with transaction.atomic():
        product, before = _row(record, frame, claim, received)
        if not claim.md5:  # kept for the first time: its rights are for people to change later
            _copy_permissions(product.observation_record or record, product, RIGHTS)
        share(record, product)
        ours = StoredFrame.objects.filter(pk=claim.pk)
        stored = _stored(product.data.name, product, received)
        if not ours.update(**stored, hooks_owed=hooks_owed):
            raise claims.taken_away(claim)
        if hooks_owed and not _stays_due(record, product):
            claims.unsettle(product)  # the hooks are called when its record is checked
        for name in {before, claim.name} - {None, '', product.data.name}:
            # A web page has stored the frame meanwhile. Before the end of the transaction: of a
            # row whose file is gone the next run knows, of a file without a row nobody does.
            claims.discard(name)
    new_version = bool(frame.md5 and claim.md5 and frame.md5 != claim.md5)
    return 'saved' if before is None or new_version else 'repaired'


def _row(
    record: ObservationRecord, frame: Frame, claim: StoredFrame, received: Received
) -> tuple[DataProduct, str | None]:
    """The row of `frame`, and what its file was called before; None where it is new.

    It has the file of `claim` then, unless a web page has stored the same bytes meanwhile: such a
    page saves its row several times, with the name that it knows.
    """
    kind = whole_file.data_product_type(frame.filename)
    if claim.product_id is None:  # nearly always it is new, so that is tried first
        product = DataProduct(
            product_id=frame.product_id,
            target=record.target,
            observation_record=record,
            data=claim.name,
            data_product_type=kind,
        )
        with suppress(IntegrityError), transaction.atomic():
            product.save()
            return product, None
    rows = DataProduct.objects.select_for_update()
    product = rows.filter(product_id=frame.product_id).order_by().first()
    if product is None:  # deleted meanwhile, and the claim with it
        raise claims.taken_away(claim)
    before = product.data.name
    if before != claim.name and before and storage.exists(before) and _read(before) == received:
        return product, before
    if product.thumbnail:  # of the file before; a page that shows it makes another
        with suppress(OSError, SuspiciousFileOperation):
            product.thumbnail.delete(save=False)
    DataProduct.objects.filter(pk=product.pk).update(
        data=claim.name,
        thumbnail='',
        data_product_type=product.data_product_type or kind,
        modified=timezone.now(),
    )
    product.data = claim.name
    return product, before


def _read(name: str) -> Received:
    with storage.the_storage().open(name) as file:
        return whole_file.read(file)


def _stays_due(record: ObservationRecord, product: DataProduct) -> bool:
    """Whether `record`, which is checked now, has the product and is due until that is done."""
    settled = hasattr(record, 'sync') and record.sync.settled_at is not None
    return product.observation_record_id == record.pk and not settled


def discard_broken(record: ObservationRecord) -> list[str]:
    """Delete the products of `record` that have no file, or an error page for one.

    For facility classes that save by themselves, as tomtoolkit's own method does: a row without
    a file would keep them from ever fetching it. Products that people uploaded have no product
    id and are left alone. Returns what was wrong with each.
    """
    faults = []
    for product in DataProduct.objects.filter(observation_record=record, product_id__isnull=False):
        fault = _fault(product)
        if fault:
            faults.append(f'product {product.product_id}: {fault}')
            if product.data and storage.exists(product.data.name):
                storage.the_storage().delete(product.data.name)
            product.delete()
    return faults


def _fault(product: DataProduct) -> str:
    """What can be seen to be wrong with the file of `product` from its beginning."""
    if not product.data or not storage.exists(product.data.name):
        return 'there is no file'
    with storage.the_storage().open(product.data.name) as file:
        head = file.read(whole_file.HEAD)
    size = storage.the_storage().size(product.data.name)
    return whole_file.fault(product.data.name, Received(size, '', head))


def share(record: ObservationRecord, product: DataProduct) -> None:
    """Let each group that may see `record` see `product`, which may be another record's.

    Two records that share a frame share its product, and neither group must miss its data. What
    the second may not do is to change or delete what the first relies on.
    """
    if product.observation_record_id != record.pk:
        _copy_permissions(record, product, RIGHTS[:1])


def _copy_permissions(
    record: ObservationRecord, product: DataProduct, rights: tuple[str, ...]
) -> None:
    """Give the groups that may see a record the same rights to its product: rule 10.

    Only where TARGET_PERMISSIONS_ONLY is false: otherwise the rights to the target count alone.
    """
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    for group, given in get_groups_with_perms(record, attach_perms=True).items():
        for right in rights:
            if f'{right}_observationrecord' in given:
                assign_perm(f'tom_dataproducts.{right}_dataproduct', group, product)
