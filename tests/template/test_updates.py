"""From one release to the next, in both ways: `cruft update`, and `tom_auto/` replaced by hand.

The project has been changed by its user in every place that is theirs. No update conflicts with
any of that, and all of it is kept, with crontab, `.env`, data and history.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from baking import clean_environment, commit, git, repository
from running import run, tom_python, with_django

pytestmark = pytest.mark.xdist_group('updates')  # what is made here, is made once

CRONTAB = """#!/bin/sh
here=$(dirname "$0")
case "$1" in
-l) cat "$here/table" 2>/dev/null || { echo "no crontab for me" >&2; exit 1; } ;;
*) cat "${1:--}" > "$here/table" ;;
esac
"""

#: The user's files, and what is added to each: nothing of the template's is kept from changing.
APPENDED = {
    'app/models.py': """
from django.db import models

class Night(models.Model):
    date = models.DateField()
""",
    'my_tom/settings.py': "\nTOM_AUTO['WORKERS'] = 3\nHOOKS['data_product_post_save'] = 'app.hooks.mine'\n",
    'app/hooks.py': '\n\ndef mine(products):\n    print(products)\n',
    'app/facilities.py': "\n\nclass Mine(ExampleFacility):\n    name = 'Mine'\n",
    'schedule.toml': '\n[nightly]\nwhen = "5 4 * * *"\n',
    '.env': '\nADMINS=me@example.org\n',
    'README.md': '\n## Our group\n\nAsk Ann before you change anything.\n',
    'static/tom_common/css/custom.css': '\nbody { color: navy; }\n',
    'templates/tom_common/index.html': '\n<p>Our TOM</p>\n',
}
NEW = {
    'app/management/commands/nightly.py': """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, **options):
        self.stdout.write('night')
""",
    'data/mine.fits': 'SIMPLE',
}
#: Makes a target, and a run in the history.
ROWS = """
from django.core.management import call_command
call_command('makemigrations', 'app', verbosity=0)
call_command('migrate', verbosity=0)
from django.utils import timezone
from tom_targets.models import Target
from tom_auto.models import UpdateRun
from app.models import Night
Target.objects.create(name='M 31', type='SIDEREAL', ra=10, dec=41)
Night.objects.create(date='2026-11-27')
UpdateRun.objects.create(job='updatedata', status='ok', host='h', pid=1, started=timezone.now(),
                         heartbeat=timezone.now(), finished=timezone.now())
"""
KEPT_ROWS = """
from tom_targets.models import Target
from tom_auto.models import UpdateRun
from app.models import Night
from django.core.management import call_command
print([Target.objects.count(), UpdateRun.objects.count(), Night.objects.count()])
call_command('migrate', check_unapplied=True)
call_command('check')
call_command('nightly')
"""
MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [('tom_auto', '{last}')]
    operations = [migrations.AlterField('updaterun', 'pid', models.PositiveIntegerField(default=0))]
"""


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f'{file.name} has no {old!r}'
    file.write_text(text.replace(old, new, 1))


@pytest.fixture(scope='module')
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with two releases, v1.0.0 and v2.0.0, between which everything changes that may."""
    place = repository(tmp_path_factory.mktemp('updates') / 'tom-auto')
    set_version(place, '1.0.0')
    ours, project = place / 'tom_auto', place / '{{cookiecutter.project_slug}}'
    migrations = sorted(file.stem for file in (ours / 'migrations').glob('0*.py'))
    (ours / 'migrations' / '9000_newer.py').write_text(MIGRATION.format(last=migrations[-1]))
    change(
        ours / 'models.py',
        'pid = models.PositiveIntegerField()',
        'pid = models.PositiveIntegerField(default=0)',
    )
    (ours / 'newer.py').write_text('NEWER = True\n')
    change(ours / 'scheduling' / 'cron_line.py', "' 2>&1'", "' 2>&1 </dev/null'")
    change(ours / 'versions.py', "'cronsim': '>=2.7,<3'", "'cronsim': '>=9,<10'")
    lock = project / 'requirements.txt'
    lock.write_text(re.sub(r'^cronsim==\S+', 'cronsim==9.0', lock.read_text(), flags=re.M))
    change(project / 'README.md', '## Start\n', '## Begin\n')
    change(project / '{{cookiecutter.project_slug}}' / 'settings.py', 'import', '# Newer.\nimport')
    for name in ('schedule.toml', '.env.example', 'app/hooks.py', 'app/models.py'):
        file = project / name
        file.write_text(f'{file.read_text()}\n# Newer.\n')
    set_version(place, '2.0.0')
    return place


def set_version(place: Path, version: str) -> None:
    """As `make release` does."""
    environment = os.environ | {'PATH': f'{place.parent / "bin"}:{os.environ["PATH"]}'}
    stub = place.parent / 'bin' / 'make'
    stub.parent.mkdir(exist_ok=True)
    stub.write_text('#!/bin/sh\n')
    stub.chmod(0o755)
    changelog = place / 'CHANGELOG.md'
    changelog.write_text(
        changelog.read_text().replace('## Unreleased\n', '## Unreleased\n\n- News.\n', 1)
    )
    commit(place, 'News')
    me = {'NAME': 'me', 'EMAIL': 'me@example.org'}
    known = {f'GIT_{who}_{key}': me[key] for who in ('AUTHOR', 'COMMITTER') for key in me}
    command = [sys.executable, place / 'tools' / 'release.py', version]
    subprocess.run(
        command, env=environment | known, timeout=60, check=True, stdout=subprocess.DEVNULL
    )


def cruft(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, '-m', 'cruft', *arguments],
        cwd=project, env=clean_environment(project.parent), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def former(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of v1.0.0 as its user has made it: in use, scheduled, and in git."""
    place = tmp_path_factory.mktemp('former')
    cruft(place, 'create', template.as_uri(), '--no-input', '--checkout', 'v1.0.0')
    project = place / 'my_tom'
    git(project, 'init', '-q')
    commit(project, 'As it was made')
    (place / 'bin').mkdir()
    (place / 'bin' / 'crontab').write_text(CRONTAB)
    (place / 'bin' / 'crontab').chmod(0o755)
    (place / 'bin' / 'table').write_text('0 1 * * * backup-home\n')
    (project / '.venv' / 'bin').mkdir(parents=True)
    python = project / '.venv' / 'bin' / 'python'
    python.write_text(f'#!/bin/sh\nexec {tom_python()} "$@"\n')
    python.chmod(0o755)
    secret = f'SECRET_KEY={"x" * 50}'
    example = (project / '.env.example').read_text()
    (project / '.env').write_text(example.replace('SECRET_KEY=', secret, 1))
    for name, text in APPENDED.items():
        file = project / name
        file.write_text(file.read_text() + text)
    for name, text in NEW.items():
        (project / name).write_text(text)
    with_django(project, ROWS)
    done = in_its_crontab(project, 'schedule', 'install')
    assert done.returncode == 0, done.stdout
    commit(project, 'Ours')
    return project


