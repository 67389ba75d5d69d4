"""What is due when: the table of app/sync/due.py, with a clock that the test sets."""

from datetime import UTC, datetime, timedelta

import pytest

from tom_auto.models import RecordSync
from tom_auto.sync.due import Selection, note_failure, note_success, note_unsupported, records_due
from tom_auto.sync.outcomes import Outcome

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WINDOW = timedelta(days=7)
NO_ANSWER = Outcome('LCO', error='no answer', kind='no answer')
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def settle(sync, days=7.1, status='COMPLETED'):
    """Check `sync` well, once when it becomes terminal and once when the window is over."""
    note_success(sync, status, True, START, WINDOW)
    note_success(sync, status, True, START + timedelta(days=days), WINDOW)


@pytest.mark.parametrize(
    ('age', 'again_after'),
    [
        (timedelta(0), timedelta(0)),
        (HOUR, timedelta(0)),
        (23 * HOUR, timedelta(0)),
        (DAY, 2.7 * HOUR),
        (4 * DAY, 10.8 * HOUR),
        (6 * DAY, 16.2 * HOUR),
        (6.9 * DAY, 2.4 * HOUR),  # not past the end of the window
        (7 * DAY, None),
        (400 * DAY, None),
    ],
)
def test_a_terminal_record_is_asked_more_and_more_rarely_and_then_settled(age, again_after):
    sync = RecordSync()
    note_success(sync, 'COMPLETED', True, START, WINDOW)
    now = START + age

    note_success(sync, 'COMPLETED', True, now, WINDOW)

    if again_after is None:
        assert (sync.next_check, sync.settled_at) == (None, now)
    else:
        assert abs(sync.next_check - now - again_after) < timedelta(seconds=1)
        assert sync.settled_at is None


def test_no_window_means_settled_at_once():
    sync = RecordSync()
    note_success(sync, 'COMPLETED', True, START, timedelta(0))
    assert sync.settled_at == START


def test_a_pending_record_is_due_at_every_run():
    sync = RecordSync()
    note_success(sync, 'PENDING', False, START, WINDOW)
    assert (sync.next_check, sync.terminal_since) == (START, None)


def test_another_terminal_state_opens_the_window_again():
    sync = RecordSync()
    settle(sync, status='WINDOW_EXPIRED')
    later = START + 30 * DAY

    note_success(sync, 'COMPLETED', True, later, WINDOW)

    assert (sync.terminal_since, sync.next_check, sync.settled_at) == (later, later, None)


def test_terminal_is_not_final():
    """COMPLETED goes back to PENDING when its data is judged bad."""
    sync = RecordSync()
    settle(sync)
    note_success(sync, 'PENDING', False, START + 9 * DAY, WINDOW)
    assert (sync.terminal_since, sync.settled_at) == (None, None)


@pytest.mark.parametrize(
    ('failures', 'again_after'),
    [(1, 0), (2, 0.5), (3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 24), (9, 24), (800, 24)],
)
def test_failures_back_off_up_to_a_day_and_are_retried_for_ever(failures, again_after):
    sync = RecordSync()
    for _ in range(failures):
        note_failure(sync, 'COMPLETED', True, NO_ANSWER, START)
    assert sync.next_check - START == again_after * HOUR * 0.9
    assert sync.failures == failures
    assert sync.failing_since == START


def test_a_record_that_failed_through_its_whole_window_is_not_settled_by_it():
    sync = RecordSync()
    note_success(sync, 'COMPLETED', True, START, WINDOW)
    note_failure(sync, 'COMPLETED', True, NO_ANSWER, START + 30 * DAY)
    assert sync.settled_at is None
    assert sync.next_check is not None

    note_success(sync, 'COMPLETED', True, START + 31 * DAY, WINDOW)
    assert sync.settled_at == START + 31 * DAY
    assert (sync.failures, sync.failing_since, sync.error) == (0, None, '')


def test_what_cannot_be_asked_is_looked_at_again():
    sync = RecordSync()
    note_unsupported(sync, 'ON_HOLD', True, START)
    assert (sync.next_check, sync.checked_at) == (START, None)


@pytest.mark.django_db(transaction=True)
class TestInTheDatabase:
    """The same, as the query that picks the records."""

    def due(self, now=START, **selection):
        return list(records_due(now, Selection(**selection)))

    def test_never_checked(self, add_record):
        record = add_record(status='COMPLETED')
        assert self.due() == [record]

    def test_settled(self, add_record):
        sync = RecordSync(record=add_record(status='COMPLETED'))
        settle(sync)
        sync.save()
        assert self.due(START + 365 * DAY) == []
        assert self.due(START + 365 * DAY, recheck=True) == [sync.record]

    @pytest.mark.parametrize('status', ['PENDING', 'WINDOW_EXPIRED'])
    def test_settled_and_then_changed_by_others(self, add_record, status):
        record = add_record(status='COMPLETED')
        sync = RecordSync(record=record)
        settle(sync)
        sync.save()

        record.status = status  # by hand, or by tomtoolkit's updatestatus
        record.save()

        assert self.due() == [record]

    def test_backing_off(self, add_record):
        record = add_record()
        sync = RecordSync(record=record)
        for _ in range(3):
            note_failure(sync, 'PENDING', False, NO_ANSWER, START)
        sync.save()
        assert self.due(START + HOUR / 2) == []
        assert self.due(START + HOUR) == [record]

    @pytest.mark.parametrize('ahead', [HOUR, 400 * DAY])
    @pytest.mark.parametrize('note', ['pending', 'terminal', 'settled', 'failing', 'unsupported'])
    def test_the_clock_was_ahead_for_one_run(self, add_record, note, ahead):
        """What that run wrote down must not put the record off until the clock gets there."""
        sync, then = RecordSync(record=add_record(status='COMPLETED')), START + ahead
        {
            'pending': lambda: note_success(sync, 'COMPLETED', False, then, WINDOW),
            'terminal': lambda: note_success(sync, 'COMPLETED', True, then, WINDOW),
            'settled': lambda: note_success(sync, 'COMPLETED', True, then, 0 * DAY),
            'failing': lambda: note_failure(sync, 'COMPLETED', True, NO_ANSWER, then),
            'unsupported': lambda: note_unsupported(sync, 'COMPLETED', True, then),
        }[note]()
        sync.save()

        assert self.due() == [sync.record]

        note_success(sync, 'COMPLETED', True, START, WINDOW)
        assert (sync.terminal_since, sync.next_check, sync.settled_at) == (START, START, None)

    def test_only_these_targets_and_facilities(self, add_record):
        lco, soar = add_record('LCO'), add_record('SOAR')
        assert self.due(facilities=['SOAR']) == [soar]
        assert set(self.due(targets=[lco.target_id])) == {lco, soar}
        assert self.due(targets=[lco.target_id + 1]) == []

    def test_a_deleted_record_leaves_nothing(self, add_record):
        record = add_record()
        RecordSync.objects.create(record=record)
        record.delete()
        assert RecordSync.objects.count() == 0
