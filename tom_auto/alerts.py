"""Tells people when a job begins to fail, is overdue, or is well again.

Whatever runs next tells it: a run of the job, or the web server while people use it. Who has
something to tell claims the row of the job and the channel in the database first, so that of
several processes one tells. What could not be told is told later, and no run fails for it.
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

from .conf import automation
from .health import WORKING, Health, healths
from .models import Alert, RecordSync
from .sync.redact import redact

logger = logging.getLogger(__name__)

REMINDER = timedelta(days=1)
CLAIM = timedelta(minutes=5)  # after that, another may try: who claimed it has died or failed
TIMEOUT = (5, 10)  # seconds, for connecting and for reading
MOST_NAMED = 10


def channels() -> dict[str, Callable[[Health, bool], None]]:
    """How people are told, by name: what the settings name."""
    found: dict[str, Callable[[Health, bool], None]] = {}
    if settings.ADMINS:
        found['mail'] = send_mail
    if automation().ALERT_WEBHOOK_URL:
        found['webhook'] = call_webhook
    return found


def tell_what_changed() -> None:
    """Tell each channel what it has not been told of any job. Never raises."""
    try:
        ways = channels()
        for health in healths() if ways else ():
            for channel, tell in ways.items():
                _tell_once(health, channel, tell, timezone.now())
    except Exception as error:  # the run has done its work, or the visitor's page is made
        logger.error('Nobody could be told how the jobs are: %s', _said(error))


def _tell_once(
    health: Health, channel: str, tell: Callable[[Health, bool], None], now: datetime
) -> None:
    alert, _ = Alert.objects.get_or_create(
        job=health.job, channel=channel, defaults={'state': WORKING}
    )
    if not _is_news(health, alert, now) or not _claim(alert, now):
        return
    try:
        tell(health, alert.state == health.state)
    except Exception as error:
        logger.error('By %s nobody could be told about %s: %s', channel, health.job, _said(error))
        return  # the claim ends by itself, and then it is tried again
    told = {'state': health.state if health.is_trouble else WORKING, 'told_at': now}
    Alert.objects.filter(pk=alert.pk).update(claimed_until=None, **told)


def _is_news(health: Health, alert: Alert, now: datetime) -> bool:
    if health.is_trouble:
        reminded = alert.told_at and alert.told_at > now - REMINDER
        return alert.state != health.state or not reminded
    # Of a run that is at work nobody knows yet how it ends.
    return health.state == WORKING and alert.state != WORKING and not health.running


def _claim(alert: Alert, now: datetime) -> bool:
    """Whether it is for this process to tell: the database lets one have the row."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    unchanged = Alert.objects.filter(free, pk=alert.pk, state=alert.state, told_at=alert.told_at)
    return bool(unchanged.update(claimed_until=now + CLAIM))


def send_mail(health: Health, again: bool) -> None:
    """Mail ADMINS how a job is; `again`: as a reminder."""
    still = 'still ' if again else ''
    subject = f'{health.job} {health.words.replace("is ", f"is {still}", 1)}'
    if health.state == WORKING:
        subject = f'{health.job} is working again'
    lines = [health.sentence(), *_named_failures(health), '', *_what_to_do(health)]
    mail_admins(redact(subject), redact('\n'.join(lines)))


def call_webhook(health: Health, again: bool) -> None:
    """POST how a job is to ALERT_WEBHOOK_URL, as JSON that chat programs understand as well."""
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
    if not health.is_trouble or not health.failing:
        return []
    failing = RecordSync.objects.filter(failing_since__isnull=False).order_by('failing_since')
    named = [
        f'- {sync.record.facility} {sync.record.observation_id}: {sync.error}'
        for sync in failing.select_related('record')[:MOST_NAMED]
    ]
    more = health.failing - len(named)
    return ['', *named, *([f'- and {more} more'] if more > 0 else [])]


def _what_to_do(health: Health) -> list[str]:
    page = [f'The page of the automation: {page_address()}'] if page_address() else []
    if not health.is_trouble:
        return page
    return ['What is wrong on the machine: manage.py doctor', *page]


def page_address() -> str:
    """The address of the automation's page, where ALLOWED_HOSTS says which host this TOM is."""
    hosts = [host for host in settings.ALLOWED_HOSTS if host != '*' and not host.startswith('.')]
    scheme = 'https' if getattr(settings, 'HTTPS', True) else 'http'
    return f'{scheme}://{hosts[0]}{reverse("automation:home")}' if hosts else ''


class DeadMansSwitch:
    """Pings PING_URL when a run of the schedule begins, and how it ended when it ends."""

    def __init__(self, watched: bool) -> None:
        """`watched`: whether this run is one of those that the switch waits for."""
        self._watched = watched
        self._begun = False
        self.well = False

    def begin(self) -> None:
        """Say that the run is at work."""
        if self._watched:
            self._begun = True
            _ping('/start')

    def end(self) -> None:
        """Say how it ended: badly, unless `well` was set. Says nothing of a run that never was."""
        if self._begun:
            _ping('' if self.well else '/fail')


def _ping(what: str) -> None:
    address = automation().PING_URL
    if not address:
        return
    try:
        requests.get(address.rstrip('/') + what, timeout=TIMEOUT, allow_redirects=False)
    except Exception as error:
        logger.warning("The dead-man's switch was not reached: %s", type(error).__name__)


def _said(error: Exception) -> str:
    """What `error` says; of one that comes from a request only its name, as it holds addresses."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, DatabaseError):
        return f'the database: {redact(str(error))}'
    return f'{type(error).__name__}: {redact(str(error))}'