def in_its_crontab(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f'{project.parent / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return run(project, tom_python(), 'manage.py', *words, PATH=path)


def by_cruft(project: Path, template: Path) -> None:
    cruft(project, 'update', '--skip-apply-ask', '--checkout', 'v2.0.0')


def by_hand(project: Path, template: Path) -> None:
    shutil.rmtree(project / 'tom_auto')
    shutil.copytree(template / 'tom_auto', project / 'tom_auto')


def theirs(project: Path) -> dict[str, bytes]:
    """What is the user's: the places that the README says are, and what no git knows."""
    places = ['app', 'templates', 'static', 'my_tom', 'data', 'schedule.toml', '.env', 'db.sqlite3']
    files = [file for name in places for file in [project / name, *(project / name).rglob('*')]]
    return {
        str(file.relative_to(project)): file.read_bytes()
        for file in files
        if file.is_file() and '__pycache__' not in file.parts
    } | {'crontab': (project.parent / 'bin' / 'table').read_bytes()}


def findings(project: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for finding in json.loads(in_its_crontab(project, 'doctor', '--json').stdout)['checks']:
        found.setdefault(finding['check'], []).append(finding)
    return found


@pytest.mark.parametrize('update', [by_cruft, by_hand])
def test_an_update_keeps_all_that_is_the_users(
    update: Callable[[Path, Path], None], former: Path, template: Path, tmp_path: Path
) -> None:
    for name in ('my_tom', 'bin', '.home'):
        shutil.copytree(former.parent / name, tmp_path / name, symlinks=True)
    project = tmp_path / 'my_tom'
    in_its_crontab(project, 'schedule', 'install')  # at its new place
    before = theirs(project)

    update(project, template)

    assert (project / 'tom_auto' / 'newer.py').exists()
    assert theirs(project) == before
    readme = (project / 'README.md').read_text()
    assert APPENDED['README.md'] in readme
    assert ('## Begin\n' in readme) == (update is by_cruft)
    assert not [*project.rglob('*.rej'), *project.rglob('*.orig')]
    assert '<<<<<<<' not in readme

    found = findings(project)
    assert '1 migrations are not applied' in found['Database'][0]['found']
    [version] = found['Version']
    assert 'tom-auto 2.0.0' in version['found'] and 'it needs cronsim>=9,<10' in version['found']
    assert f'(template {"2" if update is by_cruft else "1"}.0.0)' in version['found']
    locks = {'cronsim is ' in found['Packages'][0]['found']}
    assert locks == {update is by_cruft}
    assert found['Schedule'][0]['state'] == 'failed' and 'install' in found['Schedule'][0]['fix']

    printed = with_django(
        project,
        "from django.core.management import call_command\ncall_command('migrate')\n" + KEPT_ROWS,
    )
    assert '[1, 1, 1]' in printed and 'night' in printed
    assert in_its_crontab(project, 'schedule', 'install').returncode == 0
    table = (tmp_path / 'bin' / 'table').read_text()
    assert table.startswith('0 1 * * * backup-home\n') and '</dev/null' in table
