"""A bare project directory for the tests of the schedule, and a crontab of its own."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import tom_auto

#: What crontab(1) does, with a table in a file. Files beside the table make it misbehave.
CRONTAB = """#!/bin/sh
here='{here}'
echo "$1" >> "$here/calls"
case "$1" in
-l)
    if [ -e "$here/refuse" ]; then cat "$here/refuse" >&2; exit 1; fi
    if [ ! -e "$here/table" ]; then echo "no crontab for $(id -un)" >&2; exit 1; fi
    if [ -e "$here/header" ]; then cat "$here/header"; fi
    cat "$here/table"
    if [ -e "$here/slow" ]; then sleep 0.1; fi
    ;;
-)
    if [ -e "$here/refuse-new" ]; then echo '"-":7: bad minute' >&2; exit 1; fi
    cat > "$here/new"
    if [ -e "$here/mangle" ]; then rm "$here/mangle"; echo '# mangled' >> "$here/new"; fi
    mv "$here/new" "$here/table"
    ;;
*)
    exit 2
    ;;
esac
"""


@dataclass
class FakeCrontab:
    """A `crontab` command in a directory of its own, which a test puts on PATH."""

    bin: Path

    @property
    def table(self) -> bytes | None:
        """The table, or None where there is none."""
        file = self.bin / 'table'
        return file.read_bytes() if file.exists() else None

    @table.setter
    def table(self, table: bytes) -> None:
        (self.bin / 'table').write_bytes(table)

    def misbehave(self, how: str, text: str = '') -> None:
        """`how` is refuse (-l fails with `text`), refuse-new, mangle, slow or header (shows `text`)."""
        (self.bin / how).write_text(text, encoding='utf-8')

    def calls(self) -> list[str]:
        """The arguments of each call so far."""
        file = self.bin / 'calls'
        return file.read_text(encoding='utf-8').split() if file.exists() else []


def fake_crontab(directory: Path) -> FakeCrontab:
    """Make the command in `directory`."""
    directory.mkdir(parents=True)
    write_program(directory / 'crontab', CRONTAB.replace('{here}', str(directory)))
    return FakeCrontab(directory)


def make_project(place: Path, schedule: str = '', slug: str = 'my_tom') -> Path:
    """A project that has all that the schedule looks at: its code, manage.py and a Python."""
    place.mkdir(parents=True)
    library = Path(tom_auto.__file__).parent
    for part in ('__init__.py', 'scheduling'):
        copy = shutil.copytree if (library / part).is_dir() else shutil.copy
        (place / 'tom_auto').mkdir(exist_ok=True)
        copy(library / part, place / 'tom_auto' / part)
    (place / 'logs').mkdir()
    (place / 'data').mkdir()
    settings = f"os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{slug}.settings')\n"
    (place / 'manage.py').write_text(settings, encoding='utf-8')
    write_schedule(place, schedule or '[updatedata]\nwhen = "17 * * * *"\n')
    python = place / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    write_program(python, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    return place


def write_schedule(project: Path, jobs: str, environment: str = 'virtualenv') -> None:
    """Write schedule.toml with these jobs."""
    text = f'environment = "{environment}"\nid = "7f3a09c2"\n{jobs}'
    (project / 'schedule.toml').write_text(text, encoding='utf-8')


def write_program(file: Path, text: str) -> None:
    """Make a program of `text`."""
    file.write_text(text, encoding='utf-8')
    file.chmod(0o755)


def with_path(*first: Path) -> str:
    """A PATH that begins with these directories."""
    return os.pathsep.join([*map(str, first), os.environ['PATH']])
