"""Strategies of the TOM's own that have tomtoolkit's `run` replace what has failed: each one once."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from dateutil.parser import parse
from tom_observations.cadence import CadenceStrategy
from tom_observations.cadences.resume_cadence_after_failure import (
    ResumeCadenceAfterFailureStrategy,
)
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facility import get_service_class
from tom_observations.models import DynamicCadence, ObservationRecord

import faults
from tom_auto.models import Submission

from .cadences import LIST, RETRY, accepted_then, fail, newest, start_of, updatecadences

pytestmark = pytest.mark.django_db(transaction=True)


class ReadsAnew(RetryFailedObservationsStrategy):
    """Reads its cadence once more as it begins."""

    def __init__(self, dynamic_cadence, *arguments, **options):
        super().__init__(DynamicCadence.objects.get(pk=dynamic_cadence.pk), *arguments, **options)


class Refreshes(RetryFailedObservationsStrategy):
    """Refreshes its cadence as it begins."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.dynamic_cadence.refresh_from_db()


class Soon(RetryFailedObservationsStrategy):
    """Submits for as soon as possible: two payloads for one observation are never the same."""

    def advance_window(self, observation_payload, start_keyword='start', end_keyword='end'):
        now = datetime.now(UTC)
        times = {start_keyword: now.isoformat(), end_keyword: (now + timedelta(days=1)).isoformat()}
        return observation_payload | times


class CallsItSoon(Soon):
    """The same, and has a `run` of its own."""

    def run(self):
        return super().run()


class CallsItTwice(CallsItSoon):
    """Goes on as long as there is something to replace."""

    def run(self):
        made = []
        while more := super().run():
            made += more
        return made


class RefreshesAndCallsIt(Refreshes):
    def run(self):
        self.dynamic_cadence.refresh_from_db()
        return super().run()


class TakesItOver(CadenceStrategy):
    """Is not derived from tomtoolkit's."""

    run = RetryFailedObservationsStrategy.run
    advance_window = Soon.advance_window


class HasItDone(CadenceStrategy):
    """Asks another one to do its work."""

    def run(self):
        return Soon(self.dynamic_cadence).run()


def exposure(parameters):
    return float(parameters['c_1_ic_1_exposure_time'])


@pytest.fixture
def two_failed(failed):
    """A cadence whose group has two observations that have failed, with unlike exposures."""
    failed(RETRY)
    cadence, other = DynamicCadence.objects.get(), failed(RETRY)
    other.refresh_from_db()
    other.parameters['c_1_ic_1_exposure_time'] = '999'
    other.save()
    DynamicCadence.objects.exclude(pk=cadence.pk).delete()
    cadence.observation_group.observation_records.add(other)
    return cadence


def strategy(settings, own):
    settings.TOM_CADENCE_STRATEGIES = [f'{__name__}.{own.__name__}']
    DynamicCadence.objects.update(cadence_strategy=own.__name__)


@pytest.mark.parametrize(
    ('own', 'submitted'),
    [
        (ReadsAnew, [2, 0, 0]),
        (Refreshes, [2, 0, 0]),
        (Soon, [2, 0, 0]),
        (CallsItSoon, [1, 1, 0]),
        (CallsItTwice, [2, 0, 0]),
        (RefreshesAndCallsIt, [1, 1, 0]),
        (TakesItOver, [2, 0, 0]),
        (HasItDone, [1, 1, 0]),
    ],
)
def test_each_failed_observation_is_replaced_once(two_failed, portal, settings, own, submitted):
    strategy(settings, own)
    runs = [updatecadences() for _ in range(3)]
    assert [(status, report['submitted']) for status, report in runs] == [
        (0, number) for number in submitted
    ], runs
    for sent in Submission.objects.all():
        [its] = ObservationRecord.objects.filter(observation_id__in=sent.observation_ids)
        assert exposure(its.parameters) == exposure(sent.trigger.parameters)
        assert portal.requests[int(its.observation_id)].exposure == exposure(its.parameters)
        assert sent.state == 'recorded'
    fail(portal, newest())
    assert updatecadences()[1]['submitted'] == 1


class Swallows(RetryFailedObservationsStrategy):
    """Catches whatever is raised."""

    def run(self):
        try:
            return super().run()
        except Exception:
            return []


