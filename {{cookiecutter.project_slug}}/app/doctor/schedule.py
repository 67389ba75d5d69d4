"""Checks of the schedule: whether it is installed, who keeps it, how the last runs went."""

from .. import schedule_state
from ..health import NEVER, UNTOLD, healths
from ..jobs import jobs
from ..scheduling.daemon import cron_daemon_runs
from ..scheduling.definition import ScheduleError
from .finding import FAILED, OK, WARNING, Found


def installed() -> Found:
    """The schedule is installed and current, and something keeps it."""
    try:
        status, told = schedule_state.state()
    except ScheduleError as error:
        yield FAILED, str(error), 'Put schedule.toml right'
        return
    lines = ' '.join(line.strip() for line in told if line.strip())
    yield (OK, lines) if status == 0 else (FAILED, lines, 'manage.py schedule install')


def daemon() -> Found:
    """A cron daemon runs."""
    if jobs().contained:
        yield OK, 'None is needed: a container keeps the schedule'
        return
    runs = cron_daemon_runs()
    if runs:
        yield OK, 'A cron daemon runs'
    elif runs is None:
        yield WARNING, 'This user cannot see whether a cron daemon runs', 'Ask who looks after it'
    else:
        fix = 'systemctl enable --now cron (as root), or: manage.py schedule run'
        yield WARNING, 'No cron daemon runs here', fix


def last_runs() -> Found:
    """The jobs ran, and well."""
    for health in healths():
        if health.state == UNTOLD:
            continue
        if health.is_trouble:
            yield FAILED, health.sentence(), 'The page /automation/ says more'
        elif health.state == NEVER:
            yield WARNING, health.sentence(), 'manage.py schedule install'
        else:
            yield OK, health.sentence()
