"""Looks at everything that the automation needs, and says what to do about what is wrong."""

from collections.abc import Callable, Iterator

from ..sync.discreet import discreet
from . import machine, network, schedule
from .finding import FAILED, Finding, Found


def findings() -> Iterator[Finding]:
    """What each check finds, one after another. None of them changes anything, or raises."""
    for name, check in CHECKS.items():
        try:
            yield from (Finding(name, *found) for found in check())
        except Exception as error:
            told = f'{type(error).__name__}: {discreet(str(error))}'
            yield Finding(name, FAILED, told, 'See logs/tom.log, and the README.')


CHECKS: dict[str, Callable[[], Found]] = {
    'Python': machine.interpreter,
    'Packages': machine.packages,
    'Database': machine.database,
    'Data': machine.media,
    'Observatories': network.credentials,
    'Clock': network.clock,
    'Schedule': schedule.installed,
    'Cron': schedule.daemon,
    'Runs': schedule.last_runs,
    'Mail': network.mail,
}
