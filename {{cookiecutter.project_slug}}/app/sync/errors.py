"""What can go wrong with a record or a facility. The type decides; the text is for a person."""


class SyncError(Exception):
    """The check of one record failed. It is tried again at the next run."""


class NoAnswer(SyncError):
    """The observatory could not be reached, or did not answer in time."""


class FacilityDown(SyncError):
    """Nothing more can be had from this facility in this run; its records stay due."""


class Unsupported(SyncError):
    """The facility class cannot be asked for this. Not a failure: asking again changes nothing."""


class AnotherRun(Exception):
    """Another run of the same job is at work."""


class PartFailed(SyncError):
    """One part of the check failed; the rest of it goes on."""


class HookFailed(PartFailed):
    """A hook of this TOM (HOOKS in the settings) raised; it is owed and called again."""
