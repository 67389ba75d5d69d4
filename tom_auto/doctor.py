"""Checks everything that the automation needs, and says how to fix what is wrong."""

import os
import re
import shutil
import smtplib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
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
from django.db.models import Count, Min
from django.utils import timezone

from .conf import automation, shared_database
from .health import NEVER, UNRECORDED, healths, schedule_site
from .jobs import jobs
from .models import RecordSync, StorageMark
from .redact import redact
from .scheduling import cli
from .scheduling.definition import ScheduleError
from .scheduling.obstacles import cron_daemon_runs
from .sync.errors import StorageAway, Unsupported
from .sync.facilities import facility_classes
from .sync.storage import insist_on_storage

OK, WARNING, FAILED = 'ok', 'warning', 'failed'
OLDEST, NEWEST = (3, 11), (3, 13)  # Python, as pyproject.toml has it
TIMEOUT = (10, 20)  # seconds, for connecting and for reading
SKEW = 60  # seconds that a clock may be wrong

#: The state, what was found, and what to do if something is wrong.
Found = Iterator[tuple[str, ...]]


@dataclass(frozen=True)
class Finding:
    """The result of one check. `fix` says what to do if something is wrong."""

    check: str
    state: str
    found: str
    fix: str = ''


def findings() -> Iterator[Finding]:
    """The results of all checks, one after another. They change nothing and never raise."""
    for name, check in CHECKS.items():
        try:
            yield from (Finding(name, *found) for found in check())
        except Exception as error:
            found = f'{type(error).__name__}: {redact(str(error))}'
            yield Finding(name, FAILED, found, 'See logs/tom.log and the README')


# --- This machine -------------------------------------------------------------------------


def interpreter() -> Found:
    """tomtoolkit supports this Python."""
    found = f'Python {sys.version.split()[0]}, {sys.executable}'
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        yield OK, found
        return
    wanted = ' to '.join('.'.join(map(str, version)) for version in (OLDEST, NEWEST))
    yield FAILED, found, f'Make the environment again with Python {wanted}: see the README'


def packages() -> Found:
    """The installed packages are those in requirements.txt."""
    file = Path(settings.BASE_DIR) / 'requirements.txt'
    if not file.is_file():
        yield OK, 'No requirements.txt to compare the packages with'
        return
    lock = file.read_text(encoding='utf-8')
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
        yield OK, 'The packages are those in requirements.txt'


def database() -> Found:
    """The database answers, and its tables fit this version of the code."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield FAILED, f'{len(missing)} migrations are not applied', 'manage.py migrate'
    else:
        yield OK, f'{connection.vendor}: every migration is applied'
    if warning := shared_database():
        yield WARNING, warning, 'Set DATABASE_URL in .env'


def media() -> Found:
    """This user can write the data, and there is disk space."""
    if not isinstance(default_storage, FileSystemStorage) and not hasattr(default_storage, 'path'):
        yield OK, 'Not checked: the data is in a storage that is not a folder'
        return
    folder = Path(settings.MEDIA_ROOT)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield OK, f'{folder} can be written'
    except OSError as error:
        fix = f'mkdir -p {folder}; chown {os.getuid()} {folder} (as the user who runs the jobs)'
        yield FAILED, f'{folder} cannot be written: {error.strerror}', fix
        return
    try:
        if StorageMark.objects.filter(pending=False).exists():
            insist_on_storage()
    except StorageAway as error:
        yield FAILED, str(error), 'Mount the storage; or: manage.py doctor --accept-storage'
    free, least = shutil.disk_usage(folder).free, automation().MIN_FREE_BYTES
    if free < least:
        fix = "Free some disk space, or lower TOM_AUTO['MIN_FREE_BYTES']"
        yield FAILED, f'{free / 1e9:.1f} GB are free, less than {least / 1e9:.1f} GB', fix
    else:
        yield OK, f'{free / 1e9:.1f} GB are free'


# --- Elsewhere ----------------------------------------------------------------------------


def credentials() -> Found:
    """Each observatory accepts its token: one request per account, which changes nothing."""
    accounts: dict[tuple[str, str], list[str]] = {}
    unknown = []
    for path, error in facility_classes()[1].items():
        fix = f'Update or install its package, or take {path} out of TOM_FACILITY_CLASSES'
        yield FAILED, f'{path} cannot be imported: {redact(str(error))}', fix
    for name, entry in _entries().items():
        options = settings.FACILITIES.get(entry, {})
        portal, token = options.get('portal_url'), options.get('api_key')
        if not isinstance(portal, str) or not isinstance(token, str):
            unknown.append(name)
        elif token:
            accounts.setdefault((portal, token), []).append(name)
        else:
            fix = 'Set ' + _where(f'{entry}_API_KEY', f"FACILITIES['{entry}']['api_key']")
            yield WARNING, f'{name} has no token: only public data is downloaded', fix
    for (portal, token), names in accounts.items():
        yield _profile(', '.join(names), _entries()[names[0]], portal, token)
    if unknown:
        yield OK, f'Not checked, because they have no portal with a token: {", ".join(unknown)}'


def _entries() -> dict[str, str]:
    """Each facility, and the name that its settings have in FACILITIES: LCORedirect uses LCO's."""
    found = {}
    for name, facility_class in facility_classes()[0].items():
        facility = facility_class()
        facility = getattr(facility, 'lco_facility', facility)
        own = getattr(facility, 'facility_settings', None)
        found[name] = getattr(own, 'facility_name', name)
    return found


