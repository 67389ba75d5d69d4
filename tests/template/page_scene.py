"""Fills the database of a TOM with a scene for its page. Run by the TOM's own Python.

Reads the names of scenes, which are the functions below, a line each. Answers each with a
line, when the database holds that scene and nothing else. See page_scene_runner.py.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, os.getcwd())  # noqa: PTH109
os.environ.setdefault('DJANGO_SETTINGS_MODULE', f'{Path.cwd().name}.settings')

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
from astropy.io import fits  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from tom_dataproducts.models import DataProduct  # noqa: E402
from tom_observations.models import ObservationRecord  # noqa: E402
from tom_targets.models import Target  # noqa: E402

from tom_auto.arrivals.pictures import draw  # noqa: E402
from tom_auto.errors import (  # noqa: E402
    CredentialsRefused,
    NoAnswer,
    NotFound,
    ServerError,
    SyncError,
)
from tom_auto.models import (  # noqa: E402
    Alert,
    Arrival,
    JobPause,
    Mute,
    Notice,
    RecordSync,
    RunFailure,
    StoredFrame,
    Told,
    UpdateRun,
    Wish,
)
from tom_auto.simulator.sky import expose  # noqa: E402

NOW = timezone.now()
PASSWORD = 'only-for-this-test'
TARGETS = {'M 31': 'OPEN', 'NGC 253': 'OPEN', 'Secret Star': 'PRIVATE'}
FACILITIES = ('LCO', 'SOAR', 'BLANCO')

DISTINCT = 12  # records; any more are copies of these, which SQLite makes in a second
MORE_RECORDS = """
    WITH RECURSIVE n(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM n WHERE i < %s)
    INSERT INTO tom_observations_observationrecord
        (facility, parameters, observation_id, status, created, modified, target_id)
    SELECT facility, parameters, i, status, created, modified, target_id
    FROM n JOIN tom_observations_observationrecord r ON r.id = %s + (i - 1) %% %s
"""
#: The same for their states, column by column.
COLUMNS = [
    field.column for field in RecordSync._meta.concrete_fields if field.column != 'record_id'
]
MORE_STATES = f"""
    INSERT INTO tom_auto_recordsync (record_id, {', '.join(COLUMNS)})
    SELECT r.id, {', '.join(f's.{column}' for column in COLUMNS)}
    FROM tom_observations_observationrecord r JOIN tom_auto_recordsync s ON s.record_id = %s
    WHERE r.id > %s
