"""What a bake writes: exactly the files that it should, for every value of every answer."""

import filecmp
import itertools
import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from baking import TEMPLATE, bake, git

ANSWERS = json.loads((TEMPLATE / 'cookiecutter.json').read_text(encoding='utf-8'))
CHOICES: dict[str, list[str]] = {
    name: values
    for name, values in ANSWERS.items()
    if isinstance(values, list) and not name.startswith('_')
}

#: Every file of a generated TOM apart from those in app/ and tom_auto/; <slug> stands for the package.
FILES = {
    '.env.example',
    '.gitignore',
    'README.md',
    'data/.gitkeep',
    'manage.py',
    'pyproject.toml',
    'pytest.ini',
    'requirements-dev.txt',
    'requirements.txt',
    'schedule.toml',
    'static/tom_common/css/custom.css',
    'static/vendor/LICENSE',
    'static/vendor/README.md',
    'static/vendor/alpine.min.js',
    'static/vendor/bootstrap.bundle.min.js',
    'static/vendor/bootstrap.min.css',
    'templates/tom_common/base.html',
    'templates/tom_common/index.html',
    'templates/tom_observations/observationrecord_detail.html',
    'templates/tom_observations/partials/update_status_button.html',
    'templates/tom_targets/target_detail.html',
    '<slug>/__init__.py',
    '<slug>/asgi.py',
    '<slug>/settings.py',
    '<slug>/urls.py',
    '<slug>/wsgi.py',
}

#: What an image is made of, and what runs in it.
IMAGE = {'.dockerignore', '.env', 'Dockerfile', 'gunicorn.conf.py', 'healthcheck.py'}
MANIFESTS = {'deploy/config.yaml', 'deploy/kustomization.yaml', 'deploy/tom.yaml'}

#: Files that only these answers bring.
FILES_FOR = {
    ('environment', 'virtualenv'): {'logs/.gitkeep'},
    ('environment', 'conda'): {'logs/.gitkeep', 'environment.yml'},
    ('environment', 'system'): {'logs/.gitkeep'},
    ('environment', 'docker'): IMAGE | {'logs/.gitkeep', 'DOCKER.md', 'compose.yaml', 'nginx.conf'},
    ('environment', 'kubernetes'): IMAGE | MANIFESTS | {'KUBERNETES.md'},
    ('task_engine', 'celery'): {'requirements-celery.txt', '<slug>/celery.py'},
}
#: Files that two answers bring together.
FILES_FOR_BOTH = {
    (('environment', 'kubernetes'), ('task_engine', 'none')): {
        'deploy/cronjobs.yaml',
        'deploy/storage.yaml',
    },
}

#: Answers that no TOM can have together: each is refused, with these words.
REFUSED = [
    (
        {'database': 'sqlite', 'task_engine': 'celery'},
        'database = "sqlite" cannot be used: workers on many machines need one',
    ),
    (
        {'database': 'sqlite', 'environment': 'kubernetes'},
        'database = "sqlite" cannot be used: the pods of a cluster need one',
    ),
    (
        {'database': 'postgresql', 'environment': 'kubernetes', 'crontab': 'install'},
        'crontab = "install" cannot be used: in a cluster no crontab starts the jobs',
    ),
]

#: Copied as they are.
VERBATIM = ('app/', 'templates/', 'static/')

#: Directories that running or checking the template's own code may have left in it.
CACHES = {'__pycache__', '.pytest_cache', '.ruff_cache'}

#: Jinja that was not rendered, or that names the template's own variables.
LEFT_OVER = re.compile(rb'\{\{|\{%|\{#|cookiecutter', re.IGNORECASE)


def pairs_of(answers: dict[str, str]) -> set[frozenset[tuple[str, str]]]:
    """Every two answers that are given together in `answers`."""
    return {frozenset(pair) for pair in itertools.combinations(answers.items(), 2)}


def is_refused(answers: dict[str, str]) -> bool:
    """Whether no TOM can have these answers."""
    return any(refused.items() <= answers.items() for refused, _ in REFUSED)


def combinations(*names: str) -> list[dict[str, str]]:
    """A few sets of answers to `names` in which every two values of two answers meet at least once."""
    every = [
        answers
        for values in itertools.product(*(CHOICES[name] for name in names))
        if not is_refused(answers := dict(zip(names, values, strict=True)))
    ]
    missing = set().union(*map(pairs_of, every))
    chosen = []
    while missing:
        best = max(every, key=lambda answers: len(pairs_of(answers) & missing))
        chosen.append(best)
        missing -= pairs_of(best)
    return chosen


def files_in(root: Path, *, below: str = '') -> set[str]:
    """The files in `root`/`below` as paths from `root`, without what Python's tools leave there."""
    return {
        str(path.relative_to(root))
        for path in (root / below).rglob('*')
        if path.is_file() and not CACHES.intersection(path.parts)
    }


