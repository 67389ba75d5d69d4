"""Sends a mail about frames: what it says, and to whom, is looked at again just before a server has it."""

from collections.abc import Callable
from contextlib import suppress
from smtplib import SMTP
from time import monotonic

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend

from ..channels import MAIL_TIMEOUT, NotTold, is_djangos_own
from . import letters, notices
from .choosing import wanted_frames
from .illustrations import PicturesOf
from .models import Notice

FRESH = 0.5  # seconds; what was read of the receiver before is read again


class Unreached(Exception):
    """The server does not answer: it need not be asked for the others."""


class Changed(Exception):
    """The mail in hand no longer is what its receiver may be sent, or where they are reached."""


class Draft:
    """What there is to tell, as far as the receiver of a notice may see it."""

    def __init__(self, notice: Notice) -> None:
        self._notice = notice
        self.content: letters.Content | None = None
        self.content = self._read()

    def now(self) -> letters.Content | None:
        """The same at this moment: rights, address and account may have changed; None if nothing."""
        if monotonic() - self._at > FRESH:
            if notices.is_current(self._notice):
                self.content = self._read()
            else:
                notices.withdraw(self._notice)
                self.content = None
        return self.content

    def _read(self) -> letters.Content | None:
        notice, self._at = self._notice, monotonic()
        frames = wanted_frames(notice.wish, notice.after, notice.up_to)
        # Not others, which have got a picture since: then it would no longer be the same mail.
        content = letters.content_of(frames, self.content and self.content.pictures)
        if content.frames:
            return content
        notices.nothing_to_say(notice)
        return None


def send(notice: Notice, pictures_of: PicturesOf) -> None:
    """Send a mail, if there is something to tell. Raises Unreached."""
    draft = Draft(notice)
    if draft.content is None:
        return
    pictures = pictures_of(draft.content.pictures)
    connection = get_connection(timeout=settings.EMAIL_TIMEOUT or MAIL_TIMEOUT)
    try:
        _open(connection)
        if content := draft.now():
            missed = notices.perhaps_lost(notice.wish)
            mail = letters.mail(content, notice, missed, pictures)
            _hand_over(mail, connection, _last_look(draft, notice))
            notices.end(notice, Notice.State.SENT)
    except Changed:
        notices.withdraw(notice)  # the next run tells what there is then
    finally:
        with suppress(Exception):  # the server has taken it, or not: this changes nothing
            connection.close()


def _open(connection: BaseEmailBackend) -> None:
    try:
        connection.open()
    except Exception as error:
        raise Unreached from error


def _last_look(draft: Draft, notice: Notice) -> Callable[[], None]:
    """What is to be called before a server can have the mail. Raises Changed."""
    content, address = draft.content, notice.address

    def begin() -> None:
        if draft.now() != content or notice.address != address:
            raise Changed
        notices.begin_sending(notice, content.frames)

    return begin


class Unclear(Exception):
    """Nobody knows whether the message goes out."""


def _hand_over(mail: EmailMessage, connection: BaseEmailBackend, begin: Callable[[], None]) -> None:
    """Send `mail`, and `begin` before a server can have it: not before the command DATA of SMTP.

    A server may be slow to take the addresses, which come before that.
    """
    is_ours = is_djangos_own(connection)
    if is_ours:
        _before_data(connection.connection, begin)
    else:
        mail.message()  # what no mail can have is found before
        begin()
    if connection.send_messages([mail]) == 0:
        if is_ours:
            raise NotTold('the mail server took no mail')
        raise Unclear('the mail backend counts no mail as sent; it may have put it into a queue')


def _before_data(server: SMTP, begin: Callable[[], None]) -> None:
    send_data = server.data

    def noted(content: bytes) -> tuple[int, bytes]:
        begin()
        return send_data(content)

    server.data = noted
