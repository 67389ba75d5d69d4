"""`manage.py schedule`: shows, installs, removes and checks the lines for cron."""

import sys
from pathlib import Path

from django.core.management import get_commands
from django.core.management.base import BaseCommand, CommandParser

from ...scheduling.cli import act, add_actions


class Command(BaseCommand):
    """Hands the command line to app.scheduling, which works without Django as well."""

    help = 'Show, install, remove or check the lines for cron. schedule.toml says what runs when.'
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_actions(parser)

    def handle(self, *args: str, action: str, **options: object) -> None:
        status = act(
            action,
            say=self.stdout.write,
            complain=self.stderr.write,
            at_work=Path(sys.executable),
            commands=set(get_commands()),
        )
        if status:
            sys.exit(status)
