"""The options of the automation: `TOM_AUTO = {…}` in the settings, each with a default.

`manage.py check` reports mistakes in them.
"""

import os
import re
import sys
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from math import isfinite
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands, load_command_class

from .errors import advice_for
from .scheduling.command_to_type import applied, typed
from .scheduling.obstacles import database_on_a_share

MAY_BE_ZERO = ('RETRIES', 'RETRY_WAIT', 'MIN_FREE_BYTES', 'WATCH_EVERY', 'AUDIT_RATE', 'BATCH')
LONGEST = timedelta(days=365_000)  # of any option: times before the year 1 cannot be computed
PERMISSIONS = ('OPEN', 'PUBLIC', 'PRIVATE')
#: The options that are one of a few words.
CHOICES = {
    'PAGE_FOR': ('everyone', 'users', 'staff'),
    'TASK_ENGINE': ('none', 'celery'),
    'HOOKS': ('tasks', 'run'),
    'BROKER_AWAY': ('work', 'wait'),
}


@dataclass(frozen=True)
class Automation:
    """The options that `TOM_AUTO` may set. Times are in seconds unless they say otherwise."""

    #: Requests in flight to one host, at most.
    WORKERS: int = 8
    #: Connections to the database that a run may have at a time; 3 at least.
    CONNECTIONS: int = 4
    #: A run starts no new work after this time, and ends soon after.
    DEADLINE: float = 3000
    #: How long to wait for frames of a finished observation: they may arrive days late.
    DATA_WINDOW: timedelta = timedelta(days=7)
    #: The longest wait for a connection.
    CONNECT_TIMEOUT: float = 10
    #: The longest silence in the middle of an answer.
    READ_TIMEOUT: float = 60
    #: The longest time for one whole answer or file, even if it keeps coming slowly.
    TRANSFER_TIMEOUT: float = 1800
    #: How often a failed request is repeated within a run, if the fault may pass.
    RETRIES: int = 2
    #: The wait before the first repetition; it doubles each time.
    RETRY_WAIT: float = 0.5
    #: The longest Retry-After of an observatory that a request waits for.
    RETRY_AFTER_MAX: float = 60
    #: Downloads stop, with a failure that says so, when fewer bytes are free on the disk.
    MIN_FREE_BYTES: int = 1_000_000_000
    #: Which frames to download, by facility: file-name patterns such as {'LCO': ['*-e91.fits.fz']}.
    #: All frames of facilities that are not named.
    WANTED_FRAMES: dict[str, list[str]] = field(default_factory=dict)
    #: Who sees the targets that `updatetargets` makes, such as
    #: {'groups': ['Supernovae'], 'permission': 'PUBLIC'}. Without it: TARGET_DEFAULT_PERMISSION.
    NEW_TARGETS: dict[str, object] = field(default_factory=dict)
    #: For how many targets one run of `updatetargets` asks a service for reduced data, at most.
    #: Those that wait longest come first.
    DATA_TARGETS: int = 500
    #: How many observations `updatecadences` submits in a run and in a day, at most.
    MOST_SUBMISSIONS: dict[str, int] = field(default_factory=lambda: {'run': 10, 'day': 50})
    #: In how long a time `auditdata` reads every stored file once.
    AUDIT_ROUND: timedelta = timedelta(days=30)
    #: Bytes a second that `auditdata` reads, at most; 0: as fast as it can.
    AUDIT_RATE: int = 20_000_000
    #: How long the history of runs is kept.
    KEEP_RUNS: timedelta = timedelta(days=90)
    #: Who sees the automation page: 'everyone' who may see the TOM, 'users' who have logged in, or
    #: 'staff'. The page hides what the TOM hides.
    PAGE_FOR: str = 'everyone'
    #: How often the web server, while people use it, checks that the jobs run, and which frames
    #: were moved to another target; 0: never.
    WATCH_EVERY: float = 300
    #: Gets the state of a job by POST when it changes; empty: nothing is sent.
    ALERT_WEBHOOK_URL: str = ''
    #: Gets what came in by POST after each run that brought frames, of all targets; empty: nothing.
    ARRIVALS_WEBHOOK_URL: str = ''
    #: A dead-man's switch: it raises the alarm when scheduled runs stop calling this address.
    PING_URL: str = ''
    #: Big data files that one process of the web server sends at a time. Keep it below the number
    #: of its threads, or visitors that read slowly stop every page.
    DOWNLOADS: int = 4
    #: A path such as /internal-data/ at which a web server in front, such as nginx, has the data
    #: for itself: it sends the files, as X-Accel-Redirect says. Empty: the TOM sends them.
    DATA_BY_PROXY: str = ''
    #: What does the work of many machines: 'none', or 'celery'.
    TASK_ENGINE: str = 'none'
    #: With celery: the hooks for saved data products are 'tasks' of workers, or stay in the 'run'.
    HOOKS: str = 'tasks'
    #: With celery, while its broker is away: the run does the 'work' by itself, or lets it 'wait'.
    BROKER_AWAY: str = 'work'
    #: With celery: the workers check batches of so many records; 0: the run checks all by itself.
    BATCH: int = 500
    #: The longest time for one hook of the TOM.
    HOOK_SECONDS: float = 600
    #: How long a process that has died keeps others from its work.
    LEASE: float = 60