def expected_files(answers: dict[str, str]) -> set[str]:
    """The files that these answers bring, apart from those in app/ and tom_auto/."""
    further = [FILES_FOR.get(answer, set()) for answer in answers.items()]
    both = [FILES_FOR_BOTH.get(pair, set()) for pair in itertools.combinations(answers.items(), 2)]
    return {name.replace('<slug>', 'my_tom') for name in FILES.union(*further, *both)}


@pytest.mark.parametrize(
    'answers', combinations(*CHOICES), ids=lambda answers: '-'.join(answers.values())
)
def test_a_bake_writes_exactly_the_expected_files(answers: dict[str, str], tmp_path: Path) -> None:
    made = bake(tmp_path, **answers)
    assert made.status == 0, made.printed
    template = TEMPLATE / '{{cookiecutter.project_slug}}'
    library = files_in(TEMPLATE, below='tom_auto')
    assert files_in(made.project) == (
        expected_files(answers) | files_in(template, below='app') | library
    )
    for name in files_in(made.project):
        content = (made.project / name).read_bytes()
        if name in library:
            assert content == (TEMPLATE / name).read_bytes(), f'{name} differs from the library'
            assert not (made.project / name).is_symlink()
        elif name.startswith(VERBATIM):
            assert content == (template / name).read_bytes(), f'{name} differs from the template'
        else:
            found = LEFT_OVER.search(content)
            assert not found, f'{name}: left over {content[found.start() - 40 : found.end() + 40]}'
        assert str(tmp_path).encode() not in content, f'{name} holds a path of the baker'
        assert str(TEMPLATE).encode() not in content, f'{name} holds a path of the template'


@pytest.mark.parametrize(('answers', 'said'), REFUSED)
def test_answers_that_exclude_each_other_are_refused(
    answers: dict[str, str], said: str, tmp_path: Path
) -> None:
    made = bake(tmp_path, **answers)
    assert made.status != 0
    assert said in made.printed
    assert not made.project.exists()


def test_every_value_of_every_answer_is_baked() -> None:
    baked = {pair for answers in combinations(*CHOICES) for pair in answers.items()}
    assert baked == {(name, value) for name, values in CHOICES.items() for value in values}


def test_every_answer_and_every_choice_has_a_human_prompt() -> None:
    prompts = ANSWERS['__prompts__']
    assert list(prompts) == [name for name in ANSWERS if not name.startswith('_')]
    for name, values in CHOICES.items():
        prompt = prompts[name]
        explained = set(prompt) - {'__prompt__'} if isinstance(prompt, dict) else set(values)
        assert explained == set(values), name


def test_answers_reach_the_files(tmp_path: Path) -> None:
    answers = {'target_type': 'NON_SIDEREAL', 'environment': 'conda', 'schedule': 'daily'}
    made = bake(tmp_path, database='postgresql', project_name='Comets', **answers, slug='comets')
    assert "TARGET_TYPE = 'NON_SIDEREAL'" in (made.project / 'comets/settings.py').read_text()
    schedule = (made.project / 'schedule.toml').read_text()
    assert 'environment = "conda"' in schedule
    assert 'when = "daily"' in schedule
    assert 'DATABASE_URL=postgresql:///comets\n' in (made.project / '.env.example').read_text()


def test_file_modes(default_bake) -> None:
    for path in default_bake.project.rglob('*'):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & stat.S_IWOTH, f'{path} is writable for everyone'
        executable = bool(mode & stat.S_IXUSR)
        assert executable == (path.is_dir() or path.name == 'manage.py'), path


def test_e11_git_never_takes_what_is_secret_or_made_by_the_tom(tmp_path: Path) -> None:
    project = bake(tmp_path, environment='docker').project
    unwanted = [
        '.env',
        'local_settings.py',
        'backups/2026-01-01T00.00.00.tar',
        'backups/env',
        'certificates/privkey.pem',
        'db.sqlite3',
        'db.sqlite3-wal',
        'data/m-31/lco/1/image.fits',
        'logs/tom.log',
        '.cache/crontab/1',
    ]
    for name in unwanted:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    git(project, 'init', '-q')
    git(project, 'add', '-A')
    listed = subprocess.run(
        ['git', '-C', project, 'ls-files'], capture_output=True, text=True, check=True
    )
    taken = set(listed.stdout.splitlines())
    assert taken & set(unwanted) == set()
    assert {'.env.example', 'data/.gitkeep', 'logs/.gitkeep', 'manage.py'} < taken


