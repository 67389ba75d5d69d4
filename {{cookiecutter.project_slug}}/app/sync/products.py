"""Keeps frames as data products: a row means a whole, verified file (rules 6 to 9).

A frame's place is claimed in the database (`StoredFrame`) before its download, the file is
received beside its place, verified, flushed and moved there, and the `DataProduct` row comes
last. A process may be killed between any two of these steps: the claim tells the next run what
may lie around, and the same frame goes to the same place again.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from threading import Condition
from typing import IO, Literal

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.files.utils import validate_file_name
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, StoredFrame
from . import names, permissions, verify
from .errors import SyncError
from .gateway import Frame
from .transport import Received, download

logger = logging.getLogger(__name__)

Stored = Literal['present', 'saved', 'repaired']

# Frames that threads of this process are storing now. Two records that share a frame may be
# checked side by side: one of them stores it, and the other then finds it there.
_in_hand: set[str] = set()
_turn = Condition()


def store_frame(record: ObservationRecord, frame: Frame, limits: Automation) -> Stored:
    """See to it that `frame` is kept, whole and in its newest version.

    A frame is known by its product id alone: one that another record or target already has is
    present. Raises SyncError, with nothing changed, where the file cannot be had.
    """

    def receive(file: IO[bytes]) -> Received:
        return download(frame.url, file, limits, _room(limits))

    return keep(record, frame, receive, limits)


def keep(
    record: ObservationRecord,
    frame: Frame,
    receive: Callable[[IO[bytes]], Received],
    limits: Automation,
    derived: bool = False,
) -> Stored:
    """Keep what `receive` writes into a file as the data product of `frame`.

    One that is there already stays, unless it is not whole or not the version that `frame` is.
    One that is `derived` from another is always made anew, and no hook hears of it.
    """
    with _alone_with(frame.product_id, limits):
        product = DataProduct.objects.filter(product_id=frame.product_id).first()
        if product is not None and not derived and is_whole(product, frame):
            permissions.share(record, product)
            return 'present'
        claim = _claim(record, frame, product)
        try:
            with _part_file(claim) as file:
                received = receive(file)
                _verify(frame, received)
                _check(claim)
                _move_into_place(file, claim, received)
        except Exception:
            _give_up(claim, product)
            raise
        return _write_row(record, frame, claim, received, hooks_owed=not derived)


@contextmanager
def _alone_with(product_id: str, limits: Automation) -> Iterator[None]:
    with _turn:
        if not _turn.wait_for(lambda: product_id not in _in_hand, limits.TRANSFER_TIMEOUT):
            raise SyncError(f'frame {product_id} is still on its way for another record')
        _in_hand.add(product_id)
    try:
        yield
    finally:
        with _turn:
            _in_hand.discard(product_id)
            _turn.notify_all()


def is_whole(product: DataProduct, frame: Frame) -> bool:
    """Whether the file of `product` is there and is the `frame` that the archive has now."""
    if not product.data or not _exists(product.data.name):
        return False
    claim = StoredFrame.objects.filter(frame_id=frame.product_id).first()
    if claim is not None and claim.name != product.data.name:
        _abandon(claim)  # others have stored the frame elsewhere meanwhile
        claim = None
    if claim is None:
        return _adopt(product, frame)
    if claim.stored_at is None or (frame.md5 and frame.md5 != claim.md5):
        return False
    return _storage().size(claim.name) == claim.size


def _adopt(product: DataProduct, frame: Frame) -> bool:
    """Take over a file that others have stored, if it is what its row says."""
    with product.data.storage.open(product.data.name) as file:
        received = verify.read(file)
    if verify.fault(frame.filename, received, frame.md5):
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


def _claim(record: ObservationRecord, frame: Frame, product: DataProduct | None) -> StoredFrame:
    """A claim on this frame's place, for this attempt alone.

    An earlier claim gives way to it, with its key: a process that was suspended for so long that
    another run has taken over finds its own claim gone, and stops.
    """
    claim = StoredFrame.objects.filter(frame_id=frame.product_id).first()
    if claim is not None:
        _remove_part(claim)
        with transaction.atomic():
            claim.delete()
            # Not whole until the new version is: a killed run must not leave its part file behind.
            claim.product, claim.stored_at = product, None
            claim.save(force_insert=True)
        return claim
    for name in _free_places(record, frame, product):
        with suppress(IntegrityError), transaction.atomic():
            return StoredFrame.objects.create(frame_id=frame.product_id, name=name, product=product)
    raise SyncError(f'no free place for the file {names.safe_name(frame.filename)}')


def _free_places(
    record: ObservationRecord, frame: Frame, product: DataProduct | None
) -> Iterator[str]:
    """Names that this frame may have: its row's own, so that a bad file is replaced in place."""
    if product is not None and product.data and _is_proper(product.data.name):
        yield product.data.name
    wanted = DataProduct(
        product_id=frame.product_id, target=record.target, observation_record=record
    )
    for name in names.places(wanted, frame.filename):
        if not _exists(name) and not DataProduct.objects.filter(data=name).exists():
            yield name