def automation() -> Automation:
    """The options in force. Raises ImproperlyConfigured with all mistakes if there are any."""
    options = getattr(settings, 'TOM_AUTO', {})
    found = mistakes(options)
    if found:
        raise ImproperlyConfigured(' '.join(message for message, _ in found))
    return Automation(**options)


def slug() -> str:
    """The name of the project's package, which `celery -A` takes."""
    return settings.ROOT_URLCONF.partition('.')[0]


def manage(words: str) -> str:
    """What a person types for `manage.py` with these `words`."""
    return typed(Path(settings.BASE_DIR), words)


def to_install() -> str:
    """What a person types so that something starts the jobs."""
    return typed(Path(settings.BASE_DIR), 'schedule install')


def advice(kind: str) -> str:
    """What a person can do here about an error of this kind."""
    project = Path(settings.BASE_DIR)
    cadences, audit = manage('updatecadences'), manage('auditdata')
    return advice_for(kind, manage('doctor'), applied(project), cadences, audit)


def own_python() -> str:
    """The Python of this TOM: sys.executable may be a web server that embeds it."""
    own = Path(sys.prefix) / 'bin' / 'python'
    return str(own) if own.is_file() else sys.executable


def web_address() -> str:
    """Where the TOM is on the web; empty if ALLOWED_HOSTS does not name a host."""
    hosts = [host for host in settings.ALLOWED_HOSTS if host != '*' and not host.startswith('.')]
    if not hosts:
        return ''
    if getattr(settings, 'HTTPS', True):
        return f'https://{hosts[0]}'
    # Containers have a port of the host; whatever answers https has the usual one.
    port = os.environ.get('TOM_ADDRESS', '').rpartition(':')[2]
    return f'http://{hosts[0]}:{port}' if port not in ('', '80') else f'http://{hosts[0]}'


def mistakes(options: object) -> list[tuple[str, str]]:
    """The mistakes in `options`, each as a message and a hint."""
    if not isinstance(options, dict):
        return [('TOM_AUTO is not a dictionary.', "For example: TOM_AUTO = {'WORKERS': 4}")]
    known = {option.name: option for option in fields(Automation)}
    unknown = [
        (f'TOM_AUTO has no option {name!r}.', f'The options are: {", ".join(known)}.')
        for name in options
        if name not in known
    ]
    return unknown + [
        mistake
        for name, value in options.items()
        if name in known and (mistake := _mistake(known[name], value))
    ]


