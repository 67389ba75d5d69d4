"""Where all that is awaited lies in the future, the TOM says when the first of it begins."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from tom_auto.health import healths, schedule_site
from tom_auto.models import RecordSync

from .page import text
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def begins(sky, add_record):
    """Two observations that are scheduled for tomorrow and the day after; when the first begins."""
    tomorrow = timezone.now().replace(microsecond=0) + timedelta(days=1)
    for days in (0, 1):
        record = add_record(status='')
        number = int(record.observation_id)
        sky.add_request(number)
        sky.schedule(number, tomorrow + timedelta(days=days))
    return tomorrow


def in_words(moment):
    return f'The next observation begins at {moment:%Y-%m-%d %H:%M} UTC.'


def test_the_run_status_and_page_say_when_it_begins(begins, admin_client):
    status, report = updatedata()
    assert (status, report['next_news']) == (0, begins.isoformat())
    assert healths()[0].news == begins
    well, _ = schedule_site().health()
    assert in_words(begins) in well
    assert 'The next observation begins' in text(admin_client)


def test_it_is_part_of_the_line_in_the_log(begins):
    printed = StringIO()
    call_command('updatedata', stdout=printed)
    assert printed.getvalue().endswith(in_words(begins) + '\n')


def test_nothing_is_said_where_news_can_come_before(begins, sky, add_record):
    sky.add_request(int(add_record(status='').observation_id))  # pending, and not scheduled
    assert updatedata()[1]['next_news'] is None


def test_nothing_is_said_where_a_check_failed(begins):
    updatedata()
    RecordSync.objects.filter(pk=RecordSync.objects.first().pk).update(state='backing off')
    assert healths()[0].news is None
