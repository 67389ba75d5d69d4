"""The invented targets, records and observations of `manage.py demo`.

Every number is fixed, so that a second demo finds what the first one stored. The observation ids are
far above any that LCO has used.
"""

import itertools
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePath
from typing import NamedTuple

from django.core.files.storage import FileSystemStorage, default_storage
from django.db.models import QuerySet
from tom_dataproducts.models import DataProduct
from tom_observations.facility import get_service_classes
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from .models import RecordSync
from .simulator import Observatory

MARK = {'demo': True}  # in the parameters of every record of the demo
PIXELS = 512


class Story(NamedTuple):
    """One observation request: its target, its outcome, and its number of frames."""

    target: str
    facility: str
    site: str
    state: str
    frames: int = 0
    filter: str = 'rp'


TARGETS = {
    'M 31 (demo)': {'ra': 10.6847, 'dec': 41.2690},
    'NGC 253 (demo)': {'ra': 11.8881, 'dec': -25.2886},
    'M 83 (demo)': {'ra': 204.2538, 'dec': -29.8658},
}

STORIES = [
    Story('M 31 (demo)', 'LCO', 'elp', 'COMPLETED', frames=3),
    Story('M 31 (demo)', 'LCO', 'elp', 'COMPLETED', frames=2, filter='gp'),
    Story('M 31 (demo)', 'LCORedirect', 'elp', 'PENDING'),
    Story('NGC 253 (demo)', 'LCORedirect', 'coj', 'COMPLETED', frames=2),
    Story('NGC 253 (demo)', 'SOAR', 'coj', 'COMPLETED', frames=1),
    Story('NGC 253 (demo)', 'LCO', 'coj', 'WINDOW_EXPIRED'),
    Story('M 83 (demo)', 'BLANCO', 'coj', 'COMPLETED', frames=1),
    Story('M 83 (demo)', 'LCO', 'coj', 'CANCELED'),
]

FIRST_REQUEST = 990_000_001
FIRST_FRAME = 880_000_001
FACILITIES = sorted({story.facility for story in STORIES} | {'LCO'})


def demo_records() -> QuerySet[ObservationRecord]:
    return ObservationRecord.objects.filter(parameters__has_key='demo')


def real_records() -> QuerySet[ObservationRecord]:
    """All other records."""
    return ObservationRecord.objects.exclude(pk__in=demo_records().values('pk'))


def installed(facility: str) -> str:
    """`facility`, or another of LCO's if this TOM lacks it: tom_setup lists only LCORedirect."""
    classes = get_service_classes()
    return next((name for name in (facility, 'LCO', 'LCORedirect') if name in classes), facility)


def make_records() -> list[ObservationRecord]:
    """Make the records of all stories unless they exist; returns them in the order of STORIES."""
    targets = {
        name: Target.objects.get_or_create(
            name=name, defaults={'type': 'SIDEREAL', 'permissions': 'OPEN', **place}
        )[0]
        for name, place in TARGETS.items()
    }
    return [
        ObservationRecord.objects.get_or_create(
            observation_id=str(FIRST_REQUEST + number),
            facility=installed(story.facility),
            defaults={'target': targets[story.target], 'status': 'PENDING', 'parameters': MARK},
        )[0]
        for number, story in enumerate(STORIES)
    ]


def observe(sky: Observatory, records: list[ObservationRecord]) -> None:
    """Let `sky` carry out the stories, an hour before each record was made."""
    frame_ids = itertools.count(FIRST_FRAME)
    for record, story in zip(records, STORIES, strict=True):
        request = int(record.observation_id)
        sky.add_request(
            request,
            target=story.target.removesuffix(' (demo)'),
            site=story.site,
            filter=story.filter,
            state=story.state if not story.frames else 'PENDING',
            **TARGETS[story.target],
        )
        begun = record.created - timedelta(hours=1)
        if story.frames:
            sky.observe(request, begun)
        for exposure, frame_id in zip(range(story.frames), frame_ids, strict=False):
            sky.add_frame(
                request,
                frame_id=frame_id,
                number=frame_id - FIRST_FRAME + 1,
                observed_at=begun + timedelta(seconds=90 * exposure),
                pixels=PIXELS,
            )


def settle_records() -> None:
    """Settle the demo's records, so that no run asks a real observatory about them."""
    RecordSync.objects.filter(record__in=demo_records()).update(
        state=RecordSync.State.SETTLED, failures=0
    )


def remove_everything() -> int:
    """Delete everything that the demo made, files included; returns the number of records."""
    records = demo_records()
    for product in DataProduct.objects.filter(observation_record__in=records):
        name = product.data.name
        product.data.delete(save=False)
        _remove_empty_directories(name)
    count = records.count()
    records.delete()
    Target.objects.filter(name__in=TARGETS, observationrecord=None).delete()
    return count


def _remove_empty_directories(name: str) -> None:
    """Remove the directories that the file `name` was in, from the innermost on, as far as they are empty."""
    if isinstance(default_storage, FileSystemStorage):
        with suppress(OSError):  # something else is in it, or it is gone already
            for folder in list(PurePath(name).parents)[:-1]:  # the last one is the data itself
                Path(default_storage.path(str(folder))).rmdir()
