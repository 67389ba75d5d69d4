"""`manage.py auditdata`: reads the stored files against their checksums."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ...audit.accept import accept
from ...audit.repair import repair
from ...audit.report import AuditReport
from ...audit.run import COMMAND, audit_files
from ...channels import DeadMansSwitch
from ...conf import Automation, automation
from ...jobs import main_job, name_of
from ..run_command import RunCommand, positive, wrong


class Command(RunCommand):
    help = (
        'Reads stored files and compares them with their checksums: at each run a share of them, '
        'all of them within AUDIT_ROUND. Changes nothing unless you give --repair. Exit status: 0 every '
        'file that was read is as it should be, 1 some are not and are named, 2 wrong usage, 75 '
        'another run is in progress.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add('--all', action='store_true', help='read every file now, not only a share')
        add(
            '--repair',
            action='store_true',
            help='download again what is damaged or missing, where an archive has it',
        )
        add(
            '--accept',
            action='append',
            metavar='FILE',
            help='accept this file as it is: keep its present checksum; read no other file',
        )
        limit = 'read at most MB megabytes per second; 0: no limit'
        add('--rate', type=rate, metavar='MB', help=limit)
        add('--deadline', type=positive, metavar='SECONDS', help='start no new work after this')
        add('--json', action='store_true', help='print one JSON object instead of text')

    def limits(self, options: dict) -> Automation:
        chosen = {}
        if options['deadline']:
            chosen['DEADLINE'] = options['deadline']
        if options['rate'] is not None:
            chosen['AUDIT_RATE'] = options['rate'] * 1_000_000
        return replace(automation(), **chosen)

    def act(self, options: dict, limits: Automation) -> AuditReport | None:
        if options['accept'] and (options['all'] or options['repair']):
            raise wrong('--accept cannot be combined with --all or --repair.')
        if options['accept']:
            self.accept(options['accept'], options['json'])
            return None
        run = partial(self.audit, options, limits)
        # The dead-man's switch waits for runs of updatedata.
        return self.watched(run, DeadMansSwitch(watched=False), shows_progress=False)

    def audit(
        self, options: dict, limits: Automation, progress: Callable, begun: Callable
    ) -> AuditReport:
        """Read the files; with --repair have those in trouble fetched, and read them once more."""
        look = partial(audit_files, limits, job=name_of(COMMAND))
        report, bad = look(options['all'], progress=progress, begun=begun)
        if not (options['repair'] and bad):
            return report
        reason = repair(bad, limits, main_job().name)
        again, _ = look(only_in_trouble=True)
        return report.after_repair(again, reason)

    def accept(self, names: list[str], as_json: bool) -> None:
        """Take the files as they are."""
        for name in names:
            if not accept(name):
                raise wrong(f'{name!r} is not the name of a file in trouble, or cannot be read.')
            if not as_json:
                self.stdout.write(f'{name}: accepted as it is.')
        if as_json:
            self.stdout.write(json.dumps({'accepted': names}))


def rate(text: str) -> int:
    """0 or a positive whole number, as an argument of the command line."""
    if not text.isdigit():
        raise ArgumentTypeError(f'{text!r} must be 0 or a positive whole number')
    return int(text)
