"""What facility classes save by themselves gets what every saved frame gets: rules 4 and 10."""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import Max
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import RecordSync, StoredFrame
from . import storage, whole_file
from .http import Received
from .products import copy_rights, note_verified


def note_begun(record: ObservationRecord) -> None:
    """Note which products there are already, unless an earlier call was killed while it saved."""
    newest = DataProduct.objects.aggregate(pk=Max('pk'))['pk'] or 0
    calls = RecordSync.objects.filter(pk=record.pk, saving=False)
    calls.update(saving=True, newest_product=newest)


def taken_over(record: ObservationRecord, archive: str) -> Iterator[tuple[bool, str]]:
    """Take over what a class has saved: whether each product is kept, and what is wrong with it.

    Nothing that was there before is touched, nor what people upload, which has no product id. A
    row without a file, or with an error page, is of no use, and is removed: the class will save it
    anew. What was deleted here, and the class has saved once more, is removed again.
    """
    newest = RecordSync.objects.get(pk=record.pk).newest_product
    rows = DataProduct.objects.filter(observation_record=record, pk__gt=newest, stored_frame=None)
    frames = StoredFrame.objects.filter(archive=archive, state=StoredFrame.State.DELETED)
    deleted = set(frames.filter(record=record).values_list('frame_id', flat=True))
    for product in rows.order_by('pk'):
        name, is_an_upload = product.data.name, not product.product_id
        named = f'product {product.product_id or product.pk}'
        if not name or not storage.exists(name):
            if not is_an_upload:
                product.delete()
                yield False, f'{named}: there is no file'
            continue
        if product.product_id in deleted:
            product.delete()
            storage.delete(name)
            continue
        with storage.opened(name) as file:
            received = whole_file.read(file)
            is_useless = whole_file.no_file(name, file, received) and not is_an_upload
            fault = whole_file.fault(name, file, received)
        if is_useless:
            product.delete()
            storage.delete(name)
        else:
            _take_over(record, product, received, archive)
        yield not is_useless, f'{named}: {fault}' if fault else ''


@transaction.atomic
def _take_over(
    record: ObservationRecord, product: DataProduct, received: Received, archive: str
) -> None:
    kind = whole_file.data_product_type(product.data.name)
    if not product.data_product_type and kind:
        DataProduct.objects.filter(pk=product.pk).update(data_product_type=kind)
    its = {'archive': archive, 'frame_id': product.product_id or f'product {product.pk}'}
    stored = StoredFrame.objects.filter(**its).first() or StoredFrame(**its)
    stored.record, stored.product, stored.hooks_owed = record, product, True
    note_verified(stored, product.get_file_name(), product.data.name, received)
    copy_rights(record, product)
