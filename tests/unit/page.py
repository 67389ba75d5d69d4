"""What the tests of the automation's page share."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from tom_auto.models import RecordSync, StoredFrame, UpdateRun


def ran(ago: timedelta = timedelta(minutes=1), **fields: object) -> UpdateRun:
    """A run of the schedule that went well, unless `fields` say otherwise."""
    begun = timezone.now() - ago
    values = {
        'job': 'updatedata', 'status': 'ok', 'host': 'h', 'pid': 1, 'heartbeat': begun,
        'finished': begun,
    } | fields  # fmt: skip
    return UpdateRun.objects.create(started=begun, **values)


def failing(
    record: ObservationRecord, error: str = 'LCO answered 500', **fields: object
) -> RecordSync:
    """Let the last check of `record` have failed."""
    now = timezone.now()
    values = {
        'state': RecordSync.State.BACKING_OFF, 'failures': 1, 'failing_since': now,
        'next_check': now, 'error': error,
    } | fields  # fmt: skip
    return RecordSync.objects.create(record=record, status='PENDING', asked_at=now, **values)


def stored(record: ObservationRecord, frame_id: str, **fields: object) -> StoredFrame:
    """A frame of `record` that was brought home."""
    name = f'm-31/lco/{frame_id}/image.fits'
    product = DataProduct.objects.create(
        product_id=frame_id, target=record.target, observation_record=record, data=name
    )
    values = {
        'archive': 'archive', 'filename': 'image.fits', 'name': name, 'md5': '0' * 32, 'size': 1,
        'stored_at': timezone.now(),
    } | fields  # fmt: skip
    return StoredFrame.objects.create(frame_id=frame_id, record=record, product=product, **values)


def text(client: Client, page: str = '/automation/') -> str:
    """What a page says, its white space made one."""
    answer = client.get(page)
    assert answer.status_code == 200, answer
    return ' '.join(answer.content.decode().split())
