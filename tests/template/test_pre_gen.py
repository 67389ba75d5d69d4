"""Answers that would make a broken project are refused before it is made; all others are taken."""

import ast
import json
import keyword
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from baking import TEMPLATE, bake, load_hook

HOOK = load_hook('pre_gen_project', project_name='My TOM', project_slug='my_tom')


@pytest.mark.parametrize(
    ('name', 'slug', 'said'),
    [
        ('My TOM', 'django', ['project_slug = "django"', 'a package', '"my_django"']),
        ('My TOM', '../elsewhere', ['"../elsewhere"', 'lower case letter', '"elsewhere"']),
        (' ', 'my_tom', ['project_name = " "', 'it is empty', '"My TOM"']),
        ('two\nlines', 'my_tom', ['project_name = "two\\nlines"', 'line break', '"My TOM"']),
    ],
)
def test_a_refusal_names_answer_rule_and_example_and_makes_nothing(
    tmp_path: Path, name: str, slug: str, said: list[str]
) -> None:
    done = bake(tmp_path / 'here', project_name=name, project_slug=slug)
    assert done.status != 0
    refusal = done.printed.partition('No project was made.')[0]
    for part in said:
        assert part in refusal
    assert 'Traceback' not in refusal
    assert [path.name for path in tmp_path.iterdir()] == ['here']
    assert [path.name for path in (tmp_path / 'here').iterdir()] == ['.home']


def test_both_answers_are_judged_at_once() -> None:
    assert len(HOOK.refusals({'project_name': '', 'project_slug': 'os'})) == 2
    assert HOOK.refusals({'project_name': 'My TOM', 'project_slug': 'my_tom'}) == []


def test_a_refused_answer_leaves_an_older_project_as_it_was(tmp_path: Path) -> None:
    made = bake(tmp_path)
    (made.project / 'mine.py').touch()
    before = sorted(tmp_path.rglob('*'))
    assert bake(tmp_path, '--overwrite-if-exists', project_name='\t').status != 0
    assert sorted(tmp_path.rglob('*')) == before


def test_h6_a_project_that_is_in_use_is_not_overwritten(tmp_path: Path) -> None:
    project = bake(tmp_path).project
    (project / 'schedule.toml').write_text('mine')
    assert bake(tmp_path, '--overwrite-if-exists').status == 0
    assert (project / 'schedule.toml').read_text() != 'mine'
    (project / '.env').write_text('SECRET_KEY=mine')
    (project / 'schedule.toml').write_text('mine')
    before = {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()}

    done = bake(tmp_path, '--overwrite-if-exists')

    assert done.status != 0
    refusal = done.printed.partition('No project was made.')[0]
    assert f'{project} is a TOM that is in use' in refusal
    assert 'Traceback' not in refusal
    assert {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()} == before


@pytest.mark.parametrize(
    'slug', ['a', 'my_tom', 'tom', 'tom2', 'x' * 40, 'a__b', 'on', 'no', 'supernovae', 'tomography']
)
def test_slugs_that_are_taken(slug: str) -> None:
    assert HOOK.wrong_with_slug(slug) is None


@pytest.mark.parametrize(
    ('slug', 'reason', 'example'),
    [
        ('', 'lower case letter', 'my_tom'),
        ('2tom', 'lower case letter', 'my_2tom'),
        ('_tom', 'lower case letter', 'tom'),
        ('My_TOM', 'lower case letter', 'my_tom'),
        ('my-tom', 'lower case letter', 'my_tom'),
        ('my tom', 'lower case letter', 'my_tom'),
        ('my.tom', 'lower case letter', 'my_tom'),
        ('münchen', 'lower case letter', 'm_nchen'),
        ('tom\n', 'lower case letter', 'tom'),
        ('٣', 'lower case letter', 'my_tom'),
        ('/etc', 'lower case letter', 'etc'),
        ('x' * 41, '41 characters', 'my_' + 'x' * 37),
        ('tom_base', 'tom_', 'my_tom_base'),
        ('tom_mine', 'tom_', 'my_tom_mine'),
        ('a___b', 'three _ in a row', 'a_b'),
        ('a_', 'one at the end', 'a'),
        ('pip', 'imports if it is there', 'my_pip'),
        ('simplejson', 'imports if it is there', 'my_simplejson'),
        ('class', 'a word of the Python language', 'my_class'),
        ('match', 'a word of the Python language', 'my_match'),
        ('async', 'a word of the Python language', 'my_async'),
        ('json', 'a module of Python itself', 'my_json'),
        ('tomllib', 'a module of Python itself', 'my_tomllib'),
        ('imp', 'a module of Python itself', 'my_imp'),
        ('distutils', 'a module of Python itself', 'my_distutils'),
        ('site', 'a module of Python itself', 'my_site'),
        ('test', 'a module of Python itself', 'my_test'),
        ('requests', 'a package that the TOM needs', 'my_requests'),
        ('yaml', 'a package that the TOM needs', 'my_yaml'),
        ('tomtoolkit', 'taken by something else', 'my_tomtoolkit'),
        ('app', 'taken by something else', 'my_app'),
        ('tests', 'taken by something else', 'my_tests'),
        ('manage', 'taken by something else', 'my_manage'),
        ('data', 'taken by something else', 'my_data'),
        ('static', 'taken by something else', 'my_static'),
        ('templates', 'taken by something else', 'my_templates'),
        ('logs', 'taken by something else', 'my_logs'),
        ('local_settings', 'taken by something else', 'my_local_settings'),
    ],
)
def test_slugs_that_are_refused(slug: str, reason: str, example: str) -> None:
    assert reason in HOOK.wrong_with_slug(slug)
    assert HOOK.slug_that_passes(slug) == example
    assert HOOK.wrong_with_slug(example) is None