def _where(variable: str, setting: str) -> str:
    """Where a person changes this: a generated TOM reads `.env`, one made by hand may not."""
    has_env = (Path(settings.BASE_DIR) / '.env.example').is_file()
    return f'{variable} in .env' if has_env else f'{setting} in the settings'


def _profile(names: str, name: str, portal: str, token: str) -> tuple[str, ...]:
    try:
        answer = _get(urljoin(portal, '/api/profile/'), {'Authorization': f'Token {token}'})
    except requests.RequestException as error:
        place = _where(f'{name}_PORTAL_URL', f"FACILITIES['{name}']['portal_url']")
        fix = f'Is {portal} correct ({place})? Can this machine reach it?'
        return FAILED, f'{names}: no answer ({type(error).__name__})', fix
    if answer.status_code == 200:
        return OK, f'{names}: the token is accepted'
    if answer.status_code in (401, 403):
        place = _where(f'{name}_API_KEY', f"FACILITIES['{name}']['api_key']")
        return FAILED, f'{names}: the token is refused', f'Set {place} to a new token'
    return WARNING, f'{names}: the portal answered {answer.status_code}', 'Try again later'


def clock() -> Found:
    """The clock of this machine agrees with an observatory's: times decide what is due."""
    options = map(settings.FACILITIES.get, facility_classes()[0])
    found = (each.get('portal_url') for each in options if isinstance(each, dict))
    portals = {portal for portal in found if isinstance(portal, str) and portal}
    for portal in sorted(portals):
        try:
            date = _get(portal, {}).headers['Date']
        except (requests.RequestException, KeyError):
            continue
        yield _skew(portal, parsedate_to_datetime(date))
        return
    fix = 'Compare `date -u` with a reliable clock; timedatectl set-ntp true (as root)'
    yield WARNING, 'Not checked: no observatory sent the time', fix


def _skew(portal: str, date: datetime) -> tuple[str, ...]:
    skew = abs((timezone.now() - date).total_seconds())
    if skew > SKEW:
        found = f'This clock and that of {portal} differ by {skew:.0f} s'
        return FAILED, found, 'timedatectl set-ntp true (as root)'
    return OK, f'This clock agrees with that of {portal}'


def _get(address: str, headers: dict[str, str]) -> requests.Response:
    return requests.get(address, headers=headers, timeout=TIMEOUT, allow_redirects=False)


def mail() -> Found:
    """Somebody gets mail when the automation fails, and the mail server works."""
    if not settings.ADMINS:
        fix = 'Set ' + _where('ADMINS', 'ADMINS')
        yield WARNING, 'Nobody gets mail when the automation fails', fix
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with closing(get_connection()) as mailer:
            mailer.open()
    except (OSError, smtplib.SMTPException) as error:
        place = _where('EMAIL_…', 'EMAIL_HOST and EMAIL_PORT')
        fix = f'Check {place}, then test it: manage.py sendtestemail --admins'
        yield FAILED, f'The mail server {server} does not work ({type(error).__name__})', fix
    else:
        yield OK, f'{server} answers; {len(settings.ADMINS)} people get mail'


# --- The schedule -------------------------------------------------------------------------


def installed() -> Found:
    """The schedule is installed, current and running."""
    try:
        status, report = cli.state(schedule_site())
    except ScheduleError as error:
        yield FAILED, str(error), 'After that: manage.py schedule install'
        return
    lines = ' '.join(line.strip() for line in report if line.strip())
    yield (OK, lines) if status == 0 else (FAILED, lines, 'manage.py schedule install')


def daemon() -> Found:
    """A cron daemon runs."""
    if jobs().contained:
        yield OK, 'Not checked: this TOM runs in containers, where cron is not needed'
        return
    runs = cron_daemon_runs()
    if runs:
        yield OK, 'A cron daemon runs'
    elif runs is None:
        yield WARNING, 'This user cannot see if a cron daemon runs', 'Ask the administrator'
    else:
        fix = 'systemctl enable --now cron (as root), or: manage.py schedule run'
        yield WARNING, 'No cron daemon runs here', fix


def last_runs() -> Found:
    """The jobs ran, and succeeded."""
    for health in healths():
        if health.state == UNRECORDED:
            continue
        if health.is_trouble:
            yield FAILED, health.sentence(), 'See the page /automation/'
        elif health.state == NEVER:
            yield WARNING, health.sentence(), 'manage.py schedule install'
        else:
            yield OK, health.sentence()


def unsupported() -> Found:
    """Every observation can be asked for."""
    rows = RecordSync.objects.filter(error_kind=Unsupported.kind).values('record__facility')
    rows = rows.annotate(count=Count('pk'), reason=Min('error')).order_by('record__facility')
    if not rows:
        yield OK, 'Every observation can be asked for'
    for row in rows:
        plural = '' if row['count'] == 1 else 's'
        found = f'{row["count"]} observation{plural} of {row["record__facility"]}: {row["reason"]}'
        yield WARNING, found, Unsupported.advice


CHECKS: dict[str, Callable[[], Found]] = {
    'Python': interpreter,
    'Packages': packages,
    'Database': database,
    'Data': media,
    'Observatories': credentials,
    'Clock': clock,
    'Schedule': installed,
    'Cron': daemon,
    'Runs': last_runs,
    'Not supported': unsupported,
    'Mail': mail,
}
