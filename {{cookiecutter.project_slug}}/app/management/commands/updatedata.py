"""`manage.py updatedata`: the library's command, and the place to add to it.

INSTALLED_APPS lists 'app' before 'tom_auto', so this class is the one that runs.
"""

from tom_auto.management.commands.updatedata import Command as UpdateData


class Command(UpdateData):
    """Ask the observatories, and bring the data home."""

    def handle(self, **options):
        """Run the library's command. Put what should happen before or after a run here."""
        super().handle(**options)
