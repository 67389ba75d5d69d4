"""What all commands of the library have in common."""

from django.core.management.base import BaseCommand

from .. import versions


class LibraryCommand(BaseCommand):
    """A command of this library, and not of Django: `--version` says which version that is."""

    # Cron runs these, or a person whose TOM is broken. The checks load every page, which doubles
    # the start-up time.
    requires_system_checks = []

    def get_version(self) -> str:
        return versions.words()
