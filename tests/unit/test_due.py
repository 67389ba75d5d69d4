"""What is due when: the table of tom_auto/sync/due.py, with a clock that the test sets."""

from datetime import UTC, datetime, timedelta

import pytest

from tom_auto.models import RecordSync, SharedFrame
from tom_auto.running.outcomes import Ending, Outcome
from tom_auto.sync.due import Selection, enrol, note, records_due

from .page import stored

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WINDOW = timedelta(days=7)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def end(sync, ending, status, terminal, now, window=WINDOW, **fields):
    """Note what came of a check of `sync` in the run that began at `now`."""
    outcome = Outcome('LCO', 1, ending=ending, status=status, terminal=terminal, **fields)
    note(sync, outcome, now, window)


def succeed(sync, status, terminal, now, window=WINDOW, **fields):
    end(sync, Ending.CHECKED, status, terminal, now, window, **fields)


def fail(sync, status, terminal, now, ending=Ending.FAILED):
    end(sync, ending, status, terminal, now, error='no answer', kind='no answer')


def settle(sync, status='COMPLETED'):
    """Check `sync` well from when it becomes terminal until the window is over."""
    for days in (0, 4, 7.1):
        succeed(sync, status, True, START + days * DAY)
    assert sync.is_settled


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
    ],
)
def test_a_terminal_record_is_asked_more_and_more_rarely_and_then_settled(age, again_after):
    sync = RecordSync()
    succeed(sync, 'COMPLETED', True, START)
    now = START + age

    succeed(sync, 'COMPLETED', True, now)

    if again_after is None:
        assert sync.is_settled
    else:
        assert abs(sync.next_check - now - again_after) < timedelta(seconds=1)
        assert not sync.is_settled


def test_the_window_counts_from_the_end_of_the_observation_where_that_is_known():
    sync, seen = RecordSync(), START + 5 * DAY
    succeed(sync, 'COMPLETED', True, seen, ended=START)
    assert (sync.state, sync.next_check > seen) == ('waiting', True)
    succeed(sync, 'COMPLETED', True, START + 7 * DAY, ended=START)
    assert sync.is_settled


@pytest.mark.parametrize('ended', [None, START + 370 * DAY])
@pytest.mark.parametrize('gap', [7.1 * DAY, 365 * DAY])
def test_a_time_in_which_nobody_looked_is_no_part_of_the_window(gap, ended):
    """Nor is one that passed on the clock alone: it was slow at the first check."""
    sync, now = RecordSync(), START + gap
    succeed(sync, 'COMPLETED', True, START, ended=ended)
    succeed(sync, 'COMPLETED', True, now, ended=ended)
    assert (sync.terminal_since, sync.next_check, sync.state) == (now, now, 'waiting')


def test_no_window_means_settled_at_once():
    sync = RecordSync()
    succeed(sync, 'COMPLETED', True, START, timedelta(0))
    assert sync.is_settled


def test_a_pending_record_is_due_at_every_run():
    sync = RecordSync()
    succeed(sync, 'PENDING', False, START)
    assert (sync.next_check, sync.terminal_since) == (START, None)


def test_another_terminal_state_opens_the_window_again():
    sync = RecordSync()
    settle(sync, status='WINDOW_EXPIRED')
    later = START + 30 * DAY

    succeed(sync, 'COMPLETED', True, later)

    assert (sync.terminal_since, sync.next_check, sync.state) == (later, later, 'waiting')


def test_terminal_is_not_final():
    """COMPLETED goes back to PENDING when its data is judged bad."""
    sync = RecordSync()
    settle(sync)
    succeed(sync, 'PENDING', False, START + 9 * DAY)
    assert (sync.terminal_since, sync.state) == (None, 'waiting')


@pytest.mark.parametrize(
    ('failures', 'again_after'),
    [(1, 0), (2, 0.5), (3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 24), (9, 24), (800, 24)],
)
def test_failures_back_off_up_to_a_day_and_are_retried_for_ever(failures, again_after):
    sync = RecordSync()
    for _ in range(failures):
        fail(sync, 'COMPLETED', True, START)
    assert sync.next_check - START == again_after * HOUR * 0.9
    assert sync.failures == failures
    assert sync.failing_since == START


def test_a_record_that_failed_through_its_whole_window_is_not_settled_by_it():
    sync = RecordSync()
    succeed(sync, 'COMPLETED', True, START)
    fail(sync, 'COMPLETED', True, START + 30 * DAY)
    assert sync.state == 'backing off'

    succeed(sync, 'COMPLETED', True, START + 31 * DAY)
    assert sync.is_settled
    assert (sync.failures, sync.failing_since, sync.error) == (0, None, '')


@pytest.mark.parametrize('ending', [Ending.FAILED, Ending.SET_ASIDE, Ending.NOT_REACHED])
def test_a_check_that_learns_nothing_of_the_status_does_not_open_the_window_again(ending):
    """Otherwise one failure a day keeps a record without an end time due at every run."""
    sync = RecordSync()
    succeed(sync, 'CANCELED', True, START)
    for day in range(1, 8):
        end(sync, ending, 'CANCELED', False, START + day * DAY)
    assert sync.terminal_since == START

    succeed(sync, 'CANCELED', True, START + 7 * DAY)
    assert sync.is_settled


