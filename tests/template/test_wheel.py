"""The package tom_auto: built from the repository, and installed into a TOM that was made by hand.

The TOM is one that tomtoolkit's own `tom_setup` makes. It has no logs/, no requirements.txt and no
.env; its settings are in the style of os.path, and its middleware knows nothing of tom_auto.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from baking import TEMPLATE, repository
from observing import BROUGHT_HOME, RECORD, observatory
from running import run, tom_python, with_django

pytestmark = pytest.mark.xdist_group('wheel')  # what is made here, is made once

#: What `tom_setup` asks: go on? name of the app; kind of target; hints?
ANSWERS = 'y\n\n1\n\n'

#: A command as the tutorial has it, which would run in the place of tom_auto's.
TUTORIAL = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, **options):
        print('Updated')
"""


def built(source: Path, into: Path) -> list[Path]:
    """The sdist and the wheel that hatchling makes of `source`, with the tools that are there."""
    command = [sys.executable, '-m', 'hatchling', 'build', '-d', into]
    subprocess.run(command, cwd=source, stdout=subprocess.DEVNULL, timeout=60, check=True)
    return sorted(into.iterdir(), key=lambda file: file.suffix)


@pytest.fixture(scope='module')
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist and the wheel of the repository as it is, whose library has been used."""
    place = tmp_path_factory.mktemp('package')
    source = repository(place / 'source')
    cache = source / 'tom_auto' / '__pycache__'
    cache.mkdir()
    (cache / 'conf.cpython-311.pyc').write_bytes(b'stale')
    return built(source, place / 'dist')


def library() -> set[str]:
    """The files of the library in the repository, but for its guides."""
    return {
        str(path.relative_to(TEMPLATE))
        for path in (TEMPLATE / 'tom_auto').rglob('*')
        if path.is_file() and path.suffix != '.md' and '__pycache__' not in path.parts
    }


def test_the_wheel_holds_the_library_and_nothing_else(packages: list[Path]) -> None:
    _, wheel = packages
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        [metadata] = [packed.read(name).decode() for name in names if name.endswith('METADATA')]
    assert {name for name in names if '.dist-info/' not in name} == library()
    assert {Path(name).suffix for name in library()} == {'.py', '.html', '.css', '.js', '.txt'}
    assert 'Requires-Dist: tomtoolkit' in metadata
    assert (metadata.splitlines()[1], wheel.name.endswith('-py3-none-any.whl')) == (
        'Name: tom-auto',
        True,
    )


def test_the_sdist_holds_what_a_wheel_is_made_of(packages: list[Path], tmp_path: Path) -> None:
    sdist, wheel = packages
    subprocess.run(['tar', '--no-same-owner', '-xf', sdist, '-C', tmp_path], timeout=60, check=True)
    with tarfile.open(sdist) as packed:
        names = {name.partition('/')[2] for name in packed.getnames()}
    [source] = tmp_path.iterdir()
    around = {'LICENSE', 'PKG-INFO', 'README.md', 'pyproject.toml', '.gitignore'}
    assert names == library() | around
    again = built(source, tmp_path / 'dist')[1]
    assert again.read_bytes() == wheel.read_bytes()


# --- In a TOM that was made by hand -------------------------------------------------------------


class Tom:
    """A TOM that was made by hand, with the wheel among its packages."""

    def __init__(self, project: Path, site: Path) -> None:
        self.project = project
        self.packages = {'PYTHONPATH': str(site)}

    def manage(self, *arguments: str, status: int = 0, **typed: str) -> str:
        """What a command of manage.py prints; it ends with `status`, and without a traceback."""
        command = [tom_python(), 'manage.py', *arguments]
        done = run(self.project, *command, **typed, **self.packages)
        assert done.returncode == status, done.stdout
        assert 'Traceback' not in done.stdout, done.stdout
        return done.stdout

    def django(self, code: str) -> str:
        """What `code` prints in the TOM."""
        return with_django(self.project, code, **self.packages)


@pytest.fixture(scope='module')
def tom(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tom]:
    """A TOM as LCO's make-tom makes it, after the documented steps: the package, INSTALLED_APPS, `migrate`."""
    place = tmp_path_factory.mktemp('adopted')
    install = ['-m', 'uv', 'pip', 'install', '--quiet', '--offline', '--no-deps', '--python']
    run(place, sys.executable, *install, tom_python(), '--target', place / 'site', packages[1])
    tom = Tom(place / 'old_tom', place / 'site')
    tom.project.mkdir()
    done = run(tom.project, tom_python(), '-m', 'django', 'startproject', 'old_tom', '../old_tom')
    assert done.returncode == 0, done.stdout
    tom.manage('migrate')  # the tables of Django alone
    settings = tom.project / 'old_tom' / 'settings.py'
    last = "    'django.contrib.staticfiles',\n"
    settings.write_text(settings.read_text().replace(last, f"{last}    'tom_setup',\n"))
    assert 'Setup complete!' in tom.manage('tom_setup', typed=ANSWERS)
    before = settings.read_text()
    with_app = before.replace("    'custom_code',\n]", "    'custom_code',\n    'tom_auto',\n]")
    assert with_app != before
    settings.write_text(with_app)
    with observatory(tom.project) as entry:
        classes = ['lco_redirect.LCORedirectFacility', 'lco.LCOFacility']
        (tom.project / 'local_settings.py').write_text(
            'DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"\n'
            f'FACILITIES = {{"LCO": {entry}}}\n'
            'TOM_FACILITY_CLASSES = [\n'
            f'    "tom_observations.facilities." + name for name in {classes}\n]\n'
        )
        migrate = "from django.core.management import call_command; call_command('migrate')\n"
        tom.django(migrate + RECORD.format(requests=[('LCORedirect', '1'), ('LCO', '2')]))
        yield tom


