"""Writes docs/reference.md from the code: commands, settings, exit statuses, JSON, messages.

A test compares the page with what this makes; `make reference` writes it again. It needs a Django
that is set up: the tests' own.
"""

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

from django.core.checks.registry import registry
from django.core.management import load_command_class

from tom_auto import adoption, conf, errors
from tom_auto.audit.report import AuditReport
from tom_auto.doctor.checks import CHECKS
from tom_auto.doctor.finding import Finding
from tom_auto.health_states import WORDS
from tom_auto.management.endings import BUSY, WRONG_USAGE
from tom_auto.run_job import TOO_LATE
from tom_auto.running.outcomes import FAILURE, Report
from tom_auto.scheduling.plan import CURRENT, NOT_INSTALLED, STALE
from tom_auto.targets.report import CadencesReport, RequestsReport, TargetsReport

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / 'docs' / 'reference.md'
COMMANDS = sorted(
    file.stem for file in (ROOT / 'tom_auto' / 'management' / 'commands').glob('[a-z]*.py')
)
DJANGO = {
    '--help', '--version', '--verbosity', '--settings', '--pythonpath', '--traceback',
    '--no-color', '--force-color', '--skip-checks',
}  # fmt: skip
HEAD = """\
# Reference

This page is made from the code by `make reference`. A test fails when it is out of date.
"""
STATUSES = {
    0: 'everything went well, or nothing had to be done; also where a job is paused',
    1: 'something failed, and is named; `schedule` and `restore`: it could not be done',
    WRONG_USAGE: 'wrong usage: an option, a name or a setting that is not valid',
    BUSY: 'another run of the same command is in progress',
    TOO_LATE: '`schedule run NAME`: the job was stopped at its timeout, and ended with 0',
    129: 'stopped by SIGHUP: its terminal was closed',
    130: 'stopped by Ctrl-C',
    137: '`schedule run NAME`: the job was killed (SIGKILL), at its timeout because SIGTERM did not end it',
    143: 'stopped by SIGTERM; `schedule run NAME`: most jobs that are stopped at their timeout',
}
OF_STATUS = {
    CURRENT: 'installed and well',
    NOT_INSTALLED: 'not installed',
    STALE: 'out of date, overdue, or the last run failed',
}
REPORTS = {
    'updatedata': Report,
    'updatetargets': TargetsReport,
    'updatecadences': CadencesReport,
    'findrequests': RequestsReport,
    'auditdata': AuditReport,
}
#: What the fields of the JSON mean. Those that only one command has say so by their words.
FIELDS = {
    'run': 'the number of the run in the history; null for a dry run',
    'status': '"ok" or "failed"; "paused" with a "reason" where the job is paused',
    'due': 'what was to be done: records, queries, cadences, proposals or files',
    'checked': 'of these, what was done',
    'changed': 'records with a new status',
    'found': 'frames, candidates or requests that were found',
    'saved': 'frames, targets or records that were saved',
    'repaired': 'frames or files that were fetched again',
    'failed': 'failures',
    'unsupported': 'records whose facility class cannot be asked',
    'set_aside': 'what was not asked because of what it needs: a host, an account, a disk',
    'not_reached': 'what was not reached before the deadline',
    'gone': 'what was deleted meanwhile',
    'filtered': 'frames that WANTED_FRAMES leaves out',
    'adopted': 'files of other commands that are whole',
    'damaged': 'files of other commands that were not',
    'missing': 'rows of other commands without a file',
    'waiting_after_failures': 'records that wait for their next try',
    'seconds': 'how long it took',
    'next_news': 'when the next observation begins, where all are in the future',
    'failures': 'what failed: see below',
    'unsupported_facilities': 'the reason for each facility that cannot be asked',
    'failed_items': 'queries and targets that failed',
    'new': 'new targets',
    'refreshed': 'targets with new values',
    'known': 'what the TOM has already',
    'not_kept': 'candidates that could not be kept',
    'points': 'points of reduced data that were stored',
    'dry_run': 'whether nothing was written',
    'candidates': 'what a dry run has found',
    'bytes': 'how much was read',
    'verdicts': 'how many of the files that were read are in each state',
    'changed_files': 'files that their owners have changed since the last round',
    'round_began': 'when this round began',
    'round_ended': 'when it ended; null while it has not',
    'round_files': 'how many files it has read',
    'left': 'how many are left in it',
    'not_repaired': 'why nothing could be fetched',
    'settled': 'uncertain submissions of earlier runs that were settled',
    'submitted': 'how many observations were submitted, or would be',
    'submissions': 'which these are',
    'not_read': 'proposals that could not be read',
    'matched': 'requests that point at a target of this TOM',
    'unmatched': 'requests that do not',
    'odd': 'requests that cannot be read: each is a failure by its number',
    'adds': 'whether records were made',
    'refused': 'records that this TOM refused, by a hook, say',
    'is_cut': 'whether the limit left some out',
    'proposals': 'the proposals, by facility',
    'requests': 'the requests',
    'since': 'when tom-auto was installed',
    'records': 'the observations of before',
    'unchecked': 'of these, those that were never checked',
    'failing': 'of these, those in trouble',
    'without_data': 'of these, those with frames that had never been downloaded',
    'whole': 'files of other commands that are whole',
    'never_fetched': 'frames that had never been downloaded',
    'not_home': 'damaged and missing files that are still to be fetched',
    'unread': 'files of other commands that nobody has looked at',
    'record': 'the key of the observation record; null for what is shared',
    'observation_id': "the observatory's number, or the name of a query, target or file",
    'facility': 'the facility or data service',
    'error': 'what went wrong',
    'kind': 'the kind of error: see *Messages*',
    'check': 'the name of the check',
    'state': '"ok", "warning" or "failed"',
    'fix': 'what to do',
}


