"""Sends the errors of the TOM to Sentry, or to a service like it, without secrets: rule 14."""

import sys

from .environment import BadSetting, place


def report_errors_to(dsn: str) -> None:
    """Send each error to the project of this DSN; nothing where it is empty.

    Neither variables, nor what visitors send, nor who they are goes along, and each text is redacted.
    Raises BadSetting if the package `sentry-sdk` is missing, or the DSN is not valid.
    """
    if not dsn:
        return
    try:
        import sentry_sdk  # most TOMs do without it
    except ImportError:
        raise BadSetting(
            f'{place("SENTRY_DSN")}: SENTRY_DSN needs the package sentry-sdk, which is not installed. '
            f'Type: {sys.executable} -m pip install sentry-sdk. For locks and images see tom_auto/README.md.'
        ) from None
    try:
        sentry_sdk.init(
            dsn=dsn,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size='never',
            max_breadcrumbs=0,
            before_send=redacted_event,
        )
    except ValueError as error:  # its BadDsn is one
        raise BadSetting(f'{place("SENTRY_DSN")}: SENTRY_DSN is not valid: {error}') from None


def redacted_event(event: dict, hint: dict) -> dict:
    """What is sent of an event."""
    from .error_reports import redacted  # Django is not ready when the settings are read

    return redacted(event)
