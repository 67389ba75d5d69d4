"""A database that is away for a moment costs that moment, and nothing else."""

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from tom_auto import db_retry


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only moves while someone sleeps."""
    slept = []
    monkeypatch.setattr(db_retry, 'sleep', slept.append)
    monkeypatch.setattr(db_retry, 'monotonic', lambda: sum(slept))
    monkeypatch.setattr(db_retry.connection, 'close', lambda: None)
    return slept


@pytest.mark.parametrize('error', [OperationalError, InterfaceError])
def test_what_failed_as_the_database_was_away_is_tried_again(clock, error):
    answers = [error, error, 'written']

    @db_retry.patient
    def write(what):
        answer = answers.pop(0)
        if answer is error:
            raise error
        return what, answer

    assert write('status') == ('status', 'written')
    assert clock == [1, 1]


@pytest.mark.parametrize(('error', 'seconds'), [(OperationalError, 61), (IntegrityError, 0)])
def test_it_is_given_up_in_the_end_and_other_errors_at_once(clock, error, seconds):
    @db_retry.patient
    def write():
        raise error

    with pytest.raises(error):
        write()
    assert sum(clock) == seconds


@pytest.mark.django_db
def test_a_run_keeps_no_copy_of_its_statements(settings):
    """With DEBUG each had a copy, and on SQLite each copy cost another statement."""
    settings.DEBUG = True
    with db_retry.nothing_logged():
        assert not connection.queries_logged
        with CaptureQueriesContext(connection) as asked:
            connection.cursor().execute('SELECT 1')
        assert len(asked) == 1, 'who asks for it still has it'
    assert connection.queries_logged
