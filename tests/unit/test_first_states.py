"""The first states of a newcomer's TOM are said truly, and alike in every place: F3, F5, F6, J15."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.utils import timezone

from tom_auto.health import Health, healths
from tom_auto.models import UpdateRun
from tom_auto.scheduling.moved import remember

from .page import failing, ran, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly')]


def answer(client):
    """State, reason, next run, and whether all is well, as the JSON has it."""
    told = client.get('/automation/status.json').json()
    [job] = told['jobs']
    return job['state'], job['reason'], job['next'], told['working']


def test_j15_nothing_has_run_so_nothing_works(client):
    assert answer(client) == ('never', '', None, False)
    assert 'Next run: not known' in text(client)


def test_f6_a_demo_and_a_run_by_hand_change_nothing_about_that(client):
    ran(started_by='ann', only='targets 1, 2')
    ran(started_by='ann')
    assert answer(client) == ('never', '', None, False)


def test_j15_all_records_fail_before_anything_has_run_by_itself(client, add_record, login):
    login('chief', is_superuser=True)
    for _ in range(30):
        failing(add_record())
    ran(started_by='ann', status='failed')
    state, reason, _, working = answer(client)
    assert (state, working) == ('failing', False)
    said = '30 observations could not be checked; the schedule has not started it yet'
    assert reason == said
    assert [health.reason for health in healths()] == [said]


def test_f6_where_something_fails_nothing_went_well(client, add_record, login):
    """The last run had nothing to ask: what failed before waits for its next try."""
    login('chief', is_superuser=True)
    ran()
    assert '(went well). Next run' in text(client)
    failing(add_record())
    page = text(client)
    assert '<strong>updatedata has been failing</strong>' in page
    assert '(nothing new failed). Next run' in page
    assert '(went well). Next run' not in page


def test_f6_the_next_run_is_known_when_the_schedule_is_installed(client, tmp_path):
    remember(tmp_path, changed=True)
    state, _, upcoming, working = answer(client)
    assert (state, working) == ('never', False)
    assert upcoming is not None


def test_it_works_after_the_first_run_of_the_schedule(client):
    ran()
    state, _, upcoming, working = answer(client)
    assert (state, working) == ('working', True)
    assert upcoming is not None


def test_f3_a_mistake_in_the_schedule_is_a_state_of_its_own(client, hourly, staff):
    ran()
    hourly.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "often"\n')
    assert answer(client) == ('unwatched', 'schedule.toml has a mistake', None, False)
    [health] = healths()
    assert health.is_trouble
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command('doctor', stdout=output)
    assert health.sentence() in output.getvalue()
    assert str(hourly) in text(client)
    client.logout()
    assert str(hourly) not in text(client)
    assert 'cannot be watched' in text(client)


def test_without_a_schedule_nothing_is_scheduled_and_nobody_is_alarmed(client, hourly):
    hourly.unlink()
    assert answer(client) == ('off', '', None, False)
    assert not any(health.is_trouble for health in healths())


def test_f5_utc_is_utc():
    noon = datetime(2026, 5, 1, 12, 0, tzinfo=ZoneInfo('America/Lima'))
    assert 'since 2026-05-01 17:00 UTC' in Health('updatedata', 'overdue', noon).sentence()


def test_f5_a_run_by_hand_at_crons_minute_makes_nothing_overdue(hourly):
    due = timezone.now().astimezone(UTC) - timedelta(hours=2)
    hourly.write_text(
        f'environment = "virtualenv"\n[updatedata]\nwhen = "{due.minute} {due.hour} * * *"\n'
    )
    before = timezone.now() - timedelta(days=1, hours=2)
    UpdateRun.objects.create(
        job='updatedata', host='h', pid=1, started=before, finished=before, heartbeat=before,
        status='ok',
    )  # fmt: skip
    assert [health.state for health in healths()] == ['overdue']
    begun, ended = due - timedelta(minutes=5), due + timedelta(minutes=2)
    UpdateRun.objects.create(
        job='updatedata', host='h', pid=2, started=begun, finished=ended, heartbeat=ended,
        status='ok', started_by='ann',
    )  # fmt: skip
    assert [health.state for health in healths()] == ['working']
