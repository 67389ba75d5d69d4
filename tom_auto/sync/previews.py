"""Makes a JPEG of each stored image where AUTO_THUMBNAILS asks for it: rule 10.

tomtoolkit's own function cannot be used: with the scaffold's THUMBNAIL_MAX_SIZE, (0, 0), it
divides by zero, at every call it leaves another file behind, and it knows local files only.
"""

import logging
import shutil
from tempfile import TemporaryFile

from astropy.io import fits
from django.conf import settings
from fits2image.conversions import fits_to_jpg

from ..files import storage, whole_file
from ..files.file_names import split
from ..files.local_file import local_file
from ..files.whole_file import Received
from ..observatories.frames import Frame
from .frame_plans import Plan, preview_id

logger = logging.getLogger(__name__)


def preview_of(plan: Plan) -> Frame:
    """The JPEG of a frame: a data product of its own, as in tomtoolkit."""
    name = f'{split(plan.place.rsplit("/", 1)[-1])[0]}.jpg'
    return Frame(preview_id(plan.product_id), name, url='')


def may_be_drawn(preview: Plan) -> bool:
    """Whether there is no preview yet, or still the one drawn here. Deleted or replaced ones stay as they are."""
    stored, product = preview.stored, preview.product
    if stored and product:
        return stored.name == preview.name
    return not (stored or product)


def draw(name: str, preview: Plan) -> Received | None:
    """Draw the image in the file `name` into the place of `preview`.

    None where there is no image, and where somebody has changed the JPEG that was there. Trouble with
    a JPEG is logged and no more: it is the frame that matters.
    """
    if not name.lower().endswith(whole_file.FITS + whole_file.PACKED_FITS):
        return None
    try:
        with local_file(name) as path, TemporaryFile() as picture, storage.part_file() as file:
            size = _image_size(path)
            if size is None:
                return None
            limit = getattr(settings, 'THUMBNAIL_MAX_SIZE', (0, 0))
            width, height = limit if all(limit) else size
            if not fits_to_jpg(path, f'/dev/fd/{picture.fileno()}', width=width, height=height):
                return None
            picture.seek(0)
            shutil.copyfileobj(picture, file)
            file.seek(0)
            received = whole_file.read(file)
            there = storage.read(preview.place).md5 if storage.exists(preview.place) else ''
            if there not in ('', received.md5):
                if preview.stored is None:  # of nobody knows whom
                    preview.place = storage.free_place(preview.place, received.md5)
                elif there != preview.stored.md5:
                    return None
            storage.move_into_place(file, preview.place, received.size)
        return received
    except Exception as error:
        logger.warning('No preview of %s: %s', name, error)
        return None


def _image_size(path: str) -> tuple[int, int] | None:
    """Width and height in pixels of what tomtoolkit takes for an image: a file with a unit SCI."""
    with fits.open(path) as units:
        headers = [unit.header for unit in units]
    if not any(header.get('EXTNAME') == 'SCI' for header in headers):
        return None
    images = [header for header in headers if header.get('NAXIS') == 2]
    return (images[0]['NAXIS1'], images[0]['NAXIS2']) if images else None