def test_the_checks_find_nothing_but_a_command_of_the_tutorial(tom: Tom) -> None:
    tom.manage('makemigrations', '--check', '--dry-run', 'tom_auto')
    mine = tom.project / 'custom_code' / 'management' / 'commands' / 'updatedata.py'
    mine.write_text(TUTORIAL)
    found = tom.manage('check')
    mine.unlink()
    assert 'System check identified 1 issue' in found
    assert '`manage.py updatedata` is the command of custom_code' in found
    assert "list 'tom_auto' before 'custom_code'" in found


def test_updatedata_brings_the_frames_home(tom: Tom) -> None:
    tom.manage('updatedata')
    home = json.loads(tom.django(BROUGHT_HOME).splitlines()[-1])
    assert home == [['LCORedirect', 'COMPLETED', 2], ['LCO', 'COMPLETED', 2]]


#: Asks for pages as a visitor and as the PI, and prints what came; the first argument of `pages`
#: is what the middleware must not have in its name.
PAGES = """
import html, json, re, time
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client, override_settings
from tom_auto.models import UpdateRun

def pages(without, who, *addresses):
    left = [name for name in settings.MIDDLEWARE if without not in name]
    with override_settings(MIDDLEWARE=left):
        browser = Client(SERVER_NAME='localhost')
        if who:
            browser.force_login(User.objects.get_or_create(
                username=who, is_superuser=True, is_staff=True)[0])
        return browser, [browser.get(address) for address in addresses]

def report(value):
    print('\\n' + json.dumps(value))
"""


def report(tom: Tom, code: str) -> list:
    """What `code` reports after it has asked for pages."""
    return json.loads(tom.django(PAGES + textwrap.dedent(code)).splitlines()[-1])


#: What a schedule.toml may hold, as every place shows it where there is none.
EXAMPLE = 'environment = "virtualenv"\n\n[updatedata]\nwhen = "hourly"'


def test_the_pages_are_there_with_their_style_and_their_link(tom: Tom) -> None:
    code = """
        addresses = ['/automation/', '/automation/runs/', '/']
        found = [
            [answer.status_code, 'tom_auto/automation.css' in text,
             'href="/automation/">Automation</a>' in re.sub(r'\\s+', ' ', text)]
            for who in (None, 'pi') for without in ('htmx', 'no such')
            for answer in pages(without, who, *addresses)[1]
            for text in [answer.content.decode()]
        ]
        [home] = pages('no such', 'pi', '/automation/')[1]
        report([found, finders.find('tom_auto/automation.css') is not None,
                html.unescape(home.content.decode())])
    """
    answers, style, home = report(tom, code)
    assert answers == [[200, True, True], [200, True, True], [200, False, True]] * 4
    assert style
    assert 'class="answer answer-failing mistake"' in home  # which keeps its lines apart
    assert str(tom.project / 'schedule.toml') in home
    assert indented(EXAMPLE, 4) in home


def test_a_button_starts_a_run(tom: Tom) -> None:
    code = """
        browser, _ = pages('no such', 'pi', '/automation/')
        answer = browser.post('/automation/updatedata/run/')
        until = time.monotonic() + 60
        mine = UpdateRun.objects.filter(started_by='pi').exclude(status='running')
        while not mine.exists() and time.monotonic() < until:
            time.sleep(0.1)
        report([answer.status_code, mine.get().status])
    """
    assert report(tom, code) == [302, 'ok']


def indented(text: str, width: int) -> str:
    return textwrap.indent(text, ' ' * width)


