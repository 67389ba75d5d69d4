"""Errors go to Sentry without secrets, and only where somebody wants that."""

import sys
from types import SimpleNamespace

import pytest

from tom_auto.environment import BadSetting
from tom_auto.sentry import redacted_event, report_errors_to


@pytest.fixture
def begun(monkeypatch):
    """What sentry-sdk was begun with; it is in no environment of the tests."""
    options = {}
    monkeypatch.setitem(sys.modules, 'sentry_sdk', SimpleNamespace(init=options.update))
    return options


def test_without_a_dsn_nothing_begins(begun):
    report_errors_to('')
    assert not begun


def test_nothing_of_visitors_and_no_variable_goes_along(begun):
    report_errors_to('https://key@sentry.example.org/1')
    assert begun['dsn'] == 'https://key@sentry.example.org/1'
    assert begun['send_default_pii'] is False
    assert begun['include_local_variables'] is False
    assert begun['max_request_body_size'] == 'never'


def test_texts_are_redacted(settings):
    settings.SECRET_KEY = 'very-secret-indeed'  # noqa: S105
    value = 'Authorization: Token 0123456789abcdef failed with very-secret-indeed'
    event = {'exception': {'values': [{'value': value}]}, 'level': 'error'}
    sent = redacted_event(event, {})
    assert '0123456789' not in str(sent)
    assert 'very-secret-indeed' not in str(sent)
    assert sent['level'] == 'error'


def test_a_dsn_that_is_none_is_told(monkeypatch):
    def init(**options):
        raise ValueError('Unsupported scheme')

    monkeypatch.setitem(sys.modules, 'sentry_sdk', SimpleNamespace(init=init))
    with pytest.raises(BadSetting, match='SENTRY_DSN is not valid'):
        report_errors_to('nonsense')
