"""Rule 14 of a real process: `manage.py updatedata` as cron starts it, with all that it says.

The tests in `tests/unit/test_secrets.py` cover each fault and each way in which a facility class
tells; this one adds what only a process has: the interpreter's own output, warnings, the log as
the settings set it up, here at its most talkative, and the end of the process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as tom_settings
from django.db import connection

from tom_auto.simulator import archive
from unit.leaky import WAYS
from unit.running import files
from unit.test_secrets import (
    FAULTS,
    PASSWORD,
    assert_no_secret,
    database,
    sky,  # noqa: F401  (a fixture)
)

pytestmark = pytest.mark.django_db(transaction=True)

PROJECT = Path(tom_settings.BASE_DIR)
TESTS = PROJECT.parent

SETTINGS = """
import json
from pathlib import Path
from project.settings import *
from tom_auto.log_config import logging_for

BASE_DIR = Path({place!r})
MEDIA_ROOT = BASE_DIR / 'data'
TOM_AUTO = {{'RETRIES': 1, 'RETRY_WAIT': 0, 'READ_TIMEOUT': 1, 'MIN_FREE_BYTES': 0}}
FACILITIES = json.loads({facilities!r})
TOM_FACILITY_CLASSES = {classes!r}
LOGGING = logging_for(BASE_DIR / 'logs')
LOGGING['root']['level'] = LOGGING['handlers']['console']['level'] = 'DEBUG'
"""


def database_url() -> str:
    """The database of these tests, for another process."""
    database = connection.settings_dict
    if connection.vendor == 'sqlite':
        return f'sqlite:///{database["NAME"]}'
    return 'postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}'.format(**database)


@pytest.fixture
def updatedata(sky, settings, tmp_path):  # noqa: F811
    """Runs the command in a process of its own, with the settings of this test."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        text = SETTINGS.format(
            place=str(tmp_path),
            facilities=json.dumps(settings.FACILITIES),
            classes=settings.TOM_FACILITY_CLASSES,
        )
        (tmp_path / 'settings_of_the_test.py').write_text(text, encoding='utf-8')
        environment = {
            'PATH': os.defpath,
            'PYTHONPATH': f'{tmp_path}:{TESTS}:{TESTS / "shared"}:{TESTS.parent}',
            'DJANGO_SETTINGS_MODULE': 'settings_of_the_test',
            'PYTHONWARNINGS': 'always',
            'DATABASE_URL': database_url(),
            'SECRET_KEY': settings.SECRET_KEY,
        }
        return subprocess.run(
            [sys.executable, '-B', str(PROJECT / 'manage.py'), 'updatedata', *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


def test_a_process_tells_no_secret(sky, observed, add_record, settings, updatedata, tmp_path):  # noqa: F811
    records = [observed(frames=1) for _ in FAULTS]
    frame = sky.frames_of[int(records[0].observation_id)][0]
    address = archive.presigned(sky, frame, frame.versions[0], sky.url)
    settings.FACILITIES = settings.FACILITIES | {
        'Leaky': {'signed': address, 'password': PASSWORD, 'user': 'me'}
    }
    for way in WAYS:
        add_record('Leaky', observation_id=way)
    sky.break_('/api/requestgroups/', FAULTS[0])
    for number, fault in enumerate(FAULTS):
        where = ('/frames/', '/store/')[number % 2]
        sky.break_(where, fault, times=1)
        sky.break_(rf'/api/requests/{records[number].observation_id}/', fault, times=1)

    done = updatedata('--json', '--workers', '2', '--recheck')

    assert done.returncode == 1, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report['due'] == len(FAULTS) + len(WAYS)
    assert report['failed'] >= len(WAYS) / 2
    log = (tmp_path / 'logs' / 'tom.log').read_text(encoding='utf-8')
    for talkative in ('urllib3.connectionpool', 'tom_auto.redact', 'header: ', 'Traceback'):
        assert talkative in log
    assert 'is a weak password' in done.stderr, 'a warning was shown'
    assert 'user: me password: …' in done.stderr
    assert_no_secret(sky, out=done.stdout, err=done.stderr, log=log, database=database())

    sky.mend()
    done = updatedata('--facility', 'LCO', '--recheck')
    assert (done.returncode, done.stdout.count('\n')) == (0, 1), done.stderr[-2000:]
    assert {frame.content for frame in sky.frames.values()} <= set(files().values())
    assert_no_secret(sky, out=done.stdout, err=done.stderr)


@pytest.mark.parametrize(
    ('arguments', 'status'),
    [(['--facility', 'Nobody'], 2), (['--target_id', 'x'], 2), (['--dry-run'], 0)],
)
def test_nor_does_one_that_has_nothing_to_do(sky, observed, updatedata, arguments, status):  # noqa: F811
    observed()
    done = updatedata(*arguments)
    assert done.returncode == status, done.stderr[-2000:]
    assert_no_secret(sky, out=done.stdout, err=done.stderr)
