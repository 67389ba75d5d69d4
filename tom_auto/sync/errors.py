"""What can go wrong with a record or a facility. The type decides; the text is for a person.

Each type has a `kind`, under which it is stored, and `advice`: what a person can do about it.
"""

WAIT = 'Nothing to do unless it lasts: it is retried automatically.'
KEY = 'Put a valid API key into .env, then retry.'
LOG = 'Read logs/tom.log, which has the traceback.'
DOCTOR = 'Run: python manage.py doctor'

_kinds: dict[str, type['SyncError']] = {}


def advice_for(kind: str) -> str:
    """What a person can do about an error of this kind."""
    return by_kind(kind).advice


def by_kind(kind: str) -> type['SyncError']:
    """The type of the errors of this kind."""
    return _kinds.get(kind, SyncError)


class SyncError(Exception):
    """The check of one record failed. It is tried again at the next run."""

    kind = 'unknown'
    advice = f'{LOG} {DOCTOR}'

    def __init_subclass__(cls) -> None:
        """Remember each kind."""
        _kinds[cls.kind] = cls


class NoAnswer(SyncError):
    """The observatory could not be reached, or did not answer in time."""

    kind = 'no answer'
    advice = WAIT


class BadAnswer(SyncError):
    """The observatory answered something that cannot be used, or sent a broken file."""

    kind = 'bad answer'
    advice = WAIT


class ServerError(BadAnswer):
    """The observatory answered with an error of its own (5xx)."""

    kind = 'server error'


class OutOfTime(SyncError):
    """The run had to end before this was done."""

    kind = 'out of time'
    advice = WAIT


class NotFound(SyncError):
    """The observatory does not know the request, or hides it from this account."""

    kind = 'not found'
    advice = (
        'Look it up at the observatory. If it is gone there, delete the record here; if it '
        'belongs to another account, check the API key.'
    )


class NotUnderstood(SyncError):
    """The observatory cannot make sense of the request's number."""

    kind = 'not understood'
    advice = 'Look it up at the observatory: its number may be wrong.'


class NoKey(SyncError):
    """There is no API key, and without one there is nothing to see."""

    kind = 'no key'
    advice = KEY


class NoRoom(SyncError):
    """The disk is full, or fuller than the settings allow."""

    kind = 'no room'
    advice = f'Free some disk space. {DOCTOR}'


class LocalTrouble(SyncError):
    """The database, a file or the storage of this TOM cannot be used."""

    kind = 'local trouble'
    advice = DOCTOR


class Clash(SyncError):
    """Two different files have the same id in one archive."""

    kind = 'clash'
    advice = 'Report it to those who run the archive, or to the authors of the facility class.'


class NoFrames(SyncError):
    """A successful observation has settled without one wanted frame."""

    kind = 'no frames'
    advice = 'Look it up at the observatory, and check WANTED_FRAMES in the settings.'


class StorageAway(SyncError):
    """The storage of the data is not the one that was there, or does not work."""

    kind = 'storage away'
    advice = f'Mount the storage, or see that it answers and can be written. {DOCTOR}'


class SetAside(SyncError):
    """Something that the record needs was set aside for this run."""

    kind = 'set aside'
    advice = WAIT


class AccessRefused(SyncError):
    """The observatory refuses access (401 or 403)."""

    kind = 'access refused'
    advice = f'If other records have the same problem: {KEY}'


class CredentialsRefused(SyncError):
    """A login was refused, and is not tried again in this run."""

    kind = 'credentials refused'
    advice = KEY


class Unsupported(SyncError):
    """The facility class cannot be asked for this. Not a failure: asking again changes nothing."""

    kind = 'unsupported'
    advice = 'Use a facility class that implements it.'


class PartFailed(SyncError):
    """One part of the check failed; the rest of it goes on."""

    kind = 'part failed'


class BrokenClass(PartFailed):
    """A facility class raised an error, or returned something that makes no sense."""

    kind = 'broken class'
    advice = f'Report it to the authors of the facility class. {LOG}'


class HookFailed(PartFailed):
    """A hook of this TOM (HOOKS in the settings) raised; it is owed and called again."""

    kind = 'hook failed'
    advice = f'Fix the hook, which is code of this TOM. {LOG}'


class AnotherRun(Exception):
    """Another run of the same job is in progress."""
