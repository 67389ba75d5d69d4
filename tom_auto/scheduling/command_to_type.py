"""The command to type for a command of manage.py, where a person reads its name."""

import contextlib
import os
from pathlib import Path

from .definition import (
    CONTAINERS,
    OWN_ENVIRONMENT,
    SERVICE,
    ScheduleError,
    read_schedule,
    slug_of,
)

#: What an activated environment has set; after a move, to the old place.
ACTIVATED = ('VIRTUAL_ENV', 'CONDA_PREFIX')
#: The actions of `manage.py schedule` that are for the machine, and not for a container.
ON_THE_HOST = ('show', 'install', 'remove', 'status')


def applied(project: Path) -> str:
    """What has to be typed after a change of `.env`, as part of a sentence; mostly nothing.

    Containers have the environment that they were made with.
    """
    with contextlib.suppress(ScheduleError):
        environment = read_schedule(project).environment
        if environment == 'docker':
            return ' and type: docker compose up --detach --wait'
        if environment == 'kubernetes':
            return f' and type: {new_secret(project)}'
    return ''


def new_secret(project: Path) -> str:
    """What makes a cluster's secret from `.env` again, and starts the pods with it."""
    name = name_in_cluster(project)
    return (
        f'kubectl create secret generic {name} --from-env-file=.env --dry-run=client -o yaml | '
        f'kubectl apply -f - && kubectl rollout restart deployment -l app.kubernetes.io/name={slug_of(project)}'
    )


def name_in_cluster(project: Path) -> str:
    """What the names of this TOM's things in a cluster begin with."""
    return cluster_name(slug_of(project))


def cluster_name(text: str) -> str:
    """`text` as a Kubernetes name: lower case letters, digits and -."""
    return text.replace('_', '-').strip('-')


def typed(project: Path, words: str) -> str:
    """What to type, in the directory of the project, for `manage.py` with these `words`.

    Where the project's environment is not active in this shell, its Python is named: that works
    after a move as well.
    """
    environment, chosen = '', None
    with contextlib.suppress(ScheduleError):  # whoever reads the schedule says what is wrong
        schedule = read_schedule(project)
        environment, chosen = schedule.environment, schedule.python
    if environment in CONTAINERS:
        action = words.removeprefix('schedule ').split(' ')[0]
        if words.startswith('schedule ') and action in ON_THE_HOST:
            return f'python3 -m tom_auto.scheduling {words.removeprefix("schedule ")}'
        return f'{_into_container(environment, project)} python manage.py {words}'
    if chosen:
        return f'{chosen} manage.py {words}'
    own = OWN_ENVIRONMENT.get(environment, '')
    python = Path(own, 'bin', 'python')
    active = str(project / own) in map(os.environ.get, ACTIVATED)
    if own and not active and (project / python).is_file():
        return f'{python} manage.py {words}'
    return f'{"python3" if environment == "system" else "python"} manage.py {words}'


def _into_container(environment: str, project: Path) -> str:
    if environment == 'docker':
        return f'docker compose exec {SERVICE}'
    return f'kubectl exec -it deployment/{name_in_cluster(project)}-{SERVICE} --'
