"""A stored file under a path of this host, for libraries that want one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.files.storage import FileSystemStorage

from . import storage


@contextmanager
def local_file(name: str, most: float = inf) -> Iterator[str]:
    """The path of a stored file, or of a copy of it where it is kept elsewhere.

    Empty where a copy would have more than `most` bytes.
    """
    where = storage.the_storage()
    if isinstance(where, FileSystemStorage):
        yield where.path(name)
    elif (storage.sizes([name])[name] or 0) > most:
        yield ''
    else:
        with NamedTemporaryFile(suffix=Path(name).suffix) as copy:
            with storage.opened(name) as stored:
                shutil.copyfileobj(stored, copy)
            copy.flush()
            yield copy.name
