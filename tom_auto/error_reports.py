"""Django's error pages and mails, without secrets: rule 14.

Django hides settings by their names. A token in a variable of a traceback, or the address of a
webhook, it shows: on the page if DEBUG is on, and in the mails to ADMINS.
"""

import re
from html import escape, unescape

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from .redact import CREDENTIAL, redact

#: What a visitor sent: names and values, which Django does not hide by their names.
SENT = {'request_GET_items', 'filtered_POST_items'}


class RedactingFilter(SafeExceptionReporterFilter):
    """Hides what `redact` knows by its name as well, such as PING_URL."""

    hidden_settings = re.compile(
        f'{SafeExceptionReporterFilter.hidden_settings.pattern}|{CREDENTIAL.pattern}', re.IGNORECASE
    )


class RedactingReporter(ExceptionReporter):
    """Use it as DEFAULT_EXCEPTION_REPORTER."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.filter = RedactingFilter()

    def get_traceback_data(self) -> dict:
        data = super().get_traceback_data()
        for name in SENT & data.keys():
            data[name] = [(key, self.filter.cleanse_setting(key, sent)) for key, sent in data[name]]
        return {name: redacted(value) for name, value in data.items()}


def redacted(value: object) -> object:
    """`value` with every text in it redacted."""
    if isinstance(value, SafeString):  # written for HTML already
        return mark_safe(escape(redact(unescape(value))))  # noqa: S308
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(redacted, value)) if type(value) in (list, tuple) else value
    return value


def unavailable(
    request: HttpRequest, text: str, headers: dict[str, str] | None = None
) -> HttpResponse:
    """An answer 503 that says why. It is logged as a warning: of each error, Django mails ADMINS.

    A health check asks every few seconds, and visitors as often as they like.
    """
    answer = HttpResponse(f'{text}\n', 'text/plain', 503, headers=headers)
    told = answer.reason_phrase, request.path
    log_response('%s: %s', *told, response=answer, request=request, level='warning')
    return answer
