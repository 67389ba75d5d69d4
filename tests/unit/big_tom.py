"""A TOM that has been used for years: 100,000 records, 10,000 runs, 200,000 frames, made in seconds.

All frames came in through the automation, and have a picture.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import Group, Permission, User
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from guardian.models import GroupObjectPermission
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from tom_auto.arrivals.models import Arrival
from tom_auto.models import RecordSync, RunFailure, StoredFrame, Told, UpdateRun

RECORDS, RUNS, FRAMES = 100_000, 10_000, 200_000
TARGETS, DISTINCT = 900, 300  # rows that differ; any more are copies of these, made by the database
DAYS = 400
EVERY = DAYS * 86400 // FRAMES  # seconds, from one frame to the next
FACILITIES = ('LCO', 'SOAR', 'BLANCO', 'GEM')
GROUP, PEOPLE = 'surveyors', ('user', 'staff', 'superuser')
SHARED = 5000  # records that a group may see, and as many frames
TABLES = (
    Target, ObservationRecord, RecordSync, DataProduct, StoredFrame, Arrival, UpdateRun, RunFailure, Told,
)  # fmt: skip


def multiply(first: list[Model], count: int, **expressions: str) -> None:
    """Copy the rows `first`, whose keys are 1, 2, …, until there are `count`; `i` counts from 0.

    `expressions`: what stands in some columns, in place of the value that is copied.
    """
    meta = first[0]._meta
    columns = [field.column for field in meta.concrete_fields]
    values = {column: f'r.{column}' for column in columns} | {meta.pk.column: 'i + 1'} | expressions
    with connection.cursor() as cursor:
        cursor.execute(
            f'WITH RECURSIVE n(i) AS (SELECT {len(first)} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}) '  # noqa: S608
            f'INSERT INTO {meta.db_table} ({", ".join(columns)}) '
            f'SELECT {", ".join(values[column] for column in columns)} FROM n '
            f'JOIN {meta.db_table} r ON r.{meta.pk.column} = 1 + i % {len(first)}'
        )


@transaction.atomic
def make() -> None:
    """Fill an empty database."""
    now = timezone.now()
    targets = Target.objects.bulk_create(
        Target(pk=n + 1, name=f'M {n}', type='SIDEREAL', ra=n / 3, dec=41.3, permissions=who)
        for n, who in zip(range(TARGETS), ('OPEN', 'PUBLIC', 'PRIVATE') * TARGETS, strict=False)
    )
    multiply(records(targets), RECORDS, observation_id='CAST(i + 1 AS varchar(20))')
    multiply(states(now), RECORDS)
    multiply(
        products(), FRAMES, product_id='CAST(i + 1 AS varchar(20))', target_id=f'1 + i % {TARGETS}',
        observation_record_id=f'1 + i % {RECORDS}', data="'a/' || i || '.fits'",
    )  # fmt: skip
    multiply(
        frames(now), FRAMES, frame_id='CAST(i + 1 AS varchar(20))', product_id='i + 1',
        record_id=f'1 + i % {RECORDS}', name="'a/' || i || '.fits'",
    )  # fmt: skip
    multiply(
        arrivals(now),
        FRAMES,
        product_id='i + 1',
        target_id=f'1 + i % {TARGETS}',
        at=one_by_one(now),
    )
    UpdateRun.objects.bulk_create(runs(now), batch_size=2000)
    RunFailure.objects.bulk_create(failures())
    Told.objects.bulk_create(
        Told(at=now - timedelta(hours=n), channel='mail', whom='a@example.org', job='updatedata', subject='x')
        for n in range(3000)
    )  # fmt: skip
    people()
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), TABLES):
            cursor.execute(sql)
        if connection.vendor == 'postgresql':  # which does so by itself in the course of years
            cursor.execute('ANALYZE')


def unmake() -> None:
    """Empty it again. What the migrations made stays: not every test makes that anew."""
    Group.objects.filter(name=GROUP).delete()
    User.objects.filter(username__in=PEOPLE).delete()
    for model in reversed(TABLES):
        rows = model.objects.all()
        rows._raw_delete(rows.db)  # nobody has to be told


def records(targets: list[Target]) -> list[ObservationRecord]:
    return ObservationRecord.objects.bulk_create(
        ObservationRecord(
            pk=n + 1, target=targets[n], facility=FACILITIES[n % 4], observation_id=str(n + 1),
            status='PENDING', parameters={'exposure': 60},
        )
        for n in range(DISTINCT)
    )  # fmt: skip


def states(now: timezone.datetime) -> list[RecordSync]:
    """Most are settled, a third is awaited, and three of a hundred are failing."""
    waiting, settled = RecordSync.State.WAITING, RecordSync.State.SETTLED
    return RecordSync.objects.bulk_create(
        RecordSync(
            record_id=n + 1, state=waiting if n % 3 == 0 else settled, status='PENDING',
            asked_at=now, checked_at=now, next_check=now,
            failures=int(n % 99 == 0), failing_since=now - timedelta(hours=n) if n % 99 == 0 else None,
            error='LCO answered 500' if n % 99 == 0 else '', error_kind='server' if n % 99 == 0 else '',
        )
        for n in range(DISTINCT)
    )  # fmt: skip


def products() -> list[DataProduct]:
    return DataProduct.objects.bulk_create(
        DataProduct(
            pk=n + 1, product_id=str(n + 1), target_id=n + 1, observation_record_id=n % DISTINCT + 1,
            data=f'a/{n}.fits', thumbnail=f'previews/{n}.jpg',
        )
        for n in range(DAYS)
    )  # fmt: skip


def frames(now: timezone.datetime) -> list[StoredFrame]:
    return StoredFrame.objects.bulk_create(
        StoredFrame(
            pk=n + 1, frame_id=str(n + 1), product_id=n + 1, record_id=n % DISTINCT + 1, archive='archive',
            filename='a.fits', name=f'a/{n}.fits', md5='0' * 32, size=10**7,
            stored_at=now - timedelta(days=n),
        )
        for n in range(DAYS)
    )  # fmt: skip


def arrivals(now: timezone.datetime) -> list[Arrival]:
    return Arrival.objects.bulk_create(
        Arrival(
            pk=n + 1, product_id=n + 1, target_id=n + 1, facility=FACILITIES[n % 4], picture='drawn',
            at=now - timedelta(days=DAYS, seconds=-n * EVERY),
        )
        for n in range(DAYS)
    )  # fmt: skip


def one_by_one(now: timezone.datetime) -> str:
    """When frame `i` came, in SQL."""
    begun = now - timedelta(days=DAYS)
    if connection.vendor == 'postgresql':
        return f"timestamp with time zone '{begun.isoformat()}' + i * interval '{EVERY} seconds'"
    return f"datetime('{begun:%Y-%m-%d %H:%M:%S}', (i * {EVERY}) || ' seconds')"


def runs(now: timezone.datetime) -> Iterable[UpdateRun]:
    for n in range(RUNS):
        begun = now - timedelta(minutes=14 + 15 * n)
        yield UpdateRun(
            pk=RUNS - n, job='updatedata', command='updatedata', host='h', pid=1,
            status='failed' if n % 50 == 0 else 'died' if n % 160 == 159 else 'ok',
            started=begun, heartbeat=begun, finished=begun + timedelta(seconds=20 + n % 7),
            due=12, checked=12, saved=n % 5, output='checked 12\n' * 300,
        )  # fmt: skip


def failures() -> Iterable[RunFailure]:
    """Of every run that failed, a few; of the last one 3,000."""
    for run in range(RUNS, 0, -50):
        for n in range(3000 if run == RUNS else 15):
            yield RunFailure(
                run_id=run, record_id=n * 33 + 1, observation_id=str(n * 33 + 1), facility='LCO',
                error='LCO answered 500', error_kind='server',
            )  # fmt: skip


def people() -> None:
    group = Group.objects.create(name=GROUP)
    boss = User.objects.create_superuser('superuser', password='x')  # noqa: S106
    staff = User.objects.create_user('staff', is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename='run_automation'))
    for user in (boss, staff, User.objects.create_user('user')):
        user.groups.add(group)
    for view in Permission.objects.filter(
        codename__in=('view_observationrecord', 'view_dataproduct')
    ):
        GroupObjectPermission.objects.bulk_create(
            GroupObjectPermission(
                group=group,
                permission=view,
                content_type_id=view.content_type_id,
                object_pk=str(n + 1),
            )
            for n in range(SHARED)
        )
