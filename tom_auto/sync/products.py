"""Keeps frames as data products: a row means a whole, verified file (rules 6 to 9).

A frame's place is known before anything is written. The file is received beside the data,
verified, flushed and moved into place (`fetch`, in a thread), and the rows come last (`write`). A
run that is killed in between leaves a file that the next one recognises by its checksum.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, SharedFrame, StoredFrame
from . import file_names, storage, whole_file
from .downloads import download
from .errors import BadAnswer, Clash
from .frames import Frame
from .whole_file import Received

RIGHTS = ('view', 'change', 'delete')


class Action(StrEnum):
    """What there is to do about a frame."""

    NOTHING = 'nothing'
    ADOPT = 'adopt'  # others have stored it: see whether that is whole
    FETCH = 'fetch'
    RENEW = 'renew'  # there is a new version: fetch it, unless its owner has changed the file


@dataclass
class Plan:
    """One frame of a record: what is kept of it, and what there is to do."""

    frame: Frame
    archive: str
    place: str
    product_id: str
    product: DataProduct | None
    stored: StoredFrame | None
    preview: str = ''  # the name of its JPEG's file, if it has one
    double: str = ''  # a second file of it, which was stored here and no row refers to
    action: Action = Action.NOTHING

    @property
    def name(self) -> str:
        """The name of the file that is looked at first; empty where none is known."""
        return self.product.data.name or '' if self.product else ''

    @property
    def owes_hooks(self) -> bool:
        """Whether its file comes from this engine, and from nobody else."""
        return self.action is not Action.ADOPT or bool(self.stored and self.stored.is_broken)


def plans(
    record: ObservationRecord, archive: str, frames: list[Frame], archive_of: Callable[[str], str]
) -> list[Plan]:
    """What is kept of these frames. `archive_of` gives the archive of a facility."""
    ids = [frame.id for frame in frames]
    product_ids = [*ids, *(f'{archive}:{frame_id}' for frame_id in ids)]
    wanted = [*ids, *map(preview_id, product_ids)]
    stored = StoredFrame.objects.select_related('product').filter(frame_id__in=wanted)
    known = {(row.archive, row.frame_id): row for row in stored}
    rows = DataProduct.objects.select_related('stored_frame', 'observation_record').filter(
        product_id__in=product_ids
    )
    products = {product.product_id: product for product in rows.order_by()}
    return [_plan(record, archive, frame, known, products, archive_of) for frame in frames]


def _plan(
    record: ObservationRecord,
    archive: str,
    frame: Frame,
    known: dict,
    products: dict[str, DataProduct],
    archive_of: Callable[[str], str],
) -> Plan:
    stored, product_id = known.get((archive, frame.id)), frame.id
    product = stored.product if stored else products.get(f'{archive}:{frame.id}')
    if product is None and (other := products.get(frame.id)) is not None:
        owner = getattr(other, 'stored_frame', None)
        its_record = other.observation_record
        its_archive = (
            owner.archive if owner else archive_of(its_record.facility if its_record else '')
        )
        if its_archive == archive or (owner and owner.record_id == record.pk) or not its_record:
            product, stored = other, stored or owner
    if product is not None:
        product_id = product.product_id
    elif products.get(frame.id) is not None:
        product_id = f'{archive}:{frame.id}'  # another archive has the same id
    wanted = DataProduct(target=record.target, observation_record=record, product_id=product_id)
    place = file_names.place(wanted, archive, frame.id, frame.filename)
    jpeg = known.get((archive, preview_id(product_id)))
    preview = jpeg.name if jpeg and jpeg.product else ''
    return Plan(frame, archive, place, product_id, product, stored, preview)


def preview_id(product_id: str) -> str:
    """The id of the JPEG of a product, as tomtoolkit has it."""
    return f'{product_id}_jpeg'


def decide(plan: Plan, record: ObservationRecord, sizes: dict[str, int | None]) -> None:
    """Choose the action of `plan`. Raises Clash where the id stands for two different files."""
    stored, product, size = plan.stored, plan.product, sizes.get(plan.name)
    if stored is not None and product is None:  # it was deleted here, and stays so
        return
    if product is None:
        plan.action = Action.FETCH
    elif stored is None or stored.is_broken or stored.name != plan.name:
        plan.action = Action.FETCH if size is None else Action.ADOPT
    elif stored.record_id != record.pk and _differ(stored, plan.frame):
        raise Clash(
            f'frame {plan.frame.id} is {plan.frame.filename} for this record and '
            f'{stored.filename} for another'
        )
    elif size is None:
        plan.action = Action.FETCH
    elif plan.frame.md5 and stored.archive_md5 not in ('', plan.frame.md5):
        plan.action = Action.RENEW
    if product is not None and storage.is_proper(plan.name):
        plan.place = plan.name or plan.place  # mended, or renewed, in place


def _differ(stored: StoredFrame, frame: Frame) -> bool:
    if stored.archive_md5 in frame.older:
        return False  # a new version
    checksums = stored.archive_md5 and frame.md5 and stored.archive_md5 != frame.md5
    named = file_names.safe_name(stored.filename) == file_names.safe_name(frame.filename)
    return bool(checksums if stored.archive_md5 and frame.md5 else not named)


def adopt(plan: Plan) -> Received | None:
    """What others have stored, if it is whole; None where it has to be fetched.

    Where a row was told of another file than the one that was stored for it, that is its owner's,
    and only what is no file at all may go: a web page stores what it gets.
    """
    owners = plan.stored is not None and not plan.stored.is_broken
    fault = whole_file.no_file if owners else whole_file.fault
    filename = plan.name if owners else plan.frame.filename
    with storage.opened(plan.name) as file:
        received = whole_file.read(file)
        if fault(filename, file, received):
            return None
    # A web page that was slower has put its own copy in the place of what was stored here.
    before = plan.stored.name if plan.stored else ''
    if before not in ('', plan.name) and plan.stored.md5 == received.md5 and storage.exists(before):
        plan.double = before if storage.is_it(before, received.md5) else ''
    return received


def note_broken(record: ObservationRecord, plan: Plan) -> None:
    """Note that the file of a row is fetched anew: a run that is killed meanwhile owes its hooks."""
    if plan.product is None or plan.action is not Action.FETCH:
        return
    if plan.stored is None:
        plan.stored = StoredFrame(
            archive=plan.archive, frame_id=plan.frame.id, product=plan.product,
            record=plan.product.observation_record or record, size=0, stored_at=timezone.now(),
        )  # fmt: skip
    plan.stored.state, plan.stored.name = StoredFrame.State.BROKEN, plan.place
    plan.stored.save()


def fetch(plan: Plan, limits: Automation) -> Received | None:
    """Bring the file of `plan` into its place; None where its owner has changed what is there."""
    frame = plan.frame
    there = storage.read(plan.place) if storage.exists(plan.place) else None
    if there and there.md5 == frame.md5:
        return there  # left by a run that was killed, or a database that is gone
    if there and plan.action is Action.RENEW and not _is_a_version(plan, there):
        return None
    with storage.room_for(0, limits):  # or the archive need not be asked
        pass
    with storage.part_file() as file:
        received = download(frame.url, frame.filename, file, limits, storage.room_for, frame.md5)
        broken = whole_file.fault(frame.filename, file, received, frame.md5)
        if broken:
            raise BadAnswer(f'{file_names.safe_name(frame.filename)} is not stored: {broken}')
        if there and not _may_go(plan, there):
            plan.place = storage.free_place(plan.place, received.md5)
        storage.move_into_place(file, plan.place, received.size)
    return received


def _may_go(plan: Plan, there: Received) -> bool:
    """Whether the file in the place of `plan` may be replaced: not one that is somebody's work."""
    if plan.product is not None and plan.place == plan.name:
        return True  # the row's own file, and broken; or as it was stored
    return _is_a_version(plan, there)


