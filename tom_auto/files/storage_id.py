"""The storage of the data is the one that was there: it carries an id that the database knows.

A disk that is not mounted, or another bucket, must not pass for one from which every file was
deleted: rule 7.
"""

from uuid import uuid4

from tom_dataproducts.models import DataProduct

from ..conf import manage
from ..errors import StorageAway
from ..explain import told
from ..models import StorageMark
from . import storage

MARK = '.tom-storage-id'
SAMPLE = 20  # files, some of which should be there in a storage that was used before
LONGEST_MARK = 32


def insist_on_storage() -> None:
    """Raise StorageAway unless the storage is the one that the database knows.

    The first time, the storage gets its id, unless it has one: then the database is new.
    """
    known, found = StorageMark.objects.first(), _mark()
    if known is None and found:
        StorageMark.objects.get_or_create(pk=1, defaults={'mark': found})
    elif known is None or known.pending:
        _insist_on_some_files()
        accept_storage()
    elif found != known.mark and storage.is_being_restored():
        raise StorageAway(
            'a restore of the data is in progress, or was cut short. Nothing was touched. If it was: '
            f'{manage("restore NAME --yes")} once more'
        )
    elif found != known.mark:
        raise StorageAway(
            'the storage of the data is not the one that was there, or is not mounted: it lacks '
            f'the id in its file {MARK}. Nothing was touched. If this is the right storage: '
            f'{manage("doctor --accept-storage")}'
        )


def storage_trouble() -> StorageAway | None:
    """What `insist_on_storage` has to say, if anything."""
    try:
        insist_on_storage()
    except StorageAway as error:
        return error
    return None


def is_known() -> bool:
    """Whether it is certain that this is the storage that was there: what it lacks is gone."""
    known = StorageMark.objects.filter(pending=False).first()
    return known is not None and _mark() == known.mark


def _mark() -> str:
    """The id that the storage carries; empty where it carries none."""
    where = storage.the_storage()
    try:
        if not where.exists(MARK):
            return ''
        with where.open(MARK) as file:
            return file.read(LONGEST_MARK).decode(errors='replace').strip()
    except Exception as error:  # of whatever client the storage has
        raise StorageAway(f'the storage of the data cannot be used: {told(error)}') from error


def _insist_on_some_files() -> None:
    stored = DataProduct.objects.filter(data__gt='').order_by('-pk').values_list('data', flat=True)
    sample = list(stored[:SAMPLE])
    if sample and not any(map(storage.exists, sample)):
        raise StorageAway(
            'the storage of the data has none of the newest files that the database names. Is it '
            f'mounted? If this is the right storage: {manage("doctor --accept-storage")}'
        )


def accept_storage() -> None:
    """Give the storage the id that the database knows, or a new one to both.

    The database has it first: whoever is killed here, or suspended, writes no other one.
    """
    if storage.is_being_restored():
        raise StorageAway('a restore of the data was cut short: restore once more')
    known = StorageMark.objects.first()
    if known is None:
        new = {'mark': uuid4().hex, 'pending': True}
        known, _ = StorageMark.objects.get_or_create(pk=1, defaults=new)
    try:
        with storage.part_file() as file:
            file.write(known.mark.encode())
            storage.move_into_place(file, MARK, len(known.mark))
    except StorageAway:
        raise
    except Exception as error:
        raise StorageAway(f'the storage of the data cannot be written: {told(error)}') from error
    StorageMark.objects.update(pending=False)
