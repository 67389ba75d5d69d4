"""A generated TOM is sound for every answer: its checks, its style, its tests, its settings."""

import ast
import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from baking import bake
from running import clean_environment, manage, run, tom_python, tool, with_django
from test_bake_files import CHOICES, combinations, is_refused

PRODUCTION = {
    'DEBUG': 'false',
    'HTTPS': 'true',
    'ALLOWED_HOSTS': 'tom.example.org',
    'SECRET_KEY': 'only-for-this-test-0123456789-abcdefghijklmnopqrstuvwxyz',
}


def few() -> list[dict[str, str]]:
    """Answers in which every legal pair of environment, database and task engine occurs.

    And every value of every other answer.
    """
    chosen = [
        {name: values[number % len(values)] for name, values in CHOICES.items()} | three
        for number, three in enumerate(combinations('environment', 'database', 'task_engine'))
    ]
    legal = [each | {'crontab': 'print'} if is_refused(each) else each for each in chosen]
    assert not any(map(is_refused, legal))
    assert all({each[name] for each in legal} == set(CHOICES[name]) for name in CHOICES)
    return legal


TOMS = few()

HTTPS, PLAIN = {'DEBUG': 'false', 'HTTPS': 'true'}, {'DEBUG': 'true', 'HTTPS': 'false'}

#: Variables, and what local_settings.py may say. Every two values of these three meet at least once:
#: who may look, by whose permissions, and whether over https. The rest comes along.
LEGAL = [
    ({}, ''),
    (
        HTTPS,
        """
AUTH_STRATEGY = 'LOCKED'
TARGET_PERMISSIONS_ONLY = False
TARGET_DEFAULT_PERMISSION = 'OPEN'
ALLOWED_HOSTS = ['tom.example.org']
OPEN_URLS = []
""",
    ),
    (
        PLAIN,
        """
AUTH_STRATEGY = 'LOCKED'
TARGET_PERMISSIONS_ONLY = True
TOM_MFA_REQUIRED = 'all'
TOM_TERMS_OF_SERVICE_VERSION = '1'
TOM_REQUIRED_USER_FIELDS = ['first_name']
TIME_ZONE = 'Pacific/Auckland'
""",
    ),
    (
        PLAIN,
        """
from my_tom.settings import TOM_AUTO
AUTH_STRATEGY = 'READ_ONLY'
TARGET_PERMISSIONS_ONLY = False
TOM_AUTO |= {'PAGE_FOR': 'staff', 'WANTED_FRAMES': {'LCO': ['*-e91.fits.fz']}, 'WORKERS': 1}
FACILITIES = {}
ADMINS = [('Ann', 'ann@example.org')]
""",
    ),
    (
        HTTPS,
        """
AUTH_STRATEGY = 'READ_ONLY'
TARGET_PERMISSIONS_ONLY = True
TARGET_DEFAULT_PERMISSION = 'PUBLIC'
AUTO_THUMBNAILS = True
TARGET_TYPE = 'NON_SIDEREAL'
HINTS_ENABLED = True
STORAGES = {
    'default': {'BACKEND': 'no.such.Storage'},
    'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'},
}
""",
    ),
]

#: Runs a test on a few TOMs, one worker a TOM, so that each is made once.
on_each_tom = pytest.mark.parametrize(
    'tom',
    [
        pytest.param(answers, id='-'.join(answers.values()), marks=pytest.mark.xdist_group(str(n)))
        for n, answers in enumerate(TOMS)
    ],
    indirect=True,
    scope='module',
)