def _mistake(option: Field, value: object) -> tuple[str, str] | None:
    found, hint = f"TOM_AUTO['{option.name}'] is {value!r}", f'The default is {option.default!r}.'
    if option.name == 'WANTED_FRAMES':
        if not _are_patterns(value):
            return f'{found}, not lists of patterns.', "For example: {'LCO': ['*-e91.fits.fz']}"
    elif option.name == 'NEW_TARGETS':
        if not _says_who_sees(value):
            hint = "For example: {'groups': ['Supernovae'], 'permission': 'PUBLIC'}"
            return f'{found}, not groups and a permission of {", ".join(PERMISSIONS)}.', hint
    elif option.name == 'MOST_SUBMISSIONS':
        if not _are_ceilings(value):
            return f'{found}, not two whole numbers.', "For example: {'run': 10, 'day': 50}"
    elif choices := CHOICES.get(option.name):
        if value not in choices:
            return f'{found}, which is not a valid choice.', f'Choose from {", ".join(choices)}.'
    elif option.name == 'DATA_BY_PROXY':
        if value and not (isinstance(value, str) and re.fullmatch(r'/([\w-]+/)+', value)):
            return f'{found}, not a path.', 'For example: /internal-data/'
    elif option.type is str:
        if value and not (isinstance(value, str) and value.startswith(('http://', 'https://'))):
            return f'{found}, not a URL.', 'It must begin with http:// or https://.'
    elif option.type is timedelta:
        if not isinstance(value, timedelta) or value < timedelta(0):
            return f'{found}, not a timedelta.', hint
        if value > LONGEST:
            return f'{found}, which is too long.', f'{LONGEST.days} days are the most. {hint}'
    elif isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return f'{found}, not a number.', hint
    elif option.type is int and not isinstance(value, int):
        return f'{found}, not a whole number.', hint
    elif (
        option.name == 'CONNECTIONS'
        and value < 3
        or value < 0
        or (value == 0 and option.name not in MAY_BE_ZERO)
    ):
        return f'{found}, which is too small.', hint
    return None


def _are_patterns(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)
        for patterns in value.values()
    )


def _are_ceilings(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {'run', 'day'}
        and all(type(number) is int and number >= 0 for number in value.values())
    )


def _says_who_sees(value: object) -> bool:
    if not isinstance(value, dict) or set(value) - {'groups', 'permission'}:
        return False
    groups = value.get('groups', [])
    return (
        isinstance(groups, list | tuple)
        and all(isinstance(group, str) for group in groups)
        and value.get('permission', 'OPEN') in PERMISSIONS
    )


@register(Tags.compatibility)
def check_options(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.E001: TOM_AUTO has an unknown option, or an invalid value."""
    return [
        Error(message, hint=hint, id='tom_auto.E001')
        for message, hint in mistakes(getattr(settings, 'TOM_AUTO', {}))
    ]


@register(Tags.compatibility)
def check_command(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W001: another app's updatedata, from the tutorial, say, runs in place of this one."""
    app, ours = get_commands()['updatedata'], type(load_command_class('tom_auto', 'updatedata'))
    if isinstance(app, str) and not isinstance(load_command_class(app, 'updatedata'), ours):
        return [
            Warning(
                f'`manage.py updatedata` is the command of {app}, not that of tom_auto.',
                hint=f"In INSTALLED_APPS, list 'tom_auto' before '{app}'; or make your command a "
                'subclass of tom_auto.management.commands.updatedata.Command.',
                id='tom_auto.W001',
            )
        ]
    return []


def shared_database() -> str:
    """What is wrong with the place of the database, if it is SQLite's on a share; else empty."""
    database = settings.DATABASES['default']
    if not database['ENGINE'].endswith('sqlite3'):
        return ''
    return database_on_a_share(Path(str(database['NAME'])).resolve())


@register(Tags.compatibility)
def check_database(**kwargs: object) -> list[CheckMessage]:
    """tom_auto.W002: SQLite on a network file system."""
    if warning := shared_database():
        return [Warning(warning, hint='Set DATABASE_URL in .env.', id='tom_auto.W002')]
    return []
