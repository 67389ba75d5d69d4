"""Keeps frames as data products: a row means a whole, verified file (rules 6 to 9).

The rows come last, when the file is in its place (`frame_files`). A run that is killed in between
leaves a file that the next one recognises by its checksum.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..arrivals.lost_pictures import forget_shown
from ..arrivals.models import Arrival
from ..arrivals.noting import note_arrivals
from ..files import storage, whole_file
from ..files.whole_file import Received
from ..models import SharedFrame, StoredFrame
from .frame_plans import Action, Plan, preview_id

RIGHTS = ('view', 'change', 'delete')
#: What is written of a stored frame whose file comes from somebody else.
NO_HOOKS = [
    field.attname for field in StoredFrame._meta.concrete_fields
    if not field.primary_key and not field.name.startswith('hooks_')
]  # fmt: skip


def note_broken(record: ObservationRecord, plan: Plan) -> None:
    """Note that the file of a row is fetched anew: a run that is killed meanwhile owes its hooks."""
    if plan.product is not None and plan.action is Action.FETCH:
        plan.place = plan.own_place if _is_shared(plan) else plan.place
        plan.stored = plan.row(record, plan.product)
        if not plan.stored.is_spoiled:
            plan.stored.state = StoredFrame.State.BROKEN
        plan.stored.name = plan.place
        plan.stored.save()


def note_outdated(record: ObservationRecord, plan: Plan, received: Received) -> None:
    """Note that another command has stored a former version: a run that is killed meanwhile renews it."""
    plan.stored = plan.row(record, plan.product)
    note_verified(plan.stored, plan.frame.filename, plan.name, received)
    plan.stored.archive_md5 = received.md5
    plan.stored.save()
    plan.action, plan.place = Action.RENEW, plan.name


def is_anothers(plan: Plan, received: Received) -> bool:
    """Whether the file of `plan` is another frame's, which has overwritten it."""
    differs = plan.frame.md5 not in ('', received.md5)
    return differs and not plan.is_its_owners and _is_shared(plan)


def _is_shared(plan: Plan) -> bool:
    """Whether the row of another frame names the same file."""
    rows = DataProduct.objects.filter(data=plan.name, product_id__isnull=False)
    return rows.exclude(pk=plan.product.pk).exists()


@dataclass
class Kept:
    """A file that is in its place: its rows are to be written."""

    record: ObservationRecord
    plan: Plan
    received: Received
    previews: list['Kept']  # made of it

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.plan.name if self.plan.action is Action.ADOPT else self.plan.place


def write(kept: list[Kept]) -> list[StoredFrame | None]:
    """Write the rows of these files, and of their previews; None where somebody was faster.

    The product was deleted meanwhile. Raises IntegrityError where a web page has stored the same
    frame: nothing is written then.
    """
    with transaction.atomic():
        stored = _write(kept)
        _write(
            [one for each, row in zip(kept, stored, strict=True) if row for one in each.previews]
        )
    return stored


def _write(kept: list[Kept]) -> list[StoredFrame | None]:
    new = _create_products([one for one in kept if one.plan.product is None])
    rows, arrivals = [], []
    for one in kept:
        record, plan = one.record, one.plan
        product = plan.product or new[plan.product_id]
        if plan.product is not None and not _point_at(product, one.name, plan):
            rows.append(None)
            continue
        stored = plan.row(record, product)
        is_new = not stored.md5
        # The first time: they are for people to change later, who may have done so in a row of others.
        if plan.is_ours and is_new and not (plan.product and get_groups_with_perms(product)):
            copy_rights(product.observation_record or record, product)
        was_broken = plan.stored is not None and plan.stored.is_broken
        is_former = was_broken and plan.is_outdated(one.received.md5)  # the next check renews it
        stored.archive_md5 = one.received.md5 if is_former else plan.frame.md5[:32]
        is_saved = plan.is_ours and bool(plan.frame.url)  # a preview has no address
        if is_saved:
            stored.hooks_owed = True
            owe_hooks_anew(stored)
        note_verified(stored, plan.frame.filename, one.name, one.received)
        if is_saved and (is_new or plan.product is None):
            arrivals.append((record.facility, product))
        rows.append(stored)
    StoredFrame.objects.bulk_create(row for row in rows if row and row.pk is None)
    for one, row in zip(kept, rows, strict=True):
        if row and one.plan.stored:  # workers may have struck its hooks out meanwhile
            row.save(update_fields=None if one.plan.is_ours else NO_HOOKS)
        if row:
            share(one.record, row)
    note_arrivals(arrivals)
    _forget_deleted(rows)
    return rows


def _forget_deleted(rows: list[StoredFrame | None]) -> None:
    """What somebody has saved again is deleted for no record."""
    keys = [row.frame_id for row in rows if row]
    again = SharedFrame.objects.filter(frame_id__in=keys, deleted=True)
    for archive in {row.archive for row in rows if row}:
        again.filter(archive=archive).update(deleted=False)


