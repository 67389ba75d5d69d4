"""Is it working? The one answer, which page, JSON, mails, doctor and `schedule status` give."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import OperationalError, ProgrammingError
from django.db.models import Count, Exists, Min, OuterRef, Q, Value
from django.db.models.functions import Now
from django.utils import timezone
from tom_observations.models import ObservationRecord

from .access import Visitor, seen_by, sees_everything
from .conf import to_install
from .errors import HookFailed, HookUnfinished
from .health_states import (
    FAILING,
    NEVER,
    OFF,
    OVERDUE,
    PAUSED,
    SLOW,
    UNWATCHED,
    WORKING,
    Health,
    slower_than_usual,
)  # fmt: skip
from .jobs import MAIN, THINGS, jobs, main_job, next_run, site
from .known_outcomes import failing_since, with_outcomes, working_since
from .lateness import overdue_since, runs_begun
from .models import JobPause, Mute, RecordSync, RunFailure, UpdateRun
from .redact import redact
from .running.runs import SILENCE
from .scheduling.definition import FILE, Job
from .scheduling.moved import installed_at, removed_at
from .scheduling.plan import Site
from .sync.due import next_news

#: The kinds of failures of records that were checked all the same.
OF_HOOKS = (HookFailed.kind, HookUnfinished.kind)
#: How long a TOM may have observations and no scheduled run before it sends a mail.
FIRST_RUN_WITHIN = timedelta(days=1)


def healths(user: Visitor | None = None) -> list[Health]:
    """The state of each job. `user` sees nothing that the TOM hides from them; None sees all."""
    schedule = jobs()
    # Without the file nothing is scheduled, which is no mistake: some have a cron line of their own.
    mistake = bool(schedule.mistake) and (Path(settings.BASE_DIR) / FILE).exists()
    main, now = main_job(), timezone.now()
    return [_Question(job, user, mistake, job == main, now).answer() for job in schedule.jobs]


def is_working(states: list[Health]) -> bool:
    """Whether the main job works, and nobody has to do something about any other."""
    return main_of(states).state == WORKING and not any(state.is_trouble for state in states)


def main_of(states: list[Health]) -> Health:
    """The state of the job that downloads the data of all observations."""
    return next(state for state in states if state.main)


def schedule_site() -> Site:
    """This TOM, with the state of its jobs, for `manage.py schedule` and doctor."""
    return site(health=_for_schedule)


def _for_schedule() -> tuple[list[str], list[str]]:
    """What is well with the scheduled jobs, and what is wrong, as sentences."""
    well, wrong = [], []
    try:
        for state in healths():
            if state.state != OFF:
                (wrong if state.is_trouble else well).append(state.sentence())
            if state.running:
                began = f'{state.running.started:%H:%M} UTC'
                well.append(f'{state.job} has been running since {began}.')
            if state.next:
                well.append(f'{state.job} runs next at {state.next:%Y-%m-%d %H:%M %Z}.')
            if state.news:
                well.append(f'The next observation begins at {state.news:%Y-%m-%d %H:%M} UTC.')
    except (OperationalError, ProgrammingError) as error:
        return [], [f'The history of runs cannot be read: {redact(str(error))}']
    return well, wrong


@dataclass
class _Question:
    job: Job
    user: Visitor | None
    mistake: bool  # whether schedule.toml has one, and so nobody knows when the job should run
    main: bool
    now: datetime

    def answer(self) -> Health:
        job, upcoming = self.job, next_run(self.job, self.now)
        runs = with_outcomes(self.user, runs_begun(job.name, self.now))
        running = runs.filter(status=UpdateRun.Status.RUNNING)
        self.runs = runs
        # By the database's clock, as heartbeats are: that of the web server may be ahead.
        self.running = running.filter(heartbeat__gte=Now() - SILENCE).first()
        self.whole = runs.filter(only='').exclude(pk=self.running.pk if self.running else None)
        self.last = self.whole.first()
        self.trouble = self._records_in_trouble()
        self.muted = Mute.objects.in_force()
        state, since, reasons = self._state()
        return Health(
            job.name,
            state,
            since,
            tuple(reasons),
            last=self.last,
            running=self.running,
            next=upcoming if self._is_expected(state) else None,
            news=self._next_news(),
            failing=self.trouble['count'],
            muted=self.trouble['muted'],
            troubles=tuple(self._troubles()) if self.user is None else (),
            main=self.main,
        )

    @property
    def _checks_records(self) -> bool:
        """Whether it is the main job, or one that checks a part of the observations."""
        return self.job.words[0] == MAIN

    def _is_expected(self, state: str) -> bool:
        """Whether something will start the job, as far as is known: the file alone starts none."""
        project = Path(settings.BASE_DIR)
        started = self.runs.filter(started_by='')
        if removed := removed_at(project):  # what started the earlier ones may be gone
            started = started.filter(started__gt=removed)
        return state != PAUSED and (installed_at(project) is not None or started.exists())

    def _state(self) -> tuple[str, datetime | None, list[str]]:
        pause = JobPause.objects.filter(job=self.job.name).first()
        if pause:
            who = pause.by if self.user is None or self.user.is_authenticated else 'somebody'
            return PAUSED, pause.since, [f'{who} paused it']
        reasons = self._what_failed()
        if self.mistake:
            return UNWATCHED, None, ['schedule.toml has a mistake', *reasons]
        if not self.job.enabled:
            return (FAILING if reasons else OFF), self._failing_since(), reasons
        by_itself = self.runs.filter(only='', started_by='').first()  # also if it is in progress
        if by_itself is None:
            return self._never_ran(reasons)
        late = self._late_since(by_itself)
        if late:
            return OVERDUE, late, ['no run started when it was due', *reasons]
        if reasons:
            return FAILING, self._failing_since(), reasons
        run = self.running if self.running and not self.running.only else self.last
        if slow := slower_than_usual(run, self.whole, self._between(run.started), self.now):
            return SLOW, run.started, [slow]
        return WORKING, working_since(self.user, self.whole), []

    def _never_ran(self, reasons: list[str]) -> tuple[str, datetime | None, list[str]]:
        installed = installed_at(Path(settings.BASE_DIR))
        due = installed and overdue_since(self.job, installed, installed, self.now)
        if due:
            return OVERDUE, due, ['no run has started since the schedule was installed', *reasons]
        not_yet = 'the schedule has not started it yet'
        old = ObservationRecord.objects.filter(created__lt=self.now - FIRST_RUN_WITHIN)
        if self.main and sees_everything(self.user) and old.exists():
            return OVERDUE, None, [f'{not_yet}: {to_install()}', *reasons]
        if reasons:
            return FAILING, self._failing_since(), [*reasons, not_yet]
        return NEVER, None, []

    def _late_since(self, by_itself: UpdateRun) -> datetime | None:
        """Since when a run is late; None if none is. A run in progress is never late."""
        if self.running:
            return None
        done = by_itself.finished or by_itself.heartbeat
        return overdue_since(self.job, by_itself.started, done, self.now)

    def _between(self, started: datetime) -> timedelta:
        """The time from the start after `started` to the next one."""
        first = next_run(self.job, started)
        return next_run(self.job, first) - first

    def _what_failed(self) -> list[str]:
        reasons = self._of_no_facility()
        reasons += [f'{name} could not be checked' for name in self._facilities_in_trouble()]
        died = (UpdateRun.Status.DIED, UpdateRun.Status.RUNNING)
        if self.last and self.last.status in died and not self.last.started_by:
            reasons.append('the last run was cut short')
        hooks = self.trouble['hooks']
        if count := self.trouble['count'] - hooks:
            words = THINGS['updatedata' if self.main else self.job.words[0]]
            reasons.append(f'{count} {words[count > 1]}')
        if hooks:
            reasons.append(f'the hooks of {hooks} observation{"s" * (hooks > 1)} failed')
        if not reasons and self._last_run_failed():
            status = self.last.exit_status
            how = f'ended with exit status {status}' if status else 'failed'
            reasons.append(f'the last run {how}')
        return reasons

    def _last_run_failed(self) -> bool:
        """Whether it did by anything that the visitor may know, and that no later check has mended."""
        if not self.last or self.last.status != UpdateRun.Status.FAILED:
            return False
        named = RunFailure.objects.filter(run=self.last)
        of_records = named.filter(record__isnull=False)  # those of facilities are reasons already
        left = of_records.exclude(record__sync__checked_at__gt=self.last.finished)
        if not named.exists():
            return bool(self.last.exit_status)
        left = Mute.objects.leave_out(left)
        return seen_by(self.user, left, 'record').exists()

    def _of_no_facility(self) -> list[str]:
        """What failed in the last run as a whole: the storage of the data is not there, say."""
        failed = RunFailure.objects.filter(run=self.last, observation_id='', facility='')
        reasons = list(failed.values_list('error', flat=True).order_by('error').distinct())
        if sees_everything(self.user):
            return reasons
        return ['the TOM itself has a problem'] if reasons else []

    def _facilities_in_trouble(self) -> list[str]:
        """Their names; "an observatory" for those where the visitor may see no observation."""
        muted = self.muted.exclude(facility='').values('facility')
        troubles = RunFailure.objects.filter(run=self.last, observation_id='')
        troubles = troubles.exclude(facility='').exclude(facility__in=muted)
        if self._checks_records and not sees_everything(self.user):
            awaited = RecordSync.objects.exclude(state=RecordSync.State.SETTLED).filter(
                record__facility=OuterRef('facility')
            )
            troubles = troubles.annotate(seen=Exists(seen_by(self.user, awaited, 'record')))
        else:
            troubles = troubles.annotate(seen=Value(True))
        found = troubles.order_by('facility').values_list('facility', 'seen').distinct()
        names = [name for name, seen in found if seen]
        return names if len(names) == len(found) else [*names, 'an observatory']

    def _records_in_trouble(self) -> dict:
        """How many records are failing, and since when; of another job what its last run named."""
        if not self.main:
            named = RunFailure.objects.filter(run=self.last).exclude(observation_id='')
            if self._checks_records:
                named = seen_by(self.user, Mute.objects.leave_out(named), 'record')
            count = named.count() if self.last else 0
            return {'count': count, 'hooks': 0, 'since': None, 'muted': 0}
        failing = RecordSync.objects.filter(failing_since__isnull=False)
        failing = seen_by(self.user, failing, 'record')
        self.failing = Mute.objects.leave_out(failing)
        found = self.failing.aggregate(
            count=Count('pk'),
            hooks=Count('pk', filter=Q(error_kind__in=OF_HOOKS)),
            since=Min('failing_since'),
        )
        return found | {'muted': failing.count() - found['count']}

    def _troubles(self) -> list[str]:
        """What is in trouble as a whole, and the facilities that have observations in trouble."""
        troubles = [*self._of_no_facility(), *self._facilities_in_trouble()]
        if not (self.main and self.trouble['count']):
            return troubles
        names = self.failing.values_list('record__facility', flat=True).distinct().order_by()
        return [*troubles, *(f'observations of {name}' for name in names)]

    def _next_news(self) -> datetime | None:
        awaited = seen_by(self.user, RecordSync.objects.all(), 'record')
        return next_news(awaited, self.now) if self.main else None

    def _failing_since(self) -> datetime | None:
        first_bad = failing_since(self.user, self.whole)
        return min(filter(None, [first_bad, self.trouble['since']]), default=None)
