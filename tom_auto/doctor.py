"""Checks what the automation needs, and says how to fix it. Whether the jobs work: see `health`."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

import requests
from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.mail import get_connection
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Min
from django.utils import timezone

from .checks import FAILED, OK, WARNING, privacy
from .conf import automation, shared_database
from .health import NEVER, UNRECORDED, healths, schedule_site
from .models import RecordSync, StorageMark
from .redact import redact
from .scheduling import cli
from .scheduling.definition import ScheduleError
from .sync.errors import StorageAway, Unsupported
from .sync.facilities import facility_classes
from .sync.storage_id import insist_on_storage

OLDEST, NEWEST = (3, 11), (3, 13)  # Python, as pyproject.toml has it
ask = partial(requests.get, timeout=(10, 20), allow_redirects=False)  # seconds
SKEW = 60  # seconds that a clock may be wrong

#: The state, what was found, and what to do if something is wrong.
Found = Iterator[tuple[str, ...]]


class Finding(NamedTuple):
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


def interpreter() -> Found:
    found = f'Python {sys.version.split()[0]}, {sys.executable}'
    wanted = ' to '.join('.'.join(map(str, version)) for version in (OLDEST, NEWEST))
    fix = f'Make the environment again with Python {wanted}: see the README'
    right = OLDEST <= sys.version_info[:2] <= NEWEST
    yield (OK, found) if right else (FAILED, found, fix)


def packages() -> Found:
    file = Path(settings.BASE_DIR) / 'requirements.txt'
    if not file.is_file():
        yield OK, 'No requirements.txt to compare the packages with'
        return
    lock, wrong = file.read_text(encoding='utf-8'), []
    for name, version in re.findall(r'^([\w.-]+)==([^\s;\\]+)(?=[^;\n]*$)', lock, re.MULTILINE):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = 'missing'
        if found != version:
            wrong.append(f'{name} is {found}, not {version}')
    found = f'{"; ".join(wrong[:5])} ({len(wrong)} in all)'
    fix = f'{sys.executable} -m pip install -r requirements.txt'
    well = OK, 'The packages are those in requirements.txt'
    yield (WARNING, found, fix) if wrong else well


def database() -> Found:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    wrong = FAILED, f'{len(missing)} migrations are not applied', 'manage.py migrate'
    yield wrong if missing else (OK, f'{connection.vendor}: every migration is applied')
    if warning := shared_database():
        yield WARNING, warning, 'Set DATABASE_URL in .env'


def media() -> Found:
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
    found = f'{free / 1e9:.1f} GB are free'
    fix = "Free some disk space, or lower TOM_AUTO['MIN_FREE_BYTES']"
    low = FAILED, f'{found}, less than {least / 1e9:.1f} GB', fix
    yield low if free < least else (OK, found)


def credentials() -> Found:
    """Each observatory accepts its token: one request per account, which changes nothing."""
    classes, broken = facility_classes()
    for path, error in broken.items():
        fix = f'Update or install its package, or take {path} out of TOM_FACILITY_CLASSES'
        yield FAILED, f'{path} cannot be imported: {redact(str(error))}', fix
    accounts: dict[tuple[str, str], list[str]] = {}
    unknown = []
    entries = {name: _entry(name, facility_class()) for name, facility_class in classes.items()}
    for name, entry in entries.items():
        match settings.FACILITIES.get(entry, {}):
            case {'portal_url': str(), 'api_key': ''}:
                fix = 'Set ' + _where(entry, 'API_KEY')
                yield WARNING, f'{name} has no token: only public data is downloaded', fix
            case {'portal_url': str(portal), 'api_key': str(token)}:
                accounts.setdefault((portal, token), []).append(name)
            case _:
                unknown.append(name)
    for (portal, token), names in accounts.items():
        yield _profile(', '.join(names), entries[names[0]], portal, token)
    if unknown:
        yield OK, f'Not checked, because they have no portal with a token: {", ".join(unknown)}'


def _entry(name: str, facility: object) -> str:
    """The name that its settings have in FACILITIES: LCORedirect uses LCO's."""
    facility = getattr(facility, 'lco_facility', facility)
    return getattr(getattr(facility, 'facility_settings', None), 'facility_name', name)


