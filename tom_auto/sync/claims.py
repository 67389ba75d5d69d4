"""Who may store which frame where: claims in the database, made before a download begins.

A process may be killed at any moment. The claim (`StoredFrame`) tells the next run what may lie
around, and the same frame goes to the same place again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import RecordSync, StoredFrame
from . import file_names, storage
from .errors import OutOfTime, PlaceTaken
from .frames import Frame

logger = logging.getLogger(__name__)

STILL_THERE = f'SELECT 1 FROM {StoredFrame._meta.db_table} WHERE id = %s'

# Frames that threads of this process are storing now. Two records that share a frame may be
# checked side by side: one of them stores it, and the other then finds it there.
_in_hand: set[str] = set()
_turn = Condition()


@contextmanager
def alone_with(product_id: str, seconds: float) -> Iterator[None]:
    """While this lasts, no other thread of this process is at work on that frame.

    Raises SyncError where another has been for more than `seconds`.
    """
    with _turn:
        if not _turn.wait_for(lambda: product_id not in _in_hand, seconds):
            raise OutOfTime(f'frame {product_id} is still on its way for another record')
        _in_hand.add(product_id)
    try:
        yield
    finally:
        with _turn:
            _in_hand.discard(product_id)
            _turn.notify_all()


def claim_place(
    record: ObservationRecord, frame: Frame, product: DataProduct | None
) -> StoredFrame:
    """A claim on this frame's place, for this attempt alone; `product` is the frame's row so far.

    An earlier claim gives way to it, with its key: a process that was suspended for so long that
    another run has taken over finds its own claim gone, and stops.
    """
    claim = StoredFrame.objects.filter(frame_id=frame.product_id).first()
    if claim is not None:
        storage.remove_part(claim)
        with transaction.atomic():
            claim.delete()
            # Not whole until the new version is: a killed run must not leave its part file behind.
            claim.product, claim.stored_at = product, None
            claim.save(force_insert=True)
        return claim
    claim = claim_new(record, frame, product)
    if claim is None:
        raise PlaceTaken(f'no free place for the file {file_names.safe_name(frame.filename)}')
    return claim


def claim_new(
    record: ObservationRecord, frame: Frame, product: DataProduct | None = None
) -> StoredFrame | None:
    """The first claim on this frame's place; None where there is one, or no free place."""
    for name in _free_places(record, frame, product):
        with suppress(IntegrityError), transaction.atomic():
            return StoredFrame.objects.create(frame_id=frame.product_id, name=name, product=product)
    return None


def _free_places(
    record: ObservationRecord, frame: Frame, product: DataProduct | None
) -> Iterator[str]:
    """Names that this frame may have: its row's own, so that a bad file is replaced in place."""
    if product is not None and product.data and storage.is_proper(product.data.name):
        yield product.data.name
    wanted = DataProduct(
        product_id=frame.product_id, target=record.target, observation_record=record
    )
    for name in file_names.places(wanted, frame.filename):
        if not storage.exists(name) and not DataProduct.objects.filter(data=name).exists():
            yield name


def insist_on(claim: StoredFrame) -> None:
    """Raise SyncError where `claim` is gone: another run has taken over, or a user deleted it."""
    with connection.cursor() as cursor:  # in SQL, as it is asked twice for each frame
        cursor.execute(STILL_THERE, [claim.pk])
        if cursor.fetchone() is None:
            raise taken_away(claim)


def taken_away(claim: StoredFrame) -> PlaceTaken:
    """What to raise where `claim` is found to be gone."""
    return PlaceTaken(f'{claim.name} was taken over, or deleted, while it was on its way')


def give_up(claim: StoredFrame, product: DataProduct | None) -> None:
    """Let go of a claim that came to nothing. One with a file, or a row, is for the next run."""
    with suppress(OSError):  # what cannot be removed now stays claimed
        storage.remove_part(claim)
        if product is None and not storage.exists(claim.name):
            StoredFrame.objects.filter(pk=claim.pk, stored_at=None).delete()


def abandon(claim: StoredFrame) -> None:
    """Remove a claim, and its file unless a row refers to it."""
    discard(claim.name)
    claim.delete()


def discard(name: str) -> None:
    """Remove the file of that name, if there is one and no row refers to it."""
    if storage.exists(name) and not DataProduct.objects.filter(data=name).exists():
        storage.the_storage().delete(name)


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
    storage.remove_part(claim)
    if claim.product is None:
        abandon(claim)
    else:  # what follows a save is not done: the claim would say so
        unsettle(claim.product)


def unsettle(product: DataProduct) -> None:
    """Make the record of `product` due, if it is settled: it has something left to do."""
    RecordSync.objects.filter(record=product.observation_record_id, next_check=None).update(
        next_check=timezone.now(), settled_at=None
    )
