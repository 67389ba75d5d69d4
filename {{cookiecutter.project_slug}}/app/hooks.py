"""Your hooks: functions that the TOM calls when something happens.

To use a hook, name it in `HOOKS` in the settings, for example
`HOOKS['data_product_post_save'] = 'app.hooks.data_product_saved'`. `updatedata` calls one hook at a
time. If a hook raises an exception, the run reports it, and the hook is called again in the next run.
"""

import logging

from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

logger = logging.getLogger(__name__)


def observation_changed(record: ObservationRecord, previous_status: str | None) -> None:
    """For 'observation_change_state': an observation has a new status."""
    logger.info('%s: %s, was %s', record, record.status, previous_status)


def data_product_saved(products: list[DataProduct]) -> None:
    """For 'data_product_post_save': a data file was saved. Start your reduction here."""
    for product in products:
        logger.info('Saved %s of %s', product.data.name, product.target)


def frames_arrived(record: ObservationRecord, products: list[DataProduct]) -> None:
    """For 'frames_arrived': all the frames that one check of an observation has brought."""
    logger.info('%s: %s new frames', record, len(products))