def _is_a_version(plan: Plan, there: Received) -> bool:
    """Whether a file is as the archive had it, and nobody has changed it since."""
    known = plan.stored.archive_md5 if plan.stored else ''
    return there.md5 in {known, *plan.frame.older}


@transaction.atomic(savepoint=False)
def write(
    record: ObservationRecord, plan: Plan, received: Received, hooks_owed: bool = True
) -> StoredFrame | None:
    """Write the rows of a file that is in its place; None where somebody was faster.

    The product was deleted meanwhile, or a web page has stored the same frame.
    """
    name = plan.name if plan.action is Action.ADOPT else plan.place
    product = plan.product or _new_product(record, plan)
    rows = DataProduct.objects.select_for_update(of=('self',)).filter(pk=product.pk)
    current = rows.first()
    if current is None or current.data.name not in (plan.name, name):
        return None
    storage.delete(plan.double)  # first: after the row, nobody would know of it
    if plan.owes_hooks or current.data.name != name:
        storage.delete(current.thumbnail.name)  # of the file before; a page makes another
        kind = current.data_product_type or whole_file.data_product_type(plan.frame.filename)
        rows.update(data=name, thumbnail='', data_product_type=kind, modified=timezone.now())
    values = {
        'archive': plan.archive, 'state': StoredFrame.State.STORED, 'product': product,
        'filename': plan.frame.filename[-255:], 'name': name, 'md5': received.md5,
        'archive_md5': plan.frame.md5[:32], 'size': received.size, 'stored_at': timezone.now(),
        'hooks_owed': hooks_owed and plan.owes_hooks,
    }  # fmt: skip
    owner = product.observation_record or record
    if plan.stored is None:
        stored = StoredFrame.objects.create(frame_id=plan.frame.id, record=owner, **values)
    else:
        StoredFrame.objects.filter(pk=plan.stored.pk).update(**values)
        stored = StoredFrame.objects.select_related('product').get(pk=plan.stored.pk)
    if plan.owes_hooks and not (plan.stored and plan.stored.md5):
        _copy_rights(owner, product, RIGHTS)  # the first time: they are for people to change later
    share(record, stored)
    return stored