"""  # noqa: S608


def base(records: int = 12) -> list[ObservationRecord]:
    """Everybody who logs in, and a few observations that were checked some minutes ago."""
    emptied = (
        Wish.targets.through, Notice, Wish, Arrival, StoredFrame, DataProduct, RunFailure, UpdateRun, RecordSync, ObservationRecord, Target,
        JobPause, Alert,
    )  # fmt: skip
    for model in emptied:
        rows = model.objects.all()
        rows._raw_delete(rows.db)  # nobody has to be told, and there may be 100,000
    if not User.objects.filter(username='admin').exists():
        User.objects.create_superuser('admin', 'admin@example.org', PASSWORD)
        staff = User.objects.create_user('staff', password=PASSWORD, is_staff=True)
        staff.user_permissions.add(Permission.objects.get(codename='run_automation'))
        User.objects.create_user('ann', 'ann@example.org', PASSWORD)
    targets = [
        Target.objects.create(name=name, type='SIDEREAL', ra=10.7, dec=41.3, permissions=who)
        for name, who in TARGETS.items()
    ]
    made = ObservationRecord.objects.bulk_create(
        ObservationRecord(
            target_id=targets[n % 3].pk,
            facility=FACILITIES[n % 3],
            parameters={'exposure': 60, 'instrument_type': '1M0-SCICAM-SINISTRO'},
            observation_id=str(n + 1),
            status='PENDING',
        )
        for n in range(min(records, DISTINCT))
    )
    RecordSync.objects.bulk_create(
        RecordSync(
            record_id=record.pk,
            state=RecordSync.State.WAITING,
            status='PENDING',
            asked_at=NOW,
            checked_at=NOW - timedelta(minutes=14),
            next_check=NOW,
        )
        for record in made
    )
    if records > DISTINCT:
        with connection.cursor() as cursor:
            cursor.execute(MORE_RECORDS, [DISTINCT + 1, records, made[0].pk, DISTINCT])
            cursor.execute(MORE_STATES, [made[0].pk, made[-1].pk])
    return list(ObservationRecord.objects.order_by('pk').defer('parameters'))


def runs(count: int, every: timedelta, until: timedelta = timedelta(minutes=14)) -> None:
    """So many runs of the schedule, now and then one that failed."""
    UpdateRun.objects.bulk_create(
        (
            UpdateRun(
                job='updatedata',
                status='failed' if n % 50 == 49 else 'died' if n % 160 == 159 else 'ok',
                host='telescope',
                pid=1,
                started=NOW - until - n * every,
                heartbeat=NOW - until - n * every,
                finished=NOW - until - n * every + timedelta(seconds=20 + n * 7 % 50),
                due=12,
                checked=12,
                saved=n % 5,
            )
            for n in range(count)
        ),
        batch_size=2000,
    )


def frames(records: list[ObservationRecord], count: int) -> None:
    """So many frames, stored over the last weeks."""
    for n in range(count):
        record = records[n % len(records)]
        name = f'{record.pk}/frame-{n}.fits.fz'
        product = DataProduct.objects.create(
            product_id=name, target_id=record.target_id, observation_record=record, data=name
        )
        stored = NOW - timedelta(hours=n * 27 * 24 / count)
        size = 12_000_000 + n % 7 * 1_000_000
        StoredFrame.objects.create(
            archive=record.facility, frame_id=name, record=record, product=product,
            filename=name, name=name, size=size, stored_at=stored,
        )  # fmt: skip


def fail(records: list[ObservationRecord], error: SyncError) -> None:
    """Let the last check of these have failed, as it has for five hours."""
    RecordSync.objects.filter(record__in=[record.pk for record in records]).update(
        state=RecordSync.State.BACKING_OFF,
        failures=3,
        failing_since=NOW - timedelta(hours=5),
        next_check=NOW + timedelta(hours=1),
        error=str(error),
        error_kind=error.kind,
    )


def note(run: UpdateRun, words: str) -> None:
    """Let the TOM's log say something of `run`."""
    with Path('logs/tom.log').open('a', encoding='utf-8') as log:
        log.write(f'[{timezone.localtime(run.started):%Y-%m-%d %H:%M:%S}] {words}\n')


def working() -> None:
    frames(base(), 200)
    runs(600, timedelta(hours=1))


def without_frames() -> None:
    """The same, and nothing is stored yet: a run may add to it."""
    base()
    runs(600, timedelta(hours=1))


def dead() -> None:
    frames(base(), 20)
    RecordSync.objects.update(checked_at=NOW - timedelta(days=3))
    runs(300, timedelta(hours=1), until=timedelta(days=3))


def fresh() -> None:
    """A TOM that was made a minute ago: nothing was observed, and nothing has run."""
    base(0)
    muted = Mute.objects.all()
    muted._raw_delete(muted.db)
    Told.objects.all().delete()


def by_hand() -> None:
    """The same after a person has tried it."""
    fresh()
    runs(1, timedelta(hours=1))
    UpdateRun.objects.update(started_by='ann')


def retired() -> None:
    """Nothing is awaited any more, whatever else there is."""
    RecordSync.objects.update(state=RecordSync.State.SETTLED, failures=0)