@pytest.fixture(scope='module')
def tom(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TOM made with the answers of the parameter."""
    made = bake(tmp_path_factory.mktemp('tom'), **request.param)
    assert made.status == 0, made.printed
    return made.project


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """Which of TOMS this test has."""
    return TOMS.index(request.node.callspec.params['tom'])


def sqlite(project: Path) -> dict[str, str]:
    """The variables that give any TOM a database of its own, whatever its answers say."""
    return {'DATABASE_URL': f'sqlite:///{project / "db.sqlite3"}', 'TASK_ENGINE': 'none'}


def settings_of(project: Path, *names: str, **variables: str) -> list:
    """The values that Django sees for these settings of the project."""
    code = (
        'import json, sys; from django.conf import settings; '
        'print(json.dumps([getattr(settings, name) for name in sys.argv[1:]]))'
    )
    module = {'DJANGO_SETTINGS_MODULE': f'{project.name}.settings'}
    done = run(project, tom_python(), '-c', code, *names, **module, **variables)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


# --- Every combination of answers ----------------------------------------------------------


@on_each_tom
def test_style_is_clean(tom: Path) -> None:
    for command in (['check'], ['format', '--check']):
        done = tool(tom, 'ruff', *command, '--no-cache', '.')
        assert done.returncode == 0, done.stdout


@on_each_tom
def test_django_finds_no_fault_and_no_migration_missing(tom: Path, number: int) -> None:
    """As its user has it first, or in production: all in one process, as Django takes seconds to start."""
    in_production = number % 2 == 1
    with_django(
        tom,
        'from django.core.management import call_command\n'
        f'call_command("check", deploy={in_production}, fail_level="WARNING")\n'
        'call_command("makemigrations", check_changes=True, dry_run=True)\n',
        **(PRODUCTION if in_production else {}),
        **sqlite(tom),
    )


@on_each_tom
def test_its_own_tests_pass_whatever_its_settings_are(
    tom: Path, number: int, tmp_path: Path
) -> None:
    variables, settings = LEGAL[number % len(LEGAL)]
    project = shutil.copytree(tom, tmp_path / 'my_tom')
    if settings:  # and otherwise as it was baked
        (project / 'local_settings.py').write_text(settings)
        (project / 'README.md').write_text('# Our TOM\n')
    command = [tom_python(), '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
    done = run(project, *command, **sqlite(project), **variables)
    assert done.returncode == 0, done.stdout
    left = [path for path in (project / 'data').rglob('*') if path.name != '.gitkeep']
    assert left == [], 'a test left data in the TOM'


@on_each_tom
def test_the_database_is_the_one_that_was_asked_for(tom: Path, number: int) -> None:
    asked = TOMS[number]['database']
    if TOMS[number]['environment'] == 'docker':  # Compose says it to the containers
        compose = (tom / 'compose.yaml').read_text(encoding='utf-8')
        assert re.findall(r'DATABASE_URL:-(\w+):', compose) == [asked]
    else:
        [databases] = settings_of(tom, 'DATABASES')
        engine = databases['default']['ENGINE'].removeprefix('django.db.backends.')
        assert engine.removesuffix('3') == asked


#: A command of manage.py; how often the garbage collector has looked for something.
COUNTED = """
import gc, runpy, sys
sys.argv = ['manage.py', 'version']
runpy.run_path('manage.py', run_name='__main__')
print('LOOKED', gc.get_stats()[0]['collections'])
"""


def test_a_start_looks_for_little_garbage(project: Path) -> None:
    """It did so 400 times."""
    done = run(project, tom_python(), '-c', COUNTED)
    assert int(done.stdout.rpartition('LOOKED')[2]) < 100, done.stdout


# --- .env and local_settings.py ------------------------------------------------------------


def test_the_first_run_makes_env_and_no_later_run_touches_it(project: Path) -> None:
    file = project / '.env'
    [key] = settings_of(project, 'SECRET_KEY')
    made = file.stat()
    assert stat.S_IMODE(made.st_mode) == 0o600
    assert f'SECRET_KEY={key}\n' in file.read_text()
    assert len(key) >= 50
    assert settings_of(project, 'SECRET_KEY') == [key]
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)


def test_a_machine_that_sets_the_key_itself_gets_no_env(project: Path) -> None:
    assert settings_of(project, 'SECRET_KEY', **PRODUCTION) == [PRODUCTION['SECRET_KEY']]
    assert not (project / '.env').exists()


def test_the_environment_wins_over_env(project: Path) -> None:
    text = (project / '.env.example').read_text().replace('LCO_API_KEY=', 'LCO_API_KEY=from$file')
    (project / '.env').write_text(text.replace('SECRET_KEY=', 'SECRET_KEY=s'))
    [from_file] = settings_of(project, 'FACILITIES')
    [from_environment] = settings_of(project, 'FACILITIES', LCO_API_KEY='given')
    assert from_file['LCO']['api_key'] == 'from$file'
    assert from_environment['LCO']['api_key'] == 'given'


def test_what_the_address_of_the_database_asks_for_is_done(project: Path) -> None:
    """With sslmode=verify-full dropped, libpq takes any server's word, and even no encryption."""
    url = 'postgresql://u:p@db.example.org/tom?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3'
    [databases] = settings_of(project, 'DATABASES', DATABASE_URL=url)
    options = databases['default']['OPTIONS']
    asked = {'sslmode': 'verify-full', 'sslrootcert': '/ca.pem', 'connect_timeout': 3}
    assert options | asked == options
    assert options['tcp_user_timeout'] == 60_000
    url = f'sqlite:///{project / "db.sqlite3"}?timeout=90'
    [databases] = settings_of(project, 'DATABASES', DATABASE_URL=url)
    assert databases['default']['OPTIONS']['timeout'] == 90
    assert databases['default']['OPTIONS']['transaction_mode'] == 'IMMEDIATE'


def test_first_runs_at_the_same_moment_make_one_env(project: Path) -> None:
    code = 'input(); from my_tom import settings; print(settings.SECRET_KEY)'
    started = [
        subprocess.Popen(
            [tom_python(), '-c', code],
            cwd=project,
            env=clean_environment(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)
    ]
    for process in started:
        process.stdin.write('\n')
        process.stdin.flush()
    keys = {process.communicate(timeout=120)[0] for process in started}
    assert len(keys) == 1
    assert f'SECRET_KEY={keys.pop()}' in (project / '.env').read_text()
    assert sorted(path.name for path in project.glob('.env*')) == ['.env', '.env.example']


@pytest.mark.parametrize(
    'line',
    [
        'DEBUG=maybe',
        'EMAIL_PORT=abc',
        'EMAIL_PORT=99999',
        'LCO_PORTAL_URL=observe.lco.global',
        'GEM_PORTAL_URL_GS=ftp://x',
        'TOM="München"',
    ],
)
def test_a_mistake_in_env_is_named_by_its_line(project: Path, line: str) -> None:
    encoded = f'SECRET_KEY=s\n\nexport {line}\n'.encode('latin-1')
    (project / '.env').write_bytes(encoded)
    done = manage(project, 'check')
    assert done.returncode != 0
    last = done.stdout.strip().splitlines()[-1]
    assert '.env, line 3: ' in last
    assert line.partition('=')[0] in last or 'UTF-8' in last


def test_a_mistake_in_the_environment_is_not_that_of_env(project: Path) -> None:
    done = manage(project, 'check', DEBUG='maybe')
    assert done.returncode != 0
    assert "the environment: DEBUG='maybe'" in done.stdout


def test_behind_the_proxy_the_visitors_address_counts(project: Path) -> None:
    code = """
from allauth.core.internal.httpkit import get_client_ip
from django.test import RequestFactory
print(get_client_ip(RequestFactory().get('/', headers={'X-Forwarded-For': '6.6.6.6, 1.2.3.4'})))
"""
    assert with_django(project, code, BEHIND_PROXY='true').strip() == '1.2.3.4'
    assert with_django(project, code).strip() == '127.0.0.1'  # anybody could send the header


def test_no_stranger_can_have_mails_sent_to_the_admins(project: Path) -> None:
    """Scanners ask under names that the TOM has not, all day long."""
    code = """
from django.core import mail
from django.test import Client, override_settings
to_memory = 'django.core.mail.backends.locmem.EmailBackend'
with override_settings(ADMINS=[('Ada', 'ada@example.org')], EMAIL_BACKEND=to_memory):
    answer = Client().get('/', headers={'host': 'evil.example'})
print('GOT', answer.status_code, len(getattr(mail, 'outbox', [])))
"""
    done = with_django(project, code, DEBUG='false', ALLOWED_HOSTS='tom.example.org', HTTPS='false')
    assert 'GOT 400 0' in done
    assert 'evil.example' in (project / 'logs' / 'tom.log').read_text()


def test_what_the_tom_makes_is_for_its_owner_alone(project: Path) -> None:
    before = os.umask(0o022)
    try:
        assert manage(project, 'migrate', '--verbosity', '0').returncode == 0
        code = """
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
default_storage.save('a/b.fits', ContentFile(b'x'))
from django.core.cache import cache
cache.set('x', 1)
"""
        with_django(project, code)
    finally:
        os.umask(before)
    made = [project / name for name in ('.env', 'db.sqlite3', 'logs/tom.log', '.cache', 'data/a')]
    made += [project / 'data/a/b.fits']
    assert [path for path in made if path.stat().st_mode & 0o077] == []
    assert stat.S_IMODE(project.stat().st_mode) == 0o700


def test_local_settings_are_read_last_and_win(project: Path) -> None:
    (project / 'local_settings.py').write_text("TOM_NAME = 'Local'\nFACILITIES = {}\n")
    assert settings_of(project, 'TOM_NAME', 'FACILITIES') == ['Local', {}]


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        ('import no_such_module', "No module named 'no_such_module'"),
        ('TOM_NAME = 1 / 0', 'ZeroDivisionError'),
        ('TOM_NAME = (', 'SyntaxError'),
    ],
)
def test_a_mistake_in_local_settings_is_not_swallowed(
    mistake: str, message: str, project: Path
) -> None:
    (project / 'local_settings.py').write_text(mistake + '\n')
    done = manage(project, 'check')
    assert done.returncode != 0
    assert message in done.stdout


