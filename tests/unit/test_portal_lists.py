"""One sweep of the portal's lists answers for all due records, and is right in every awkward case."""

from datetime import timedelta

import pytest
from django.utils import timezone
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationRecord

import faults
from tom_auto.observatories import portal_lists, portal_pages
from tom_auto.simulator import portal

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 12


class Own(LCOFacility):
    """A class with a way of its own to find a status."""

    def get_observation_status(self, observation_id):
        return {'state': 'CANCELED', 'scheduled_start': None, 'scheduled_end': None}


@pytest.fixture
def pending(sky, add_record):
    """Records whose requests are pending."""
    records = [add_record() for _ in range(MANY)]
    for record in records:
        sky.add_request(int(record.observation_id))
    return records


def asked(sky, path):
    return [seen for seen in sky.requests_seen if seen.path.startswith(path)]


def singly(sky):
    return {seen.path.split('/')[3] for seen in asked(sky, '/api/requests/')}


def statuses():
    return dict(ObservationRecord.objects.values_list('observation_id', 'status'))


def test_two_requests_for_all_that_is_pending(sky, pending):
    for _ in range(2):
        sky.forget()
        status, report = updatedata()
        assert (status, report['checked']) == (0, MANY)
        assert len(sky.requests_seen) == 2


def test_few_records_are_asked_for_singly(sky, pending):
    for record in pending[portal_lists.FEWEST - 1 :]:
        record.delete()
    updatedata()
    assert not asked(sky, '/api/requestgroups/')
    assert len(singly(sky)) == portal_lists.FEWEST - 1


def test_what_was_completed_comes_with_its_schedule_and_its_frames(sky, pending):
    for record in pending:
        sky.complete(int(record.observation_id), frames=1, pixels=32)

    status, report = updatedata()

    assert (status, report['saved'], singly(sky)) == (0, MANY, set())
    for record in pending:
        record.refresh_from_db()
        [observation] = sky.requests[int(record.observation_id)].observations
        assert record.status == 'COMPLETED'
        assert (record.scheduled_start, record.scheduled_end) == (
            observation.start, observation.end,
        )  # fmt: skip


def test_a_schedule_changes_without_the_request_being_modified(sky, pending):
    updatedata()
    request = int(pending[0].observation_id)
    for hours in (1, 5, 9):
        sky.unschedule(request)
        observation = sky.schedule(request, timezone.now() + timedelta(hours=hours))
        sky.forget()
        updatedata()
        pending[0].refresh_from_db()
        assert pending[0].scheduled_start == observation.start
        assert len(sky.requests_seen) == 2
    sky.unschedule(request)
    updatedata()
    pending[0].refresh_from_db()
    assert pending[0].scheduled_start is None


def test_another_groups_request_is_asked_for_singly(sky, pending, add_record):
    strange = add_record()
    sky.add_request(int(strange.observation_id), proposal='THEIRS')
    status, report = updatedata()
    assert status == 1
    assert [failure['observation_id'] for failure in report['failures']] == [strange.observation_id]
    assert '404' in report['failures'][0]['error']
    assert singly(sky) == {strange.observation_id}


@pytest.mark.parametrize('state', ['WINDOW_EXPIRED', 'CANCELED', 'FAILURE_LIMIT_REACHED'])
def test_what_ended_otherwise_is_seen_and_not_asked_for_again(sky, pending, state):
    sky.set_state(int(pending[0].observation_id), state)
    updatedata()
    assert statuses()[pending[0].observation_id] == state
    sky.forget()
    updatedata()
    assert len(singly(sky)) <= 1


def test_terminal_is_not_final(sky, pending):
    for record in pending:
        sky.complete(int(record.observation_id), frames=1, pixels=32)
    updatedata()
    request = int(pending[0].observation_id)
    sky.reject(request)
    assert updatedata()[0] == 0
    assert statuses()[pending[0].observation_id] == 'PENDING'


def test_a_pending_request_that_was_begun_is_asked_for_frames(sky, pending):
    begun = int(pending[0].observation_id)
    sky.complete(begun, frames=1, pixels=32)
    sky.reject(begun)
    assert updatedata()[1]['saved'] == 1
    assert len(asked(sky, '/frames/')) == 1


