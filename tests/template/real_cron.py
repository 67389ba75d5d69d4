"""A real crontab, and a real cron at a time of the test's choice, out of the machine's reach."""

import os
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from baking import TEMPLATE
from needs import need

TOOLS = ('cron', 'crontab', 'faketime', 'unshare', 'mount')

UNSHARE = ('unshare', '-m', '-p', '-f', '-C', '--kill-child', '--mount-proc')

#: In name spaces of its own, neither the machine's crontabs nor its processes are within reach.
NAME_SPACES = """
set -e
mount -t tmpfs none /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
mount -t tmpfs none /run
mount -t tmpfs none /etc/cron.d
mount --bind /dev/null /etc/crontab
"""

#: Then cron at a time a few seconds before the job is due, until the job is done.
WITH_CRON = (
    NAME_SPACES
    + """
eval "$BEFORE"
crontab -l
FAKETIME_DONT_RESET=1 FAKETIME="@$START" LD_PRELOAD="$FAKETIME_LIBRARY" cron -f &
for second in $(seq 120); do
    sleep 0.5
    if eval "$UNTIL"; then break; fi
done
kill $!
wait $! || true  # its status is that of a killed program, and -e would end the script
eval "$AFTER"
crontab -l
"""
)


def faketime_library() -> Path | None:
    """The library that the faketime command loads."""
    found = Path('/usr/lib').glob('*/faketime/libfaketime.so.1')
    return next(found, None)


def need_cron() -> None:
    """Skip the test, or fail, on a machine that cannot run cron in name spaces of its own."""
    missing = [
        tool for tool in TOOLS if not shutil.which(tool, path=f'{os.environ["PATH"]}:/usr/sbin')
    ]
    need(not missing, f'needs {", ".join(missing)} (Debian packages cron and faketime)')
    need(faketime_library(), 'needs libfaketime (Debian package faketime)')
    need_name_spaces()


def need_name_spaces(mount: str = 'mount -t tmpfs none /run') -> None:
    """Skip the test, or fail, on a machine where no name spaces can be made, with that in them."""
    need(os.geteuid() == 0, 'needs root, to keep away from the crontabs of this machine')
    allowed = subprocess.run(
        [*UNSHARE, '/bin/sh', '-c', mount],
        capture_output=True,
        timeout=30,
        check=False,
    )
    need(allowed.returncode == 0, f'needs name spaces: {allowed.stderr.decode().strip()}')


def clean(project: Path) -> dict[str, str]:
    """The environment of a login, and nothing of the tester's."""
    home = project.parent / '.home'
    return {
        'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME': str(home),
    }


def cron_in_name_spaces(
    project: Path, when: datetime, before: str, until: str, after: str = ':'
) -> str:
    """Do `before`, let cron come to the time `when`, wait `until`, and do `after`, all in sh.

    The directory is `project`. Returns all that was printed.
    """
    start = (when - timedelta(seconds=3)).strftime('%Y-%m-%d %H:%M:%S')
    variables = {
        'BEFORE': before,
        'START': start,
        'UNTIL': until,
        'AFTER': after,
        'FAKETIME_LIBRARY': str(faketime_library()),
        'TZ': 'UTC',
    }
    return in_name_spaces(project, WITH_CRON, **variables)


def in_name_spaces(directory: Path, script: str, **variables: str) -> str:
    """What the sh `script` prints in `directory`, in name spaces of its own."""
    done = subprocess.run(
        [*UNSHARE, '/bin/sh', '-c', script],
        cwd=directory,
        env=clean(directory) | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='backslashreplace',
        timeout=200,
        check=False,
    )
    return f'{shlex.join(UNSHARE)} ended with {done.returncode}:\n{done.stdout}'


#: Stands for manage.py: says whose Python ran which file, in the project itself.
MANAGE = """\
import json, os, sys
from pathlib import Path
import django  # of the project's own environment
# DJANGO_SETTINGS_MODULE, 'my_tom.settings'
here = os.path.dirname(os.path.abspath(__file__))
print('printed')
with open(os.path.join(here, 'ran'), 'a') as file:
    told = [sys.prefix, django.__file__, os.path.abspath(__file__), *sys.argv[1:]]
    told += [os.environ['PROJ_DATA']] if 'PROJ_DATA' in os.environ else []
    file.write(json.dumps(told) + '\\n')
"""


def small_project(place: bytes, environment: str = 'virtualenv') -> Path:
    """A project of the schedule's code and an environment of its own, which starts at once."""
    project = Path(os.fsdecode(place))
    unwanted = shutil.ignore_patterns('__pycache__')
    library = project / 'tom_auto'
    shutil.copytree(TEMPLATE / 'tom_auto' / 'scheduling', library / 'scheduling', ignore=unwanted)
    shutil.copy(TEMPLATE / 'tom_auto' / '__init__.py', library)
    (project / 'data').mkdir()
    (project / 'logs').mkdir()
    (project / 'manage.py').write_text(MANAGE, encoding='utf-8')
    (project / 'schedule.toml').write_text(
        f'environment = "{environment}"\n[updatedata]\nwhen = "17 3 29 2 *"\n', encoding='utf-8'
    )
    if environment == 'virtualenv':
        make_environment(project / '.venv')
    elif environment == 'conda':
        make_environment(project / '.conda')
        (project / '.conda' / 'conda-meta').mkdir()
    elif environment == 'docker':
        (project / 'compose.yaml').touch()
    return project


def make_environment(place: Path) -> None:
    """A virtual environment, as venv makes one, with a package of its own."""
    base = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
    site = place / 'lib' / base.name / 'site-packages' / 'django'
    site.mkdir(parents=True)
    (site / '__init__.py').touch()
    (place / 'bin').mkdir()
    (place / 'bin' / 'python').symlink_to(base)
    (place / 'pyvenv.cfg').write_text(f'home = {base.parent}\n', encoding='utf-8')
