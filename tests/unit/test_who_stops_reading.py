"""`manage.py … | head`: who reads what a command prints stops before its end."""

import subprocess
import sys
from pathlib import Path

import pytest

PLACES = [str(place) for place in (Path(__file__).parents[2], Path(__file__).parents[1])]
PRINTS = """
import os, sys
sys.path[:0] = sys.argv[2:]
os.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'
import django
django.setup()
from tom_auto.management.command import LibraryCommand

class Command(LibraryCommand):
    def handle(self, **options):
        for number in range(int(sys.argv[1])):
            self.stdout.write('A line.')
        if 'ends' in os.environ:
            sys.exit(2)
        if 'breaks' in os.environ:
            raise BrokenPipeError('a connection')

Command().run_from_argv(['manage.py', 'prints'])
"""


def ended(lines: int, reads: bool = False, **variables: str) -> tuple[int, str]:
    """The exit status of the command, and what it says to standard error."""
    program = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', PRINTS, str(lines), *PLACES],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )
    if not reads:
        program.stdout.close()
        program.stdout = None
    _, said = program.communicate(timeout=60)
    return program.returncode, said


@pytest.mark.parametrize('lines', [1, 10_000])
@pytest.mark.parametrize('variables', [{}, {'ends': '1'}, {'PYTHONUNBUFFERED': '1'}])
def test_a_command_that_nobody_reads_ends_without_a_word(lines, variables):
    """As other programs do, with the status that a shell has for it."""
    assert ended(lines, **variables) == (141, '')


def test_another_broken_pipe_is_told():
    status, said = ended(1, reads=True, breaks='1')
    assert status == 1
    assert 'BrokenPipeError: a connection' in said


def test_one_that_is_read_ends_as_ever():
    assert ended(10_000, reads=True) == (0, '')
    assert ended(1, reads=True, ends='1') == (2, '')