def test_two_records_of_one_request(sky, pending, add_record):
    sky.complete(int(pending[0].observation_id), frames=1, pixels=32)
    updatedata()
    twin = add_record(observation_id=pending[0].observation_id)
    updatedata()
    twin.refresh_from_db()
    pending[0].refresh_from_db()
    assert (twin.status, twin.scheduled_start) == ('COMPLETED', pending[0].scheduled_start)


def test_filters_that_the_portal_ignores_in_silence(sky, pending, monkeypatch):
    """It answers with everything that there is: what is right in that is still right."""
    monkeypatch.delitem(portal.GROUP_FILTERS, 'state')
    monkeypatch.delitem(portal.GROUP_FILTERS, 'exclude_state')
    monkeypatch.delitem(portal.GROUP_FILTERS, 'modified_after')
    for record in pending[:6]:
        sky.complete(int(record.observation_id), frames=1, pixels=32)
    assert updatedata()[1]['saved'] == 6
    assert sorted(statuses().values()) == ['COMPLETED'] * 6 + ['PENDING'] * 6


@pytest.mark.parametrize('where', ['/api/requestgroups/', '/api/observations/'])
@pytest.mark.parametrize(
    'fault',
    [
        faults.status(404), faults.status(403), faults.status(500), faults.html(), faults.answer([]),
        faults.answer({'results': [1], 'next': None, 'count': 1}), faults.broken_json(),
        faults.reset(), faults.empty(),
    ],
)  # fmt: skip
def test_where_the_lists_cannot_be_had_every_record_is_asked_for_singly(sky, pending, where, fault):
    sky.break_(where, fault)
    sky.complete(int(pending[0].observation_id), frames=1, pixels=32)
    status, report = updatedata()
    assert (status, report['checked'], report['saved']) == (0, MANY, 1)
    assert len(singly(sky)) == MANY


@pytest.mark.parametrize('times', [1, None])
def test_a_list_that_shifts_while_it_is_read_is_read_once_more(sky, pending, times):
    """A row of the second page moves to the first: nobody sees it."""
    lost = int(pending[0].observation_id)
    for record in pending:
        sky.schedule(int(record.observation_id))
    lose = faults.edit(
        lambda value: value.update(
            results=[row for row in value['results'] if row['request']['id'] != lost]
        )
    )
    sky.break_('/api/observations/', lose, times=times)
    updatedata()
    pending[0].refresh_from_db()
    assert len(asked(sky, '/api/observations/')) == 2
    assert len(singly(sky)) == (0 if times else MANY)
    assert pending[0].scheduled_start == sky.requests[lost].observations[0].start


@pytest.fixture
def mixed(sky, add_record):
    """Records of two proposals, added today: of each ten, six ended 40 days ago."""
    sky.add_token(sky.token, proposals=['ONE', 'TWO'], username='ann')
    then, ago = timezone.now() - timedelta(days=40), timezone.now() - timedelta(hours=2)
    for count in range(110):
        proposal, kind = ('ONE', 'TWO')[count % 2], count // 2 % 10
        record = add_record(status='', parameters={'proposal': proposal})
        number = int(record.observation_id)
        request = sky.add_request(number, proposal=proposal)
        if kind < 5:  # observed, long ago or today
            observed_at = then if kind < 3 else ago
            sky.observe(number, observed_at)
            sky.add_frame(number, size=2880, observed_at=observed_at)
        elif kind < 8:
            state = ('NOT_ATTEMPTED', 'FAILED', 'CANCELED')[kind - 5]
            sky.set_observation(sky.schedule(number, then).id, state)
            sky.set_state(number, ('WINDOW_EXPIRED', 'FAILURE_LIMIT_REACHED', 'CANCELED')[kind - 5])
        if kind < 3 or 4 < kind < 8:
            request.created = request.modified = request.group.created = then
    return sky


def test_what_ended_long_ago_costs_no_single_calls(mixed):
    """I2: three requests for each at every run, for a week."""
    updatedata()
    mixed.forget()
    status, report = updatedata()
    assert (status, report['due'] > 70) == (0, True)
    assert (singly(mixed), len(asked(mixed, '/frames/'))) == (set(), 2)
    assert len(mixed.requests_seen) <= 8


def test_a_huge_account_is_not_read_through(sky, pending):
    for number in range(5000):
        sky.add_request(1_000_000 + number, state='COMPLETED')
    for record in pending:
        sky.set_state(int(record.observation_id), 'CANCELED')
    updatedata()
    assert len(asked(sky, '/api/requestgroups/')) == 2
    assert len(asked(sky, '/api/observations/')) == 0
    assert len(singly(sky)) == MANY


