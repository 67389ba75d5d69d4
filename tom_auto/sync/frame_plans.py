"""What is kept of a record's frames already, and what there is to do about each: rules 6 to 8."""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import PurePath

from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..errors import Clash
from ..files import file_names, storage
from ..models import StoredFrame
from ..observatories.frames import Frame

CHUNK = 500  # frames in one question to the database
JPEG = '_jpeg'  # the end of a preview's id, as tomtoolkit has it


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
    own_place: str  # where it goes if the file of its row is another frame's as well
    preview: str = ''  # the name of its JPEG's file, if it has one
    double: str = ''  # a second file of it, which was stored here and no row refers to
    action: Action = Action.NOTHING
    origin: StoredFrame.Origin = StoredFrame.Origin.NOTHING  # where there was no row of it

    @property
    def name(self) -> str:
        """The name of the file that is looked at first; empty where none is known."""
        return self.product.data.name or '' if self.product else ''

    @property
    def is_its_owners(self) -> bool:
        """Whether its file, where one is there, is what somebody has made of the frame.

        Also where the row of another command names another kind of file: somebody has unpacked it.
        """
        if self.stored is None:
            return not self.is_named_as_archived
        return not self.stored.is_broken or bool(self.stored.md5)

    @property
    def is_named_as_archived(self) -> bool:
        """Whether the name of its file ends as the archive's does. Before that, Django may have put something."""
        mine, theirs = PurePath(self.name).suffix, PurePath(self.frame.filename).suffix
        return mine.lower() == theirs.lower()

    @property
    def is_of_others(self) -> bool:
        """Whether another command has stored it, and nobody has looked at it yet."""
        return self.product is not None and self.stored is None

    @property
    def is_ours(self) -> bool:
        """Whether its file comes from this engine, and from nobody else."""
        return self.action is not Action.ADOPT or bool(self.stored and self.stored.is_broken)

    def is_outdated(self, md5: str) -> bool:
        """Whether a file with this checksum is a version of the frame that the archive has replaced."""
        return bool(self.frame.md5) and md5 != self.frame.md5 and md5 in self.frame.older

    def row(self, record: ObservationRecord, product: DataProduct) -> StoredFrame:
        """What is known of the frame, old or new, for `product`."""
        row = copy(self.stored) or StoredFrame(
            frame_id=self.frame.id, record=product.observation_record or record,
            size=0, stored_at=timezone.now(), origin=self.origin,
        )  # fmt: skip
        row.archive, row.product = self.archive, product
        return row


def unread_files() -> int:
    """How many files other commands have stored for records that were never checked."""
    return DataProduct.objects.filter(
        stored_frame=None, product_id__isnull=False, observation_record__sync__state='new'
    ).count()


def heard_of(frame_ids: Iterable[str], archive: str) -> set[str]:
    """Those of these frames of which there is a row of any kind."""
    heard, rest = set(), iter(frame_ids)
    while some := list(islice(rest, CHUNK)):
        longer = {f'{archive}:{frame_id}': frame_id for frame_id in some}
        stored = StoredFrame.objects.filter(archive=archive, frame_id__in=some)
        products = DataProduct.objects.filter(product_id__in=[*some, *longer]).order_by()
        taken = products.values_list('product_id', flat=True)
        heard.update(longer.get(product_id, product_id) for product_id in taken)
        heard.update(stored.values_list('frame_id', flat=True))
    return heard


def plans_for(
    record: ObservationRecord,
    archive: str,
    frames: list[Frame],
    archive_of: Callable[[str], str],
    are_new: bool = False,
) -> list[Plan]:
    """What is kept of these frames. `archive_of` gives the archive of a facility.

    `are_new`: they were unheard of a moment ago, and need not be looked for one by one.
    """
    ids = [frame.id for frame in frames]
    product_ids = [*ids, *(f'{archive}:{frame_id}' for frame_id in ids)]
    known, products = ({}, {}) if are_new else _rows(archive, ids, product_ids)
    plans = []
    for frame in frames:
        stored, namesake = known.get(frame.id), products.get(frame.id)
        is_taken = namesake is not None and not _is_of(archive, namesake, record, archive_of)
        longer_id = f'{archive}:{frame.id}'
        product = stored.product if stored else products.get(longer_id)
        if product is None and namesake is not None and not is_taken:
            product, stored = namesake, stored or getattr(namesake, 'stored_frame', None)
        product_id = product.product_id if product else longer_id if is_taken else frame.id
        wanted = DataProduct(target=record.target, observation_record=record, product_id=product_id)
        place = file_names.place(wanted, archive, frame.id, frame.filename)
        jpeg = known.get(preview_id(product_id))
        preview = jpeg.name if jpeg and jpeg.product else ''
        plans.append(Plan(frame, archive, place, product_id, product, stored, place, preview))
    return plans


def _rows(
    archive: str, ids: list[str], product_ids: list[str]
) -> tuple[dict[str, StoredFrame], dict[str, DataProduct]]:
    wanted = [*ids, *map(preview_id, product_ids)]
    rows = StoredFrame.objects.select_related('product').filter(archive=archive)
    known = {row.frame_id: row for row in rows.filter(frame_id__in=wanted)}
    rows = DataProduct.objects.select_related('stored_frame', 'observation_record').order_by()
    return known, {row.product_id: row for row in rows.filter(product_id__in=product_ids)}


def _is_of(
    archive: str, product: DataProduct, record: ObservationRecord, archive_of: Callable[[str], str]
) -> bool:
    """Whether a product is of `archive`: another one may have the same id."""
    if owner := getattr(product, 'stored_frame', None):
        return owner.archive == archive or owner.record_id == record.pk
    its_record = product.observation_record
    return its_record is None or archive_of(its_record.facility) == archive


def preview_id(product_id: str) -> str:
    """The id of the JPEG of a product."""
    return product_id + JPEG


def is_preview(frame_id: str) -> bool:
    """Whether this is the id of a JPEG of ours."""
    return frame_id.endswith(JPEG)


def decide(plan: Plan, record: ObservationRecord, sizes: dict[str, int | None]) -> None:
    """Choose the action of `plan`. Raises Clash where the id stands for two different files."""
    stored, product, size = plan.stored, plan.product, sizes.get(plan.name)
    if stored is not None and product is None:  # it was deleted here, and stays so
        return
    if product is None or (stored is not None and stored.is_spoiled):
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
    elif (stored.origin == StoredFrame.Origin.WHOLE and plan.is_outdated(stored.md5)) or (
        plan.frame.md5 and stored.archive_md5 not in ('', plan.frame.md5)
    ):
        plan.action = Action.RENEW
    # Mended in place, unless the name promises something else; what its owner has renamed is looked at.
    is_in_place = plan.is_named_as_archived or (
        plan.action is Action.RENEW
        and PurePath(plan.name).suffix != PurePath(stored.filename).suffix
    )
    if plan.name and storage.is_proper(plan.name) and is_in_place:
        plan.place = plan.name


def _differ(stored: StoredFrame, frame: Frame) -> bool:
    if stored.archive_md5 in frame.older:
        return False  # a new version
    if stored.archive_md5 and frame.md5:
        return stored.archive_md5 != frame.md5
    return file_names.safe_name(stored.filename) != file_names.safe_name(frame.filename)
