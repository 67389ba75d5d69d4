"""What the tests share: a database in a file, a media folder, an observatory, records at it."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from app.observatory import Observatory
from app.scheduling import crontab
from app.scheduling import status as status_module

from .schedule_project import FakeCrontab, fake_crontab, with_path

OCS = ('LCO', 'SOAR', 'BLANCO')


@pytest.fixture(scope='session')
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as in real life: threads cannot share one in memory as they share a file."""
    from django.conf import settings

    database = settings.DATABASES['default']
    if database['ENGINE'].endswith('sqlite3'):
        file = tmp_path_factory.mktemp('database') / 'test.sqlite3'
        database.setdefault('TEST', {})['NAME'] = str(file)


@pytest.fixture(autouse=True)
def media(settings: object, tmp_path: Path) -> Path:
    """Data, and whatever else a TOM writes beside its code, go into the test's own directory."""
    settings.MEDIA_ROOT = tmp_path / 'data'
    settings.BASE_DIR = tmp_path
    settings.MEDIA_ROOT.mkdir()
    (tmp_path / 'logs').mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture(autouse=True)
def automation(settings: object) -> dict:
    """Options under which a test ends soon; a test may change them."""
    settings.AUTOMATION = {
        'READ_TIMEOUT': 2, 'CONNECT_TIMEOUT': 2, 'RETRY_WAIT': 0, 'WORKERS': 4, 'MIN_FREE_BYTES': 0,
        'WATCH_EVERY': 0,
    }  # fmt: skip
    return settings.AUTOMATION


@pytest.fixture
def sky(settings: object) -> Iterator[Observatory]:
    """A simulated observatory, at which all facilities of LCO's kind are."""
    with Observatory() as observatory:
        settings.FACILITIES = settings.FACILITIES | {name: observatory.settings() for name in OCS}
        yield observatory


@pytest.fixture
def target(transactional_db: None) -> Target:
    """A target to observe."""
    return Target.objects.create(name='M 31', type='SIDEREAL', ra=10.6847, dec=41.269)


@pytest.fixture
def add_record(target: Target) -> Callable[..., ObservationRecord]:
    """Makes observation records of the target, each with a request number of its own."""
    numbers = count(1001)

    def add(facility: str = 'LCO', status: str = 'PENDING', **fields: object) -> ObservationRecord:
        defaults = {'target': target, 'parameters': {}, 'observation_id': str(next(numbers))}
        return ObservationRecord.objects.create(
            facility=facility, status=status, **(defaults | fields)
        )

    return add


@pytest.fixture
def observed(sky: Observatory, add_record: Callable) -> Callable[..., ObservationRecord]:
    """Makes a record whose request the observatory has completed, with frames in its archive."""

    def add(
        facility: str = 'LCO',
        status: str = 'PENDING',
        frames: int = 2,
        pixels: int = 32,
        **fields: object,
    ) -> ObservationRecord:
        record = add_record(facility, status, **fields)
        sky.add_request(int(record.observation_id))
        sky.complete(int(record.observation_id), frames=frames, pixels=pixels)
        return record

    return add


@pytest.fixture
def cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCrontab:
    """A crontab command of the test's own, and a daemon that runs."""
    fake = fake_crontab(tmp_path / 'bin')
    monkeypatch.setenv('PATH', with_path(fake.bin))
    monkeypatch.setattr(crontab, 'LOCK', tmp_path)
    monkeypatch.setattr(status_module, 'cron_daemon_runs', lambda: True)
    return fake
