"""Looks at all that a TOM keeps: is every frame that exists stored once, and nothing else?"""

import hashlib
from pathlib import Path

from django.conf import settings
from tom_dataproducts.models import DataProduct

from tom_auto.models import RecordSync, StoredFrame
from tom_auto.observatory import Observatory
from unit.running import files, updatedata


def only_frames_are_stored(*skies: Observatory, claimed: bool = False) -> set[str]:
    """Assert that what is stored are whole frames, a file and a row each; their product ids.

    No error page, no orphan, no temporary file, no row without a file, not even after a failure.
    Where the database could not be written, a file without a row may be `claimed`: the next run
    knows of it.
    """
    frames = {str(frame.id): frame for sky in skies for frame in sky.frames.values()}
    stored = files()
    products = {product.product_id: product for product in DataProduct.objects.all()}
    assert len(products) == DataProduct.objects.count()
    orphans = set(stored) - {product.data.name for product in products.values()}
    assert orphans <= (unfinished() if claimed else set()), f'{orphans} belong to no row'
    for product_id, product in products.items():
        assert product_id in frames, f'{product} is no frame that exists'
        assert product.data.name in stored, f'{product} has no file'
        assert stored[product.data.name] == frames[product_id].content, f'{product} is not whole'
    return set(products)


def unfinished() -> set[str]:
    """The names of the files that a run has begun to store, and has not put down as stored."""
    return set(StoredFrame.objects.filter(stored_at=None).values_list('name', flat=True))


def everything_is_home(*skies: Observatory) -> None:
    """Assert that every frame of `skies` is stored once, bit by bit, and nothing else is."""
    frames = {str(frame.id) for sky in skies for frame in sky.frames.values()}
    assert only_frames_are_stored(*skies) == frames
    stored = files()
    claims = {claim.frame_id: claim for claim in StoredFrame.objects.select_related('product')}
    assert set(claims) == frames, 'a claim that is no frame, or a frame without a claim'
    for claim in claims.values():
        content = stored[claim.name]
        assert claim.product.product_id == claim.frame_id
        assert claim.product.data.name == claim.name
        assert claim.stored_at is not None, f'{claim} is a claim that was not completed'
        assert (claim.md5, claim.size) == (md5(content), len(content))
    for sync in RecordSync.objects.all():
        assert (sync.failures, sync.error, sync.hook_owed) == (0, '', None)
        assert sync.checked_at is not None
    root = Path(settings.BASE_DIR)
    assert not [path for path in root.rglob('*') if '.part' in path.name or 'tmp' in path.name]


def two_clean_runs(*skies: Observatory) -> None:
    """Run twice with nothing in the way: the first brings home what is missing, the second nothing."""
    for run in ('first', 'second'):
        status, report = updatedata()
        assert (status, report['failures']) == (0, []), f'in the {run} clean run'
        assert report['checked'] + report['unsupported'] == report['due']
        everything_is_home(*skies)
    assert (report['changed'], report['saved'], report['repaired']) == (0, 0, 0)


def md5(content: bytes) -> str:
    """The checksum of `content`, as the archive writes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
