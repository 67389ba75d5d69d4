"""Timers that were really installed, started by a real systemd of the user's own."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from needs import need
from real_cron import in_name_spaces, need_name_spaces, small_project
from test_real_cron import PLACES

#: Those of the places that hold something that systemd reads in a way of its own.
AWKWARD = [b'plain', *(place for place in PLACES if re.search(rb'[%$"\'\\=;~\x80-\xff]', place))]
SYSTEMD = Path('/lib/systemd/systemd')
CGROUPS = 'mount -t tmpfs none /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup'
SCHEDULE = f'{sys.executable} -B -S -m tom_auto.scheduling'

#: A systemd --user in name spaces of its own: neither the machine's nor any user's is in reach.
WITH_SYSTEMD = f"""
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/user/0 "$HOME/.local/share/systemd/timers"
export XDG_RUNTIME_DIR=/run/user/0
{CGROUPS}
{SYSTEMD} --user --log-target=console 2>systemd.log &
for tenth in $(seq 100); do
    if systemctl --user is-system-running >/dev/null 2>&1; then break; fi
    sleep 0.1
done
"""

#: As after a night in which the machine was off: the timers make up for what was missed.
MISSED_AND_MADE_UP = f"""
find p -name tom -print0 | xargs -0 -P 8 -n 1 sh -c '
    cd "$0" && exec {SCHEDULE} install --format systemd >/dev/null'
units=$(cd "$HOME/.config/systemd/user" && ls ./*.timer | cut -c 3-)
systemctl --user stop $units
for unit in $units; do
    touch -d '2023-01-01' "$HOME/.local/share/systemd/timers/stamp-$unit"
done
systemctl --user start $units
for tenth in $(seq 300); do
    if [ "$(find p -name ran | wc -l)" = "$COUNT" ]; then break; fi
    sleep 0.1
done
systemctl --user show -p NextElapseUSecRealtime $units | sort -u
cd p/plain/tom
{SCHEDULE} status --format systemd && echo "WELL $?"
{SCHEDULE} remove --format systemd
{SCHEDULE} status --format systemd || echo "GONE $?"
systemctl --user list-timers --all
"""


@pytest.fixture
def systemd_machine() -> None:
    """A machine on which a systemd of the user's own runs in name spaces."""
    need(SYSTEMD.exists() and shutil.which('systemctl'), 'needs systemd (the Debian package)')
    need_name_spaces(CGROUPS)


def test_systemd_makes_up_for_what_was_missed_in_awkward_places(
    systemd_machine: None, tmp_path: Path
) -> None:
    """Each timer runs the Python and the manage.py of its own project, once."""
    projects = [
        small_project(os.fsencode(tmp_path) + b'/p/' + place + b'/tom') for place in AWKWARD
    ]
    said = in_name_spaces(tmp_path, WITH_SYSTEMD + MISSED_AND_MADE_UP, COUNT=str(len(AWKWARD)))
    for project in projects:
        ran = project / 'ran'
        assert ran.is_file(), f'{os.fsencode(project)!r} did not run: {said}'
        [(prefix, _, manage, *arguments)] = map(json.loads, ran.read_text().splitlines())
        assert (prefix, manage) == (str(project / '.venv'), str(project / 'manage.py'))
        assert arguments == ['schedule', 'run', 'updatedata']
    assert said.count('NextElapseUSecRealtime=') == 1
    assert 'NextElapseUSecRealtime=Tue 2028-02-29 03:17:00' in said
    assert 'WELL 0' in said
    assert 'GONE 1' in said
    assert f'\n{len(AWKWARD) - 1} timers listed' in said
