"""Gives the groups that may see a record the same rights to its data products: rule 10.

Only where TARGET_PERMISSIONS_ONLY is false: otherwise the rights to the target are all that counts.
"""

from django.conf import settings
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

RIGHTS = ('view', 'change', 'delete')


def copy_permissions(record: ObservationRecord, product: DataProduct) -> None:
    """Let each group do with `product` what it may do with its `record`."""
    _copy(record, product, RIGHTS)


def share(record: ObservationRecord, product: DataProduct) -> None:
    """Let each group that may see `record` see `product`, which may be another record's.

    Two records that share a frame share its product, and neither group must miss its data. What
    the second may not do is to change or delete what the first relies on.
    """
    if product.observation_record_id != record.pk:
        _copy(record, product, RIGHTS[:1])


def _copy(record: ObservationRecord, product: DataProduct, rights: tuple[str, ...]) -> None:
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    for group, given in get_groups_with_perms(record, attach_perms=True).items():
        for right in rights:
            if f'{right}_observationrecord' in given:
                assign_perm(f'tom_dataproducts.{right}_dataproduct', group, product)
