"""Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10.

tomtoolkit's own function cannot be used: with the scaffold's THUMBNAIL_MAX_SIZE, (0, 0), it
divides by zero, at every call it leaves another file behind, and it knows local files only.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from astropy.io import fits
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from fits2image.conversions import fits_to_jpg
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from ..conf import Automation
from . import whole_file
from .file_names import split
from .frames import Frame
from .http import Received
from .products import is_whole, keep, share

logger = logging.getLogger(__name__)


def make_preview(record: ObservationRecord, frame: Frame, limits: Automation) -> None:
    """See to it that the image of `frame`, which is stored, has a JPEG beside it.

    It is a data product of its own, as in tomtoolkit. A file that is no image gets none, and
    trouble with a JPEG is logged and no more: it is the frame that matters.
    """
    try:
        rows = DataProduct.objects.select_related('stored_frame')
        product = rows.get(product_id=frame.product_id)
        # Hooks come after previews: while they are owed, a killed run may not have come so far.
        new = product.stored_frame.hooks_owed
        _make(record, product, new, limits)
    except Exception as error:
        logger.warning('No preview of frame %s: %s', frame.product_id, error)


def _make(record: ObservationRecord, product: DataProduct, new: bool, limits: Automation) -> None:
    name = f'{split(product.get_file_name())[0]}.jpg'
    jpeg = Frame(f'{product.product_id}_jpeg', name, url='')
    made = DataProduct.objects.filter(product_id=jpeg.product_id).first()
    if new or (made and not is_whole(made, jpeg)):
        with TemporaryFile() as picture:
            if not _draw(product, _path(picture)):
                return
            owner = product.observation_record or record
            keep(owner, jpeg, lambda file: _copy(picture, file), limits, derived=True)
        made = DataProduct.objects.get(product_id=jpeg.product_id)
    if made:
        share(record, made)


def _draw(product: DataProduct, picture: str) -> bool:
    """Draw the image in the file of `product` as the JPEG `picture`; False if it has no image."""
    if not product.data.name.lower().endswith(whole_file.FITS + whole_file.ZIPPED_FITS):
        return False
    with _local_file(product) as path:
        size = _image_size(path)
        if size is None:
            return False
        limit = getattr(settings, 'THUMBNAIL_MAX_SIZE', (0, 0))
        width, height = limit if all(limit) else size
        return fits_to_jpg(path, picture, width=width, height=height)


@contextmanager
def _local_file(product: DataProduct) -> Iterator[str]:
    """The path of the file of `product`, or of a copy of it where it is kept elsewhere."""
    storage = product.data.storage
    if isinstance(storage, FileSystemStorage):
        yield product.data.path
        return
    with storage.open(product.data.name) as stored, TemporaryFile() as copy:
        shutil.copyfileobj(stored, copy)
        copy.seek(0)
        yield _path(copy)


def _path(file: IO[bytes]) -> str:
    """A path to an open file that has no name, so that a run that is killed leaves none behind."""
    return f'/dev/fd/{file.fileno()}'


def _image_size(path: str) -> tuple[int, int] | None:
    """Width and height in pixels of what tomtoolkit takes for an image: a file with a unit SCI."""
    with fits.open(path) as units:
        headers = [unit.header for unit in units]
    if not any(header.get('EXTNAME') == 'SCI' for header in headers):
        return None
    images = [header for header in headers if header.get('NAXIS') == 2]
    return (images[0]['NAXIS1'], images[0]['NAXIS2']) if images else None


def _copy(picture: IO[bytes], file: IO[bytes]) -> Received:
    picture.seek(0)
    shutil.copyfileobj(picture, file)
    picture.seek(0)
    return whole_file.read(picture)
