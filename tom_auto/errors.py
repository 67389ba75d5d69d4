"""What can go wrong with a record or a facility. The type decides; the text is for a person.

Each type has a `kind`, its name in words, under which it is stored, and `advice`: what a person
can do about it.
"""

import re

WAIT = 'Nothing to do unless it lasts: it is retried automatically.'
KEY = 'Put a valid API key into .env{applied}, then retry.'
LOG = 'Read logs/tom.log, which has the traceback.'
DOCTOR = 'Run: {doctor}'
REPAIR = 'Run: {audit} --repair (files that no archive has: restore them from a backup)'

_kinds: dict[str, type['SyncError']] = {}


def advice_for(
    kind: str,
    doctor: str = 'manage.py doctor',
    applied: str = '',
    cadences: str = 'manage.py updatecadences',
    audit: str = 'manage.py auditdata',
) -> str:
    """What a person can do about an error of this kind.

    `doctor`, `cadences` and `audit` are what they type for that; `applied` what else makes a change
    of `.env` known.
    """
    words = {'doctor': doctor, 'applied': applied, 'cadences': cadences, 'audit': audit}
    return by_kind(kind).advice.format(**words)


def by_kind(kind: str) -> type['SyncError']:
    """The type of the errors of this kind."""
    return _kinds.get(kind, SyncError)


class SyncError(Exception):
    """The check of one record failed. It is tried again at the next run."""

    kind = 'unknown'
    advice = f'{LOG} {DOCTOR}'

    def __init_subclass__(cls, advice: str = '') -> None:
        """Name each kind, and remember it; without `advice` of its own it has its parent's."""
        cls.kind = ' '.join(re.findall('[A-Z][a-z]*', cls.__name__)).lower()
        cls.advice = advice or cls.advice
        _kinds[cls.kind] = cls


class NoAnswer(SyncError, advice=WAIT):
    """The observatory could not be reached, or did not answer in time."""


class BadAnswer(SyncError, advice=WAIT):
    """The observatory answered something that cannot be used, or sent a broken file."""


class ServerError(BadAnswer):
    """The observatory answered with an error of its own (5xx)."""


class OutOfTime(SyncError, advice=WAIT):
    """The run had to end before this was done."""


class NotFound(
    SyncError,
    advice='Look it up at the observatory. If it is gone there, delete the record here; if it '
    'belongs to another account, check the API key.',
):
    """The observatory does not know the request, or hides it from this account."""


class NotUnderstood(SyncError, advice='Look it up at the observatory: its number may be wrong.'):
    """The observatory cannot make sense of the request's number."""


class NoKey(SyncError, advice=KEY):
    """There is no API key, and without one there is nothing to see."""


class NotConfigured(
    SyncError, advice='Configure it in DATA_SERVICES in the settings, or remove its queries.'
):
    """A data service has no settings."""


class BadQuery(
    SyncError, advice='Open the query on the page /tom_dataservices/query/list/, and save it again.'
):
    """A saved query cannot be asked as it is."""


class NoProposal(
    SyncError, advice='Name one of the proposals listed, or set the key of its account.'
):
    """No account of this TOM has a proposal."""


class BadCandidate(SyncError, advice='Report it to the authors of the data service.'):
    """What a data service found cannot be kept as a target."""


class Uncertain(
    SyncError,
    advice='Look it up at the observatory, and say what you found: {cadences} --submitted '
    'SUBMISSION=NUMBER or --not-submitted SUBMISSION',
):
    """A submission may or may not have been accepted. It is never sent again by itself."""


class NotNoted(
    SyncError,
    advice='Cancel it at the observatory; or make its record, with manage.py findrequests --add',
):
    """An observatory has accepted a submission, and the TOM could not save that."""


class Ceiling(SyncError, advice="See TOM_AUTO['MOST_SUBMISSIONS'] in the settings."):
    """The submission would exceed the limit per run or per day."""

    def __init__(self, text: str, is_of_one: bool = False) -> None:
        """`is_of_one`: what one cadence submits at once is more than is allowed at all."""
        super().__init__(text)
        self.is_of_one = is_of_one