@pytest.mark.parametrize('own', [Swallows, RetryFailedObservationsStrategy])
def test_what_is_uncertain_is_named_whatever_a_strategy_catches(failed, portal, settings, own):
    failed(RETRY)
    if own is Swallows:
        strategy(settings, own)
    accepted_then(portal, faults.reset())
    away = portal.break_(rf'{LIST}\?', faults.status(503))
    for _ in range(2):
        status, report = updatecadences()
        [failure] = report['failures']
        assert (status, failure['kind'], report['failed']) == (1, 'uncertain', 1)
    portal.breaks.remove(away)
    assert updatecadences()[0] == 0
    assert len(portal.requests) == 2


class CannotBeShownOne(RetryFailedObservationsStrategy):
    """Reads its cadence whenever it is asked for."""

    def __init__(self, dynamic_cadence):
        self.pk = dynamic_cadence.pk

    @property
    def dynamic_cadence(self):
        return DynamicCadence.objects.get(pk=self.pk)


def test_what_cannot_be_shown_one_at_a_time_submits_nothing(two_failed, portal, settings):
    strategy(settings, CannotBeShownOne)
    before = len(portal.requests)
    status, report = updatecadences()
    assert (status, report['submitted'], len(portal.requests)) == (1, 0, before)
    words = 'CannotBeShownOne cannot be shown one observation at a time'
    assert [one['error'] for one in report['failures']] == [words] * 2


def test_what_a_called_run_cannot_replace_is_named_and_stops_nothing(two_failed, portal, settings):
    strategy(settings, CallsItSoon)
    record = two_failed.observation_group.observation_records.latest('pk')
    record.parameters['c_1_max_airmass'] = 'abc'
    record.save(update_fields=['parameters'])
    for submitted in (1, 0):
        _, report = updatecadences()
        assert report['submitted'] == submitted
        [failure] = report['failures']
        assert f'observation {record.observation_id}' in failure['error']


class LeavesOut(ResumeCadenceAfterFailureStrategy):
    """Leaves out the second configuration of what it submits."""

    def update_observation_payload(self, observation_payload):
        for name in [one for one in observation_payload if one.startswith('c_2_')]:
            del observation_payload[name]
        return super().update_observation_payload(observation_payload)


def test_what_a_strategy_leaves_out_stays_out_of_its_record(failed, settings):
    failed(RETRY)
    strategy(settings, LeavesOut)
    first = newest()
    first.parameters['c_2_max_airmass'] = '1.6'
    first.save(update_fields=['parameters'])
    assert updatecadences()[1]['submitted'] == 1
    assert newest() != first
    assert 'c_2_max_airmass' not in newest().parameters


class ReadsTimesByItself(RetryFailedObservationsStrategy):
    """Goes on a day later in the zone that the times of the observation have."""

    def advance_window(self, observation_payload, start_keyword='start', end_keyword='end'):
        for time in (start_keyword, end_keyword):
            later = parse(observation_payload[time]) + timedelta(days=1)
            observation_payload[time] = later.isoformat()
        return observation_payload


@pytest.mark.parametrize('zone', ['America/Santiago', 'Pacific/Auckland'])
def test_windows_of_a_strategy_that_reads_times_by_itself(failed, portal, settings, zone):
    settings.TIME_ZONE = zone
    first = failed(RETRY)
    strategy(settings, ReadsTimesByItself)
    west = timezone(timedelta(hours=-4))
    for time in ('start', 'end'):
        moment = parse(first.parameters[time]).astimezone(west)
        first.parameters[time] = moment.isoformat()
    first.save(update_fields=['parameters'])
    status, report = updatecadences()
    assert (status, report['submitted']) == (0, 1), report
    begins, _ = portal.requests[int(newest().observation_id)].window
    assert begins == start_of(first) + timedelta(hours=24)


class UsesALateClass(CadenceStrategy):
    """Imports, as it runs, a module with a facility class that submits in its own way."""

    sent = []
    classes = []

    def run(self):
        class Late(LCOFacility):
            def submit_observation(facility, observation_payload):  # noqa: N805
                self.sent.append(observation_payload)
                return ['777']

        class Later(Late):
            def submit_observation(facility, observation_payload):  # noqa: N805
                return super().submit_observation(observation_payload)

        self.classes += [Late, Later]
        Later().submit_observation({'name': 'x'})


