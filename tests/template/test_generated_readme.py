"""The commands of a generated TOM's README, typed one after the other, lead where they say."""

import re
import shlex
from pathlib import Path

import pytest

from baking import bake
from running import run, tom_python

#: Reads and writes a file instead of the crontab of whoever runs the tests.
CRONTAB = """#!/bin/sh
table=$(dirname "$0")/table
if [ "$1" = -l ]; then cat "$table" 2>/dev/null || { echo 'no crontab for you' >&2; exit 1; }
elif [ "$1" = - ]; then cat >"$table"
else cp "$1" "$table"; fi
"""

#: Not typed: `make` has installed the packages; test_web_pages.py looks at the web server.
LEFT_OUT = ('pip install', 'conda ', '-m venv', 'activate', 'createdb', 'runserver')
LEFT_OUT += ('uv pip compile', 'pytest')

#: Without a cron daemon, as in most containers, `schedule status` says so and ends with these.
ANY_STATUS = 'schedule status'


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH: the TOM's Python under the names that people type, and a crontab."""
    directory = tmp_path / 'bin'
    directory.mkdir()
    for name in ('python', 'python3'):
        # A link would not do: a virtual environment's Python looks around where it was called.
        (directory / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(tom_python()))} "$@"\n')
    (directory / 'crontab').write_text(CRONTAB)
    for file in directory.iterdir():
        file.chmod(0o755)
    return directory


@pytest.mark.parametrize('environment', ['virtualenv', 'system'])
def test_the_commands_work_in_their_order(environment: str, tools: Path, tmp_path: Path) -> None:
    project = bake(tmp_path, environment=environment).project
    path = f'{tools}:/usr/bin:/bin'
    if environment == 'virtualenv':
        (project / '.venv').symlink_to(tom_python().parent.parent)
        path = f'{project}/.venv/bin:{path}'
    text = (project / 'README.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```sh\n(.*?)```', text, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    typed = [line for line in commands if not any(words in line for words in LEFT_OUT)]
    assert len(typed) >= 9
    for line in typed:
        done = run(project, 'sh', '-c', line, PATH=path)
        assert done.returncode == 0 or ANY_STATUS in line, f'{line}\n{done.stdout}'
    line = next(line for line in (tools / 'table').read_text().splitlines() if 'updatedata' in line)
    assert f'{shlex.quote(str(project / "manage.py"))} schedule run updatedata' in line
