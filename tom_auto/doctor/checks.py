"""Checks what the automation needs, and says how to fix it. Whether the jobs work: see `health`."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Min
from tom_dataproducts.models import DataProduct

from .. import versions
from ..audit import summary
from ..celery_tasks import setup
from ..channels import SWITCH, channels, last_error
from ..checks import check_hooks
from ..conf import automation, check_command, manage, shared_database
from ..errors import StorageAway, Unsupported
from ..files.storage_id import insist_on_storage
from ..health import NEVER, healths
from ..jobs import command_of, jobs, site
from ..models import Mute, RecordSync, StorageMark
from ..redact import redact
from ..scheduling import cli
from ..scheduling.definition import ScheduleError
from .finding import FAILED, OK, WARNING, Finding, Found, place_of_settings
from .network import network
from .observatories import clock, observatories
from .privacy import privacy
from .targets import cadences, queries
from .workers import workers

OLDEST, NEWEST = (3, 11), (3, 13)  # Python, as pyproject.toml has it


def findings() -> Iterator[Finding]:
    """The results of all checks, one after another. They change nothing and never raise."""
    for name, check in CHECKS.items():
        try:
            yield from (Finding(name, *found) for found in check())
        except Exception as error:
            found = f'{type(error).__name__}: {redact(str(error))}'
            yield Finding(name, FAILED, found, 'See logs/tom.log, and docs/trouble.md of tom-auto')


def interpreter() -> Found:
    found = f'Python {sys.version.split()[0]}, {sys.executable}'
    wanted = ' to '.join('.'.join(map(str, version)) for version in (OLDEST, NEWEST))
    fix = f'Make the environment of the TOM again, with Python {wanted}'
    right = OLDEST <= sys.version_info[:2] <= NEWEST
    yield (OK, found) if right else (FAILED, found, fix)


def version() -> Found:
    """The versions, and the packages that a newer library needs and this TOM lacks."""
    if lacking := versions.lacking():
        needs = ' '.join(f'"{package}"' for package in lacking)
        fix = f'{sys.executable} -m pip install {needs}; and put them into pyproject.toml, if there is one'
        yield FAILED, f'{versions.words()}; it needs {", ".join(lacking)}', fix
    else:
        yield OK, versions.words()


def packages() -> Found:
    lock = 'requirements-celery.txt' if setup.in_use() else 'requirements.txt'
    file = Path(settings.BASE_DIR) / lock
    if not file.is_file():
        yield OK, f'No {lock} to compare the packages with'
        return
    text, wrong = file.read_text(encoding='utf-8'), []
    for name, version in re.findall(r'^([\w.-]+)==([^\s;\\]+)(?=[^;\n]*$)', text, re.MULTILINE):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = 'missing'
        if found != version:
            wrong.append(f'{name} is {found}, not {version}')
    found = f'{"; ".join(wrong[:5])} ({len(wrong)} in all)'
    fix = f'{sys.executable} -m pip install -r {lock}'
    well = OK, f'The packages are those in {lock}'
    yield (WARNING, found, fix) if wrong else well


def database() -> Found:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    wrong = FAILED, f'{len(missing)} migrations are not applied', manage('migrate')
    yield wrong if missing else (OK, f'{connection.vendor}: every migration is applied')
    if warning := shared_database():
        yield WARNING, warning, 'Set DATABASE_URL in .env'


def media() -> Found:
    if not isinstance(default_storage, FileSystemStorage):
        yield OK, 'Not checked: the data is in a storage that is not a folder'
        yield from right_storage()
        return
    folder = Path(settings.MEDIA_ROOT)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield OK, f'{folder} can be written'
    except OSError as error:
        yield FAILED, f'{folder} cannot be written: {error.strerror}', _folder_fix(folder)
        return
    yield from right_storage()
    free, least = shutil.disk_usage(folder).free, automation().MIN_FREE_BYTES
    found = f'{free / 1e9:.1f} GB are free'
    fix = "Free some disk space, or lower TOM_AUTO['MIN_FREE_BYTES']"
    low = FAILED, f'{found}, less than {least / 1e9:.1f} GB', fix
    yield low if free < least else (OK, found)


def _folder_fix(folder: Path) -> str:
    """How `folder` can be written again. One that held data is not made anew: its disk may not be mounted."""
    if not folder.is_dir() and _held_data():
        return f'The database names data that was in {folder}, which is missing. Mount the disk that it is on'
    return f'mkdir -p {folder}; chown {os.getuid()} {folder} (as the user who runs the jobs)'


def _held_data() -> bool:
    try:
        return StorageMark.objects.exists() or DataProduct.objects.exists()
    except DatabaseError:  # there is no table before the first migrate
        return False


def right_storage() -> Found:
    """Nothing, or that the storage is not the one that was there."""
    try:
        if StorageMark.objects.filter(pending=False).exists():
            insist_on_storage()
    except StorageAway as error:
        yield FAILED, str(error), f'Mount the storage; or: {manage("doctor --accept-storage")}'


def installed() -> Found:
    """The schedule is installed, and can start the jobs. How they ended: `last_runs`."""
    yield from right_command()
    again = f'Do what this says; then: {manage("doctor")}'
    try:
        status, report = cli.state(site())
    except ScheduleError as error:
        yield FAILED, str(error), again
        return
    lines = [line.strip() for line in report if line.strip()]
    warnings = [line for line in lines if line.startswith('Warning: ')]
    found = [line for line in lines if line not in warnings]
    if status:
        *found, fix = found
        yield FAILED, ' '.join(found), fix
    else:
        yield OK, ' '.join(found)
    for warning in warnings:
        yield WARNING, warning.removeprefix('Warning: '), again


def right_command() -> Found:
    """Nothing, or that the jobs run an `updatedata` of another app."""
    for message in check_command():
        yield FAILED, message.msg, message.hint


def hooks() -> Found:
    found = check_hooks()
    for message in found:
        yield FAILED, message.msg, message.hint
    if not found:
        yield OK, 'Every function that HOOKS names can be imported'


def last_runs() -> Found:
    for health in healths():
        if health.is_trouble:
            yield FAILED, health.sentence(), 'See the page /automation/'
        elif health.state == NEVER:
            yield WARNING, health.sentence(), 'See the Schedule line above'
        else:
            yield OK, health.sentence()


def unsupported() -> Found:
    rows = RecordSync.objects.filter(error_kind=Unsupported.kind).values('record__facility')
    rows = rows.annotate(count=Count('pk'), reason=Min('error')).order_by('record__facility')
    if not rows:
        yield OK, 'All observations checked so far are at supported facilities'
    for row in rows:
        plural = '' if row['count'] == 1 else 's'
        found = f'{row["count"]} observation{plural} of {row["record__facility"]}: {row["reason"]}'
        yield WARNING, found, Unsupported.advice


def audit() -> Found:
    """When the last round of auditdata ended, and what it found."""
    is_planned = any(command_of(job) == 'auditdata' and job.enabled for job in jobs().jobs)
    last, bad = summary.last_round(), summary.in_trouble()
    planned = 'yet' if is_planned else 'it is not in schedule.toml'
    words = 'No round of auditdata has ended' + (f' {planned}' if is_planned else f': {planned}')
    if last is not None:
        words = f'The last round of auditdata ended at {last.ended:%Y-%m-%d %H:%M} UTC: '
        words += summary.words_of_round(last)
    if bad:
        fix = f'{manage("auditdata --repair")}; restore files that no archive has from a backup'
        yield FAILED, f'{summary.words_of_verdicts()} (see the runs of auditdata). {words}', fix
    elif is_planned and summary.is_late(last, automation().AUDIT_ROUND):
        fix = "Raise TOM_AUTO['AUDIT_RATE'] or DEADLINE, or let it run more often"
        yield WARNING, f'{words}. A round takes longer than AUDIT_ROUND', fix
    else:
        yield OK, words


def mail() -> Found:
    place = place_of_settings()
    if not settings.ADMINS:
        yield WARNING, 'Nobody gets mail when the automation fails', f'Set ADMINS in {place}'
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with get_connection():  # opens it
            yield OK, f'{server} answers; {len(settings.ADMINS)} people get mail'
    except OSError as error:  # SMTPException as well
        fix = f'Set EMAIL_HOST and EMAIL_PORT in {place}; then: {manage("sendtestemail --admins")}'
        yield FAILED, f'The mail server {server} does not work ({type(error).__name__})', fix


def alerts() -> Found:
    used = [*channels(), *([SWITCH] if automation().PING_URL else [])]
    if not used:
        yield OK, 'No alert channel is set up'
    for channel in used:
        error = last_error(channel)
        if error and channel == SWITCH:  # a test message would tell it that the jobs work
            fix = f'Correct PING_URL in {place_of_settings()}; the next scheduled run calls it'
            yield FAILED, f"The last call of the dead man's switch did not arrive: {error}", fix
        elif error:
            found = f'The last message by {channel} did not arrive: {error}'
            yield FAILED, found, f'Correct its address; then: {manage("doctor --send-test")}'
        else:
            yield OK, f'No message by {channel} was lost'
    if muted := Mute.objects.in_force().count():
        yield WARNING, f'{muted} muted: {Mute.objects.in_force()[0]}', 'See /automation/alerts/'


CHECKS: dict[str, Callable[[], Found]] = {
    'Version': version,
    'Python': interpreter,
    'Packages': packages,
    'Database': database,
    'Data': media,
    'Privacy': privacy,
    'Observatories': observatories,
    'Network': network,
    'Clock': clock,
    'Workers': workers,
    'Schedule': installed,
    'Hooks': hooks,
    'Runs': last_runs,
    'Not supported': unsupported,
    'Files': audit,
    'Queries': queries,
    'Cadences': cadences,
    'Mail': mail,
    'Alerts': alerts,
}