def test_the_same_answers_give_the_same_files(default_bake, tmp_path: Path) -> None:
    again = bake(tmp_path)
    assert files_in(again.project) == files_in(default_bake.project)
    _, differ, errors = filecmp.cmpfiles(
        default_bake.project, again.project, files_in(again.project), shallow=False
    )
    assert (differ, errors) == (['schedule.toml'], [])
    one, other = (
        (project / 'schedule.toml').read_text().splitlines()
        for project in (default_bake.project, again.project)
    )
    [(mine, theirs)] = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert re.fullmatch(r'id = "[0-9a-f]{8}"  # made once: .*', mine), 'two TOMs, two minutes'
    assert theirs.startswith('id = ')


def test_baking_again_keeps_what_the_user_made(tmp_path: Path) -> None:
    first = bake(tmp_path)
    own = {
        'db.sqlite3': 'rows',
        'local_settings.py': 'DEBUG = True\n',
        'data/frame.fits': 'SIMPLE',
        'app/facility.py': '"""My own."""\n',
        'app/migrations/0001_initial.py': '"""My own."""\n',
        'templates/tom_common/about.html': '{{ mine }}\n',
    }
    for name, content in own.items():
        (first.project / name).parent.mkdir(parents=True, exist_ok=True)
        (first.project / name).write_text(content)
    before = files_in(first.project)
    second = bake(tmp_path, '-f')
    assert second.status == 0, second.printed
    assert files_in(second.project) == before
    assert {name: (second.project / name).read_text() for name in own} == own


def test_refused_hooks_leave_the_same_project(default_bake, tmp_path: Path) -> None:
    made = bake(tmp_path, '--accept-hooks', 'no')
    assert made.status == 0, made.printed
    assert files_in(made.project) == files_in(default_bake.project)


@pytest.mark.parametrize(
    ('name', 'slug'),
    [
        ('My TOM', 'my_tom'),
        ('TOM', 'my_tom'),
        ('TOM of X', 'my_tom_of_x'),
        ('3 TOMs', 'my_3_toms'),
        ('Test', 'my_test'),
        ('Übung', 'ubung'),
        ('Nuits d’été', 'nuits_dete'),
        ('\N{TELESCOPE}', 'my_tom'),
        ('a' * 200, 'a' * 40),
        ('ab ' * 70, 'ab_' * 13 + 'a'),
        ('abcd ' * 40, 'abcd_' * 7 + 'abcd'),
    ],
)
def test_the_slug_follows_from_the_name(name: str, slug: str, tmp_path: Path) -> None:
    made = bake(tmp_path, project_name=name, slug=slug)
    assert made.status == 0, made.printed
    assert {path.name for path in tmp_path.iterdir() if path.name != '.home'} == {slug}
    assert slug.isidentifier()
    assert len(slug) <= 40
    assert not slug.endswith('_')


def test_the_readme_has_every_answer_with_its_default_first() -> None:
    text = (TEMPLATE / 'README.md').read_text(encoding='utf-8')
    rows = {
        row[0]: row[1:]
        for row in (re.findall(r'`([^`]+)`', line) for line in text.splitlines())
        if row and row[0] in ANSWERS['__prompts__']
    }
    assert list(rows) == list(ANSWERS['__prompts__'])
    assert {name: rows[name] for name in CHOICES} == CHOICES
    assert rows['project_name'] == [ANSWERS['project_name']]


@pytest.mark.parametrize('environment', CHOICES['environment'])
@pytest.mark.parametrize('database', CHOICES['database'])
def test_the_generated_readme_names_only_what_is_there(
    environment: str, database: str, tmp_path: Path
) -> None:
    if is_refused({'environment': environment, 'database': database}):
        return
    made = bake(tmp_path, environment=environment, database=database)
    text = (made.project / 'README.md').read_text(encoding='utf-8')
    assert text.startswith('# My TOM\n')
    assert not re.search(r'\n\n\n', text), 'two empty lines'
    for place in re.findall(
        r'^\| `([^`]+)`', text.partition('## Where things are')[2], re.MULTILINE
    ):
        assert (made.project / place).exists(), place
    commands = re.findall(r'manage\.py (\w+)', text)
    own = {path.stem for path in made.project.glob('*/management/commands/[a-z]*.py')}
    assert {*commands} - {
        'migrate',
        'makemigrations',
        'createsuperuser',
        'runserver',
        'check',
        'collectstatic',
    } <= own


def lines(project: Path, *unwanted: str) -> int:
    """The lines of the files of a project, but for those whose path begins with `unwanted`."""
    return sum(
        len(path.read_text(encoding='utf-8').splitlines())
        for path in project.rglob('*')
        if path.is_file() and not str(path.relative_to(project)).startswith(unwanted)
    )


def test_what_its_user_owns_is_small_enough_to_read(default_bake) -> None:
    project = default_bake.project
    assert lines(project, 'tom_auto/', 'static/vendor/', 'requirements') < 1300
    assert lines(project / 'app', 'tests/') < 250
    assert lines(project / 'app' / 'tests') < 200
