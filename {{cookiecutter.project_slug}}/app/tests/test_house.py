"""Imports point one way, so that each room can be read by itself."""

import ast
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parent.parent

#: What the modules of sync may import from this project.
ALLOWED = {
    'errors': set(),
    'outcomes': set(),
    'transport': {'conf', 'errors'},
    'discreet': set(),
    'interrupt': set(),
    'starter': set(),
    'patience': set(),
    'explain': {'discreet', 'errors'},
    'watch': {'models'},
    'due': {'models', 'watch'},
    'sweep': set(),
    'verify': {'transport'},
    'names': set(),
    'frames': {'errors'},
    'gateway': {'errors', 'frames', 'sweep', 'transport'},
    'permissions': set(),
    'statuses': {'models', 'errors', 'explain', 'gateway'},
    'announce': {'models', 'errors', 'explain'},
    'ahead': {'patience'},
    'storage': {'conf', 'models', 'errors'},
    'claims': {'models', 'errors', 'frames', 'names', 'storage'},
    'products': {
        'conf', 'models', 'claims', 'errors', 'frames', 'names', 'permissions', 'storage',
        'transport', 'verify',
    },
    'previews': {'conf', 'frames', 'names', 'permissions', 'products', 'transport', 'verify'},
    'history': {'conf', 'models', 'due', 'errors', 'outcomes', 'patience', 'starter'},
    'check': {
        'ahead', 'conf', 'models', 'announce', 'errors', 'explain', 'frames', 'gateway', 'names',
        'outcomes', 'previews', 'products', 'statuses', 'sweep', 'transport',
    },
    'crew': {'outcomes', 'patience'},
    'engine': {
        'ahead', 'conf', 'models', 'history', 'check', 'claims', 'crew', 'due', 'errors', 'outcomes',
        'transport', 'sweep', 'watch',
    },
}  # fmt: skip


def own_imports(file: Path) -> set[str]:
    """The modules of this project that `file` imports, by their last names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            last = (node.module or '').rpartition('.')[2]
            found |= {last} if last else {alias.name for alias in node.names}
    return found


def foreign_imports(file: Path) -> set[str]:
    """The first names of the other modules that `file` imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition('.')[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition('.')[0])
    return found


def test_every_module_of_sync_has_its_place():
    assert set(ALLOWED) == {file.stem for file in (APP / 'sync').glob('[a-z]*.py')}


@pytest.mark.parametrize('module', ALLOWED)
def test_sync_imports_point_one_way(module):
    assert own_imports(APP / 'sync' / f'{module}.py') <= ALLOWED[module]


@pytest.mark.parametrize('module', ['errors', 'outcomes'])
def test_the_bottom_knows_no_django(module):
    assert not foreign_imports(APP / 'sync' / f'{module}.py') & {'django', 'requests'}


@pytest.mark.parametrize('package', ['scheduling', 'observatory'])
def test_these_know_nothing_of_the_tom(package):
    for file in (APP / package).glob('*.py'):
        assert not foreign_imports(file) & {'django', 'app'}, file
        assert not own_imports(file) & {'models', 'conf', 'sync'}, file
