"""The benchmark runs, and the README says what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from running import TEMPLATE, tom_python

BENCH = TEMPLATE / 'bench'
SMALL = ('--records=12', '--latency=0.01', '--finished=2000')


def bench(*arguments: str, timeout: float = 240) -> str:
    """Run the benchmark with `arguments`; what it prints."""
    done = subprocess.run(
        [sys.executable, '-B', str(BENCH), *arguments],
        env={
            **os.environ,
            'PYTHONPATH': f'{TEMPLATE}/tests/template:{TEMPLATE}/tests/shared',
            'TOM_PYTHON': str(tom_python()),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.timeout(300)
def test_a_small_one_keeps_the_bar_that_does_not_depend_on_the_machine():
    said = bench('idle', 'huge_account', *SMALL)
    assert 'huge account: requests | 2 | at most 12 |  |' in said, said


def test_the_readme_quotes_the_newest_result(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import report

    assert report.quotation() in (TEMPLATE / 'README.md').read_text(encoding='utf-8')


def test_a_result_says_itself_what_it_reached(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import report

    result = json.loads(Path(report.newest()).read_text(encoding='utf-8'))
    assert result['bars'] == report.bars(result)
    assert (
        report.newest().with_suffix('.md').read_text(encoding='utf-8') == report.page(result) + '\n'
    )
    assert report.newest().with_suffix('.svg').is_file()
