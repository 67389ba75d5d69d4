"""logs/cron.log: what is full is set aside, and no line of it is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tom_auto.scheduling import job_log
from tom_auto.scheduling.job_log import rotate

PROJECT = Path(__file__).resolve().parents[2]

#: As cron's shell does: it opens the log, and then starts Python.
JOB = (
    'from pathlib import Path; from tom_auto.scheduling.job_log import rotate_own_output; import sys; '
    'rotate_own_output(Path(sys.argv[1])); print("printed"); print("failed", file=sys.stderr)'
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / 'empty').mkdir()
    return tmp_path / 'empty'


def run_as_cron_does(file: Path) -> None:
    with file.open('ab') as output:
        subprocess.run(
            [sys.executable, '-B', '-c', JOB, file],
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=True,
        )


def test_a_small_log_is_left_alone(place: Path) -> None:
    file = place / 'cron.log'
    run_as_cron_does(file)
    run_as_cron_does(file)
    assert sorted(file.read_text().splitlines()) == ['failed', 'failed', 'printed', 'printed']
    assert list(place.iterdir()) == [file]


def test_a_full_log_is_set_aside_before_anything_is_printed(place: Path) -> None:
    file = place / 'cron.log'
    for generation in range(5):
        file.write_bytes(b'%d' % generation * job_log.FULL)
        run_as_cron_does(file)
        assert sorted(file.read_text().splitlines()) == ['failed', 'printed']
    kept = sorted(place.iterdir())
    assert [part.name for part in kept] == ['cron.log', 'cron.log.1', 'cron.log.2', 'cron.log.3']
    assert [part.read_bytes()[:1] for part in kept[1:]] == [b'4', b'3', b'2']


def test_output_that_goes_elsewhere_leaves_the_log_alone(place: Path) -> None:
    file = place / 'cron.log'
    file.write_bytes(b'x' * job_log.FULL)
    subprocess.run(
        [sys.executable, '-B', '-c', JOB, file],
        cwd=PROJECT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert [part.name for part in place.iterdir()] == ['cron.log']


def test_a_log_that_cannot_rotate_stops_nothing(place: Path) -> None:
    file = place / 'cron.log'
    file.write_bytes(b'x' * job_log.FULL)
    (place / 'cron.log.3' / 'not empty').mkdir(parents=True)
    (place / 'cron.log.2').touch()
    rotate(file)
    assert os.path.getsize(file) == job_log.FULL  # noqa: PTH202
