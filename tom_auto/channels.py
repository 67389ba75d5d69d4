"""How people are told: mail, a webhook, a dead-man's switch. Whatever was told is kept.

Only an answer of 2xx counts: a redirect or an error page of the receiver means that nobody knows.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused

import requests
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend
from django.db import DatabaseError
from django.utils import timezone
from urllib3.exceptions import NewConnectionError

from .conf import automation
from .explain import causes
from .interrupt import within
from .models import Told
from .redact import redact

logger = logging.getLogger(__name__)

TIMEOUT = (5, 10)  # seconds, for connecting and for reading
MAIL_TIMEOUT = 20  # seconds, for each answer of the server
DELIVERY_SECONDS = 30  # for one message, however its receiver answers
MAIL = 'mail'
SWITCH = 'switch'


class NotTold(Exception):
    """The receiver did not take the message."""


class PerhapsTold(Exception):
    """It failed, or a server on the way did: the receiver may have taken the message."""


@dataclass(frozen=True)
class Message:
    """What there is to tell. `data` is for programs, beside the text."""

    subject: str
    text: str
    job: str = ''
    data: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How sending a message went."""

    error: str = ''  # empty if it arrived
    is_unsure: bool = False  # the receiver may have taken it all the same


def channels() -> dict[str, Callable[[Message], None]]:
    """The ways to send messages that the settings ask for, by name. Each raises if it fails."""
    found: dict[str, Callable[[Message], None]] = {}
    if settings.ADMINS:
        found[MAIL] = _send_mail
    if automation().ALERT_WEBHOOK_URL:
        found['webhook'] = _call_webhook
    return found


def tell(channel: str, send: Callable[[Message], None], message: Message) -> Outcome:
    """Send `message`, and keep whether it arrived."""
    outcome = Outcome()
    try:
        within(DELIVERY_SECONDS, lambda: send(message))
    except Exception as trouble:
        outcome = Outcome(reason(trouble), not was_not_taken(trouble, channel))
        about = message.job or 'a test'
        logger.error('No message about %s by %s: %s', about, channel, outcome.error)
    _keep(channel, message, outcome)
    return outcome


def was_not_taken(error: Exception, channel: str) -> bool:
    """Whether it is certain that the receiver has not got it: the server said so, or was not reached."""
    if isinstance(error, SMTPRecipientsRefused | SMTPSenderRefused):  # these come before a mail
        return True
    if isinstance(error, SMTPDataError):  # -1 stands for an answer that says neither yes nor no
        return 400 <= error.smtp_code < 600
    if isinstance(error, ValueError):
        # Of several kinds, requests raises it for an address that it cannot call. A mail backend may
        # for an answer that it does not understand.
        return channel != MAIL
    refused = (NotTold, requests.ConnectTimeout, requests.exceptions.SSLError)
    return isinstance(error, refused) or any(
        isinstance(each, NewConnectionError) for each in causes(error)
    )


def send_test(by: str) -> list[tuple[str, str]]:
    """Send a test message to each channel. Returns the channels, each with its error or ''."""
    text = f'{by} sent this to see whether alerts arrive. Nothing is wrong.'
    message = Message('a test message', text)
    return [(channel, tell(channel, send, message).error) for channel, send in channels().items()]


def _keep(channel: str, message: Message, outcome: Outcome) -> None:
    Told.objects.filter(at__lt=timezone.now() - automation().KEEP_RUNS).delete()
    Told.objects.create(
        at=timezone.now(), channel=channel, whom=_whom(channel), job=message.job,
        subject=redact(message.subject)[:200], error=outcome.error[:200], is_unsure=outcome.is_unsure,
    )  # fmt: skip


def _whom(channel: str) -> str:
    """Who gets what a channel sends. The addresses of the others are secrets."""
    return ', '.join(_recipients())[:500] if channel == MAIL else ''


def _recipients() -> list[str]:
    return [admin if isinstance(admin, str) else admin[1] for admin in settings.ADMINS]


def _send_mail(message: Message) -> None:
    """Mail to ADMINS."""
    connection = get_connection(timeout=settings.EMAIL_TIMEOUT or MAIL_TIMEOUT)
    mail = EmailMessage(
        prefixed(message.subject), redact(message.text), settings.SERVER_EMAIL, _recipients(),
        connection=connection,
    )  # fmt: skip
    try:
        connection.open()
    except Exception as error:
        raise NotTold(reason(error)) from error
    try:
        if not mail.send() and is_djangos_own(connection):
            raise NotTold('the mail server took no mail')
    finally:
        with suppress(Exception):  # the server has taken it, or not: this changes nothing
            connection.close()


def is_djangos_own(connection: BaseEmailBackend) -> bool:
    """Whether this is Django's backend for SMTP itself, of which it is known how it sends.

    Another one, also one that is made from it, may connect anew for each mail; and one that puts
    mails into a queue may count none, or say nothing.
    """
    return type(connection) is EmailBackend


def prefixed(subject: str) -> str:
    """`subject` after EMAIL_SUBJECT_PREFIX; if it is not set, after the name of the TOM."""
    prefix = f'[{settings.TOM_NAME}] '
    if settings.is_overridden('EMAIL_SUBJECT_PREFIX'):
        prefix = settings.EMAIL_SUBJECT_PREFIX
    return ' '.join(f'{prefix}{redact(subject)}'.split())


def _call_webhook(message: Message) -> None:
    """POST it to ALERT_WEBHOOK_URL, as JSON that chat programs can show."""
    first = message.text.partition('\n')[0]
    content = {'text': f'{settings.TOM_NAME}: {redact(first)}', 'tom': settings.TOM_NAME}
    post_json(automation().ALERT_WEBHOOK_URL, content | message.data)


def post_json(where: str, content: dict) -> None:
    """POST `content`. Raises NotTold or PerhapsTold unless the answer is 2xx; and what requests raises."""
    _taken(requests.post(where, json=content, timeout=TIMEOUT, allow_redirects=False))


def _taken(answer: requests.Response) -> None:
    status = answer.status_code
    if status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE:
        raise PerhapsTold(f'it answered {status}')
    if not 200 <= status < 300:
        raise NotTold(f'it answered {status}')


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

    def paused(self) -> None:
        """Report that there was no run: the switch watches whether the schedule is alive, and it is."""
        if self._watched:
            ping()


def ping(suffix: str = '') -> None:
    """Call PING_URL with `suffix` behind it, if there is one. Never raises."""
    address = automation().PING_URL
    if not address:
        return
    try:
        within(DELIVERY_SECONDS, lambda: _call(address.rstrip('/') + suffix))
        error = ''
    except Exception as trouble:
        error = reason(trouble)
        logger.warning("The dead-man's switch could not be reached: %s", error)
    try:
        if error != last_error(SWITCH):  # a call an hour: only changes are kept
            _keep(SWITCH, Message('it answers' if not error else 'a call', ''), Outcome(error))
    except DatabaseError as trouble:
        logger.warning('What was told could not be kept: %s', reason(trouble))


def _call(where: str) -> None:
    _taken(requests.get(where, timeout=TIMEOUT, allow_redirects=False))


def last_error(channel: str) -> str:
    """Why the last message by this channel did not arrive; empty if it did."""
    last = Told.objects.filter(channel=channel).first()
    return last.error if last else ''


def reason(error: Exception) -> str:
    """The text of `error`; only its name if it comes from a request, because it contains URLs."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, DatabaseError):
        return f'the database: {redact(str(error))}'
    if isinstance(error, NotTold | PerhapsTold):
        return str(error)
    return f'{type(error).__name__}: {redact(str(error))}'
