"""Lets facility classes save data products by themselves, and sees that what they saved are files.

What they saved gets what every stored frame gets: rules 4 and 10.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from django.db import transaction
from django.db.models import Max
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..arrivals.noting import note_arrivals
from ..errors import BrokenClass, by_kind
from ..files import storage, whole_file
from ..files.whole_file import Received
from ..models import RecordSync, StoredFrame
from ..running.database_jobs import Jobs, one
from ..running.outcomes import Outcome
from .facility_jobs import Facilities
from .products import copy_rights, note_verified, owe_hooks_anew


def let_it_save(record: ObservationRecord, outcome: Outcome, facilities: Facilities) -> Jobs:
    """Call the class's own `save_data_products`. Raises BrokenClass where it saved no file."""
    name, archive = outcome.facility, facilities.archive_of(outcome.facility)
    # Not while the storage is away: what has no file there would count as missing.
    yield from one(facilities.disk_job(name, storage.the_storage, 'the storage'))
    newest = DataProduct.objects.aggregate(pk=Max('pk'))['pk'] or 0
    sync = RecordSync.objects.filter(pk=record.pk)
    sync.filter(saving=False).update(saving=True, newest_product=newest)
    faults = _look_over(record, outcome, archive)  # from a call that was killed while it saved
    job, saved = facilities.class_job(name, record, 'save', record.pk), set()
    [(_, error)] = yield [replace(job, work=partial(_saved_by, job.work, saved))]
    faults += _look_over(record, outcome, archive, saved)
    sync.update(saving=False)
    outcome.found = DataProduct.objects.filter(observation_record=record).count()
    if error is not None:
        raise error
    if faults:
        raise BrokenClass(f'{name} saved a broken file: {faults[0]}')


def _saved_by(call: Callable[[], tuple], saved: set[int | str]) -> None:
    """Note what a call has saved, and raise the error that it ended in, if any."""
    keys_and_names, trouble = call()
    saved.update(keys_and_names)
    if trouble is not None:
        kind, text = trouble
        raise by_kind(kind)(text)


def _look_over(
    record: ObservationRecord, outcome: Outcome, archive: str, saved: Collection[int | str] = ()
) -> list[str]:
    """Take over what a class has saved; gives what is wrong with it.

    Nothing that was there before is touched. What has no product id may be an upload of somebody, unless it
    is among what the class is known to have `saved`: keys of products, and names of files. A row without a
    file, or with an error page, is of no use, and is removed: the class will save it anew. What was deleted
    here, and the class has saved once more, is removed again. Its file goes as well, if that is in `saved`,
    and not a pipeline's, for which the class has only made a row.
    """
    newest = RecordSync.objects.get(pk=record.pk).newest_product
    rows = DataProduct.objects.filter(observation_record=record, pk__gt=newest, stored_frame=None)
    frames = StoredFrame.objects.filter(archive=archive, state=StoredFrame.State.DELETED)
    deleted = set(frames.filter(record=record).values_list('frame_id', flat=True))
    faults = []
    for product in rows.order_by('pk'):
        if not product.product_id and product.pk not in saved:
            continue
        name, has_id = product.data.name, bool(product.product_id)
        named = f'product {product.product_id or product.pk}'
        if not name or not storage.exists(name):
            if has_id:
                product.delete()
                faults.append(f'{named}: there is no file')
            continue
        with storage.opened(name) as file:
            received = whole_file.read(file)
            useless = has_id and whole_file.no_file(name, file, received)
            fault = whole_file.fault(name, file, received)
        was_deleted = product.product_id in deleted
        if fault and not was_deleted:
            faults.append(f'{named}: {fault}')
        if useless or was_deleted:
            product.delete()
            if name in saved:
                storage.delete(name)
        else:
            _take_over(record, product, received, archive)
            outcome.saved += 1
    return faults


@transaction.atomic
def _take_over(
    record: ObservationRecord, product: DataProduct, received: Received, archive: str
) -> None:
    kind = whole_file.data_product_type(product.data.name)
    if not product.data_product_type and kind:
        DataProduct.objects.filter(pk=product.pk).update(data_product_type=kind)
    its = {'archive': archive, 'frame_id': product.product_id or f'product {product.pk}'}
    stored = StoredFrame.objects.filter(**its).first() or StoredFrame(**its)
    is_new = not stored.md5 or stored.product_id != product.pk
    stored.record, stored.product, stored.hooks_owed = record, product, True
    owe_hooks_anew(stored)
    note_verified(stored, product.get_file_name(), product.data.name, received)
    stored.save()
    if is_new:
        note_arrivals([(record.facility, product)])
    copy_rights(record, product)