def _where(entry: str, option: str) -> str:
    """Where a person changes this: a generated TOM reads `.env`, one made by hand may not."""
    if (Path(settings.BASE_DIR) / '.env.example').is_file():
        return f'{entry}_{option} in .env'
    return f"FACILITIES['{entry}']['{option.lower()}'] in the settings"


def _profile(names: str, entry: str, portal: str, token: str) -> tuple[str, ...]:
    try:
        address = urljoin(portal, '/api/profile/')
        answer = ask(address, headers={'Authorization': f'Token {token}'})
    except requests.RequestException as error:
        fix = f'Is {portal} correct ({_where(entry, "PORTAL_URL")})? Can this machine reach it?'
        return FAILED, f'{names}: no answer ({type(error).__name__})', fix
    if answer.status_code == 200:
        return OK, f'{names}: the token is accepted'
    if answer.status_code in (401, 403):
        fix = f'Set {_where(entry, "API_KEY")} to a new token'
        return FAILED, f'{names}: the token is refused', fix
    return WARNING, f'{names}: the portal answered {answer.status_code}', 'Try again later'


def clock() -> Found:
    """The clock of this machine agrees with an observatory's: times decide what is due."""
    entries = [settings.FACILITIES.get(name) or {} for name in facility_classes()[0]]
    found = {str(entry['portal_url']) for entry in entries if 'portal_url' in entry}
    for portal in sorted(url for url in found if url.startswith('http')):
        try:
            date = parsedate_to_datetime(ask(portal).headers['Date'])
        except (requests.RequestException, KeyError):
            continue
        skew = abs((timezone.now() - date).total_seconds())
        wrong = f'This clock and that of {portal} differ by {skew:.0f} s'
        well = OK, f'This clock agrees with that of {portal}'
        yield (FAILED, wrong, 'timedatectl set-ntp true (as root)') if skew > SKEW else well
        return
    fix = 'Compare `date -u` with a reliable clock; timedatectl set-ntp true (as root)'
    yield WARNING, 'Not checked: no observatory sent the time', fix


def installed() -> Found:
    try:
        status, report = cli.state(schedule_site())
    except ScheduleError as error:
        yield FAILED, str(error), 'After that: manage.py schedule install'
        return
    lines = ' '.join(line.strip() for line in report if line.strip())
    yield (OK, lines) if status == 0 else (FAILED, lines, 'manage.py schedule install')


def last_runs() -> Found:
    for health in healths():
        if health.is_trouble:
            yield FAILED, health.sentence(), 'See the page /automation/'
        elif health.state == NEVER:
            yield WARNING, health.sentence(), 'manage.py schedule install'
        elif health.state != UNRECORDED:
            yield OK, health.sentence()


def unsupported() -> Found:
    rows = RecordSync.objects.filter(error_kind=Unsupported.kind).values('record__facility')
    rows = rows.annotate(count=Count('pk'), reason=Min('error')).order_by('record__facility')
    if not rows:
        yield OK, 'Every observation can be asked for'
    for row in rows:
        plural = '' if row['count'] == 1 else 's'
        found = f'{row["count"]} observation{plural} of {row["record__facility"]}: {row["reason"]}'
        yield WARNING, found, Unsupported.advice


def mail() -> Found:
    place = '.env' if (Path(settings.BASE_DIR) / '.env.example').is_file() else 'the settings'
    if not settings.ADMINS:
        yield WARNING, 'Nobody gets mail when the automation fails', f'Set ADMINS in {place}'
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with get_connection():  # opens it
            yield OK, f'{server} answers; {len(settings.ADMINS)} people get mail'
    except OSError as error:  # SMTPException as well
        fix = f'Set EMAIL_HOST and EMAIL_PORT in {place}; then: manage.py sendtestemail --admins'
        yield FAILED, f'The mail server {server} does not work ({type(error).__name__})', fix


CHECKS: dict[str, Callable[[], Found]] = {
    'Python': interpreter,
    'Packages': packages,
    'Database': database,
    'Data': media,
    'Privacy': privacy,
    'Observatories': credentials,
    'Clock': clock,
    'Schedule': installed,
    'Runs': last_runs,
    'Not supported': unsupported,
    'Mail': mail,
}
