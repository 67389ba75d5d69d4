"""Several jobs of one command are due at the same minute: each waits for the others, and none is overdue."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.db.models import Value
from django.utils import timezone

from tom_auto import lateness
from tom_auto.health import healths
from tom_auto.lateness import overdue_since
from tom_auto.models import UpdateRun
from tom_auto.scheduling.definition import Job

from .page import ran

pytestmark = pytest.mark.django_db

JOB = Job('soar', '17 * * * *', command=('updatedata', '--facility', 'SOAR'))
DUE = datetime(2026, 5, 1, 12, 17, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return DUE + timedelta(minutes=minutes)


def worked(begin: float, end: float | None, job: str = 'lco', by: str = '') -> None:
    """A run of another job of the command; `end` None: it is in progress."""
    UpdateRun.objects.create(
        job=job, command='updatedata', host='h', pid=1, started=at(begin), heartbeat=at(end or 90),
        finished=None if end is None else at(end), started_by=by,
        status='running' if end is None else 'ok',
    )  # fmt: skip


def is_overdue(now: float) -> bool:
    with patch.object(lateness, 'Now', lambda: Value(at(now))):  # the database's clock
        due = overdue_since(JOB, at(-60), at(-59), at(now))
    assert due in (None, DUE, at(60))
    return due is not None


def test_alone():
    assert (is_overdue(29), is_overdue(31)) == (False, True)


def test_it_has_waited_until_the_run_of_another_job_ended():
    worked(0, 20)
    assert (is_overdue(31), is_overdue(49), is_overdue(51)) == (False, False, True)


def test_and_for_one_that_has_waited_itself():
    worked(0, 20)
    worked(20.1, 25, job='blanco')
    worked(20, 45, job='blanco')
    assert (is_overdue(74), is_overdue(76)) == (False, True)


def test_while_the_other_is_in_progress_and_not_when_it_is_dead():
    worked(0, None)
    assert (is_overdue(45), is_overdue(91), is_overdue(92)) == (False, False, True)


def test_one_that_had_ended_before_is_no_excuse():
    worked(-30, -1)
    assert is_overdue(31)


def test_a_run_by_hand_has_done_its_work():
    worked(-5, 10, by='ann')
    assert (is_overdue(59), is_overdue(89), is_overdue(91)) == (False, False, True)


def test_a_run_by_hand_that_is_in_progress():
    worked(-5, None, by='ann')
    assert not is_overdue(50)


def test_a_run_is_alive_by_the_clock_of_the_database(hourly, monkeypatch):
    """It writes the heartbeats. A web server's clock may be ahead by more than a run may be silent."""
    command = '["updatedata", "--facility", "LCO"]'
    hourly.write_text(f'{hourly.read_text()}[lco]\nwhen = "hourly"\ncommand = {command}\n')
    now, ago = timezone.now(), timedelta(hours=3)
    ran(ago, job='lco')
    run = ran(ago - timedelta(seconds=1), status='running', finished=None, heartbeat=now)
    monkeypatch.setattr(timezone, 'now', lambda: datetime.now(UTC) + timedelta(minutes=2))
    main, other = healths()
    assert (main.state, main.running) == ('working', run)
    assert other.state == 'working', 'it waits for its turn'