def test_whatever_the_slug_the_example_passes() -> None:
    for slug in ['', '_', 'x' * 500, '_' * 50, 'tom_' * 20, 'é' * 9, *sys.stdlib_module_names]:
        assert HOOK.wrong_with_slug(HOOK.slug_that_passes(slug)) is None


def test_the_list_of_pythons_modules_is_complete() -> None:
    names = {name for name in sys.stdlib_module_names if re.fullmatch('[a-z][a-z0-9_]*', name)}
    assert names <= set(HOOK.PYTHON_MODULES.split())
    assert {*keyword.kwlist, *keyword.softkwlist} - {'_'} <= set(HOOK.KEYWORDS.split())


def test_the_list_of_locked_packages_is_complete(tom_python: Path) -> None:
    script = (
        'import importlib.metadata as m, json; print(json.dumps(list(m.packages_distributions())))'
    )
    done = subprocess.run(
        [tom_python, '-c', script], capture_output=True, text=True, timeout=120, check=True
    )
    names = {name for name in json.loads(done.stdout) if re.fullmatch('[a-z][a-z0-9_]*', name)}
    installed = {name for name in names if not name.startswith('tom_')}
    # `docs`, `py` and `tools` stray into site-packages by mistake; nobody imports them.
    assert installed - {'docs', 'pip', 'py', 'setuptools', 'tools'} <= set(
        HOOK.LOCKED_PACKAGES.split()
    )


def test_the_files_of_the_project_are_on_the_list() -> None:
    project = TEMPLATE / '{{cookiecutter.project_slug}}'
    names = {path.name.removesuffix('.py') for path in project.iterdir()}
    plain = {name for name in names if re.fullmatch('[a-z][a-z0-9_]*', name)}
    assert plain <= set(HOOK.OWN_NAMES.split())


NAMES = [
    'O\'Neill "the" TOM',
    '"""',
    "'''",
    '\\',
    'back\\slash \\n \\" \\u0041 \\',
    '{single} braces } {',
    '</script><b>&amp;',
    '$HOME `id` $(id) ; rm',
    '100% %s %(x)s {0}',
    '新しい TOM 🔭 München',
    '\u202eright to left',
    '#',
    'x' * 200,
    "r''' + open('x') + '''",
]


@pytest.mark.parametrize('name', NAMES)
def test_any_text_can_be_the_name_and_gives_a_slug(tmp_path: Path, name: str) -> None:
    done = bake(tmp_path, project_name=name)
    assert done.status == 0, done.printed
    [project] = [path for path in tmp_path.iterdir() if path.name != '.home']
    assert f'\n{name} is in {project}\n' in done.printed
    assert name_in_settings(project) == name
    tomllib.loads((project / 'schedule.toml').read_text(encoding='utf-8'))


def name_in_settings(project: Path) -> str:
    """TOM_NAME of the settings, which are not run: they need the packages of a TOM."""
    settings = project / project.name / 'settings.py'
    tree = ast.parse(settings.read_text(encoding='utf-8'))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'TOM_NAME':
            return ast.literal_eval(node.value)
    raise AssertionError('the settings have no TOM_NAME')


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('', 'it is empty'),
        (' \u00a0\u2003', 'it is empty'),
        ('a\tb', 'control character'),
        ('a\x00b', 'control character'),
        ('a\x1b[31mb', 'control character'),
        ('a\x7fb', 'control character'),
        ('a\u0085b', 'control character'),
        ('a\u2028b', 'line break'),
        ('a\udcffb', 'control character'),
        ('a {{ b', 'two braces'),
        ('a {% b', 'two braces'),
        ('a {# b', 'two braces'),
    ],
)
def test_names_that_are_refused(name: str, reason: str) -> None:
    assert reason in HOOK.wrong_with_name(name)


@pytest.mark.parametrize('hook', ['pre_gen_project', 'post_gen_project'])
def test_hooks_can_be_read_by_old_pythons(hook: str) -> None:
    """Cookiecutter may run under a Python that no TOM runs under: 3.9, say."""
    source = (TEMPLATE / 'hooks' / f'{hook}.py').read_text(encoding='utf-8')
    ast.parse(source, feature_version=(3, 9))
    assert 'from __future__ import annotations' in source
