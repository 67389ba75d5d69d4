"""`updatedata --wait`: follows a run to its end, in whatever process or container that is.

Ctrl-C and SIGTERM end the following, and not the run.
"""

from collections.abc import Callable
from time import sleep

from django.core.management.base import CommandError

from ..interrupt import uninterrupted
from ..models import RunFailure, UpdateRun
from ..page.actions import begin_process
from ..running.outcomes import Ending, Outcome, Report
from ..running.runs import alive, started_by
from .endings import explained_endings

LOOKS = 0.5  # seconds between two looks at the run's row
GOES_ON = (
    'The run continues in the background. See /automation/, or follow it again with: '
    'updatedata --wait'
)


def follow(
    command: str,
    words: list[str],
    show: Callable[[Report], None],
    say: Callable[[str], object],
) -> Report:
    """What becomes of the run of `command` that is in progress, or else of one that begins now.

    That one is a process of its own, with these `words`. Raises CommandError where it does not
    begin, and where somebody stops the following.
    """
    with explained_endings(GOES_ON):
        run = alive(command).first() or _begun(command, words)
        say(f'Following the run on {run.host} that began at {run.started:%Y-%m-%d %H:%M} UTC.')
        while _goes_on(run):
            show(_counted(run))
            sleep(LOOKS)
    return _ended(run)


def _goes_on(run: UpdateRun) -> bool:
    """Whether the run is still at work; reads it anew.

    A signal within a question waits: SQLite calls functions of Django's, and takes what a signal raises
    in one of these for an error of the database.
    """
    with uninterrupted():
        is_alive = alive(run.command).filter(pk=run.pk).exists()
        run.refresh_from_db()
    return is_alive


def _begun(command: str, words: list[str]) -> UpdateRun:
    newest = UpdateRun.objects.order_by('pk').last()
    new = UpdateRun.objects.filter(command=command, pk__gt=newest.pk if newest else 0)
    process = begin_process(started_by() or 'updatedata --wait', command, *words)
    while not (run := new.order_by('pk').first()):
        if (status := process.poll()) is not None:
            text = 'The run has not begun. The end of logs/page.log says why.'
            raise CommandError(text, returncode=status if status > 0 else 1)
        sleep(LOOKS)
    return run


def _counted(run: UpdateRun) -> Report:
    return Report(run=run.pk, **dict(run.counts()))


def _ended(run: UpdateRun) -> Report:
    report = _counted(run)
    report.status = 'ok' if run.status == UpdateRun.Status.OK else 'failed'
    report.seconds = round(run.took.total_seconds(), 3) if run.took else 0
    report.failures = [
        Outcome(
            failure.facility, failure.record_id, failure.observation_id,
            error=failure.error, kind=failure.error_kind, ending=Ending.FAILED,
        )
        for failure in RunFailure.objects.filter(run=run)
    ]  # fmt: skip
    if run.status in (UpdateRun.Status.DIED, UpdateRun.Status.RUNNING):
        report.failed += 1
        report.failures.append(Outcome('', error='the run was cut short', ending=Ending.FAILED))
    return report
