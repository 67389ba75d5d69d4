"""The command to type for a command of manage.py, where a person reads its name."""

import contextlib
import os
from pathlib import Path

from .definition import OWN_ENVIRONMENT, SERVICE, ScheduleError, read_schedule

#: What an activated environment has set; after a move, to the old place.
ACTIVATED = ('VIRTUAL_ENV', 'CONDA_PREFIX')
#: The actions of `manage.py schedule` that are for the machine, and not for a container.
ON_THE_HOST = ('show', 'install', 'remove', 'status')


def applied(project: Path) -> str:
    """What has to be typed after a change of `.env`, as part of a sentence; mostly nothing.

    Containers have the environment that they were made with.
    """
    with contextlib.suppress(ScheduleError):
        if read_schedule(project).environment == 'docker':
            return ' and type: docker compose up --detach --wait'
    return ''


def typed_to_install(project: Path) -> str:
    """What to type so that something starts the jobs; in a cluster, to see what to give it."""
    with contextlib.suppress(ScheduleError):
        if read_schedule(project).environment == 'kubernetes':
            return typed(project, 'schedule show --format kubernetes')
    return typed(project, 'schedule install')


def typed(project: Path, words: str) -> str:
    """What to type, in the directory of the project, for `manage.py` with these `words`.

    Where the project's environment is not active in this shell, its Python is named: that works
    after a move as well.
    """
    environment, chosen = '', None
    with contextlib.suppress(ScheduleError):  # whoever reads the schedule says what is wrong
        schedule = read_schedule(project)
        environment, chosen = schedule.environment, schedule.python
    if environment == 'docker':
        action = words.removeprefix('schedule ').split(' ')[0]
        if words.startswith('schedule ') and action in ON_THE_HOST:
            return f'python3 -m tom_auto.scheduling {words.removeprefix("schedule ")}'
        return f'docker compose exec {SERVICE} python manage.py {words}'
    if chosen:
        return f'{chosen} manage.py {words}'
    own = OWN_ENVIRONMENT.get(environment, '')
    python = Path(own, 'bin', 'python')
    active = str(project / own) in map(os.environ.get, ACTIVATED)
    if own and not active and (project / python).is_file():
        return f'{python} manage.py {words}'
    return f'{"python3" if environment == "system" else "python"} manage.py {words}'
