"""Everything that a run can change: rows, files, and the calls of the hooks."""

import hashlib
import shutil
from pathlib import Path

from django.conf import settings
from django.db.models import Model, QuerySet
from guardian.models import GroupObjectPermission
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from tom_auto.files.storage_id import MARK
from tom_auto.models import (
    RecordSync,
    RunFailure,
    SharedFrame,
    StorageMark,
    StoredFrame,
    UpdateRun,
)

#: What a run writes to; parents first.
MODELS = (
    ObservationRecord, RecordSync, DataProduct, StoredFrame, SharedFrame, GroupObjectPermission,
    UpdateRun, RunFailure, StorageMark,
)  # fmt: skip


class World:
    """The TOM of one test, below `root`: it can be looked at, and put back as it was."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.media = Path(settings.MEDIA_ROOT)
        self.temporary = root / 'scratch'  # for what a run would put into /tmp
        self.heard = root / 'heard'  # what the hooks were told, one line each
        self.temporary.mkdir()
        settings.HEARD = self.heard
        settings.HOOKS = settings.HOOKS | {
            'observation_change_state': f'{__name__}.hear_of_change',
            'data_product_post_save': f'{__name__}.hear_of_saved',
            'multiple_data_products_post_save': f'{__name__}.hear_of_all_saved',
        }

    def remember(self) -> None:
        """Keep a copy of all there is, for `backups.restore`, as what was before the story begins."""
        self._rows = {model: list(model.objects.all()) for model in MODELS}
        self._files = {path: path.read_bytes() for path in _files(self.media)}
        self.heard.write_text('')

    def restore(self) -> None:
        """Make everything as it was when it was remembered."""
        for model in reversed(MODELS):
            model.objects.all().delete()
        for model, rows in self._rows.items():
            model.objects.bulk_create(rows)
        for directory in (self.media, self.temporary):
            shutil.rmtree(directory)
            directory.mkdir()
        for path, content in self._files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.heard.write_text('')

    def state(self) -> dict:
        """What there is now, without what differs between two runs: times, and the runs' rows."""
        return {
            'records': _values(ObservationRecord, 'status', 'scheduled_start', 'scheduled_end'),
            'checks': _values(
                RecordSync, 'state', 'status', 'failures', 'error', 'owes_hook', 'saving'
            ),
            'records not checked': _values(RecordSync.objects.filter(checked_at=None), 'pk'),
            'products': _values(
                DataProduct, 'product_id', 'data', 'thumbnail', 'data_product_type',
                'observation_record', 'target',
            ),
            'rights': _values(GroupObjectPermission, 'group', 'permission__codename'),
            'frames': _values(
                StoredFrame, 'archive', 'frame_id', 'state', 'record', 'filename', 'name',
                'product__product_id', 'archive_md5', 'md5', 'size', 'hooks_owed',
            ),
            'shared frames': _values(SharedFrame, 'record', 'archive', 'frame_id'),
            'the storage has its id': self._mark() == [row.mark for row in StorageMark.objects.all()],
            'runs at work': _values(UpdateRun.objects.filter(status='running'), 'host'),
            'files': {
                str(path.relative_to(self.root)): md5(path.read_bytes())
                for path in (*_files(self.media), *_files(self.temporary))
                if path.name != MARK
            },
            # A hook may be called twice for one thing, never not at all.
            'hooks called': set(self.heard.read_text().splitlines()),
        }  # fmt: skip

    def _mark(self) -> list[str]:
        file = self.media / MARK
        return [file.read_text()] if file.exists() else []


def differences(state: dict, expected: dict) -> dict:
    """What in `state` is not as in `expected`, by name: what there is, and what should be."""
    return {
        name: (state[name], 'but expected', expected[name])
        for name in expected
        if state[name] != expected[name]
    }


def hear_of_change(record: ObservationRecord, previous: str | None) -> None:
    """The hook for a new status."""
    if previous is not None:
        _hear('changed', record.observation_id, previous, record.status)


def hear_of_saved(products: list[DataProduct]) -> None:
    """The hook for one saved product: it sees a whole file."""
    [product] = products
    with product.data.open() as file:
        _hear('saved', product.product_id, md5(file.read()))


def hear_of_all_saved(products: list[DataProduct]) -> None:
    """The hook for all products that one check saved."""
    for product in products:
        _hear('saved together', product.product_id)


def _hear(*words: str) -> None:
    with settings.HEARD.open('a') as file:
        file.write(' '.join(words) + '\n')


def _files(directory: Path) -> list[Path]:
    """Every file in `directory`, hidden ones too."""
    return sorted(path for path in directory.rglob('*') if path.is_file())


def _values(rows: type[Model] | QuerySet, *names: str) -> list[tuple]:
    query = rows if isinstance(rows, QuerySet) else rows.objects.all()
    return sorted(query.values_list(*names), key=str)


def md5(content: bytes) -> str:
    """The checksum of `content`."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