# --- Names that break quoting --------------------------------------------------------------


@pytest.mark.parametrize(
    'name',
    [
        "O'Brien's",
        'the "best" TOM',
        """it's "both" 'of' them""",
        'back\\slash\\',
        '\\n %s $HOME `id` #',
        '{braces} and {0}',
        '<b>&amp;</b>',
        'Übung für Anfänger',
        'Обсерватория 天文台',
        '\N{TELESCOPE}\N{MILKY WAY}',
        ' spaces around ',
        *('x' * length for length in (85, 90, 95, 200)),
    ],
    ids=range(15),
)
def test_any_name_reaches_the_settings_as_it_is(name: str, tmp_path: Path) -> None:
    made = bake(tmp_path, project_name=name, project_slug='named')
    assert made.status == 0, made.printed
    tree = ast.parse((made.project / 'named' / 'settings.py').read_text(encoding='utf-8'))
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(assigned['TOM_NAME']) == name
    for command in (['check'], ['format', '--check', '--diff']):
        done = tool(made.project, 'ruff', *command, '--no-cache', 'manage.py', 'named')
        assert done.returncode == 0, done.stdout


# --- The lock files ------------------------------------------------------------------------


def pins(file: Path) -> dict[str, str]:
    """The version of each package that a lock file installs on this machine."""
    lines = re.findall(
        r'^([\w.-]+(?:\[[\w, -]+\])?==[^\\\n]+)', file.read_text(encoding='utf-8'), re.MULTILINE
    )
    pinned = [Requirement(line) for line in lines]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix('==')
        for pin in pinned
        if not pin.marker or pin.marker.evaluate()
    }


