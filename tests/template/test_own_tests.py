"""The tests in a generated TOM pass under every legal setting, and its user's part stays small."""

from pathlib import Path

import pytest

from baking import Bake
from running import run, tom_python

HTTPS, PLAIN = {'DEBUG': 'false', 'HTTPS': 'true'}, {'DEBUG': 'true', 'HTTPS': 'false'}

#: What local_settings.py may say, in which every two values of the first three meet at least once:
#: who may look, by whose permissions, and whether over https. The rest comes along.
LEGAL = [
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


@pytest.mark.parametrize('number', range(len(LEGAL)))
def test_they_pass_under_every_legal_setting(number: int, project: Path) -> None:
    variables, settings = LEGAL[number]
    (project / 'local_settings.py').write_text(settings)
    (project / 'README.md').write_text('# Our TOM\n')
    command = [tom_python(), '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
    done = run(project, *command, **variables)
    assert done.returncode == 0, done.stdout
    left = [path for path in (project / 'data').rglob('*') if path.name != '.gitkeep']
    assert left == [], 'a test left data in the TOM'


def lines(project: Path, *unwanted: str) -> int:
    """The lines of the files of a project, but for those whose path begins with `unwanted`."""
    return sum(
        len(path.read_text(encoding='utf-8').splitlines())
        for path in project.rglob('*')
        if path.is_file() and not str(path.relative_to(project)).startswith(unwanted)
    )


def test_what_its_user_owns_is_small_enough_to_read(default_bake: Bake) -> None:
    project = default_bake.project
    assert lines(project, 'tom_auto/', 'static/vendor/', 'requirements') < 1300
    assert lines(project / 'app', 'tests/') < 250
    assert lines(project / 'app' / 'tests') < 200
