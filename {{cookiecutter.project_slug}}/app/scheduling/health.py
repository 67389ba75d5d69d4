"""Says from the last runs of the jobs whether the schedule does what it should."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from .definition import Job
from .times import next_run

#: How late a job may start: the machine may be starting, or another run at work.
GRACE = timedelta(minutes=30)
SHOWN = '%Y-%m-%d %H:%M %Z'


@dataclass(frozen=True)
class LastRun:
    """The last run of a job. `failure` says what went wrong in it; empty: nothing did."""

    started: datetime
    running: bool = False
    failure: str = ''


def health(
    jobs: tuple[Job, ...],
    runs: dict[str, LastRun | None],
    since: datetime | None,
    now: datetime,
) -> tuple[list[str], list[str]]:
    """What there is to know about the jobs, and what is wrong with them, a sentence each.

    `runs` has the last run of each job that keeps a history, None where it never ran; `since`
    is when the schedule was installed, if that is known. All times are aware.
    """
    notes, troubles = [], []
    for job in jobs:
        if job.name not in runs:
            continue
        last = runs[job.name]
        trouble = _trouble(job, last, since, now)
        if trouble:
            troubles.append(f'[{job.name}] {trouble}')
        elif last:
            how = 'is running since' if last.running else 'last ran, and well, at'
            notes.append(f'[{job.name}] {how} {last.started:{SHOWN}}')
        notes.append(f'[{job.name}] runs next at {next_run(job.when, now):{SHOWN}}')
    return notes, troubles


def _trouble(job: Job, last: LastRun | None, since: datetime | None, now: datetime) -> str:
    if last and last.running:
        return ''
    if last and last.failure:
        return f'failed when it last ran, at {last.started:{SHOWN}}: {last.failure}'
    began = last.started if last else since
    if began is None:
        return ''  # nobody knows since when it should have run
    due = next_run(job.when, began)
    if now <= due + GRACE:
        return ''
    before = f'last ran at {last.started:{SHOWN}}' if last else 'never ran'
    return f'is overdue: it was due at {due:{SHOWN}}, and {before}'
