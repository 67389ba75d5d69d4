"""Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10.

tomtoolkit's own function cannot be used: with the scaffold's THUMBNAIL_MAX_SIZE, (0, 0), it
divides by zero, and at every call it leaves another file behind.
"""

import logging
import shutil
from typing import IO

from astropy.io import fits
from django.conf import settings
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from . import verify
from .gateway import Frame
from .names import split
from .products import Stored, is_whole, keep
from .transport import Received

logger = logging.getLogger(__name__)


def make_preview(
    record: ObservationRecord, frame: Frame, stored: Stored, limits: Automation
) -> None:
    """See to it that the image of `frame`, which is stored, has a JPEG beside it.

    It is a data product of its own, as in tomtoolkit. A file that is no image gets none, and
    trouble with a JPEG is logged and no more: it is the frame that matters.
    """
    if not getattr(settings, 'AUTO_THUMBNAILS', False):
        return
    jpeg = Frame(f'{frame.product_id}_jpeg', f'{split(frame.filename)[0]}.jpg', url='')
    made = DataProduct.objects.filter(product_id=jpeg.product_id).first()
    if stored == 'present' and made is not None and is_whole(made, jpeg):
        return
    try:
        product = DataProduct.objects.get(product_id=frame.product_id)
        picture = product.create_thumbnail(*_size(product))
        if picture:
            with picture:
                keep(record, jpeg, lambda file: _copy(picture, file), limits, anew=True)
    except Exception as error:
        logger.warning('No preview of frame %s: %s', frame.product_id, error)


def _size(product: DataProduct) -> tuple[int, int]:
    """Width and height in pixels: THUMBNAIL_MAX_SIZE, or the image's own where that is zero."""
    width, height = getattr(settings, 'THUMBNAIL_MAX_SIZE', (0, 0))
    if width and height:
        return width, height
    with product.data.open() as file, fits.open(file) as units:
        images = [unit.header for unit in units if unit.header.get('NAXIS') == 2]
        return (
            (images[0]['NAXIS1'], images[0]['NAXIS2'])
            if images
            else settings.THUMBNAIL_DEFAULT_SIZE
        )


def _copy(picture: IO[bytes], file: IO[bytes]) -> Received:
    picture.seek(0)
    shutil.copyfileobj(picture, file)
    picture.seek(0)
    return verify.read(picture)