def test_an_overridden_status_is_honoured(sky, pending, settings):
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Own']
    updatedata()
    assert not asked(sky, '/api/')
    assert set(statuses().values()) == {'CANCELED'}


# --- lists of what has ended, that fail or lie: they cost the single calls, and lose nothing ---


def rows(change):
    return faults.edit(lambda page: change(page['results']))


BAD_LISTS = {
    'fails': faults.status(500),
    'is cut': faults.broken_json(),
    'is empty, and says so': faults.edit(lambda page: page.update(results=[], count=0)),
    'lacks a row': rows(lambda rows: rows.pop()),
    'lacks a row, and does not count it': faults.edit(
        lambda page: page.update(results=page['results'][:-1], count=page['count'] - 1)
    ),
    'repeats a row in the place of another': rows(lambda rows: rows.__setitem__(-1, rows[0])),
    'has a row of nonsense': rows(lambda rows: rows.__setitem__(-1, None)),
    'has no end': faults.endless_next(),
    'has invalid times': rows(lambda rows: rows[-1].update(start='soon', created='once')),
    'has states that nobody knows': rows(
        lambda rows: [row.update(state='NOPE') for row in rows]
    ),
}  # fmt: skip


@pytest.fixture
def ended(sky, pending):
    """Records that are known to be completed; of one, another observation has the data now."""
    for record in pending:
        sky.observe(int(record.observation_id), timezone.now() - timedelta(hours=3))
    updatedata()
    number = int(pending[0].observation_id)
    sky.reject(number)
    sky.observe(number, timezone.now() - timedelta(hours=1))
    sky.forget()
    return pending


def right_now(sky, records):
    """Whether each record has the times of the observation that was completed."""
    for record in records:
        record.refresh_from_db()
        observations = sky.requests[int(record.observation_id)].observations
        [done] = [one for one in observations if one.state == 'COMPLETED']
        assert (record.status, record.scheduled_start) == ('COMPLETED', done.start)
    return True


def test_another_observation_of_a_completed_request_is_seen_by_the_lists(sky, ended):
    assert updatedata()[0] == 0
    assert right_now(sky, ended) and not singly(sky)


@pytest.mark.parametrize('where', ['/api/requestgroups/', '/api/observations/'])
@pytest.mark.parametrize('fault', BAD_LISTS.values(), ids=BAD_LISTS)
def test_a_list_of_what_has_ended_that_is_not_right(sky, ended, where, fault):
    sky.break_(where, fault)
    status, report = updatedata()
    assert (status, report['checked']) == (0, MANY)
    assert right_now(sky, ended)


@pytest.mark.parametrize('name', ['state', 'request_state', 'modified_after'])
def test_filters_of_observations_that_the_portal_ignores(sky, ended, monkeypatch, name):
    monkeypatch.delitem(portal.OBSERVATION_FILTERS, name)
    assert updatedata()[0] == 0
    assert right_now(sky, ended) and not singly(sky)


def test_a_page_that_shifts_by_as_many_rows_as_come(sky, add_record, monkeypatch):
    """The count stays as it is: the row between two pages is missed all the same."""
    first, *_ = strangers = [sky.add_request(900), sky.add_request(5_000_000)]
    sky.set_observation(sky.schedule(first.id).id, 'CANCELED')
    sky.set_state(first.id, 'COMPLETED')
    records = [add_record() for _ in range(MANY)]
    for record in records:
        sky.add_request(int(record.observation_id))
        sky.observe(int(record.observation_id), timezone.now() - timedelta(hours=3))
    sky.observe(strangers[1].id, timezone.now())
    monkeypatch.setattr(portal_pages, 'PAGE', 8)
    monkeypatch.setattr(portal_pages, 'A_PAGE_IS_WORTH', 4)

    def shift(call, reply):
        old, new = (one.observations[0] for one in strangers)
        sky.set_observation(old.id, 'COMPLETED')
        sky.set_observation(new.id, 'CANCELED')
        return reply

    sky.break_('/api/observations/', shift, times=1)
    assert updatedata()[0] == 0
    assert right_now(sky, records) and not singly(sky)
    assert len(asked(sky, '/api/observations/')) == 4
