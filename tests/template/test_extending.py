"""What a user adds to a TOM goes into their own files: none of it touches the library."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copy, copytree

import pytest

from baking import TEMPLATE, bake
from observing import BROUGHT_HOME, RECORD, observatory
from running import manage, with_django

OWN = TEMPLATE / 'docs' / 'own.md'
pytestmark = pytest.mark.xdist_group('extending')  # what is made here, is made once


@pytest.fixture(scope='module')
def fresh(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TOM as it was made, with its tables."""
    made = bake(tmp_path_factory.mktemp('fresh'))
    assert made.status == 0, made.printed
    copy(migrated, made.project / 'db.sqlite3')
    return made.project


@pytest.fixture
def tom(fresh: Path, tmp_path: Path) -> Iterator[Path]:
    """The same for one test, which leaves the library as it is."""
    project = copytree(fresh, tmp_path / fresh.name)
    before = library(project)
    yield project
    assert library(project) == before, 'the library was touched'


def library(project: Path) -> dict[str, bytes]:
    """The files of tom_auto and what they hold, but for byte code."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in (project / 'tom_auto').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def done(project: Path, *arguments: str) -> str:
    """What a command of manage.py prints, which goes well."""
    ended = manage(project, *arguments)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def files_of_the_guide(project: Path, heading: str) -> list[str]:
    """Write each file that this part of docs/own.md shows; the first line of each names it."""
    [part] = re.findall(rf'^## {heading}\n(.*?)(?=^## |\Z)', OWN.read_text(), re.M | re.S)
    shown = re.findall(r'```\w+\n(?:# |\{# )(\S+\.\w+)(?: #\})?\n(.*?)```', part, re.S)
    for name, text in shown:
        file = project / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return [name for name, _ in shown]


def test_a_model(tom: Path) -> None:
    append(
        tom / 'app' / 'models.py',
        """
from django.db import models
from tom_observations.models import ObservationRecord


class Note(models.Model):
    record = models.ForeignKey(ObservationRecord, on_delete=models.CASCADE)
    text = models.TextField()
""",
    )
    assert 'app/migrations/0001_initial.py' in done(tom, 'makemigrations', 'app')
    assert 'Applying app.0001_initial... OK' in done(tom, 'migrate')

    # An update of the library brings a migration, which has nothing to do with the user's.
    migrations = tom / 'tom_auto' / 'migrations'
    newest = max(migrations.glob('[0-9]*.py')).stem
    newer = migrations / '9999_newer.py'
    newer.write_text(f"""
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '{newest}')]
    operations = [migrations.RunSQL('SELECT 1')]
""")
    assert 'Applying tom_auto.9999_newer... OK' in done(tom, 'migrate')
    newer.unlink()


def test_a_facility(tom: Path) -> None:
    append(
        tom / 'app' / 'facilities.py',
        """

class SecondFacility(ExampleFacility):
    name = 'Second'

    def get_terminal_observing_states(self):
        return ['COMPLETED']
""",
    )
    with observatory(tom) as entry:
        (tom / 'local_settings.py').write_text(f"""
from my_tom.settings import FACILITIES, TOM_FACILITY_CLASSES

TOM_FACILITY_CLASSES += ['app.facilities.ExampleFacility', 'app.facilities.SecondFacility']
FACILITIES['Example'] = FACILITIES['Second'] = {entry}
""")
        with_django(tom, RECORD.format(requests=[('Second', '1'), ('Example', '2')]))
        done(tom, 'updatedata')
    home = json.loads(with_django(tom, BROUGHT_HOME).splitlines()[-1])
    assert home == [['Second', 'COMPLETED', 2], ['Example', 'COMPLETED', 2]]


def test_a_hook(tom: Path) -> None:
    with observatory(tom) as entry:
        (tom / 'local_settings.py').write_text(f"""
from my_tom.settings import FACILITIES, HOOKS

FACILITIES['LCO'] = {entry}
HOOKS['data_product_post_save'] = 'app.hooks.data_product_saved'
HOOKS['observation_change_state'] = 'app.hooks.observation_changed'
""")
        with_django(tom, RECORD.format(requests=[('LCO', '1')]))
        done(tom, 'updatedata')
    log = (tom / 'logs' / 'tom.log').read_text()
    assert log.count('INFO app.hooks: Saved ') == 2
    assert 'M 31 @ LCO: COMPLETED, was' in log


def test_a_command_and_when_it_runs(tom: Path) -> None:
    (tom / 'app' / 'management' / 'commands' / 'mine.py').write_text("""
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def handle(self, **options):
        self.stdout.write('Mine ran.')
""")
    append(tom / 'schedule.toml', '\n[mine]\nwhen = "30 4 * * *"\n')
    assert done(tom, 'mine') == 'Mine ran.\n'
    first, second = done(tom, 'schedule', 'show').splitlines()
    assert ' schedule run updatedata >> ' in first
    assert second.startswith('30 4 * * * ')
    assert f'{tom}/manage.py schedule run mine >> ' in second
    assert done(tom, 'schedule', 'run', 'mine') == 'Mine ran.\n'


def test_what_happens_before_and_after_updatedata(tom: Path) -> None:
    file = tom / 'app' / 'management' / 'commands' / 'updatedata.py'
    call = 'super().handle(**options)'
    text = file.read_text()
    assert call in text
    before, after = "self.stdout.write('Before.')", "self.stdout.write('After.')"
    file.write_text(text.replace(call, f'{before}\n        {call}\n        {after}'))
    first, *report, last = done(tom, 'updatedata', '--json').splitlines()
    assert (first, last) == ('Before.', 'After.')
    assert json.loads(*report)['due'] == 0


def test_a_page_and_a_link_to_it(tom: Path) -> None:
    apps = tom / 'app' / 'apps.py'
    lines = [
        line.replace('    # ', '    ', 1) if line.startswith('    # ') else line.replace('#', '')
        for line in apps.read_text().splitlines()
    ]
    apps.write_text('\n'.join(lines) + '\n')
    assert files_of_the_guide(tom, 'A page') == [
        'app/views.py',
        'app/urls.py',
        'templates/app/mine.html',
        'templates/app/nav.html',
    ]
    printed = with_django(
        tom,
        """
from django.test import Client
from tom_targets.models import Target
Target.objects.create(name='M 31', type='SIDEREAL', permissions='OPEN')
Target.objects.create(name='Hidden', type='SIDEREAL', permissions='PRIVATE')
client = Client(SERVER_NAME='localhost')
answer = client.get('/mine/', secure=True)
print(answer.status_code, answer.content.decode())
print('Home', client.get('/', secure=True).status_code)
""",
    )
    assert printed.startswith('200 ')
    assert '<h1>My page</h1>' in printed
    assert '<li>M 31</li>' in printed
    assert 'Hidden' not in printed
    assert 'href="/mine/">Mine</a>' in printed
    assert 'Home 200' in printed
    assert 'href="/automation/"' in printed


def test_a_setting(tom: Path) -> None:
    [example] = (tom / 'my_tom' / 'settings.py').read_text().split('"""')[1].split('set here:')[1:]
    (tom / 'local_settings.py').write_text('\n'.join(line.strip() for line in example.splitlines()))
    show = 'from tom_auto.conf import automation; print(automation())'
    assert 'WORKERS=2, ' in with_django(tom, show)
