"""A database that is away for a moment costs that moment, and nothing else."""

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError

from app.sync import patience


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only moves while someone sleeps."""
    slept = []
    monkeypatch.setattr(patience, 'sleep', slept.append)
    monkeypatch.setattr(patience, 'monotonic', lambda: sum(slept))
    monkeypatch.setattr(patience.connection, 'close', lambda: None)
    return slept


@pytest.mark.parametrize('error', [OperationalError, InterfaceError])
def test_what_failed_as_the_database_was_away_is_tried_again(clock, error):
    answers = [error, error, 'written']

    @patience.patient
    def write(what):
        answer = answers.pop(0)
        if answer is error:
            raise error
        return what, answer

    assert write('status') == ('status', 'written')
    assert clock == [1, 1]


@pytest.mark.parametrize(('error', 'seconds'), [(OperationalError, 61), (IntegrityError, 0)])
def test_it_is_given_up_in_the_end_and_other_errors_at_once(clock, error, seconds):
    @patience.patient
    def write():
        raise error

    with pytest.raises(error):
        write()
    assert sum(clock) == seconds
