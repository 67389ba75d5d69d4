"""Looks at everything that the automation needs, and says what to do about what is wrong."""

import os
import re
import shutil
import smtplib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import urljoin

import requests
from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.mail import get_connection
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from tom_observations.facility import get_service_classes

from . import schedule_state
from .conf import automation
from .health import healths
from .scheduling.cli import in_container
from .scheduling.daemon import cron_daemon_runs
from .scheduling.definition import ScheduleError
from .sync.discreet import discreet

OK, WARNING, FAILED = 'ok', 'warning', 'failed'
TIMEOUT = (10, 20)  # seconds, for connecting and for reading
SKEW = 60  # seconds that a clock may be wrong


@dataclass(frozen=True)
class Finding:
    """What came of one check. `fix` says what to do where it is not well."""

    check: str
    state: str
    found: str
    fix: str = ''


def findings() -> Iterator[Finding]:
    """What each check finds, one after another. None of them changes anything, or raises."""
    for name, check in CHECKS.items():
        try:
            yield from (Finding(name, *found) for found in check())
        except Exception as error:
            told = f'{type(error).__name__}: {discreet(str(error))}'
            yield Finding(name, FAILED, told, 'See logs/tom.log, and the README.')


Found = Iterator[tuple[str, ...]]


def packages() -> Found:
    """The interpreter, and the packages that requirements.txt names."""
    yield OK, f'Python {sys.version.split()[0]}, {sys.executable}'
    lock = (Path(settings.BASE_DIR) / 'requirements.txt').read_text(encoding='utf-8')
    wrong = []
    for name, version in re.findall(r'^([\w.-]+)==([^\s;\\]+)(?=[^;\n]*$)', lock, re.MULTILINE):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = 'missing'
        if found != version:
            wrong.append(f'{name} is {found}, not {version}')
    if wrong:
        fix = f'{sys.executable} -m pip install -r requirements.txt'
        yield WARNING, f'{"; ".join(wrong[:5])} ({len(wrong)} in all)', fix
    else:
        yield OK, 'The packages are those of requirements.txt'


def database() -> Found:
    """The database answers, and its tables are those of this code."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield FAILED, f'{len(missing)} migrations are not applied', 'manage.py migrate'
    else:
        yield OK, f'{connection.vendor}: every migration is applied'


def media() -> Found:
    """The data can be written by this user, and fits."""
    if not isinstance(default_storage, FileSystemStorage) and not hasattr(default_storage, 'path'):
        yield OK, 'The data is in a storage that is no folder: not looked at'
        return
    folder = Path(settings.MEDIA_ROOT)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield OK, f'{folder} can be written'
    except OSError as error:
        fix = f'mkdir -p {folder}; chown {os.getuid()} {folder} (as the user who runs the jobs)'
        yield FAILED, f'{folder} cannot be written: {error.strerror}', fix
        return
    free, least = shutil.disk_usage(folder).free, automation().MIN_FREE_BYTES
    if free < least:
        fix = "Make room, or set AUTOMATION['MIN_FREE_BYTES'] lower"
        yield FAILED, f'{free / 1e9:.1f} GB are free, fewer than {least / 1e9:.1f} GB', fix
    else:
        yield OK, f'{free / 1e9:.1f} GB are free'


def credentials() -> Found:
    """Each observatory accepts its token, and its clock agrees with this one."""
    asked = {}
    for name in get_service_classes():
        options = settings.FACILITIES.get(name, {})
        portal, token = options.get('portal_url'), options.get('api_key')
        if not isinstance(portal, str) or not isinstance(token, str):
            continue  # no portal that this knows how to ask
        if not token:
            fix = f'{name}_API_KEY in .env'
            yield WARNING, f'{name} has no token: only public data comes home', fix
        elif (portal, token) not in asked:
            asked[portal, token] = name
            yield from _profile(name, portal, token)


def _profile(name: str, portal: str, token: str) -> Found:
    try:
        answer = requests.get(
            urljoin(portal, '/api/profile/'),
            headers={'Authorization': f'Token {token}'},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        fix = f'Is {portal} right ({name}_PORTAL_URL in .env), and does this machine reach it?'
        yield FAILED, f'{name} does not answer ({type(error).__name__})', fix
        return
    if answer.status_code == 200:
        yield OK, f'{name} accepts its token'
    elif answer.status_code in (401, 403):
        yield FAILED, f'{name} refuses its token', f'A new one in .env: {name}_API_KEY'
    else:
        yield WARNING, f'{name} answered {answer.status_code}', 'Try again later'
    if 'Date' in answer.headers:
        yield _clock(name, answer.headers['Date'])


def _clock(name: str, date: str) -> tuple[str, ...]:
    skew = abs((timezone.now() - parsedate_to_datetime(date)).total_seconds())
    if skew > SKEW:
        told = f'The clock of this machine and that of {name} differ by {skew:.0f} s'
        return FAILED, told, 'timedatectl set-ntp true (as root)'
    return OK, f'The clock agrees with that of {name}'


def schedule() -> Found:
    """The schedule is installed and current, and something keeps it."""
    try:
        status, told = schedule_state.state()
    except ScheduleError as error:
        yield FAILED, str(error), 'Put schedule.toml right'
        return
    lines = ' '.join(line.strip() for line in told if line.strip())
    yield (OK, lines) if status == 0 else (FAILED, lines, 'manage.py schedule install')


def daemon() -> Found:
    """A cron daemon runs."""
    if in_container():
        yield OK, 'Cron is no matter of this container: the host has it, or the scheduler stands in'
        return
    runs = cron_daemon_runs()
    if runs:
        yield OK, 'A cron daemon runs'
    elif runs is None:
        yield WARNING, 'This user cannot see whether a cron daemon runs', 'Ask who looks after it'
    else:
        fix = 'systemctl enable --now cron (as root), or: manage.py schedule run'
        yield WARNING, 'No cron daemon runs here', fix


def last_runs() -> Found:
    """The jobs ran, and well."""
    for health in healths():
        if health.is_trouble:
            yield FAILED, health.sentence(), 'The page /automation/ says more'
        elif health.state == 'never':
            yield WARNING, health.sentence(), 'manage.py schedule install'
        else:
            yield OK, health.sentence()


def mail() -> Found:
    """Somebody is told when the automation fails, and the mail server takes it."""
    if not settings.ADMINS:
        yield WARNING, 'Nobody is told when the automation fails', 'ADMINS in .env'
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with closing(get_connection()) as mailer:
            mailer.open()
    except (OSError, smtplib.SMTPException) as error:
        fix = 'EMAIL_HOST and the lines below it in .env; then: manage.py sendtestemail --admins'
        yield FAILED, f'{server} takes no mail ({type(error).__name__})', fix
    else:
        yield OK, f'{server} answers, and {len(settings.ADMINS)} people are told'


CHECKS: dict[str, Callable[[], Found]] = {
    'Packages': packages,
    'Database': database,
    'Data': media,
    'Observatories': credentials,
    'Schedule': schedule,
    'Cron': daemon,
    'Runs': last_runs,
    'Mail': mail,
}