def needed(wanted: list[Requirement], installed: dict[str, metadata.Distribution]) -> set[str]:
    """The names of `wanted` and of all that they need, by what the installed packages say."""
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in installed[name].requires or []:
            further = Requirement(line)
            where = [{'extra': extra} for extra in extras] or [{'extra': ''}]
            if not further.marker or any(further.marker.evaluate(extra) for extra in where):
                wanted.append(further)
    return {name for name, _ in seen}


def test_celery_is_in_its_own_lock_and_in_no_other(default_bake, tmp_path: Path) -> None:
    made = bake(tmp_path, database='postgresql', task_engine='celery')
    plain, celery = (
        pins(made.project / name) for name in ('requirements.txt', 'requirements-celery.txt')
    )
    assert plain == pins(default_bake.project / 'requirements.txt')
    assert plain.items() < celery.items()
    assert celery.keys() - plain.keys() >= {'celery', 'kombu', 'redis', 'django-storages', 'boto3'}


@pytest.mark.parametrize('lock', ['requirements.txt', 'requirements-dev.txt'])
def test_the_lock_holds_what_pyproject_asks_for_and_nothing_else(default_bake, lock: str) -> None:
    declared = tomllib.loads((default_bake.project / 'pyproject.toml').read_text())['project']
    lines = declared['dependencies']
    if 'dev' in lock:
        lines = lines + declared['optional-dependencies']['dev']
    asked = [Requirement(line) for line in lines]
    pinned = pins(default_bake.project / lock)
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pinned[name]), requirement
    [packages] = tom_python().parent.parent.glob('lib/python3.*/site-packages')
    installed = {
        canonicalize_name(found.name): found for found in metadata.distributions(path=[packages])
    }
    assert needed(asked, installed) == set(pinned)


def test_both_locks_agree(default_bake) -> None:
    plain = pins(default_bake.project / 'requirements.txt')
    assert plain.items() <= pins(default_bake.project / 'requirements-dev.txt').items()