def _give_up(claim: StoredFrame, product: DataProduct | None) -> None:
    """Let go of a claim that came to nothing. One with a file, or a row, is for the next run."""
    with suppress(OSError):  # what cannot be removed now stays claimed
        _remove_part(claim)
        if product is None and not _exists(claim.name):
            StoredFrame.objects.filter(pk=claim.pk, stored_at=None).delete()


def _check(claim: StoredFrame) -> None:
    """Raise SyncError where `claim` is gone: another run has taken over, or a user deleted it."""
    if not StoredFrame.objects.filter(pk=claim.pk).exists():
        raise _taken_away(claim)


def _taken_away(claim: StoredFrame) -> SyncError:
    return SyncError(f'{claim.name} was taken over, or deleted, while it was on its way')


def _verify(frame: Frame, received: Received) -> None:
    fault = verify.fault(frame.filename, received, frame.md5)
    if fault:
        raise SyncError(f'{names.safe_name(frame.filename)} is not stored: {fault}')


def _room(limits: Automation) -> float:
    """How many bytes a download may have: rule 15. Only a disk of this host has such a limit."""
    storage = _storage()
    if not isinstance(storage, FileSystemStorage):
        return inf
    Path(storage.location).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(storage.location).free
    if free < limits.MIN_FREE_BYTES:
        raise SyncError(
            f'downloads stop: only {free / 1e6:.0f} MB are free where the data goes '
            f'(AUTOMATION: MIN_FREE_BYTES is {limits.MIN_FREE_BYTES / 1e6:.0f} MB)'
        )
    return free - limits.MIN_FREE_BYTES


@contextmanager
def _part_file(claim: StoredFrame) -> Iterator[IO[bytes]]:
    storage = _storage()
    if not isinstance(storage, FileSystemStorage):
        with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
            yield file
        return
    part = part_path(storage, claim)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open('w+b') as file:
            _check(claim)  # or nobody would know of the part file
            yield file
    finally:
        part.unlink(missing_ok=True)


def part_path(storage: FileSystemStorage, claim: StoredFrame) -> Path:
    """Where the file of `claim` is received: beside its place, so that moving it is one step."""
    return Path(storage.path(claim.name)).with_name(f'.{claim.pk}.part')


def _remove_part(claim: StoredFrame) -> None:
    """Remove what is left of an earlier attempt, while there still is a claim that tells of it."""
    storage = _storage()
    if isinstance(storage, FileSystemStorage):
        part_path(storage, claim).unlink(missing_ok=True)


def _move_into_place(file: IO[bytes], claim: StoredFrame, received: Received) -> None:
    storage = _storage()
    file.flush()
    if not isinstance(storage, FileSystemStorage):
        _upload(storage, file, claim, received)
        return
    os.fsync(file.fileno())
    place = Path(storage.path(claim.name))
    part = part_path(storage, claim)
    part.chmod(settings.FILE_UPLOAD_PERMISSIONS or 0o644)
    part.replace(place)
    directory = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # or the new name may be lost with the machine's power
    finally:
        os.close(directory)