def _create_products(kept: list[Kept]) -> dict[str, DataProduct]:
    """A row for each of these files, by its id: as `save` does it, signals included."""
    products = [
        DataProduct(
            product_id=one.plan.product_id, target=one.record.target, observation_record=one.record,
            data=one.name, data_product_type=whole_file.data_product_type(one.plan.frame.filename),
        ) for one in kept
    ]  # fmt: skip
    said = {'raw': False, 'using': DEFAULT_DB_ALIAS, 'update_fields': None}
    for product in products:
        pre_save.send(DataProduct, instance=product, **said)
    DataProduct.objects.bulk_create(products)
    for product in products:
        post_save.send(DataProduct, instance=product, created=True, **said)
    return {one.plan.product_id: product for one, product in zip(kept, products, strict=True)}


def owe_hooks_anew(stored: StoredFrame) -> None:
    """Whoever runs the hooks for a file that was there before cannot strike these out."""
    stored.hooks_holder, stored.hooks_error = '', ''
    stored.hooks_failures, stored.hooks_due = 0, timezone.now()


def _point_at(product: DataProduct, name: str, plan: Plan) -> bool:
    """Let the row of a product name its verified file; whether it is still there to do so."""
    rows = DataProduct.objects.select_for_update(of=('self',)).filter(pk=product.pk)
    current = rows.first()
    if current is None or (current.data.name or '') not in (plan.name, name):
        return False
    storage.delete(plan.double)  # first: after the row, nobody would know of it
    if plan.is_ours or current.data.name != name:
        old = current.thumbnail.name  # of the file before; another is drawn
        # Not before the row is written: it would name what is gone.
        transaction.on_commit(lambda: storage.delete(old), robust=True)
        transaction.on_commit(lambda: forget_shown(product.pk), robust=True)
        kind = current.data_product_type or whole_file.data_product_type(plan.frame.filename)
        rows.update(data=name, thumbnail='', data_product_type=kind, modified=timezone.now())
        arrivals = Arrival.objects.filter(product=product.pk)
        arrivals.update(picture=Arrival.Picture.WAITING, trouble='', not_before=None)
    return True


def note_verified(stored: StoredFrame, filename: str, name: str, received: Received) -> None:
    """Note what was verified of the file `name`, which the archive calls `filename`."""
    stored.state, stored.filename, stored.name = StoredFrame.State.STORED, filename[-255:], name
    stored.md5, stored.size, stored.stored_at = received.md5, received.size, timezone.now()


def is_taken(plan: Plan) -> bool:
    """Whether somebody has stored a product with the id of `plan`."""
    return DataProduct.objects.filter(product_id=plan.product_id).exists()


def found_meanwhile(plan: Plan) -> bool:
    """Whether somebody has stored the frame of `plan` meanwhile: it is to be looked at again."""
    if plan.action is not Action.ADOPT:
        storage.delete(plan.place)  # no row will refer to it
    product = DataProduct.objects.filter(product_id=plan.product_id).first()
    owner = getattr(product, 'stored_frame', None)
    if owner is not None and owner.archive != plan.archive:  # which has the same id
        plan.product_id, plan.action = f'{plan.archive}:{plan.frame.id}', Action.FETCH
        return True
    if owner is not None and plan.stored is None:  # another run, or a worker, has stored it
        plan.product, plan.stored, plan.place = product, owner, product.data.name
        plan.action = Action.RENEW
        return owner.archive_md5 in plan.frame.older
    plan.product, plan.action = product, Action.ADOPT
    if product is not None and not plan.name:  # a page makes the row first, and then its file
        plan.action = Action.FETCH
    else:
        plan.place = plan.name
    return product is not None


def share(record: ObservationRecord, stored: StoredFrame) -> None:
    """Let each group that may see `record` see the frame, which may be another record's.

    Two records that share a frame share its product, and neither group must miss its data. What
    the second may not do is to change or delete what the first relies on.
    """
    if stored.record_id == record.pk or stored.product is None:
        return
    its = {'record': record, 'archive': stored.archive, 'frame_id': stored.frame_id}
    with transaction.atomic():
        _, is_new = SharedFrame.objects.get_or_create(**its)
        if is_new:  # later, people may have taken these rights back
            jpeg = DataProduct.objects.filter(product_id=preview_id(stored.product.product_id))
            for product in (stored.product, *jpeg):
                copy_rights(record, product, RIGHTS[:1])


def copy_rights(record: ObservationRecord, product: DataProduct, rights: tuple = RIGHTS) -> None:
    """Let each group do with `product` what it may do with `record`: rule 10.

    Where TARGET_PERMISSIONS_ONLY is true the rights to the target are all that counts.
    """
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    for group, given in get_groups_with_perms(record, attach_perms=True).items():
        for right in rights:
            if f'{right}_observationrecord' in given:
                assign_perm(f'tom_dataproducts.{right}_dataproduct', group, product)
