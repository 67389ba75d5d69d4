"""Imports point one way, so that each room can be read by itself."""

import ast
import re
from pathlib import Path

import pytest

import tom_auto

LIBRARY = Path(tom_auto.__file__).parent

#: The layers, from the top. A module imports from its own layer or from below.
LAYERS = [
    {
        'arrivals.feed',
        'arrivals.gallery',
        'arrivals.wishes',
        'management',
        'page',
        'ask_first',
        'middleware',
        'admin',
        'demo',
        'demo_candidate',
        'apps',
        'templatetags',
        'data_files',
    },
    {'celery_tasks.beat', 'celery_tasks.tasks'},
    {'celery_tasks.workers'},
    {'run_job', 'backups.restore', 'order_of_jobs'},
    {'backups.backup'},
    {'backups.backup_file'},
    {'backups.data_folders'},
    {'backups.database_copies'},
    {
        'alerts',
        'arrivals.drawing_ahead',
        'arrivals.illustrations',
        'arrivals.letters',
        'arrivals.mailing',
        'arrivals.notices',
        'arrivals.telling',
        'doctor',
        'error_reports',
        'sentry',
    },
    {'health', 'channels'},
    {'checks'},
    {'lateness', 'known_outcomes'},
    {'arrivals.choosing'},
    {'access', 'health_states', 'jobs'},
    {'audit', 'targets'},
    {
        'celery_tasks.app',
        'celery_tasks.batches',
        'celery_tasks.coordinator',
        'celery_tasks.hand_out',
        'celery_tasks.leases',
        'celery_tasks.lists',
        'celery_tasks.sending',
        'celery_tasks.setup',
    },
    {'sync.engine'},
    {'running.recorded_run', 'sync.check_due'},
    {'sync.reading_lists', 'sync.record_outcomes'},
    {'sync.check_record', 'running.failures'},
    {'running.runs'},
    {'sync.bring_frames', 'sync.facility_saves'},
    {'hooks.attempts', 'sync.facility_jobs', 'sync.previews'},
    {'running.sharing'},
    {'observatories.archive_lists'},
    {
        'observatories.asked_class',
        'observatories.facility_process',
        'files.downloads',
        'sync.frame_files',
        'sync.due',
        'sync.record_status',
        'observatories.portal_lists',
        'hooks.product_hooks',
        'sync.products',
    },
    {'running.database_jobs'},
    {'running.threads'},
    {'arrivals.pictures'},
    {'arrivals.drawing_program', 'arrivals.lost_pictures'},
    {
        'adoption',
        'files.disk_room',
        'files.local_file',
        'files.storage_id',
        'observatories.facilities',
        'sync.frame_plans',
    },
    {'files.storage'},
    {
        'files.file_names',
        'observatories.frames',
        'hooks.owed',
        'running.heartbeat',
        'observatories.portal_pages',
        'files.whole_file',
    },
    {'observatories.http'},
    {'observatories.retries'},
    {'hooks.calls'},
    {'db_retry', 'explain'},
    {'arrivals.noting'},
    {
        'arrivals.numbers',
        'models',
        'new_target_access',
        'redact',
        'running.outcomes',
        'observatories.turns',
    },
    {
        'arrivals.models',
        'arrivals.drawing',
        'conf',
        'environment',
        'interrupt',
        'media_store',
        'running.backoff',
        'log_config',
        's3_storage',
        'stand_in',
        'startup',
        'errors',
        'versions',
    },
]
#: The rooms of `updatedata`, from the top. Each imports only from those after it.
ROOMS = ['sync', 'hooks', 'running', 'files', 'observatories']
#: These stand by themselves: anything may import them, and they import nothing of the others.
APART = {'scheduling', 'simulator'}


def layer(name: str) -> int | None:
    """The number of the layer of a module such as `observatories.http`; None for those that stand apart."""
    for number, names in enumerate(LAYERS):
        if {name, name.split('.')[0]} & names:
            return number
    assert name.split('.')[0] in APART, f'{name} has no place in LAYERS'
    return None


def module(file: Path) -> str:
    return '.'.join(file.relative_to(LIBRARY).with_suffix('').parts)


