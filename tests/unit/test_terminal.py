"""What a person at a terminal sees of `updatedata`: H3. A real terminal, as far as one can be made."""

import logging
import os
import pty
import re
import sys
from contextlib import contextmanager
from threading import Thread
from time import sleep

import pytest
from django.core.management import call_command
from django.core.management.base import OutputWrapper

from tom_auto.log_config import logging_for
from tom_auto.management.terminal import ProgressLine, result
from tom_auto.running.outcomes import Ending, Outcome, Report

BAR = re.compile(r'\[[#.]{20}\] \d+ of \d+ records')


class Terminal:
    """A pseudo-terminal, with what was written to it."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.stream, self.written = os.fdopen(theirs, 'w'), b''
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._ours, 4096):
                self.written += piece
        except OSError:  # the other end is closed
            return

    def close(self) -> None:
        self.stream.close()
        self._reader.join(5)

    def screen(self) -> list[str]:
        """The lines as they stand there in the end."""
        lines = []
        for line in self.written.decode().replace('\r\n', '\n').split('\n'):
            shown = ''
            for piece in re.split('(\r|\x1b\\[K)', line):
                shown = '' if piece == '\x1b[K' else shown if piece == '\r' else shown + piece
            lines.append(re.sub('\x1b\\[[0-9;]*m', '', shown))
        return lines


@contextmanager
def terminal(monkeypatch):
    """Standard output and error are a terminal while this lasts."""
    made = Terminal()
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr(sys, 'stdout', made.stream)
    monkeypatch.setattr(sys, 'stderr', made.stream)
    handler = logging.StreamHandler(made.stream)
    handler.setLevel('WARNING')
    logging.getLogger().addHandler(handler)
    try:
        yield made
    finally:
        logging.getLogger().removeHandler(handler)
        made.close()


@pytest.mark.django_db(transaction=True)
def test_a_run_leaves_its_result_and_no_trace_of_the_progress(observed, add_record, monkeypatch):
    observed()
    lost = add_record()
    with terminal(monkeypatch) as seen, pytest.raises(SystemExit):
        call_command('updatedata')

    assert BAR.search(seen.written.decode())
    printed = seen.screen()
    assert printed[:4] == [
        '2 records due: 1 checked, 1 failed.',
        '1 status changed.',
        '2 frames found: 2 saved.',
        f'Failed: LCO {lost.observation_id}: '
        'LCO does not know it, or hides it from this account (404)',
    ]
    assert printed[4].startswith('    -> Look it up at the observatory.')
    assert 'manage.py doctor' in printed[5]
    assert printed[6:] == ['']


@pytest.mark.django_db(transaction=True)
def test_nothing_due_is_said_in_words(monkeypatch):
    with terminal(monkeypatch) as seen:
        call_command('updatedata')
    assert seen.screen() == [
        'Success! Nothing was due.',
        'This TOM has no observations yet. Add one on the page of a target.',
        '',
    ]


def test_what_others_print_and_log_stands_above_the_line(monkeypatch):
    report = Report(due=3)
    with (
        terminal(monkeypatch) as seen,
        ProgressLine(OutputWrapper(seen.stream)).above_others() as line,
    ):
        line.show(report)
        logging.getLogger('urllib3.connectionpool').warning('Retrying')
        sleep(0.11)
        line.show(report)
        print('printed', file=sys.stderr)  # noqa: T201
    assert seen.screen() == ['Retrying', 'printed', '']


def test_a_narrow_terminal_gets_one_line(monkeypatch):
    monkeypatch.setenv('COLUMNS', '30')
    with terminal(monkeypatch) as seen:
        ProgressLine(OutputWrapper(seen.stream)).show(Report(due=3))
    assert len(seen.screen()[0]) == 29


@pytest.mark.parametrize('kind', ['dumb', 'file'])
def test_no_line_where_it_could_not_be_erased(monkeypatch, kind, tmp_path):
    with terminal(monkeypatch) as seen, (tmp_path / 'log').open('w') as file:
        monkeypatch.setenv('TERM', 'dumb' if kind == 'dumb' else 'xterm')
        stream = seen.stream if kind == 'dumb' else file
        ProgressLine(OutputWrapper(stream)).show(Report(due=3))
    assert seen.written + (tmp_path / 'log').read_bytes() == b''


def test_no_success_while_failures_wait():
    waiting = Report(due=1, checked=1, waiting_after_failures=2)
    assert list(result(waiting, 'doctor'))[1:] == [
        '2 records are backing off after failures.',
        'Done. (0.0 s)',
    ]
    one = Report(due=1, checked=1, waiting_after_failures=1)
    assert list(result(one, 'doctor'))[1] == '1 record is backing off after failures.'
    assert one.sentence().endswith(' 1 record is backing off after failures.')


def test_a_reason_is_said_once_for_all_its_records():
    report = Report(due=5)
    for number in range(5):
        outcome = Outcome('LCO', number, str(number), Ending.FAILED, error='away', kind='no answer')
        report.add(outcome)
    assert 'Failed: LCO 0, 1, 2 and 2 more: away' in list(result(report, 'doctor'))
    assert report.sentence().count('away') == 1


def test_the_counts_of_records_add_up_to_those_due():
    """A host that is away is a failure, and no record: "3 records due: 3 failed, 1 set aside"."""
    report = Report(due=3)
    for number in range(2):
        report.add(Outcome('LCO', number, str(number), Ending.FAILED, error='away'))
    report.add(Outcome('LCO', 2, '2', Ending.SET_ASIDE, error='set aside'))
    report.add(Outcome('LCO', error='observe.lco.global is set aside'))
    assert not report.still_open()
    assert list(result(report, 'doctor'))[0] == '3 records due: 2 failed, 1 set aside.'
    assert '2 failed, 0 unsupported, 1 set aside;' in report.sentence()
    assert report.failed == 3


def test_retries_go_to_the_log_alone(tmp_path, monkeypatch):
    """What comes of them is in the result; in a container the terminal is the log."""
    assert logging_for(tmp_path)['loggers']['urllib3']['handlers'] == ['file']
    monkeypatch.setenv('TERMINAL_LOG', 'INFO')
    assert 'urllib3' not in logging_for(tmp_path)['loggers']
