"""What the tests share: a database in a file, a media folder, an observatory, records at it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.management import create_contenttypes
from django.core.management.commands import flush
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import submitting
from simulated import Observatory
from tom_auto.apps import TomAutoConfig
from tom_auto.models import RunFailure
from tom_auto.page import actions
from tom_auto.scheduling import cron_table
from tom_auto.scheduling import install as install_module

from . import service_classes as habits
from .brokers import ALERCE, TNS, Alerce, Brokers, brokers, save_query, tns
from .cadences import RETRY, fail
from .page import failing, ran
from .schedule_project import FakeCrontab, fake_crontab, with_path

TEMPLATE = Path(__file__).parents[2] / '{{cookiecutter.project_slug}}'
PERMISSIONS = 'django.contrib.auth.management.create_permissions'
KEPT_TABLES = ('django_content_type', 'auth_permission')
OCS = ('LCO', 'SOAR', 'BLANCO')


@pytest.fixture(scope='session')
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as in real life: threads cannot share one in memory as they share a file."""
    from django.conf import settings

    database = settings.DATABASES['default']
    if database['ENGINE'].endswith('sqlite3'):
        file = tmp_path_factory.mktemp('database') / 'test.sqlite3'
        database.setdefault('TEST', {})['NAME'] = str(file)


@pytest.fixture(scope='session', autouse=True)
def django_db_quick_flush(django_db_setup: None) -> Iterator[None]:
    """After a test empty only what it may have filled, by DELETE: PostgreSQL's TRUNCATE is slow.

    The types and permissions of all models are as migrate left them, and not looked through again: that
    took a tenth of the time of all tests.
    """
    plain, plain_signal = connection.ops.sql_flush, flush.emit_post_migrate_signal

    def sql_flush(style: object, tables: list[str], **options: object) -> list[str]:
        changed = [table for table in tables if table not in KEPT_TABLES]
        if connection.vendor != 'postgresql':
            return plain(style, changed, **options)
        deletes = [f'DELETE FROM "{table}"' for table in changed]
        return ['SET LOCAL session_replication_role = replica', *deletes]

    def emit_post_migrate_signal(*arguments: object, **options: object) -> None:
        post_migrate.disconnect(create_contenttypes)
        post_migrate.disconnect(dispatch_uid=PERMISSIONS)
        plain_signal(*arguments, **options)
        post_migrate.connect(create_contenttypes)
        post_migrate.connect(create_permissions, dispatch_uid=PERMISSIONS)

    connection.ops.sql_flush, flush.emit_post_migrate_signal = sql_flush, emit_post_migrate_signal
    yield
    connection.ops.sql_flush, flush.emit_post_migrate_signal = plain, plain_signal


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
    settings.TOM_AUTO = {
        'READ_TIMEOUT': 2, 'CONNECT_TIMEOUT': 2, 'RETRY_WAIT': 0, 'WORKERS': 4, 'MIN_FREE_BYTES': 0,
        'WATCH_EVERY': 0,
    }  # fmt: skip
    return settings.TOM_AUTO


@pytest.fixture
def sky(settings: object) -> Iterator[Observatory]:
    """A simulated observatory, at which all facilities of LCO's kind are."""
    with Observatory() as observatory:
        settings.FACILITIES = settings.FACILITIES | {name: observatory.settings() for name in OCS}
        yield observatory


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    """A target to observe; in a transaction, where the test's mark lets it: that is faster."""
    mark = request.node.get_closest_marker('django_db')
    plain = mark is not None and not mark.kwargs.get('transaction')
    request.getfixturevalue('db' if plain else 'transactional_db')
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
def portal(sky: Observatory) -> Iterator[Observatory]:
    """The observatory, which takes submissions."""
    submitting.forget()
    yield sky
    submitting.forget()


@pytest.fixture
def begun(
    client: Client, staff: User, portal: Observatory, target: Target
) -> Callable[[str], ObservationRecord]:
    """Begins a cadence as a person does, with the form; gives its first record."""
    return lambda strategy: submitting.by_form(client, portal, target, 'LCO', strategy)