def imported(file: Path) -> set[str]:
    """The modules of the library that `file` imports."""
    here, found = module(file).split('.'), set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [*here[: -node.level], *filter(None, (node.module or '').split('.'))]
        for alias in node.names:
            name = '.'.join([*base, alias.name])
            is_module = (LIBRARY / Path(*base, alias.name)).with_suffix('.py').is_file()
            is_package = (LIBRARY / Path(*base, alias.name)).is_dir()
            found.add(name if is_module or is_package else '.'.join(base))
    return found - {''}


def foreign(file: Path) -> set[str]:
    """The first names of the other modules that `file` imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition('.')[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition('.')[0])
    return found


MODULES = [
    file
    for file in sorted(LIBRARY.rglob('*.py'))
    if file.name != '__init__.py' and 'migrations' not in file.parts
]


@pytest.mark.parametrize('room', ROOMS)
def test_the_rooms_of_the_engine_import_one_way(room):
    above = ROOMS[: ROOMS.index(room)]
    for file in (LIBRARY / room).glob('*.py'):
        assert not {name.partition('.')[0] for name in imported(file)} & {*above}, file


@pytest.mark.parametrize(
    'file', [file for room in ROOMS for file in sorted((LIBRARY / room).glob('*.py'))], ids=module
)
def test_no_module_of_the_engine_is_longer_than_a_person_reads_at_once(file):
    assert len(file.read_text(encoding='utf-8').splitlines()) <= 250


@pytest.mark.parametrize('file', MODULES, ids=module)
def test_imports_point_down(file):
    mine = layer(module(file))
    for name in imported(file):
        theirs = layer(name)
        if theirs is not None:
            assert mine is not None, f'{module(file)} stands apart, and imports {name}'
            assert mine <= theirs, f'{module(file)} imports {name} from above'


@pytest.mark.parametrize('name', ['errors.py', 'running/outcomes.py'])
def test_the_bottom_knows_no_django(name):
    assert not foreign(LIBRARY / name) & {'django', 'requests'}


@pytest.mark.parametrize('package', sorted(APART))
def test_these_know_no_django(package):
    for file in (LIBRARY / package).glob('*.py'):
        assert not foreign(file) & {'django', 'tom_auto'}, file


@pytest.mark.parametrize(
    'package',
    [
        'arrivals',
        'audit',
        'backups',
        'celery_tasks',
        'doctor',
        'files',
        'observatories',
        'running',
        'simulator',
        'page',
        'scheduling',
        'sync',
        'targets',
    ],  # fmt: skip
)
def test_each_package_lists_its_modules(package):
    table = (LIBRARY / package / '__init__.py').read_text(encoding='utf-8')
    for file in (LIBRARY / package).glob('[a-z]*.py'):
        assert f'| `{file.stem}` |' in table, f'{package}/__init__.py lacks {file.stem}'


@pytest.mark.parametrize('name', ['targets.cadences', 'targets.find_requests'])
def test_a_tom_without_data_services_has_these_as_well(name):
    seen, following = set(), {name}
    while following:
        one = following.pop()
        file = (LIBRARY / one.replace('.', '/')).with_suffix('.py')
        if one in seen or not file.is_file():
            continue
        seen.add(one)
        assert 'tom_dataservices' not in foreign(file), one
        following |= imported(file) - {
            'targets.service_process'
        }  # of `report`, for its types alone


def test_no_test_for_postgresql_alone_is_left_out_there() -> None:
    """The Makefile names the files that do not run on PostgreSQL: they behave alike on both."""
    makefile = Path(__file__).resolve().parents[2] / 'Makefile'
    lists = re.findall(r'^ALIKE\w* := ((?:.*\\\n)*.*)$', makefile.read_text(), re.MULTILINE)
    for kind, names in zip(('engine', 'unit'), lists, strict=True):
        for name in names.replace('\\', ' ').split():
            text = makefile.with_name('tests').joinpath(kind, f'test_{name}.py').read_text()
            assert not re.search(r"only_on\('postgresql'\)|vendor != 'postgresql'", text), name
