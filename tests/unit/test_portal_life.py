"""Whatever becomes of requests at the portal, records have what tomtoolkit's own call gives.

A property test plays the life of several requests, observation by observation, with runs in
between. Nothing here is in the order in which a portal would do it: what is right in any order is
right in the real one.
"""

import os
from contextlib import contextmanager
from datetime import timedelta

import pytest
from dateutil.parser import parse
from django.utils import timezone
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationRecord

from simulated import Observatory
from tom_auto.observatories import portal_pages
from tom_auto.observatories.facilities import TIMES
from tom_auto.observatories.portal_lists import FEWEST
from tom_auto.simulator.model import OBSERVATION_STATES, REQUEST_STATES
from tom_auto.sync.due import enrol, records_due

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

REQUESTS = FEWEST + 1
EVERY = range(REQUESTS)
#: Pages so small that a list has several, and may be too long to be read.
SMALL, LARGE = 4, portal_pages.PAGE

# What may happen: a request gets a place in the schedule, loses those that it has, or moves to a
# state; or one of its observations does, counted from its first.
number = st.sampled_from(EVERY)
event = st.one_of(
    st.tuples(st.just('schedule'), number),
    st.tuples(st.just('unschedule'), number),
    st.tuples(st.just('request'), number, st.sampled_from(REQUEST_STATES)),
    st.tuples(
        st.just('observation'), number, st.integers(0, 2), st.sampled_from(OBSERVATION_STATES)
    ),
)
#: What happens before a run, and how many hours later the run comes.
chapter = st.tuples(st.lists(event, min_size=1, max_size=12), st.sampled_from([0, 1, 30, 100]))
life = st.lists(chapter, min_size=2, max_size=5)


@pytest.fixture
def life_of(settings, monkeypatch, add_record):
    """Begins a life: an observatory without a past, and a TOM with a record of each request."""

    @contextmanager
    def begin(page):
        ObservationRecord.objects.all().delete()
        monkeypatch.setattr(portal_pages, 'PAGE', page)
        monkeypatch.setattr(portal_pages, 'A_PAGE_IS_WORTH', 2 if page == SMALL else 50)
        with Observatory() as sky:
            monkeypatch.setattr(timezone, 'now', sky.now)
            settings.FACILITIES = settings.FACILITIES | {'LCO': sky.settings()}
            yield Life(sky, add_record)

    return begin


class Life:
    """Several requests, two of them of one group, and the TOM's records of them."""

    def __init__(self, sky, add_record):
        self.sky, self.numbers, self.places = sky, [], 0
        for _ in EVERY:
            record = add_record(status='', parameters={'proposal': sky.proposal})
            self.numbers.append(int(record.observation_id))
            sky.add_request(self.numbers[-1], group=1 if len(self.numbers) < 3 else None)

    def happens(self, kind, which, *more):
        number = self.numbers[which]
        if kind == 'schedule':
            self.places += 1  # no two at the same time
            self.sky.schedule(number, self.sky.now() + timedelta(hours=self.places))
        elif kind == 'unschedule':
            self.sky.unschedule(number)
        elif kind == 'request':
            self.sky.set_state(number, *more)
        elif observations := self.sky.requests[number].observations:
            index, state = more
            self.sky.set_observation(observations[index % len(observations)].id, state)

    def run(self):
        """A run; every record that was due then has what the single call gives."""
        enrol()
        due = set(records_due(timezone.now()).values_list('pk', flat=True))
        _, report = updatedata()
        # No request has frames, which is told when it settles: nothing else may go wrong.
        errors = {failure['error'] for failure in report['failures']}
        assert not [error for error in errors if 'not one wanted frame has come' not in error]
        assert report['checked'] + report['failed'] == len(due)
        alone = LCOFacility()
        for record in ObservationRecord.objects.filter(pk__in=due):
            answer = alone.get_observation_status(record.observation_id)
            times = [answer[name] and parse(answer[name]) for name in TIMES]
            assert [record.status, record.scheduled_start, record.scheduled_end] == [
                answer['state'], *times,
            ]  # fmt: skip


def all_of_them(*events):
    return [(kind, which, *more) for which in EVERY for kind, *more in events]


# I1: COMPLETED while its observation is IN_PROGRESS, which then completes.
IN_PROGRESS = [
    (
        all_of_them(
            ('schedule',), ('observation', 0, 'IN_PROGRESS'), ('request', 'COMPLETED')
        ),
        0,
    ),
    (all_of_them(('observation', 0, 'COMPLETED')), 1),
]  # fmt: skip
# I1: the data is bad, and another observation completes, all between two runs.
BAD_DATA = [
    (
        all_of_them(
            ('schedule',), ('observation', 0, 'COMPLETED'), ('request', 'COMPLETED')
        ),
        0,
    ),
    (
        all_of_them(
            ('observation', 0, 'BAD_DATA'), ('request', 'PENDING'), ('schedule',),
            ('observation', 1, 'COMPLETED'), ('request', 'COMPLETED'),
        ),
        1,
    ),
]  # fmt: skip
# I1: the window ends before the portal hears of the last observation.
NOT_ATTEMPTED = [
    (all_of_them(('schedule',), ('request', 'WINDOW_EXPIRED')), 0),
    (all_of_them(('observation', 0, 'NOT_ATTEMPTED')), 1),
]
# I8: the first of two that were completed was so long before the other.
LONG_BEFORE = [
    (all_of_them(('schedule',), ('observation', 0, 'COMPLETED')), 0),
    ([('schedule', 0)], 100),
    (all_of_them(('schedule',), ('observation', 1, 'COMPLETED'), ('request', 'COMPLETED')), 1),
]


@given(life, st.sampled_from([SMALL, LARGE]))
@example(IN_PROGRESS, LARGE)
@example(BAD_DATA, LARGE)
@example(NOT_ATTEMPTED, LARGE)
@example(LONG_BEFORE, LARGE)
@example(LONG_BEFORE, SMALL)
@settings(
    max_examples=int(os.environ.get('EXPLORE', '0')) or 12,
    derandomize='EXPLORE' not in os.environ,
    phases=set(Phase) - {Phase.explain},
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # each life begins anew
)
def test_records_have_what_the_single_call_gives(life_of, chapters, page):
    with life_of(page) as life:
        for events, hours in chapters:
            for event in events:
                life.happens(*event)
            life.sky.advance(hours=hours)
            life.run()
