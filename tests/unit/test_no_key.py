"""Without an API key most things are hidden: that is said once, and the observatory left alone."""

import pytest

from .running import updatedata
from .test_command import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def keyless(sky, settings):
    settings.FACILITIES = settings.FACILITIES | {'LCO': sky.settings(token='')}
    return sky


def test_i7_it_is_said_at_the_start_and_once_for_all_records(keyless, observed, caplog):
    for _ in range(30):
        observed()

    status, printed = run()

    assert status == 1
    assert 'LCO has no API key, so it shows only what is public: set LCO_API_KEY' in caplog.text
    assert printed.count('LCO shows it only to its owner: set LCO_API_KEY in .env') == 2
    assert 'set aside for this run' in printed  # the second
    assert '404' not in printed
    assert len(keyless.requests_seen) < 30  # two for each, and some are on their way by then


def test_i7_what_is_public_is_fetched_all_the_same(keyless, observed):
    keyless.public.add(keyless.proposal)
    for _ in range(4):
        observed()
    status, report = updatedata()
    assert (status, report['checked'], report['saved']) == (0, 4, 8)