@pytest.fixture
def failed(begun: Callable, portal: Observatory) -> Callable[..., ObservationRecord]:
    """The same, and its observation has failed."""

    def begin(strategy: str = RETRY) -> ObservationRecord:
        record = begun(strategy)
        fail(portal, record)
        return record

    return begin


@pytest.fixture
def broker(settings: object) -> Iterator[Brokers]:
    """The brokers that tomtoolkit's services ask, with nothing to find."""
    with brokers() as own:
        key = {'api_key': 'k', 'bot_id': 1, 'bot_name': 'b'}
        settings.DATA_SERVICES = {'TNS': key | {'base_url': f'{own.address}/{TNS}'}}
        own.hosts = {ALERCE: Alerce(), TNS: tns()}
        yield own


@pytest.fixture
def alerce(broker: Brokers) -> Alerce:
    """ALeRCE, with nothing to find."""
    return broker.hosts[ALERCE]


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch, broker: Brokers) -> Callable[..., type]:
    """Installs a service of another kind, as an app does; gives the class."""

    def install(kind: str = 'Survey', **attributes: object) -> type:
        own = getattr(habits, kind)
        path = {'class': f'{habits.__name__}.{kind}'}
        monkeypatch.setattr(TomAutoConfig, 'data_services', lambda app: [path], raising=False)
        fresh: dict = {'results': [], 'points': {}}
        for name, value in (fresh | attributes).items():
            monkeypatch.setattr(own, name, value)
        save_query(own.name)
        return own

    return install


@pytest.fixture
def cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCrontab:
    """A crontab command of the test's own, and a daemon that runs."""
    fake = fake_crontab(tmp_path / 'bin')
    monkeypatch.setenv('PATH', with_path(fake.bin))
    monkeypatch.setattr(cron_table, 'LOCK', tmp_path)
    monkeypatch.setattr(install_module, 'cron_daemon_runs', lambda: True)
    return fake


@pytest.fixture
def own_templates(settings: object) -> None:
    """The templates that a generated TOM puts in the place of tomtoolkit's."""
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [engine | {'DIRS': [TEMPLATE / 'templates']}]


@pytest.fixture
def hourly(tmp_path: Path) -> Path:
    """The schedule of the test's own TOM."""
    (tmp_path / 'manage.py').write_text("'DJANGO_SETTINGS_MODULE', 'my_tom.settings'")
    file = tmp_path / 'schedule.toml'
    file.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "hourly"\n')
    return file


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The processes that were started, as words; each has ended at once."""
    asked = []
    monkeypatch.setattr(actions, 'begin_process', lambda by, *words: asked.append((by, *words)))
    monkeypatch.setattr(actions, 'accompany', lambda process, command: actions.release(command))
    return asked


@pytest.fixture
def login(client: Client) -> Callable[..., User]:
    """Logs in as somebody new, with these permissions of this app."""

    def log_in(name: str = 'ann', *permissions: str, **fields: object) -> User:
        user = User.objects.create_user(name, password='x', **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return user

    return log_in


@pytest.fixture
def staff(login: Callable) -> User:
    """Somebody who may do everything on the page."""
    return login('staff', 'run_automation', is_staff=True)


@pytest.fixture
def hidden(add_record: Callable) -> ObservationRecord:
    """A private target in trouble, whose name and number nobody must learn."""
    record = add_record(observation_id='8675309')
    Target.objects.update(name='Secret Star', permissions='PRIVATE')
    ran(timedelta(hours=1), only=f'target {record.target_id}')
    run = ran(status='failed', failed=1, due=4711)
    failing(record, 'LCO says 8675309 of Secret Star is bad')
    RunFailure.objects.create(
        run=run, record=record, facility='LCO', observation_id='8675309', error='8675309'
    )
    RunFailure.objects.create(run=run, facility='LCO', error='gave up: download of Secret Star')
    return record
