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
from django.utils import timezone
from tom_observations.facility import get_service_classes

from .conf import automation
from .health import NEVER, UNRECORDED, healths, schedule_site
from .jobs import jobs
from .scheduling import cli
from .scheduling.cron_daemon import cron_daemon_runs
from .scheduling.definition import ScheduleError
from .sync.redact import redact

OK, WARNING, FAILED = 'ok', 'warning', 'failed'
OLDEST, NEWEST = (3, 11), (3, 13)  # Python, as pyproject.toml has it
TIMEOUT = (10, 20)  # seconds, for connecting and for reading
SKEW = 60  # seconds that a clock may be wrong

#: The state, what was found, and what to do about it where it is not well.
Found = Iterator[tuple[str, ...]]


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
            told = f'{type(error).__name__}: {redact(str(error))}'
            yield Finding(name, FAILED, told, 'See logs/tom.log, and the README.')


# --- This machine -------------------------------------------------------------------------


def interpreter() -> Found:
    """The Python that runs this is one for which tomtoolkit is made."""
    told = f'Python {sys.version.split()[0]}, {sys.executable}'
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        yield OK, told
        return
    wanted = ' to '.join('.'.join(map(str, version)) for version in (OLDEST, NEWEST))
    yield FAILED, told, f'Make the environment anew with a Python from {wanted}: see the README'


def packages() -> Found:
    """The packages are those that requirements.txt names."""
    file = Path(settings.BASE_DIR) / 'requirements.txt'
    if not file.is_file():
        yield OK, 'There is no requirements.txt to compare the packages with'
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
        fix = "Make room, or set TOM_AUTO['MIN_FREE_BYTES'] lower"
        yield FAILED, f'{free / 1e9:.1f} GB are free, fewer than {least / 1e9:.1f} GB', fix
    else:
        yield OK, f'{free / 1e9:.1f} GB are free'


# --- Elsewhere ----------------------------------------------------------------------------


def credentials() -> Found:
    """Each observatory accepts its token: one question to each account, which changes nothing."""
    accounts: dict[tuple[str, str], list[str]] = {}
    unknown = []
    for name, entry in _entries().items():
        options = settings.FACILITIES.get(entry, {})
        portal, token = options.get('portal_url'), options.get('api_key')
        if not isinstance(portal, str) or not isinstance(token, str):
            unknown.append(name)
        elif token:
            accounts.setdefault((portal, token), []).append(name)
        else:
            fix = _where(f'{entry}_API_KEY', f"FACILITIES['{entry}']['api_key']")
            yield WARNING, f'{name} has no token: only public data comes home', fix
    for (portal, token), names in accounts.items():
        yield _profile(', '.join(names), _entries()[names[0]], portal, token)
    if unknown:
        yield OK, f'Not asked, as they have no portal with a token: {", ".join(unknown)}'


def _entries() -> dict[str, str]:
    """Each facility, and the name that its settings have in FACILITIES: LCORedirect uses LCO's."""
    found = {}
    for name, facility_class in get_service_classes().items():
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
        fix = f'Is {portal} right ({place}), and does this machine reach it?'
        return FAILED, f'{names}: no answer ({type(error).__name__})', fix
    if answer.status_code == 200:
        return OK, f'{names}: the token is accepted'
    if answer.status_code in (401, 403):
        place = _where(f'{name}_API_KEY', f"FACILITIES['{name}']['api_key']")
        return FAILED, f'{names}: the token is refused', f'A new one: {place}'
    return WARNING, f'{names}: it answered {answer.status_code}', 'Try again later'


def clock() -> Found:
    """The clock of this machine agrees with that of an observatory: times decide what is due."""
    options = map(settings.FACILITIES.get, get_service_classes())
    found = (each.get('portal_url') for each in options if isinstance(each, dict))
    portals = {portal for portal in found if isinstance(portal, str) and portal}
    for portal in sorted(portals):
        try:
            date = _get(portal, {}).headers['Date']
        except (requests.RequestException, KeyError):
            continue
        yield _skew(portal, parsedate_to_datetime(date))
        return
    fix = 'Compare `date -u` with a clock that is right; timedatectl set-ntp true (as root)'
    yield WARNING, 'No observatory told what time it is', fix


def _skew(portal: str, date: datetime) -> tuple[str, ...]:
    skew = abs((timezone.now() - date).total_seconds())
    if skew > SKEW:
        told = f'This clock and that of {portal} differ by {skew:.0f} s'
        return FAILED, told, 'timedatectl set-ntp true (as root)'
    return OK, f'This clock agrees with that of {portal}'


def _get(address: str, headers: dict[str, str]) -> requests.Response:
    return requests.get(address, headers=headers, timeout=TIMEOUT, allow_redirects=False)


def mail() -> Found:
    """Somebody is told when the automation fails, and the mail server takes it."""
    if not settings.ADMINS:
        yield WARNING, 'Nobody is told when the automation fails', _where('ADMINS', 'ADMINS')
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with closing(get_connection()) as mailer:
            mailer.open()
    except (OSError, smtplib.SMTPException) as error:
        place = _where('EMAIL_HOST and the lines below it', 'EMAIL_HOST and EMAIL_PORT')
        fix = f'{place}; then: manage.py sendtestemail --admins'
        yield FAILED, f'{server} takes no mail ({type(error).__name__})', fix
    else:
        yield OK, f'{server} answers, and {len(settings.ADMINS)} people are told'


# --- The schedule -------------------------------------------------------------------------


def installed() -> Found:
    """The schedule is installed and current, and something keeps it."""
    try:
        status, told = cli.state(schedule_site())
    except ScheduleError as error:
        yield FAILED, str(error), 'After that: manage.py schedule install'
        return
    lines = ' '.join(line.strip() for line in told if line.strip())
    yield (OK, lines) if status == 0 else (FAILED, lines, 'manage.py schedule install')


def daemon() -> Found:
    """A cron daemon runs."""
    if jobs().contained:
        yield OK, 'None is needed: a container keeps the schedule'
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
        if health.state == UNRECORDED:
            continue
        if health.is_trouble:
            yield FAILED, health.sentence(), 'The page /automation/ says more'
        elif health.state == NEVER:
            yield WARNING, health.sentence(), 'manage.py schedule install'
        else:
            yield OK, health.sentence()


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
    'Mail': mail,
}
