"""`manage.py updatedata`: the library's command, to which you can add.

INSTALLED_APPS lists 'app' before 'tom_auto', so this class is used.
"""

from tom_auto.management.commands.updatedata import Command as UpdateData


class Command(UpdateData):
    """Check observation requests and download their data."""

    def handle(self, **options):
        """Run the library's command. Add what should happen before or after it."""
        super().handle(**options)
