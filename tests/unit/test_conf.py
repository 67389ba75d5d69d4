"""Mistakes in TOM_AUTO are found before they matter."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from tom_auto.conf import Automation, automation, mistakes, web_address

BAD = [
    ([], 'not a dictionary'),
    ({'WORKER': 3}, "no option 'WORKER'"),
    ({'WORKERS': 0}, 'too small'),
    ({'WORKERS': -1}, 'too small'),
    ({'WORKERS': 2.5}, 'not a whole number'),
    ({'WORKERS': '8'}, 'not a number'),
    ({'WORKERS': True}, 'not a number'),
    ({'READ_TIMEOUT': None}, 'not a number'),
    ({'DEADLINE': float('inf')}, 'not a number'),
    ({'LEASE': float('nan')}, 'not a number'),
    ({'DATA_WINDOW': 7}, 'not a timedelta'),
    ({'DATA_WINDOW': timedelta(days=-1)}, 'not a timedelta'),
    ({'DATA_WINDOW': timedelta.max}, 'too long'),
    ({'KEEP_RUNS': timedelta(days=365_001)}, 'too long'),
    ({'PAGE_FOR': 'me'}, 'not a valid choice'),
    ({'PING_URL': 'localhost'}, 'not a URL'),
    ({'DATA_BY_PROXY': 'internal-data'}, 'not a path'),
    ({'DATA_BY_PROXY': '/../'}, 'not a path'),
    ({'DATA_BY_PROXY': 7}, 'not a path'),
]


@pytest.mark.parametrize(('options', 'message'), BAD)
def test_mistakes(options, message, settings):
    [(text, hint)] = mistakes(options)
    assert message in text
    assert hint
    settings.TOM_AUTO = options
    with pytest.raises(ImproperlyConfigured, match=message):
        automation()
    with pytest.raises(SystemCheckError, match='tom_auto.E001'):
        call_command('check')


def test_good_options(settings):
    settings.TOM_AUTO = {'WORKERS': 2, 'DATA_WINDOW': timedelta(days=3), 'READ_TIMEOUT': 7.5}
    assert automation() == Automation(WORKERS=2, DATA_WINDOW=timedelta(days=3), READ_TIMEOUT=7.5)


def test_what_is_kept_for_good_is_kept_for_a_thousand_years(settings):
    settings.TOM_AUTO = {'KEEP_RUNS': timedelta(days=365_000)}
    assert timedelta(days=365_000) == automation().KEEP_RUNS


def test_no_options(settings):
    del settings.TOM_AUTO
    assert automation() == Automation()


@pytest.mark.parametrize(
    ('address', 'https', 'link'),
    [
        ('127.0.0.1:8123', False, 'http://localhost:8123'),
        ('0.0.0.0:80', False, 'http://localhost'),
        ('', False, 'http://localhost'),
        ('127.0.0.1:8123', True, 'https://localhost'),  # of what stands in front
    ],
)
def test_j14_a_link_has_the_port_at_which_the_containers_answer(
    address, https, link, settings, monkeypatch
):
    settings.ALLOWED_HOSTS, settings.HTTPS = ['localhost', '127.0.0.1'], https
    monkeypatch.setenv('TOM_ADDRESS', address)
    assert web_address() == link
