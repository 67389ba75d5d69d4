"""Sends alerts when a job begins to fail, is overdue, or works again.

Whatever runs next sends them: a run of the job, or the web server while people use it. It first
claims the row of the job and the channel in the database, so that only one of several processes
sends. An alert that could not be delivered is sent later, and no run fails because of it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import requests
from django.conf import settings
from django.core.mail import mail_admins
from django.db import DatabaseError
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from .conf import automation, manage, web_address
from .health import WORKING, Health, healths
from .models import Alert, RecordSync
from .redact import redact

logger = logging.getLogger(__name__)

REMINDER = timedelta(days=1)
CLAIM = timedelta(minutes=5)  # then another process may try: the first one died or failed
TIMEOUT = (5, 10)  # seconds, for connecting and for reading
MOST_NAMED = 10


def channels() -> dict[str, Callable[[Health, bool], None]]:
    """The ways to send alerts that the settings ask for, by name."""
    found: dict[str, Callable[[Health, bool], None]] = {}
    if settings.ADMINS:
        found['mail'] = send_mail
    if automation().ALERT_WEBHOOK_URL:
        found['webhook'] = call_webhook
    return found


def send_alerts() -> None:
    """Send each channel what is new about any job. Never raises."""
    try:
        wanted = channels()
        for health in healths() if wanted else ():
            for channel, send in wanted.items():
                _send_once(health, channel, send, timezone.now())
    except Exception as error:  # the run is over, or the visitor has the page: neither must fail
        logger.error('The alerts could not be sent: %s', _reason(error))


def _send_once(
    health: Health, channel: str, send: Callable[[Health, bool], None], now: datetime
) -> None:
    alert, _ = Alert.objects.get_or_create(
        job=health.job, channel=channel, defaults={'state': WORKING}
    )
    if not _is_news(health, alert, now) or not _claim(alert, now):
        return
    try:
        send(health, alert.state == health.state)
    except Exception as error:
        logger.error('No alert about %s by %s: %s', health.job, channel, _reason(error))
        return  # the claim expires, and then it is tried again
    state = health.state if health.is_trouble else WORKING
    Alert.objects.filter(pk=alert.pk).update(claimed_until=None, state=state, told_at=now)


def _is_news(health: Health, alert: Alert, now: datetime) -> bool:
    if health.is_trouble:
        reminded = alert.told_at and alert.told_at > now - REMINDER
        return alert.state != health.state or not reminded
    # As long as a run is in progress, nobody knows how it will end.
    return health.state == WORKING and alert.state != WORKING and not health.running


def _claim(alert: Alert, now: datetime) -> bool:
    """Claim the row for this process; False if another process has it."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    unchanged = Alert.objects.filter(free, pk=alert.pk, state=alert.state, told_at=alert.told_at)
    return bool(unchanged.update(claimed_until=now + CLAIM))


def send_mail(health: Health, again: bool) -> None:
    """Mail the state of a job to ADMINS; `again`: as a reminder."""
    still = 'still ' if again else ''
    subject = f'{health.job} {health.words.replace("is ", f"is {still}", 1)}'
    if health.state == WORKING:
        subject = f'{health.job} is working again'
    lines = [health.sentence(), *_named_failures(health), '']
    if health.is_trouble:
        lines.append(f'To find out what is wrong: {manage("doctor")}')
    if page_address():
        lines.append(f'The automation page: {page_address()}')
    mail_admins(redact(subject), redact('\n'.join(lines)))


def call_webhook(health: Health, again: bool) -> None:
    """POST the state of a job to ALERT_WEBHOOK_URL, as JSON that chat programs can show."""
    answer = requests.post(
        automation().ALERT_WEBHOOK_URL,
        json={
            'text': f'{settings.TOM_NAME}: {redact(health.sentence())}',
            'tom': settings.TOM_NAME,
            'job': health.job,
            'state': health.state,
            'since': health.since.isoformat() if health.since else None,
            'reminder': again,
            'page': page_address(),
        },
        timeout=TIMEOUT,
        allow_redirects=False,
    )
    answer.raise_for_status()


def _named_failures(health: Health) -> list[str]:
    """The observations that fail; without any, the end of what the last run printed."""
    if not health.is_trouble:
        return []
    if not health.failing:
        return health.last.output.splitlines()[-MOST_NAMED:] if health.last else []
    failing = RecordSync.objects.filter(failing_since__isnull=False).order_by('failing_since')
    named = [
        f'- {sync.record.facility} {sync.record.observation_id}: {sync.error}'
        for sync in failing.select_related('record')[:MOST_NAMED]
    ]
    more = health.failing - len(named)
    return ['', *named, *([f'- and {more} more'] if more > 0 else [])]


def page_address() -> str:
    """The URL of the automation page; empty if ALLOWED_HOSTS does not name a host."""
    address = web_address()
    return f'{address}{reverse("automation:home")}' if address else ''


class DeadMansSwitch:
    """Calls PING_URL when a scheduled run begins and when it ends."""

    def __init__(self, watched: bool) -> None:
        """`watched`: whether the switch waits for runs such as this one."""
        self._watched = watched
        self._begun = False
        self.well = False

    def begin(self) -> None:
        """Report that the run has started."""
        if self._watched:
            self._begun = True
            ping('/start')

    def end(self) -> None:
        """Report how the run ended: badly, unless `well` was set. Nothing if it never began."""
        if self._begun:
            ping('' if self.well else '/fail')


def ping(suffix: str = '') -> None:
    """Call PING_URL with `suffix` behind it, if there is one. Never raises."""
    address = automation().PING_URL
    if not address:
        return
    try:
        requests.get(address.rstrip('/') + suffix, timeout=TIMEOUT, allow_redirects=False)
    except Exception as error:
        logger.warning("The dead-man's switch could not be reached: %s", type(error).__name__)


def _reason(error: Exception) -> str:
    """The text of `error`; only its name if it comes from a request, because it contains URLs."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, DatabaseError):
        return f'the database: {redact(str(error))}'
    return f'{type(error).__name__}: {redact(str(error))}'
