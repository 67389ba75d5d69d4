"""Mistakes in AUTOMATION are found before they matter."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from app.conf import Automation, automation, mistakes

BAD = [
    ([], 'not a dictionary'),
    ({'WORKER': 3}, "no option 'WORKER'"),
    ({'WORKERS': 0}, 'too small'),
    ({'WORKERS': -1}, 'too small'),
    ({'WORKERS': 2.5}, 'not a whole number'),
    ({'WORKERS': '8'}, 'not a number'),
    ({'WORKERS': True}, 'not a number'),
    ({'READ_TIMEOUT': None}, 'not a number'),
    ({'DATA_WINDOW': 7}, 'not a length of time'),
    ({'DATA_WINDOW': timedelta(days=-1)}, 'not a length of time'),
    ({'PAGE_FOR': 'me'}, 'nobody is'),
]


@pytest.mark.parametrize(('options', 'message'), BAD)
def test_mistakes(options, message, settings):
    [(text, hint)] = mistakes(options)
    assert message in text
    assert hint
    settings.AUTOMATION = options
    with pytest.raises(ImproperlyConfigured, match=message):
        automation()
    with pytest.raises(SystemCheckError, match='app.E001'):
        call_command('check')


def test_good_options(settings):
    settings.AUTOMATION = {'WORKERS': 2, 'DATA_WINDOW': timedelta(days=3), 'READ_TIMEOUT': 7.5}
    assert automation() == Automation(WORKERS=2, DATA_WINDOW=timedelta(days=3), READ_TIMEOUT=7.5)


def test_no_options(settings):
    del settings.AUTOMATION
    assert automation() == Automation()
