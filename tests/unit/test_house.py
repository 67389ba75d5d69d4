"""Imports point one way, so that each room can be read by itself."""

import ast
from pathlib import Path

import pytest

import tom_auto

LIBRARY = Path(tom_auto.__file__).parent

#: The layers, from the top. A module imports from its own layer or from below.
LAYERS = [
    {'management', 'page', 'middleware', 'admin', 'demo', 'apps', 'templatetags', 'data_files'},
    {'run_job', 'restore'},
    {'backup'},
    {'database_copies'},
    {'alerts', 'doctor', 'error_reports', 'sentry'},
    {'health', 'channels'},
    {'checks'},
    {'access', 'job_state', 'jobs'},
    {'targets'},
    {'sync.engine'},
    {'sync.recorded_run'},
    {'sync.check_record', 'sync.runs'},
    {'sync.bring_frames', 'sync.class_saves'},
    {'sync.facility_jobs', 'sync.previews'},
    {'sync.archive_lists'},
    {
        'sync.class_process',
        'sync.downloads',
        'sync.due',
        'sync.hooks',
        'sync.portal_lists',
        'sync.products',
        'sync.workers',
    },
    {'sync.facilities', 'sync.frame_plans', 'sync.storage_id'},
    {'sync.storage'},
    {'sync.file_names', 'sync.frames', 'sync.listed', 'sync.portal_pages', 'sync.whole_file'},
    {'sync.db_retry', 'sync.explain'},
    {'models', 'new_targets', 'redact', 'sync.http', 'sync.outcomes', 'sync.started_by'},
    {'conf', 'environment', 'interrupt', 'log_config', 'sync.errors'},
]
#: These stand by themselves: anything may import them, and they import nothing of the others.
APART = {'scheduling', 'observatory'}


def layer(name: str) -> int | None:
    """The number of the layer of a module such as `sync.http`; None for those that stand apart."""
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


@pytest.mark.parametrize('file', MODULES, ids=module)
def test_imports_point_down(file):
    mine = layer(module(file))
    for name in imported(file):
        theirs = layer(name)
        if theirs is not None:
            assert mine is not None, f'{module(file)} stands apart, and imports {name}'
            assert mine <= theirs, f'{module(file)} imports {name} from above'


@pytest.mark.parametrize('name', ['sync/errors.py', 'sync/outcomes.py'])
def test_the_bottom_knows_no_django(name):
    assert not foreign(LIBRARY / name) & {'django', 'requests'}


@pytest.mark.parametrize('package', sorted(APART))
def test_these_know_no_django(package):
    for file in (LIBRARY / package).glob('*.py'):
        assert not foreign(file) & {'django', 'tom_auto'}, file


@pytest.mark.parametrize(
    'package', ['sync', 'targets', 'scheduling', 'page', 'observatory', 'doctor']
)
def test_each_package_lists_its_modules(package):
    table = (LIBRARY / package / '__init__.py').read_text(encoding='utf-8')
    for file in (LIBRARY / package).glob('[a-z]*.py'):
        assert f'| `{file.stem}` |' in table, f'{package}/__init__.py lacks {file.stem}'