def test_a_facility_class_that_comes_during_the_run_submits_through_the_seam(failed, settings):
    failed(RETRY)
    strategy(settings, UsesALateClass)
    sent, classes = UsesALateClass.sent, UsesALateClass.classes
    sent.clear()
    assert updatecadences('--dry-run')[1]['submissions'] == ['LCO x']
    assert sent == []
    for _ in range(2):
        updatecadences()
    assert len(sent) == 1
    assert Submission.objects.get().observation_ids == ['777']
    classes[0]().submit_observation({'name': 'after the run'})
    assert len(sent) == 2
    assert Submission.objects.count() == 1


class Cancels(LCOFacility):
    """Takes note of what is cancelled."""

    name = 'LCO'
    cancelled = []

    def cancel_observation(self, observation_id):
        self.cancelled.append(observation_id)
        return True


class MakesRoom(ResumeCadenceAfterFailureStrategy):
    """Cancels what it has submitted before, and then submits the next one."""

    def update_observation_payload(self, observation_payload):
        last = self.dynamic_cadence.observation_group.observation_records.latest('created')
        get_service_class(last.facility)().cancel_observation(last.observation_id)
        return super().update_observation_payload(observation_payload)


class MakesRoomLater(ResumeCadenceAfterFailureStrategy):
    """Submits the next one, and then cancels the one before."""

    def run(self):
        last = self.dynamic_cadence.observation_group.observation_records.latest('created')
        if made := super().run():
            get_service_class(last.facility)().cancel_observation(last.observation_id)
        return made


class Ends(CadenceStrategy):
    """Switches its cadence off, and then cancels what is left of it."""

    def run(self):
        last = self.dynamic_cadence.observation_group.observation_records.latest('created')
        self.dynamic_cadence.active = False
        self.dynamic_cadence.save()
        get_service_class(last.facility)().cancel_observation(last.observation_id)


@pytest.fixture
def cancelling(failed, settings):
    """Lets a cadence of this strategy go on from an observation; gives the number of that."""

    def begin(own):
        first = failed(RETRY)
        strategy(settings, own)
        settings.TOM_FACILITY_CLASSES = [f'{__name__}.Cancels']
        Cancels.cancelled.clear()
        return first.observation_id

    return begin


@pytest.fixture
def makes_room(cancelling):
    return cancelling(MakesRoom)


def test_a_dry_run_cancels_nothing_and_says_what_it_would(makes_room):
    status, report = updatecadences('--dry-run')
    assert (status, report['submissions']) == (0, [f'LCO cancellation of {makes_room}'])
    assert Cancels.cancelled == []


def test_a_strategy_may_cancel(makes_room):
    assert [updatecadences()[1]['submitted'] for _ in range(2)] == [1, 0]
    assert Cancels.cancelled == [makes_room]


def test_nothing_is_cancelled_that_nothing_may_follow(makes_room, automation):
    automation['MOST_SUBMISSIONS'] = {'run': 0, 'day': 0}
    assert updatecadences()[1]['failures'][0]['kind'] == 'ceiling'
    assert Cancels.cancelled == []


def test_nor_is_anything_by_a_cadence_that_was_switched_off_meanwhile(makes_room, monkeypatch):
    def switch_off(self, observation_id):
        DynamicCadence.objects.update(active=False)

    monkeypatch.setattr(Cancels, 'update_observation_status', switch_off)
    assert updatecadences()[1]['submitted'] == 0
    assert Cancels.cancelled == []


@pytest.mark.parametrize('most', [9, 1])
def test_what_was_submitted_already_may_take_the_place_of_another(cancelling, automation, most):
    automation['MOST_SUBMISSIONS'] = {'run': most, 'day': 9}
    first = cancelling(MakesRoomLater)
    status, report = updatecadences('--dry-run')
    assert (status, report['submissions'], Cancels.cancelled) == (0, ['LCO M 31'], [])
    status, report = updatecadences()
    assert (status, report['submitted']) == (0, 1), report
    assert updatecadences()[1]['submitted'] == 0
    assert Cancels.cancelled == [first]


@pytest.mark.parametrize('options', [(), ('--dry-run',)])
def test_what_is_not_cancelled_is_named(cancelling, options):
    first = cancelling(Ends)
    status, report = updatecadences(*options)
    [failure] = report['failures']
    assert (status, failure['kind'], report['submissions']) == (1, 'not cancelled', [])
    assert first in failure['error']
    assert Cancels.cancelled == []
