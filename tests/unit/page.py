"""What the tests of the automation's page share."""

import os
from datetime import timedelta
from pathlib import Path
from time import process_time

from django.db import connection
from django.test import Client
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from tom_auto.arrivals.models import Arrival
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


def came(record: ObservationRecord, frame_id: str, **fields: object) -> Arrival:
    """A frame of `record` that came in, without a picture, as nobody is to draw one."""
    product = stored(record, frame_id).product
    values = {'picture': 'no image', 'at': timezone.now(), 'facility': record.facility} | fields
    return Arrival.objects.create(product=product, target_id=record.target_id, **values)


def text(client: Client, page: str = '/automation/') -> str:
    """What a page says, its white space made one."""
    answer = client.get(page)
    assert answer.status_code == 200, answer
    return ' '.join(answer.content.decode().split())


def seconds_used() -> float:
    """What this process has used, and its server of PostgreSQL: other things run on this machine as well."""
    if connection.vendor != 'postgresql':
        return process_time()
    connection.ensure_connection()
    server = Path(f'/proc/{connection.connection.info.backend_pid}/stat').read_text()
    used = server.rpartition(') ')[2].split()[11:13]  # in user mode and in the kernel's
    return process_time() + sum(map(int, used)) / os.sysconf('SC_CLK_TCK')