class NotSubmitted(SyncError, advice=WAIT):
    """An observatory has not accepted what a cadence submitted."""


class NotCancelled(
    SyncError,
    advice='Cancel it by hand, if it is not wanted any more. A strategy that ends its cadence has to '
    'cancel first.',
):
    """A strategy wanted to cancel an observation, but its cadence may not submit a replacement, so it was not cancelled."""


class CannotRepeat(
    SyncError,
    advice='Submit its replacement by hand, add that to the observation group of the cadence, and take '
    'this one out of it.',
):
    """The record of an observation does not say how to submit it again: it was made elsewhere."""


class NoRoom(SyncError, advice=f'Free some disk space. {DOCTOR}'):
    """The disk is full, or fuller than the settings allow."""


class LocalTrouble(SyncError, advice=DOCTOR):
    """The database, a file or the storage of this TOM cannot be used."""


class Clash(
    SyncError,
    advice='Report it to those who run the archive, or to the authors of the facility class.',
):
    """Two different files have the same id in one archive."""


class NoFrames(
    SyncError, advice='Look it up at the observatory, and check WANTED_FRAMES in the settings.'
):
    """A successful observation has settled without any wanted frame."""


class StorageAway(
    SyncError, advice=f'Mount the storage, or see that it answers and can be written. {DOCTOR}'
):
    """The storage of the data is not the one that was there, or does not work."""


class FileRotted(SyncError, advice=REPAIR):
    """The content of a stored file has changed, and nobody has written to it."""


class FileDamaged(SyncError, advice=REPAIR):
    """A stored file was written to, and is no longer a whole file."""


class FileMissing(SyncError, advice=REPAIR):
    """A stored file is not there."""


class FileRenamed(
    SyncError, advice=f'Give it its old name. If it is to keep the new one: {REPAIR}'
):
    """A stored file is not there, and one with its content has another name."""


class FileUnreadable(
    SyncError,
    advice='Let the user who runs the jobs read it. If its disk is at fault: take it from a backup',
):
    """A stored file is there, and cannot be read."""


class SetAside(SyncError, advice=WAIT):
    """Something that the record needs was set aside for this run."""


class AccessRefused(SyncError, advice=f'If other records have the same problem: {KEY}'):
    """The observatory refuses access (401 or 403)."""


class CredentialsRefused(SyncError, advice=KEY):
    """A login was refused, and is not tried again in this run."""


class Unsupported(
    SyncError, advice='Use a facility class that implements it, or correct its settings.'
):
    """The facility class cannot be asked for this. Not a failure: asking again changes nothing."""


class NotImportable(
    SyncError,
    advice=f'Correct it in TOM_FACILITY_CLASSES, or update or install its package. {DOCTOR}',
):
    """A facility class of the settings cannot be imported, so its observations cannot be checked."""


class PartFailed(SyncError):
    """One part of the check failed; the rest of it goes on."""


class BrokenClass(PartFailed, advice=f'Report it to the authors of the facility class. {LOG}'):
    """A facility class raised an error, or returned something that makes no sense."""


class HookFailed(PartFailed, advice=f'Fix the hook, which is code of this TOM. {LOG}'):
    """A hook of this TOM (HOOKS in the settings) raised; it will be called again."""


class HookUnfinished(
    HookFailed,
    advice='If a hook of this TOM ends or crashes the process, fix it: it is called again, after '
    'all else.',
):
    """A run ended before all hooks of this record had run: one of them may have ended it."""


#: After one of these an account or a data service is not asked again in a run of `targets`.
OF_THE_SERVICE = NoAnswer, AccessRefused, CredentialsRefused, NoKey, NotConfigured


class AnotherRun(Exception):
    """Another run of the same command is in progress."""


class Paused(Exception):
    """Somebody has paused the job, so the schedule's run does nothing."""
