"""Looks at all that a TOM keeps: is every frame that exists stored once, and nothing else?"""

import hashlib
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from tom_dataproducts.models import DataProduct

from simulated import Observatory
from tom_auto.files.storage import PARTS
from tom_auto.files.storage_id import MARK
from tom_auto.models import RecordSync, StoredFrame
from unit.running import updatedata


def stored(directory: str = '') -> dict[str, bytes]:
    """Every file in the storage, wherever that is, by its name; not the storage's id."""
    directories, names = default_storage.listdir(directory)
    found = {}
    for name in set(names) - {MARK}:
        path = f'{directory}/{name}'.lstrip('/')
        with default_storage.open(path) as file:
            found[path] = file.read()
    for name in directories:
        found |= stored(f'{directory}/{name}'.lstrip('/'))
    return found


def only_frames_are_stored(*skies: Observatory, rows_may_lack: bool = False) -> set[str]:
    """Assert that what is stored are whole frames, a file and a row each; their product ids.

    No error page, no orphan, no part file, no row without a file, not even after a failure. Where
    the database could not be written `rows_may_lack`: the file of a frame is in its place.
    """
    frames = {str(frame.id): frame for sky in skies for frame in sky.frames.values()}
    files = stored()
    products = {product.product_id: product for product in DataProduct.objects.all()}
    assert len(products) == DataProduct.objects.count()
    orphans = set(files) - {product.data.name for product in products.values()}
    if rows_may_lack:
        whole = {frame.content for frame in frames.values()}
        orphans = {name for name in orphans if files[name] not in whole}
    assert not orphans, f'{orphans} belong to no row'
    for product_id, product in products.items():
        assert product_id in frames, f'{product} is no frame that exists'
        assert product.data.name in files, f'{product} has no file'
        assert files[product.data.name] == frames[product_id].content, f'{product} is not whole'
    return set(products)


def everything_is_home(*skies: Observatory) -> None:
    """Assert that every frame of `skies` is stored once, bit by bit, and nothing else is."""
    frames = {str(frame.id) for sky in skies for frame in sky.frames.values()}
    assert only_frames_are_stored(*skies) == frames
    files = stored()
    kept = list(StoredFrame.objects.select_related('product'))
    assert sorted(frame.frame_id for frame in kept) == sorted(frames)
    for frame in kept:
        content = files[frame.name]
        assert frame.product.product_id == frame.frame_id
        assert frame.product.data.name == frame.name
        assert (frame.md5, frame.size) == (md5(content), len(content))
        assert not frame.hooks_owed
    for sync in RecordSync.objects.all():
        assert (sync.failures, sync.error, sync.owes_hook) == (0, '', False)
        assert sync.checked_at is not None
    root = Path(settings.BASE_DIR)
    assert not [path for path in root.rglob('*') if path.parent.name == PARTS or 'tmp' in path.name]


def two_clean_runs(*skies: Observatory) -> None:
    """Run twice with nothing in the way: the first brings home what is missing, the second nothing."""
    for run in ('first', 'second'):
        status, report = updatedata()
        assert (status, report['failures']) == (0, []), f'in the {run} clean run: {report}'
        assert report['checked'] + report['unsupported'] == report['due']
        everything_is_home(*skies)
    assert (report['changed'], report['saved'], report['repaired']) == (0, 0, 0)


def md5(content: bytes) -> str:
    """The checksum of `content`, as the archive writes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