def page() -> str:
    """The whole page."""
    parts = (commands(), statuses(), settings(), json_fields(), messages(), checks(), states())
    return '\n'.join([HEAD, *(line for part in parts for line in part)]) + '\n'


def commands() -> Iterator[str]:
    yield '## Commands\n'
    yield 'All are commands of `manage.py`. Each has `--help` and `--version`.\n'
    for name in COMMANDS:
        command = load_command_class('tom_auto', name)
        parser = command.create_parser('manage.py', name)
        yield f'### `{name}`\n'
        yield f'{cell(command.help)}\n'
        actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if actions:
            yield from table(['action', 'what it does'], _actions(actions[0]))
        elif rows := list(_options(parser)):
            yield from table(['option', 'what it does'], rows)


def _actions(actions: argparse._SubParsersAction) -> Iterator[tuple[str, str]]:
    for name, parser in actions.choices.items():
        yield f'`{name}`', parser.description or ''
        for flag, purpose in _options(parser):
            yield f'`{name}` {flag}', purpose


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith('--')]
        if set(names) & DJANGO or '-h' in action.option_strings:
            continue
        value = action.metavar or (
            f'{{{",".join(map(str, action.choices))}}}' if action.choices else ''
        )
        shown = ' '.join(filter(None, [', '.join(names), str(value or '')]))
        yield f'`{shown or action.dest}`', action.help or ''


def statuses() -> Iterator[str]:
    yield '## Exit statuses\n'
    yield from table(['status', 'meaning'], ((str(n), words) for n, words in STATUSES.items()))
    yield '`schedule status` has its own:\n'
    yield from table(['status', 'meaning'], ((str(n), words) for n, words in OF_STATUS.items()))


def settings() -> Iterator[str]:
    yield '## Settings\n'
    yield 'Options of `TOM_AUTO = {…}` in the settings. Times are in seconds unless they say otherwise.\n'
    source = inspect.getsource(conf.Automation)
    said = {
        name: ' '.join(line.strip().removeprefix('#:').strip() for line in comment.splitlines())
        for comment, name in re.findall(r'((?:    #: .*\n)+)    (\w+):', source)
    }
    rows = []
    for option in fields(conf.Automation):
        default = getattr(conf.Automation(), option.name)
        shown = f'{default.days} days' if isinstance(default, timedelta) else repr(default)
        rows.append((f'`{option.name}`', f'`{shown}`', said[option.name]))
    yield from table(['option', 'default', 'meaning'], rows)


def json_fields() -> Iterator[str]:
    yield '## JSON\n'
    for name, report in REPORTS.items():
        yield f'`{name} --json` prints one object:\n'
        yield from table(['field', 'meaning'], _fields(report().as_dict()))
    yield 'Each of the `failures`:\n'
    yield from table(['field', 'meaning'], _fields(FAILURE))
    yield '`updatedata --report --json`:\n'
    yield from table(['field', 'meaning'], _fields(one.name for one in fields(adoption.Adoption)))
    yield '`doctor --json` prints `well`, and of each of the `checks`:\n'
    yield from table(['field', 'meaning'], _fields(Finding._fields))
    yield '`doctor --send-test --json` prints `well`, and of each message `sent` its `channel` and `error`;'
    yield '`auditdata --accept FILE --json` prints the names that were `accepted`.\n'


def _fields(names: object) -> Iterator[tuple[str, str]]:
    for name in names:
        if name not in FIELDS:
            raise LookupError(f'tools/reference.py: say in FIELDS what {name!r} means')
        yield f'`{name}`', FIELDS[name]


def messages() -> Iterator[str]:
    yield '## Messages\n'
    yield 'Every failure has a kind. What a run prints after it, and the page, say what to do.\n'
    rows = [
        (kind, inspect.getdoc(known) or '', errors.advice_for(kind, applied=''))
        for kind, known in sorted(errors._kinds.items())
    ]
    yield from table(['kind', 'what it means', 'what to do'], rows)
    for error in (errors.AnotherRun, errors.Paused):
        yield f'- {inspect.getdoc(error)}'
    yield ''


def checks() -> Iterator[str]:
    yield '## Checks\n'
    yield '`manage.py check` knows these:\n'
    found = []
    for check in registry.get_checks():
        if check.__module__.startswith('tom_auto'):
            for name, words in re.findall(r'(tom_auto\.\w+): (.*)', inspect.getdoc(check) or ''):
                found.append((f'`{name}`', words))
    yield from table(['id', 'what is wrong'], sorted(found))
    yield f'`manage.py doctor` looks at: {", ".join(CHECKS)}.\n'


def states() -> Iterator[str]:
    yield '## States of a job\n'
    yield from table(['state', 'in words'], WORDS.items())


def table(heads: list[str], rows: object) -> Iterator[str]:
    yield f'| {" | ".join(heads)} |'
    yield f'|{"---|" * len(heads)}'
    for row in rows:
        yield f'| {" | ".join(map(cell, row))} |'
    yield ''


def cell(text: str) -> str:
    """`text` in one line, for a table."""
    return ' '.join(str(text).split()).replace('|', '\\|').replace('<', '&lt;')


if __name__ == '__main__':
    PLACE.write_text(page(), encoding='utf-8')
