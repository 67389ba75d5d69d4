"""Runs the hooks for saved data products, and owes those that fail: rule 10."""

from tom_common.hooks import run_hook
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..models import StoredFrame
from .errors import HookFailed
from .explain import hook_failed


def announce_products(record: ObservationRecord) -> None:
    """Call the hooks for every product of `record` for which they are owed.

    As tomtoolkit's page does that saves chosen products: `data_product_post_save` with a list
    of one for each, and `multiple_data_products_post_save` with all. A hook may be called again
    for the same product after a failure, never not at all. Raises HookFailed, after all have
    been tried, where one raised.
    """
    owed = DataProduct.objects.filter(
        observation_record=record, stored_frame__hooks_owed=True
    ).order_by('pk')
    told, failure = [], None
    for product in owed:
        try:
            run_hook('data_product_post_save', [product])
        except Exception as error:
            failure = hook_failed('data_product_post_save', error)
        else:
            told.append(product)
    failure = _announce_together(told) or failure
    if failure is not None:
        raise failure


def _announce_together(products: list[DataProduct]) -> HookFailed | None:
    if not products:
        return None
    try:
        run_hook('multiple_data_products_post_save', products)
    except Exception as error:
        return hook_failed('multiple_data_products_post_save', error)
    StoredFrame.objects.filter(product__in=products).update(hooks_owed=False)
    return None