def test_what_cannot_be_asked_is_looked_at_again_until_its_status_is_terminal():
    sync = RecordSync()
    end(sync, Ending.UNSUPPORTED, 'ON_HOLD', False, START)
    assert (sync.next_check, sync.checked_at, sync.state) == (START, None, 'waiting')
    end(sync, Ending.UNSUPPORTED, 'CANCELED', True, START)
    assert sync.is_settled


def test_what_was_set_aside_is_due_and_no_failure_of_its_own():
    sync = RecordSync()
    fail(sync, 'PENDING', False, START, Ending.SET_ASIDE)
    assert (sync.failures, sync.failing_since, sync.error) == (0, START, 'no answer')
    assert (sync.state, sync.next_check, sync.asked_at) == ('backing off', START, START)


@pytest.mark.parametrize('saved', [0, 3])
def test_what_the_deadline_cut_short_is_due_and_well_where_frames_came_home(saved):
    sync = RecordSync()
    for _ in range(4):
        fail(sync, 'COMPLETED', True, START)
    end(sync, Ending.NOT_REACHED, 'COMPLETED', True, START + DAY, saved=saved)
    assert (sync.next_check, sync.failures) == (START + DAY, 0 if saved else 4)
    assert sync.state == ('waiting' if saved else 'backing off')


def test_a_record_that_fails_and_brings_frames_is_due_again_at_the_next_run():
    """Rule 3: one frame that is never found put off all the others, by up to a day."""
    sync = RecordSync()
    for run in range(5):
        end(sync, Ending.FAILED, 'COMPLETED', True, START + run * HOUR, saved=20)
        assert (sync.next_check, sync.failures) == (START + run * HOUR, run + 1)
    for fields in ({}, {'saved': 1, 'kind': 'broken class'}):
        end(sync, Ending.FAILED, 'COMPLETED', True, START + 5 * HOUR, **fields)
        assert sync.next_check > START + 6 * HOUR


def test_what_went_wrong_before_the_deadline_is_what_is_said():
    sync = RecordSync()
    fail(sync, 'COMPLETED', True, START)
    end(
        sync, Ending.NOT_REACHED, 'COMPLETED', True, START + DAY,
        error='the hook raised', kind='hook failed',
    )  # fmt: skip
    assert (sync.error, sync.error_kind, sync.failures) == ('the hook raised', 'hook failed', 1)


@pytest.mark.django_db(transaction=True)
class TestInTheDatabase:
    """The same, as the query that picks the records."""

    def due(self, now=START, **selection):
        return list(records_due(now, Selection(**selection)))

    @pytest.mark.parametrize('status', ['', 'PENDING', 'COMPLETED'])
    def test_never_checked(self, add_record, status):
        """tomtoolkit's own pages create records with an empty status."""
        record = add_record(status=status)
        assert self.due() == [record]
        enrol()
        RecordSync.objects.update(next_check=START)
        assert RecordSync.objects.get().state == 'new'
        assert self.due() == [record]

    def test_a_frame_that_went_with_another_record(self, add_record):
        first, second, third = (add_record(status='COMPLETED') for _ in range(3))
        for record in (second, third):
            sync = RecordSync(record=record)
            settle(sync)
            sync.save()
        stored(first, '1')
        SharedFrame.objects.create(record=second, archive='archive', frame_id='1')
        first.delete()
        assert self.due(START + 30 * DAY) == []

        enrol()

        assert self.due(START + 30 * DAY) == [second]
        assert not SharedFrame.objects.exists()

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
            fail(sync, 'PENDING', False, START)
        sync.save()
        assert self.due(START + HOUR / 2) == []
        assert self.due(START + HOUR) == [record]

    @pytest.mark.parametrize('ahead', [HOUR, 400 * DAY])
    @pytest.mark.parametrize('note', ['pending', 'terminal', 'settled', 'failing', 'unsupported'])
    def test_the_clock_was_ahead_for_one_run(self, add_record, note, ahead):
        """What that run wrote down must not put the record off until the clock gets there."""
        sync, then = RecordSync(record=add_record(status='COMPLETED')), START + ahead
        {
            'pending': lambda: succeed(sync, 'COMPLETED', False, then),
            'terminal': lambda: succeed(sync, 'COMPLETED', True, then),
            'settled': lambda: succeed(sync, 'COMPLETED', True, then, 0 * DAY),
            'failing': lambda: fail(sync, 'COMPLETED', True, then),
            'unsupported': lambda: end(sync, Ending.UNSUPPORTED, 'COMPLETED', True, then),
        }[note]()
        sync.save()

        assert self.due() == [sync.record]

        succeed(sync, 'COMPLETED', True, START)
        assert (sync.terminal_since, sync.next_check, sync.state) == (START, START, 'waiting')

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