def _upload(storage: Storage, file: IO[bytes], claim: StoredFrame, received: Received) -> None:
    # Not `save`, which would choose another name where there is a version before: an object
    # store replaces that in one step, and until then it stays. A storage that cannot replace a
    # file gets a second chance, without one.
    for _ in range(2):
        file.seek(0)
        name = storage._save(claim.name, File(file))
        if name == claim.name and storage.size(name) == received.size:
            return
        storage.delete(name)
    raise SyncError(f'the storage did not keep {claim.name} as it is')


def _write_row(
    record: ObservationRecord,
    frame: Frame,
    claim: StoredFrame,
    received: Received,
    hooks_owed: bool,
) -> Stored:
    """Write the row of a file that is in its place; returns what that amounts to."""
    kind = verify.data_product_type(frame.filename)
    with transaction.atomic():
        product, new = DataProduct.objects.get_or_create(
            product_id=frame.product_id,
            defaults={
                'target': record.target,
                'observation_record': record,
                'data': claim.name,
                'data_product_type': kind,
            },
        )
        if not new:
            DataProduct.objects.filter(pk=product.pk).update(
                data=claim.name,
                data_product_type=product.data_product_type or kind,
                modified=timezone.now(),
            )
        if not claim.md5:  # kept for the first time: its rights are for people to change later
            permissions.copy_permissions(product.observation_record or record, product)
        permissions.share(record, product)
        ours = StoredFrame.objects.filter(pk=claim.pk)
        if not ours.update(**_stored(claim.name, product, received), hooks_owed=hooks_owed):
            raise _taken_away(claim)
        if hooks_owed:  # called when the record that has the product is checked
            _unsettle(product)
    new_version = bool(frame.md5 and claim.md5 and frame.md5 != claim.md5)
    return 'saved' if new or new_version else 'repaired'


def _unsettle(product: DataProduct) -> None:
    """Make the record of `product` due, if it is settled: it has something left to do."""
    RecordSync.objects.filter(record=product.observation_record_id, next_check=None).update(
        next_check=timezone.now(), settled_at=None
    )


def sweep_leftovers() -> None:
    """Remove what killed runs left: claims that were never completed, and their files.

    To be called when no other run is at work. A file that a row refers to is kept. What cannot
    be removed now, as the storage is away, is left for the next run.
    """
    for claim in StoredFrame.objects.filter(stored_at=None):
        try:
            _sweep(claim)
        except DatabaseError:
            raise
        except Exception as error:
            logger.warning('%s cannot be removed yet (%s)', claim.name, type(error).__name__)


def _sweep(claim: StoredFrame) -> None:
    _remove_part(claim)
    if claim.product is not None:
        _unsettle(claim.product)  # to do what follows a save, which the claim says is not done
        return
    _abandon(claim)


def _abandon(claim: StoredFrame) -> None:
    """Remove a claim, and its file unless a row refers to it."""
    if not DataProduct.objects.filter(data=claim.name).exists():
        _storage().delete(claim.name)
    claim.delete()


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
            if product.data and _exists(product.data.name):
                _storage().delete(product.data.name)
            product.delete()
    return faults


def _fault(product: DataProduct) -> str:
    """What can be seen to be wrong with the file of `product` from its beginning."""
    if not product.data or not _exists(product.data.name):
        return 'there is no file'
    with _storage().open(product.data.name) as file:
        head = file.read(verify.HEAD)
    return verify.fault(product.data.name, Received(_storage().size(product.data.name), '', head))


def _storage() -> Storage:
    return DataProduct._meta.get_field('data').storage


def _exists(name: str) -> bool:
    return _is_proper(name) and _storage().exists(name)


def _is_proper(name: str) -> bool:
    """Whether `name` lies inside the storage: others may have stored a row that does not."""
    try:
        validate_file_name(name, allow_relative_path=True)
    except SuspiciousFileOperation:
        return False
    return True
