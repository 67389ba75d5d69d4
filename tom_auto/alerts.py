"""Decides what is news about a job, and sends it: it fails, is overdue, is slow, works again.

Whatever runs next sends it: a run of the job, or the web server while people use it. It first
claims the row of the job and the channel in the database, so that only one of several processes
sends. An alert that could not be delivered is sent later, less and less often, and no run fails
because of it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from .channels import Message, Outcome, channels, reason, tell
from .conf import manage, web_address
from .health import WORKING, Health, healths
from .models import Alert, Mute, RecordSync, RunFailure, Told, UpdateRun

logger = logging.getLogger(__name__)

REMINDER = timedelta(days=1)
CLAIM = timedelta(minutes=5)  # then another process may try: the first one died or failed
#: After each try that failed, the next one waits twice as long as before, from CLAIM to this.
LONGEST_PAUSE = timedelta(hours=1)
#: So often a message is sent if its receiver may have taken it each time: then it counts as told.
UNSURE_TRIES = 3
MOST_NAMED = 10
SENDING_SECONDS = 60  # after this no alert is begun; the next run or visitor does the rest


def send_alerts() -> None:
    """Send each channel what is new about any job. Never raises.

    Returns after SENDING_SECONDS and the DELIVERY_SECONDS of the last one, whatever a server does.
    """
    end = monotonic() + SENDING_SECONDS
    try:
        wanted = channels()
        if not wanted or Mute.objects.in_force().filter(record=None, facility='').exists():
            return
        for health in healths():
            for channel, send in wanted.items():
                if monotonic() > end:
                    return
                _send_once(health, channel, send, timezone.now())
    except Exception as error:  # the run is over, or the visitor has the page: neither must fail
        logger.error('The alerts could not be sent: %s', reason(error))


def _send_once(
    health: Health, channel: str, send: Callable[[Message], None], now: datetime
) -> None:
    alert, _ = Alert.objects.get_or_create(
        job=health.job, channel=channel, defaults={'state': WORKING}
    )
    if not _is_news(health, alert, now) or not _claim(alert, now):
        return
    if _is_tried_again(alert, tell(channel, send, _message(health, alert)), now):
        return
    state = health.state if health.is_trouble else WORKING
    # Kept until the next reminder: what comes and goes every hour is news once a day.
    known = alert.troubles if _newly(health, alert) and _is_reminded(alert, now) else []
    troubles = sorted({*known, *health.troubles}) if health.is_trouble else []
    Alert.objects.filter(pk=alert.pk).update(
        claimed_until=None, state=state, told_at=now, troubles=troubles
    )


def _is_tried_again(alert: Alert, outcome: Outcome, now: datetime) -> bool:
    """Whether a message has to be sent once more; then the row stays claimed until it is time."""
    if not outcome.error:
        return False
    since = alert.told_at if _is_reminded(alert, now) else now - REMINDER
    told = Told.objects.filter(job=alert.job, channel=alert.channel, at__gt=since)
    tries = max(1, told.exclude(error='').count())
    if outcome.is_unsure and told.filter(is_unsure=True).count() >= UNSURE_TRIES:
        return False
    pause = min(CLAIM * 2 ** min(tries - 1, 10), LONGEST_PAUSE)
    Alert.objects.filter(pk=alert.pk).update(claimed_until=now + pause)
    return True


def _is_news(health: Health, alert: Alert, now: datetime) -> bool:
    if health.is_trouble:
        changed = alert.state != health.state or _newly(health, alert)
        return bool(changed) or not _is_reminded(alert, now)
    # As long as a run is in progress, nobody knows how it will end.
    return health.state == WORKING and alert.state != WORKING and not health.running


def _is_reminded(alert: Alert, now: datetime) -> bool:
    # A clock that went wrong may have left a time to come, after which nothing would be told till then.
    return bool(alert.told_at and now - REMINDER < alert.told_at < now + CLAIM)


def _newly(health: Health, alert: Alert) -> list[str]:
    """What is in trouble now, and was not when the job was last told to be."""
    if alert.state == WORKING:
        return []
    return [name for name in health.troubles if name not in alert.troubles]


def _claim(alert: Alert, now: datetime) -> bool:
    """Claim the row for this process; False if another process has it."""
    too_late = now + LONGEST_PAUSE + CLAIM  # of a clock that went wrong
    free = Q(claimed_until=None) | Q(claimed_until__lt=now) | Q(claimed_until__gt=too_late)
    unchanged = Alert.objects.filter(free, pk=alert.pk, state=alert.state, told_at=alert.told_at)
    return bool(unchanged.update(claimed_until=now + CLAIM))


def _message(health: Health, alert: Alert) -> Message:
    newly, again = _newly(health, alert), alert.state == health.state
    subject = f'{health.job} {health.words}'
    if again and newly:
        subject += f', and now {" and ".join(newly)} as well'
    elif again:
        subject = f'{health.job} {health.words.replace("is ", "is still ", 1)}'
    elif health.state == WORKING:
        subject = f'{health.job} is working again'
    lines = [health.sentence(), *_named_failures(health), '']
    if health.is_trouble:
        lines.append(f'To find out what is wrong: {manage("doctor")}')
    if page_address():
        lines.append(f'The automation page: {page_address()}')
    data = {
        'job': health.job,
        'state': health.state,
        'since': health.since.isoformat() if health.since else None,
        'reminder': again and not newly,
        'new': newly,
        'page': page_address(),
    }
    return Message(subject, '\n'.join(lines), health.job, data)


def _named_failures(health: Health) -> list[str]:
    """The observations that fail; without any, the end of what the last run printed."""
    if not health.is_trouble:
        return []
    if not health.failing:
        return health.last.output.splitlines()[-MOST_NAMED:] if health.last else []
    named = _failing_records() if health.main else _failures_of(health.last)
    more = health.failing - len(named)
    return ['', *named, *([f'- and {more} more'] if more > 0 else [])]


def _failing_records() -> list[str]:
    failing = Mute.objects.leave_out(RecordSync.objects.filter(failing_since__isnull=False))
    return [
        f'- {sync.record.facility} {sync.record.observation_id}: {sync.error}'
        for sync in failing.order_by('failing_since').select_related('record')[:MOST_NAMED]
    ]


def _failures_of(run: UpdateRun) -> list[str]:
    """What a run of another job has named."""
    named = RunFailure.objects.filter(run=run).exclude(observation_id='').order_by('pk')
    return [f'- {failure}' for failure in named[:MOST_NAMED]]


def page_address() -> str:
    """The URL of the automation page; empty if ALLOWED_HOSTS does not name a host."""
    address = web_address()
    return f'{address}{reverse("automation:home")}' if address else ''