def _new_product(record: ObservationRecord, plan: Plan) -> DataProduct:
    """A row for the frame of `plan`, or the one that somebody has written meanwhile."""
    product = DataProduct(
        product_id=plan.product_id, target=record.target, observation_record=record,
        data=plan.place, data_product_type=whole_file.data_product_type(plan.frame.filename),
    )  # fmt: skip
    try:
        with transaction.atomic():
            product.save()
        return product
    except IntegrityError:
        there = DataProduct.objects.select_related('stored_frame').get(product_id=plan.product_id)
        owner = getattr(there, 'stored_frame', None)
        if owner is None or owner.archive == plan.archive:
            return there
        plan.product_id = f'{plan.archive}:{plan.frame.id}'  # another archive has the same id
        return _new_product(record, plan)


def found_meanwhile(plan: Plan) -> bool:
    """Whether a web page has stored the frame of `plan` meanwhile: it is to be looked at instead."""
    if plan.action is not Action.ADOPT:
        storage.delete(plan.place)  # no row will refer to it
    plan.product = DataProduct.objects.filter(product_id=plan.product_id).first()
    plan.action, plan.place = Action.ADOPT, plan.name
    return plan.product is not None


def share(record: ObservationRecord, stored: StoredFrame) -> None:
    """Let each group that may see `record` see the frame, which may be another record's.

    Two records that share a frame share its product, and neither group must miss its data. What
    the second may not do is to change or delete what the first relies on.
    """
    if stored.record_id != record.pk and stored.product is not None:
        SharedFrame.objects.get_or_create(
            record=record, archive=stored.archive, frame_id=stored.frame_id
        )
        _copy_rights(record, stored.product, RIGHTS[:1])
        jpeg = DataProduct.objects.filter(product_id=preview_id(stored.product.product_id)).first()
        if jpeg is not None:
            _copy_rights(record, jpeg, RIGHTS[:1])


def _copy_rights(record: ObservationRecord, product: DataProduct, rights: tuple[str, ...]) -> None:
    """Let each group do with `product` what it may do with `record`: rule 10.

    Where TARGET_PERMISSIONS_ONLY is true the rights to the target are all that counts.
    """
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    for group, given in get_groups_with_perms(record, attach_perms=True).items():
        for right in rights:
            if f'{right}_observationrecord' in given:
                assign_perm(f'tom_dataproducts.{right}_dataproduct', group, product)


def before_a_class_saves(record: ObservationRecord) -> bool:
    """Note which products there are already; whether an earlier call was killed while it saved."""
    sync = RecordSync.objects.get(pk=record.pk)
    if not sync.saving:
        newest = DataProduct.objects.aggregate(pk=Max('pk'))['pk'] or 0
        RecordSync.objects.filter(pk=sync.pk).update(saving=True, newest_product=newest)
    return sync.saving


def saved_by_class(record: ObservationRecord, archive: str) -> Iterator[tuple[DataProduct, str]]:
    """What a class's own `save_data_products` has saved, each with what is wrong with it.

    Nothing that was there before is touched, nor what people upload, which has no product id. A
    row without a file, or with an error page, is of no use, and is removed: the class will save it
    anew. What was deleted here, and the class has saved once more, is removed again.
    """
    newest = RecordSync.objects.get(pk=record.pk).newest_product
    rows = DataProduct.objects.filter(observation_record=record, pk__gt=newest, stored_frame=None)
    frames = StoredFrame.objects.filter(archive=archive, state=StoredFrame.State.DELETED)
    deleted = set(frames.filter(record=record).values_list('frame_id', flat=True))
    for product in rows.order_by('pk'):
        name, mine = product.data.name, bool(product.product_id)
        named = f'product {product.product_id or product.pk}'
        if not name or not storage.exists(name):
            if mine:
                product.delete()
                yield product, f'{named}: there is no file'
            continue
        if product.product_id in deleted:
            product.delete()
            storage.delete(name)
            continue
        with storage.opened(name) as file:
            received = whole_file.read(file)
            no_file = whole_file.no_file(name, file, received)
            broken = no_file or whole_file.fault(name, file, received)
        if no_file and mine:
            product.delete()
            storage.delete(name)
        yield product, f'{named}: {broken}' if broken else ''


@transaction.atomic
def take_over(record: ObservationRecord, product: DataProduct, archive: str) -> int:
    """Give a product that a class has saved by itself what every saved frame gets: rule 10."""
    kind = whole_file.data_product_type(product.data.name)
    if not product.data_product_type and kind:
        DataProduct.objects.filter(pk=product.pk).update(data_product_type=kind)
    received = storage.read(product.data.name)
    values = {
        'product': product, 'record': record, 'filename': product.get_file_name()[-255:],
        'state': StoredFrame.State.STORED, 'name': product.data.name, 'md5': received.md5,
        'size': received.size, 'stored_at': timezone.now(), 'hooks_owed': True,
    }  # fmt: skip
    stored, _ = StoredFrame.objects.update_or_create(
        archive=archive, frame_id=product.product_id or f'product {product.pk}', defaults=values
    )
    _copy_rights(record, product, RIGHTS)
    return stored.pk