def test_schedule_shows_how_a_file_looks_and_then_its_line(tom: Tom) -> None:
    printed = tom.manage('schedule', 'show', status=1)
    assert str(tom.project / 'schedule.toml') in printed
    example = textwrap.dedent(printed.partition('For example:\n\n')[2]).strip()
    assert example == EXAMPLE

    (tom.project / 'schedule.toml').write_text(example)
    line = tom.manage('schedule', 'show')
    (tom.project / 'schedule.toml').unlink()
    assert f'{tom_python()} {tom.project / "manage.py"} schedule run updatedata >> ' in line
    assert f'mkdir {tom.project / "logs"} ' in line  # only a generated TOM has it


def test_doctor_runs_to_its_end_and_sends_nobody_to_files_that_are_not_there(tom: Tom) -> None:
    found = tom.manage('doctor', status=1)
    assert [line[8:23].strip() for line in found.splitlines() if line[:1].strip()] == [
        *('Version', 'Python', 'Packages', 'Database', 'Data', 'Data', 'Privacy', 'Observatories'),
        *(
            'Observatories',
            'Network',
            'Clock',
            'Workers',
            'Schedule',
            'Hooks',
            'Runs',
            'Not supported',
            'Files',
            'Queries',
            'Cadences',
            'Mail',
            'Alerts',
        ),
    ]
    assert 'ok      Observatories  LCORedirect, LCO: the portal takes the token' in found
    [schedule] = [line for line in found.splitlines() if line.startswith('failed  Schedule ')]
    assert str(tom.project / 'schedule.toml') in schedule
    assert indented(EXAMPLE, 23 + 4) in '\n'.join(map(str.rstrip, found.splitlines()))
    assert '.env' not in found


#: tomtoolkit's own download of request 3, of which a disk has then lost a file, and a proxy has
#: put a page into the place of the other.
OLD_DOWNLOAD = """
from pathlib import Path
from tom_dataproducts.models import DataProduct
from tom_observations.facility import get_service_class
from tom_observations.models import ObservationRecord
record = ObservationRecord.objects.get(observation_id='3')
record.status = 'COMPLETED'
record.save()
get_service_class('LCO')().save_data_products(record)
lost, spoiled = DataProduct.objects.filter(observation_record=record)
Path(lost.data.path).unlink()
Path(spoiled.data.path).write_text('<!DOCTYPE html><html><body>502 Bad Gateway</body></html>')
ObservationRecord.objects.update(created='2020-01-01T00:00:00Z')
"""


def test_what_an_older_command_has_lost_comes_home_and_its_cron_line_goes(
    tom: Tom, tmp_path: Path
) -> None:
    tom.django(RECORD.format(requests=[('LCO', '3')]) + OLD_DOWNLOAD)
    tom.manage('updatedata', '--recheck')
    told = tom.manage('updatedata', '--report')
    assert 'this TOM had 3 observations' in told
    assert '0 whole, 1 damaged, 1 missing' in told
    assert '4 frames of 2 observations' in told
    assert 'Nothing is left to do.' in told

    old = f'0 4 * * * cd {tom.project} && python manage.py updatestatus\n'
    (tmp_path / 'table').write_text(old)
    (tmp_path / 'crontab').write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\n[ "$1" = -l ] && exec cat table\nexec cat > table\n'
    )
    (tmp_path / 'crontab').chmod(0o755)
    tom.packages['PATH'] = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    offered = tom.manage('schedule', 'init')
    assert f'-{old}' in offered and 'schedule init --replace' in offered
    assert (tmp_path / 'table').read_text() == old
    assert 'when = "0 4 * * *"' in (tom.project / 'schedule.toml').read_text()
    tom.manage('schedule', 'init', '--replace')
    table = (tmp_path / 'table').read_text()
    assert table.startswith(f'# Replaced by tom-auto: {old}')
    assert f'{tom.project / "manage.py"} schedule run updatedata >> ' in table


#: Prints how many targets, observations and data products there are.
COUNTED = """
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
from tom_targets.models import Target
print([rows.objects.count() for rows in (Target, ObservationRecord, DataProduct)])
"""


def test_it_can_be_taken_out_again(tom: Tom, tmp_path: Path) -> None:
    """As the guide says: if its tables stayed, they would keep others' rows from being deleted."""
    assert 'python manage.py migrate tom_auto zero' in (TEMPLATE / 'docs/existing.md').read_text()
    copy = shutil.copytree(tom.project, tmp_path / tom.project.name)
    left = Tom(copy, Path(tom.packages['PYTHONPATH']))
    left.manage('updatedata')
    before = json.loads(left.django(COUNTED).splitlines()[-1])
    assert all(before)
    left.manage('migrate', 'tom_auto', 'zero')
    settings = copy / copy.name / 'settings.py'
    settings.write_text(settings.read_text().replace("    'tom_auto',\n", ''))
    after = COUNTED + COUNTED.replace('print', 'Target.objects.all().delete()\nprint')
    assert list(map(json.loads, left.django(after).splitlines()[-2:])) == [before, [0, 0, 0]]