def failing() -> None:
    records = base()
    frames(records, 200)
    runs(600, timedelta(hours=1), until=timedelta(hours=1))
    last = UpdateRun.objects.create(
        job='updatedata',
        status='failed',
        host='telescope',
        pid=1,
        started=NOW - timedelta(minutes=14),
        heartbeat=NOW,
        finished=NOW - timedelta(minutes=13),
        due=12,
        checked=9,
        failed=4,
    )
    refused = CredentialsRefused('SOAR refuses the login')
    RunFailure.objects.create(
        run=last, facility='SOAR', error=str(refused), error_kind=refused.kind
    )
    fail(records[0:6:3], NotFound('LCO does not know it, or hides it from this account (404)'))
    broken = '1 of 4 frames: the download broke off after 4096 of 12000000 bytes'
    fail(records[2:3], NoAnswer(broken))
    note(last, 'WARNING tom_auto.sync: SOAR refused the credentials of 4 records')
    for record in (*records[0:6:3], records[2]):
        RunFailure.objects.create(
            run=last,
            record=record,
            observation_id=record.observation_id,
            facility=record.facility,
            error=record.sync.error,
            error_kind=record.sync.error_kind,
        )


def retry() -> None:
    """A record that the observatory has completed, and whose last check failed."""
    records = base(1)
    runs(3, timedelta(hours=1))
    fail(records, NoAnswer('LCO does not answer (ConnectTimeout)'))


def came_in() -> None:
    """Thirty frames of the last hours with real files, of which some cannot be drawn."""
    records = base()
    runs(300, timedelta(hours=1))
    frames(records, 30)
    sky = np.random.default_rng(1)
    for n, stored in enumerate(StoredFrame.objects.order_by('stored_at').select_related('record')):
        light = expose(f'field {n % 5}', 512, 60, 4) + sky.normal(130, 12, (512, 512))
        header = {'DATE-OBS': f'2026-11-{n % 27 + 1:02}T04:13:12', 'FILTER': 'gri'[n % 3] + 'p',
                  'EXPTIME': 60.0, 'RLEVEL': 91}  # fmt: skip
        unit = fits.CompImageHDU(
            light.clip(0, 32000).astype('i2'), fits.Header(header.items()), name='SCI'
        )
        file = Path(settings.MEDIA_ROOT) / stored.name
        file.parent.mkdir(parents=True, exist_ok=True)
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(file, overwrite=True)
        if n == 25:
            file.write_bytes(b'no FITS at all')
        Arrival.objects.create(
            product=stored.product, target_id=stored.record.target_id,
            facility=stored.record.facility, at=stored.stored_at,
        )  # fmt: skip


def drawn() -> None:
    """The same, when somebody has looked at them."""
    came_in()
    draw(list(Arrival.objects.values_list('pk', flat=True)), seconds=600)


def at_work() -> None:
    """A run on another host, which has got to three of twelve records."""
    records = base()
    RecordSync.objects.update(asked_at=NOW - timedelta(hours=1))
    runs(3, timedelta(hours=1))
    run = UpdateRun.objects.create(
        job='updatedata', host='telescope', pid=1, started=NOW, heartbeat=NOW, due=12
    )
    RecordSync.objects.filter(record__in=[one.pk for one in records[:3]]).update(
        asked_at=run.started
    )


def further() -> None:
    """The same run, later."""
    UpdateRun.objects.filter(status='running').update(heartbeat=NOW)
    RecordSync.objects.update(asked_at=NOW)


def ended() -> None:
    """The same run, at its end."""
    UpdateRun.objects.filter(status='running').update(status='ok', finished=NOW, checked=12)


def big() -> None:
    records = base(100_000)
    runs(10_000, timedelta(minutes=15))
    fail(records[:3000:3], ServerError('LCO answered 500'))
    RecordSync.objects.filter(record_id__gt=records[30_000].pk).update(
        state=RecordSync.State.SETTLED, failures=0
    )
    frames(records[:300], 300)


if __name__ == '__main__':
    for name in map(str.strip, sys.stdin):
        NOW = timezone.now()
        with transaction.atomic():
            globals()[name]()
        print(name, flush=True)  # noqa: T201
