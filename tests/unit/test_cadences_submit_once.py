"""What a cadence submits is recognised by what was sent, and touches nothing of others."""

import json
import socket
import time
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection

import pytest
import requests
from dateutil.parser import parse
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone
from tom_observations.cadence import CadenceStrategy
from tom_observations.cadences.resume_cadence_after_failure import (
    ResumeCadenceAfterFailureStrategy,
)
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.facilities import ocs
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord
from tom_targets.models import Target

import faults
import forked
import submitting
from tom_auto.conf import automation
from tom_auto.management.commands import updatecadences as command
from tom_auto.models import Submission, UpdateRun
from tom_auto.simulator.messages import json_reply
from tom_auto.targets import cadences
from tom_auto.targets.listed_as_sent import agrees
from tom_auto.targets.wire import watched

from .cadences import (
    LIST,
    RESUME,
    RETRY,
    accepted_then,
    around_a_submission,
    fail,
    later,
    never_was,
    newest,
    not_accepted,
    start_of,
    states,
    twin,
    updatecadences,
)
from .facility_classes import Manual
from .running import ran

pytestmark = pytest.mark.django_db(transaction=True)


def uncertain(portal, fault=accepted_then, only=()):
    """A run during which the portal does not answer what is submitted."""
    broken = fault(portal, faults.reset())
    updatecadences(*(f'--cadence={one.pk}' for one in only))
    portal.breaks.remove(broken)


def failures():
    return ' '.join(one['error'] for one in updatecadences()[1]['failures'])


@pytest.fixture
def two_unlike(failed, portal):
    """Two submissions of one name: the first did not arrive, the second was accepted."""
    failed(RETRY)
    second = failed(RETRY)
    second.refresh_from_db()
    second.parameters['c_1_ic_1_exposure_time'] = '999'
    second.save()
    one, other = DynamicCadence.objects.order_by('pk')
    uncertain(portal, not_accepted, [one])
    uncertain(portal, accepted_then, [other])
    return Submission.objects.order_by('pk')


def test_two_of_one_name_are_told_apart_by_what_was_sent(two_unlike, portal):
    updatecadences()
    assert states() == ['uncertain', 'recorded']
    assert portal.requests[int(newest().observation_id)].exposure == 999
    updatecadences()  # by now it is known whose that is
    later()
    updatecadences()
    assert states() == ['refused', 'recorded', 'recorded']
    assert sorted(one.exposure for one in portal.requests.values()) == [60, 60, 60, 999]


def test_what_a_person_submits_under_its_name_is_not_taken_for_it(failed, portal):
    first = failed(RETRY)
    uncertain(portal, not_accepted)
    other = twin(portal, int(first.observation_id), exposure=5.0)
    later()
    assert f'{other.id} has its name, and is not as it was sent' in failures()
    assert (states(), len(portal.requests)) == (['uncertain'], 2)
    call_command('updatecadences', '--not-submitted', str(Submission.objects.get().pk))
    assert updatecadences()[1]['submitted'] == 1


def test_what_another_account_has_submitted_is_not_taken_for_it(failed, portal):
    failed(RETRY)
    uncertain(portal)
    accepted = max(portal.requests)
    other = twin(portal, accepted, submitter='somebody else')
    updatecadences()
    assert (states(), newest().observation_id) == (['recorded'], str(accepted))
    assert other.group.created >= portal.requests[accepted].group.created


def test_what_may_be_either_of_two_is_neither(failed, portal):
    failed(RETRY), failed(RETRY)
    one, other = DynamicCadence.objects.order_by('pk')
    uncertain(portal, not_accepted, [one])
    uncertain(portal, accepted_then, [other])
    later()
    words = failures()
    first, second = Submission.objects.order_by('pk')
    assert f', or submission {second.pk}' in words and f', or submission {first.pk}' in words
    assert states() == ['uncertain', 'uncertain']


def test_a_person_cannot_give_to_one_what_was_sent_by_another(two_unlike, portal):
    first, second = two_unlike
    words = f'{first.pk}={max(portal.requests)}'
    with pytest.raises(CommandError, match=f'it is as submission {second.pk} was sent'):
        call_command('updatecadences', '--submitted', words, '--not-submitted', str(second.pk))
    assert states() == ['uncertain', 'uncertain']


def test_what_a_person_gave_to_one_does_not_settle_another(two_unlike, portal):
    first, second = two_unlike
    away = portal.break_(LIST, faults.status(503))
    call_command('updatecadences', '--submitted', f'{first.pk}={max(portal.requests)}')
    portal.breaks.remove(away)
    later()
    assert f'is as it was sent, and is noted as submission {first.pk}' in failures()
    with pytest.raises(CommandError, match='LCO lists it as'):
        call_command('updatecadences', '--not-submitted', str(second.pk))
    assert [one.exposure for one in portal.requests.values()].count(999) == 1


def test_of_two_alike_the_other_is_for_a_person_to_settle(failed, portal):
    failed(RETRY), failed(RETRY)
    one, other = DynamicCadence.objects.order_by('pk')
    uncertain(portal, not_accepted, [one])
    uncertain(portal, accepted_then, [other])
    first, second = Submission.objects.order_by('pk')
    call_command('updatecadences', '--submitted', f'{first.pk}={max(portal.requests)}')
    later()
    assert f'noted as submission {first.pk}' in failures()
    call_command('updatecadences', '--not-submitted', str(second.pk))
    assert updatecadences()[1]['submitted'] == 1


SENT = {
    'windows': [{'start': '2026-01-01T00:00:00', 'end': '2026-01-02T00:00:00'}],
    'configurations': [
        {
            'instrument_type': '1M0',
            'target': {'name': 'M 31', 'ra': 10.68, 'dec': 41.27, 'type': 'ICRS'},
            'instrument_configs': [
                {'exposure_time': 60.0, 'optical_elements': {'filter': 'rp'}, 'mode': 'x'}
            ],
            'constraints': {'max_airmass': 1.6},
        }
    ],
}


def test_the_priority_is_compared_as_well():
    one = {'requests': [SENT], 'ipp_value': 1.05, 'observation_type': 'NORMAL'}
    assert agrees(one, one | {'ipp_value': '1.0500', 'operator': 'SINGLE'})
    assert not agrees(one, one | {'ipp_value': 1.5})
    assert not agrees(one, one | {'observation_type': 'TIME_CRITICAL'})


@pytest.mark.parametrize(
    ('listed', 'is_it'),
    [
        ([SENT], True),
        ([SENT | {'windows': [{'start': '2026-01-01T00:00:00Z', 'end': '2026-01-02T00:00:00.2Z'}]}], True),
        ([SENT | {'windows': [{'start': '2026-01-01T00:00:00Z', 'end': '2026-01-03T00:00:00Z'}]}], False),
        ([{'id': 1}], True),
        ([SENT, SENT], False),
        ([SENT | {'configurations': []}], False),
        ([{'configurations': [{'instrument_type': '2M0'}]}], False),
        ([{'configurations': [{'target': {'ra': '10.680000001', 'dec': '41.27'}}]}], True),
        ([{'configurations': [{'target': {'ra': 10.69}}]}], False),
        ([{'configurations': [{'target': {'ra': 10**400}}]}], False),
        ([{'configurations': [{'target': {'name': 'M 33'}}]}], False),
        ([{'configurations': [{'instrument_configs': [{'optical_elements': {'filter': 'gp'}}]}]}], False),
        ([{'configurations': [{'instrument_configs': [{'mode': 'y'}]}]}], True),
        ([{'configurations': [{'constraints': {'max_airmass': 2}}]}], False),
        ([{'configurations': [{'constraints': {'max_airmass': '1.60', 'max_seeing': 3}}]}], True),
    ],
)  # fmt: skip
def test_what_is_compared(listed, is_it):
    assert agrees({'requests': [SENT]}, {'requests': listed}) == is_it


def test_the_order_of_the_requests_does_not_count():
    other = SENT | {'windows': [{'start': '2027-01-01', 'end': '2027-01-02'}]}
    assert agrees({'requests': [SENT, other]}, {'requests': [other, SENT]})
    assert not agrees({'requests': [SENT, other]}, {'requests': [SENT, SENT]})


def test_why_it_could_not_be_settled_is_said(failed, portal):
    failed(RETRY)
    uncertain(portal)
    away = portal.break_(LIST, faults.status(503))
    assert 'LCO answered 503' in failures()
    portal.breaks.remove(away)


def test_the_record_of_another_facility_is_left_alone(begun, portal, add_record):
    record = begun(RESUME)
    other = add_record('Gemini', observation_id=record.observation_id, status='PENDING')
    portal.complete(int(record.observation_id))
    updatecadences()
    other.refresh_from_db()
    record.refresh_from_db()
    assert (record.status, other.status) == ('COMPLETED', 'PENDING')


class Own(LCOFacility):
    """Refreshes statuses by itself, as tomtoolkit does; somebody writes a newer one meanwhile."""

    name = 'LCO'

    def update_observation_status(self, observation_id):
        records = list(ObservationRecord.objects.filter(observation_id=observation_id))
        answer = self.get_observation_status(observation_id)
        ours = ObservationRecord.objects.filter(facility='LCO', observation_id=observation_id)
        ours.update(status='CANCELED', parameters={'edited': True})
        for record in records:
            record.status = answer['state']
            record.save()


def test_a_newer_status_and_what_was_edited_stay(begun, settings, add_record):
    record = begun(RESUME)
    other = add_record('Gemini', observation_id=record.observation_id, status='old')
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Own']
    updatecadences()
    record.refresh_from_db(), other.refresh_from_db()
    assert (record.status, record.parameters, other.status) == ('CANCELED', {'edited': True}, 'old')


def test_the_hook_gets_the_status_before_but_not_in_a_dry_run(begun, portal, settings, caplog):
    record = begun(RESUME)
    portal.complete(int(record.observation_id))
    updatecadences('--dry-run')
    assert 'to COMPLETED' not in caplog.text
    updatecadences()
    assert 'from  to COMPLETED' in caplog.text


class Notes(LCOFacility):
    """Notes more than the status of a record, and somebody edits it meanwhile."""

    name = 'LCO'

    def update_observation_status(self, observation_id):
        record = ObservationRecord.objects.get(facility='LCO', observation_id=observation_id)
        ObservationRecord.objects.update(user=None)
        record.status = self.get_observation_status(observation_id)['state']
        record.parameters['seeing'] = 1.2
        record.user = User.objects.create_user('night assistant')
        record.save()


def test_what_a_class_notes_besides_the_status_is_kept(begun, settings):
    record = begun(RESUME)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Notes']
    updatecadences()
    record.refresh_from_db()
    assert (record.status, record.parameters['seeing']) == ('PENDING', 1.2)
    assert record.user is None, 'as somebody wants it meanwhile'


class Parts(LCOFacility):
    """Submits one part after another; the second is refused."""

    name = 'LCO'

    def submit_observation(self, observation_payload):
        numbers = LCOFacility.submit_observation(self, observation_payload)
        return numbers + LCOFacility.submit_observation(
            self, observation_payload | {'proposal': 'x'}
        )


def test_what_is_refused_half_way_is_not_sent_again(failed, portal, settings):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Parts']
    assert 'accepted a part of it' in failures()
    assert states() == ['uncertain']
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2), 'the portal lists it'


class Doubtful(LCOFacility):
    """Says that it was refused, by whatever means it was sent."""

    name = 'LCO'
    sent = []

    def submit_observation(self, observation_payload):
        self.sent.append(observation_payload)
        raise ValidationError('no')


def test_a_refusal_that_nobody_has_seen_is_none(failed, portal, settings):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Doubtful']
    Doubtful.sent.clear()
    for _ in range(2):
        updatecadences()
    assert (len(Doubtful.sent), states()) == (1, ['uncertain'])


class Renames(LCOFacility):
    """Changes the name of what it submits."""

    name = 'LCO'

    def submit_observation(self, observation_payload):
        name = f'auto {observation_payload["name"]}'
        return LCOFacility.submit_observation(self, observation_payload | {'name': name})


def test_what_a_class_has_sent_in_its_own_way_is_for_a_person_to_settle(failed, portal, settings):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Renames']
    uncertain(portal)
    accepted = max(portal.requests)
    later()
    settings.TOM_FACILITY_CLASSES = ['tom_observations.facilities.lco.LCOFacility']
    for _ in range(2):
        assert 'its class may have sent it otherwise' in failures()
    assert (states(), len(portal.requests)) == (['uncertain'], 2)
    call_command('updatecadences', '--submitted', f'{Submission.objects.get().pk}={accepted}')
    assert (states(), newest().observation_id) == (['recorded'], str(accepted))


def test_another_portal_than_it_was_sent_to_settles_nothing(failed, portal, settings):
    failed(RETRY)
    uncertain(portal)
    later()
    ours, its = settings.FACILITIES, portal.settings()
    other = {'portal_url': its['portal_url'].replace('127.0.0.1', 'localhost')}
    assert other['portal_url'] != its['portal_url']
    settings.FACILITIES = {'LCO': its | other}
    never = portal.break_(LIST, lambda call, reply: json_reply({'results': [], 'next': None}))
    updatecadences()
    assert states() == ['uncertain']
    settings.FACILITIES, _ = ours, portal.breaks.remove(never)
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


class OfTheClass(LCOFacility):
    name = 'LCO'

    @classmethod
    def submit_observation(cls, observation_payload):
        return LCOFacility().submit_observation(observation_payload)


class Static(LCOFacility):
    name = 'LCO'

    @staticmethod
    def submit_observation(observation_payload):
        return LCOFacility().submit_observation(observation_payload=observation_payload)


@pytest.mark.parametrize('own', [OfTheClass, Static])
def test_any_kind_of_method_submits(failed, portal, settings, own):
    failed(RETRY)
    before = vars(own)['submit_observation']
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.{own.__name__}']
    assert updatecadences()[1]['submitted'] == 1
    assert (states(), len(portal.requests)) == (['recorded'], 2)
    assert vars(own)['submit_observation'] is before


def test_what_has_its_record_was_submitted(failed, portal):
    failed(RETRY)
    updatecadences()
    its = '--not-submitted', str(Submission.objects.get().pk)
    with pytest.raises(CommandError, match='its record is here: observation') as error:
        call_command('updatecadences', *its)
    assert (error.value.returncode, states()) == (2, ['recorded'])
    number = newest().observation_id
    newest().delete()
    with pytest.raises(CommandError, match=f'LCO has it as {number}'):
        call_command('updatecadences', *its)
    never_was(portal, int(number))
    call_command('updatecadences', *its)
    assert updatecadences()[1]['submitted'] == 1


def test_the_note_of_a_submission_cannot_be_deleted_by_hand(admin_client, failed, portal):
    failed(RETRY)
    updatecadences()
    page = '/admin/tom_auto/submission/'
    pk = Submission.objects.get().pk
    assert admin_client.get(page).status_code == 200
    admin_client.post(f'{page}{pk}/delete/', {'post': 'yes'})
    every = {'action': 'delete_selected', '_selected_action': [pk], 'post': 'yes'}
    admin_client.post(page, every)
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def test_what_a_person_says_is_answered_as_json(failed, portal, capsys):
    failed(RETRY)
    uncertain(portal, not_accepted)
    pk = Submission.objects.get().pk
    call_command('updatecadences', '--json', '--not-submitted', str(pk))
    assert json.loads(capsys.readouterr().out) == {'noted': [pk]}


@pytest.mark.parametrize('profile', [{}, {'view_authored_requests_only': True}])
def test_what_the_portal_lists_was_submitted(failed, portal, profile):
    failed(RETRY)
    uncertain(portal)

    def with_profile(call, reply):
        return json_reply(json.loads(reply.body) | {'profile': profile})

    portal.break_('/api/profile/', with_profile)
    with pytest.raises(CommandError, match=f'LCO lists it as {max(portal.requests)}') as error:
        call_command('updatecadences', '--not-submitted', str(Submission.objects.get().pk))
    assert (error.value.returncode, states()) == (2, ['uncertain'])


@pytest.fixture
def sending(monkeypatch):
    """Have something done before or after a run sends what it submits."""

    def during(**what):
        monkeypatch.setattr(ocs, 'make_request', around_a_submission(**what))

    return during


def test_it_is_not_noted_as_sent_before_there_is_a_connection(monkeypatch):
    """To connect may take minutes, and another run may have taken over by then."""
    order, plain = [], HTTPConnection.connect

    def connect(connection):
        order.append('connected')
        plain(connection)

    monkeypatch.setattr(HTTPConnection, 'connect', connect)
    with (
        socket.create_server(('127.0.0.1', 0)) as observatory,
        closing(HTTPConnection(*observatory.getsockname())) as connection,
        watched(lambda: order.append('noted')) as sent,
    ):
        connection.request('POST', '/', body=iter([b'in ', b'parts']), encode_chunked=True)
    assert order == ['connected', 'noted']
    assert (sent.statuses, sent.left) == ([None], {0})


@pytest.mark.parametrize('when', ['before', 'after'])
def test_a_run_that_was_taken_over_sends_nothing_and_makes_no_record(
    failed, portal, tmp_path, sending, when
):
    failed(RETRY)
    suspended, printed = tmp_path / 'suspended', tmp_path / 'printed'

    def another_run():
        while not suspended.exists():
            time.sleep(0.01)
        call_command('updatecadences', '--json')

    child = forked.start(printed, another_run)

    def suspend():
        UpdateRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=7))
        if when == 'before':
            later(7)
            Submission.objects.update(missed_since=timezone.now() - timedelta(minutes=7))
        suspended.touch()
        child.join(60)

    sending(**{when: suspend})
    with pytest.raises(CommandError, match='another has taken over'):
        call_command('updatecadences')
    updatecadences()
    assert (states()[-1], len(portal.requests)) == ('recorded', 2), printed.read_text()
    assert ObservationRecord.objects.count() == 2


def test_an_answer_that_cannot_be_noted_is_named(failed, sending):
    failed(RETRY)
    sending(after=lambda: Submission.objects.update(state='refused'))
    with pytest.raises(CommandError, match='LCO has accepted M 31 as 5002'):
        call_command('updatecadences')


def switch_off(cadence):
    DynamicCadence.objects.filter(pk=cadence.pk).update(active=False)


@pytest.mark.parametrize('change', [switch_off, lambda cadence: cadence.delete()])
def test_what_nobody_wants_any_more_is_not_submitted(failed, portal, sending, change):
    failed(RETRY), failed(RETRY)
    last = DynamicCadence.objects.latest('pk')
    sending(before=lambda: change(last))
    status, report = updatecadences()
    assert (status, report['submitted'], len(portal.requests)) == (0, 1, 3), report


@pytest.mark.parametrize('how', ['findrequests', 'page'])
def test_what_was_made_elsewhere_replaces_nothing(client, failed, portal, target, how):
    failed(RETRY)
    if how == 'page':
        record = submitting.by_number(client, portal, target, 'LCO')
    else:
        now = timezone.now()
        portal.add_request(window=(now + timedelta(days=5), now + timedelta(days=6)))
        ran('findrequests', '--add', '--proposal', 'DEMO2026')
        record = newest()
    ObservationGroup.objects.get().observation_records.add(record)
    for _ in range(2):
        updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 3)
    fail(portal, record)
    assert 'has not all that the form' in failures()


class AsksAfterwards(LCOFacility):
    """Posts, and whatever came of it, asks for its number, in vain."""

    name = 'LCO'

    def submit_observation(self, observation_payload):
        portal, headers = self.facility_settings.get_setting('portal_url'), self._portal_headers()
        requests.post(f'{portal}/api/requestgroups/', json=observation_payload, headers=headers)  # noqa: S113
        requests.get(f'{portal}/api/nothing/', headers=headers).raise_for_status()  # noqa: S113
        return []


class TriesElsewhere(LCOFacility):
    """Tries once more where the portal gives no answer, and nobody is there."""

    name = 'LCO'

    def submit_observation(self, observation_payload):
        try:
            return LCOFacility.submit_observation(self, observation_payload)
        except requests.RequestException:
            return requests.post('http://127.0.0.1:1/')  # noqa: S113


class Mails(LCOFacility):
    """Sends by a socket of its own, as a mail does, and then tells somebody who is not there."""

    name = 'LCO'
    sent = []

    def submit_observation(self, observation_payload):
        with socket.create_server(('127.0.0.1', 0)) as observatory:
            with socket.create_connection(observatory.getsockname()) as connection:
                connection.sendall(b'observe this')
            self.sent.append(observation_payload)
        return requests.post('http://127.0.0.1:1/')  # noqa: S113


def test_what_was_sent_by_other_means_may_be_accepted(failed, settings):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Mails']
    Mails.sent.clear()
    for _ in range(2):
        updatecadences()
    assert (len(Mails.sent), states()) == (1, ['uncertain'])


@pytest.mark.parametrize('status', [502, 303])
def test_the_refusal_of_a_question_says_nothing_of_what_was_sent(failed, portal, settings, status):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.AsksAfterwards']
    before = len(portal.requests)
    accepted_then(portal, faults.status(status))
    updatecadences()
    assert states() == ['uncertain']
    updatecadences()  # finds it at the portal
    assert (states(), len(portal.requests) - before) == (['recorded'], 1)


def test_what_was_sent_before_nobody_was_reached_may_be_accepted(failed, portal, settings):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.TriesElsewhere']
    before = len(portal.requests)
    uncertain(portal)
    assert states() == ['uncertain']
    updatecadences()
    assert len(portal.requests) - before == 1


def test_the_record_of_another_target_is_not_what_was_submitted(failed, portal, add_record):
    failed(RETRY)
    uncertain(portal, not_accepted)
    other = Target.objects.create(name='X', type='SIDEREAL', ra=1, dec=1)
    record = add_record('LCO', target=other, observation_id='777', parameters={'a': 1})
    portal.break_(LIST, faults.status(503))
    with pytest.raises(CommandError, match='another target'):
        call_command('updatecadences', '--submitted', f'{Submission.objects.get().pk}=777')
    record.refresh_from_db()
    assert record.parameters == {'a': 1}


def test_one_request_is_of_one_submission(failed, portal):
    for _ in range(2):
        failed(RETRY)
    uncertain(portal, not_accepted)
    portal.break_(LIST, faults.status(503))
    one, other = Submission.objects.values_list('pk', flat=True)
    with pytest.raises(CommandError, match='named twice'):
        call_command('updatecadences', '--submitted', f'{one}=777', '--submitted', f'{other}=777')


def test_nor_is_one_that_another_had_long_ago(failed, portal):
    failed(RETRY), failed(RETRY)
    one, other = DynamicCadence.objects.order_by('pk')
    uncertain(portal, not_accepted, [one])
    later(180)
    portal.break_(
        LIST, lambda call, reply: faults.status(503)(call, reply) if call.method == 'GET' else reply
    )
    updatecadences(f'--cadence={other.pk}')
    assert states() == ['uncertain', 'recorded']
    first, second = Submission.objects.order_by('pk')
    with pytest.raises(CommandError, match='that of another submission'):
        call_command('updatecadences', '--submitted', f'{first.pk}={second.observation_ids[0]}')


def again(record, portal, **fields):
    """A failed observation as `record`, of a request of its own."""
    number = twin(portal, int(record.observation_id)).id
    same = {'target': record.target, 'facility': 'LCO', 'user': record.user}
    same |= {'parameters': record.parameters, 'observation_id': str(number)}
    other = ObservationRecord.objects.create(**(same | fields))
    ObservationGroup.objects.get().observation_records.add(other)
    fail(portal, other)
    return other


@pytest.mark.parametrize('change', ['newer', 'taken out'])
def test_a_group_that_changes_meanwhile_is_left_to_the_next_run(
    failed, portal, monkeypatch, change
):
    first = failed(RESUME)
    again(first, portal)
    group, before, plain = (
        ObservationGroup.objects.get(),
        len(portal.requests),
        cadences.triggers_of,
    )
    newest_one = newest()

    def changed(cadence, strategy):
        found = plain(cadence, strategy)
        if change == 'newer':
            again(first, portal)
        else:
            group.observation_records.remove(newest_one)
        return found

    monkeypatch.setattr(cadences, 'triggers_of', changed)
    status, report = updatecadences()
    assert (status, report['submitted'], states()) == (0, 0, []), report
    monkeypatch.undo()
    chosen = group.observation_records.order_by('-pk').first()
    assert updatecadences()[1]['submitted'] == 1
    assert Submission.objects.get().trigger == chosen
    assert len(portal.requests) == before + 1 + (change == 'newer')


def test_of_two_made_at_once_that_which_is_noted_is_repeated(failed, portal):
    first = failed(RESUME)
    first.refresh_from_db()
    again(first, portal, parameters=first.parameters | {'c_1_ic_1_exposure_time': '999'})
    ObservationRecord.objects.update(created=timezone.now())
    updatecadences()
    sent = Submission.objects.get()
    noted = {'60': 60.0, '999': 999.0}[
        str(sent.trigger.parameters['c_1_ic_1_exposure_time']).split('.')[0]
    ]
    assert portal.requests[int(sent.observation_ids[0])].exposure == noted


def test_blanks_round_its_name_hide_nothing(failed, portal):
    failed(RETRY)
    uncertain(portal)
    sent = Submission.objects.get()
    sent.name, sent.payload = ' M 31 ', sent.payload | {'name': ' M 31 '}
    sent.save()
    later()
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def test_a_record_that_seems_older_than_what_was_sent_is_for_a_person_to_settle(
    client, failed, portal, target
):
    """The clock was ahead as it was sent, and somebody has made the record by its number."""
    failed(RETRY)
    uncertain(portal)
    accepted = max(portal.requests)
    later(-180)
    fields = {'target_id': target.pk, 'facility': 'LCO', 'observation_id': accepted}
    client.post('/observations/add/', fields | {'confirm': 'on'})
    ObservationRecord.objects.update(created=timezone.now() - timedelta(minutes=10))
    later()
    assert f'{accepted} is as it was sent, and its record here is older' in failures()
    pk = Submission.objects.get().pk
    with pytest.raises(CommandError, match=f'LCO lists it as {accepted}'):
        call_command('updatecadences', '--not-submitted', str(pk))
    call_command('updatecadences', '--submitted', f'{pk}={accepted}')
    assert (states(), len(portal.requests)) == (['recorded'], 2)


@pytest.mark.parametrize('code', [503, 429, 403, 'no key', 'hidden'])
def test_only_a_portal_that_says_so_has_lost_what_was_recorded(failed, portal, settings, code):
    failed(RETRY)
    updatecadences()
    number = newest().observation_id
    newest().delete()
    if code == 'no key':
        settings.FACILITIES = {'LCO': portal.settings() | {'api_key': ''}}
    elif code == 'hidden':
        portal.add_token('other', proposals=['ELSE'], username='other')
        settings.FACILITIES = {'LCO': portal.settings('other')}
    else:
        portal.break_(f'/api/requests/{number}/', faults.status(code))
    with pytest.raises(CommandError, match='cannot be noted as not submitted'):
        call_command('updatecadences', '--not-submitted', str(Submission.objects.get().pk))
    assert states() == ['recorded']


@pytest.mark.parametrize('hours', [-300, -3, 3, 300])
def test_a_clock_that_was_wrong_as_it_was_sent_hides_nothing(failed, portal, hours):
    """It may be right by now: after a sleep the network is there before the time is."""
    failed(RETRY)
    uncertain(portal)
    Submission.objects.update(created=timezone.now() + timedelta(hours=hours))
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def long_ago(portal, days=30):
    """Let so much time have passed at the portal."""
    for group in portal.groups.values():
        group.created -= timedelta(days=days)


@pytest.mark.parametrize('is_as_sent', [True, False])
def test_nor_does_it_by_the_time_that_seems_to_have_passed(failed, portal, is_as_sent):
    """It was ahead by weeks as that was sent, and nobody has looked since."""
    failed(RETRY)
    uncertain(portal)
    portal.requests[max(portal.requests)].exposure = 60.0 if is_as_sent else 5.0
    long_ago(portal)
    Submission.objects.update(created=timezone.now() - timedelta(days=1))
    for _ in range(2):
        updatecadences()
        later()
    assert (states(), len(portal.requests)) == (['recorded' if is_as_sent else 'uncertain'], 2)


def test_what_a_portal_lists_late_is_not_missed_by_a_clock_that_was_behind(failed, portal):
    failed(RETRY)
    uncertain(portal)
    Submission.objects.update(created=timezone.now() - timedelta(hours=1))
    never = portal.break_(LIST, lambda call, reply: json_reply({'results': [], 'next': None}))
    assert 'does not list it so far' in failures()
    assert len(portal.requests) == 2
    portal.breaks.remove(never)
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def test_a_list_that_goes_on_settles_nothing(failed, portal):
    failed(RETRY)
    uncertain(portal)
    more = json_reply({'results': [], 'next': 'http://127.0.0.1/?offset=1000'})
    longer = portal.break_(LIST, lambda call, reply: more)
    for _ in range(2):
        assert 'lists too many requests of its name' in failures()
        later()
    assert states() == ['uncertain']
    portal.breaks.remove(longer)
    updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


def test_what_is_older_than_the_observation_that_failed_is_not_what_was_sent(failed, portal):
    """Of the same name, a month ago, on the portal's own page."""
    first = failed(RETRY)
    twin(portal, int(first.observation_id), exposure=5.0)
    old = portal.groups[max(portal.groups)]
    old.created -= timedelta(days=30)
    uncertain(portal, not_accepted)
    for _ in range(2):
        updatecadences()
        later()
    assert states()[0] == 'refused' and updatecadences()[1]['failures'] == []


def test_a_record_that_somebody_has_made_for_another_target_is_left_alone(
    failed, portal, add_record
):
    failed(RETRY)
    uncertain(portal)
    other = Target.objects.create(name='X', type='SIDEREAL', ra=1, dec=1)
    number = str(max(portal.requests))
    record = add_record('LCO', target=other, observation_id=number, parameters={'a': 1})
    for _ in range(2):
        assert f'the record of {number} that is here is of another target' in failures()
    record.refresh_from_db()
    assert (record.parameters, record.user, states()) == ({'a': 1}, None, ['submitted'])
    record.delete()
    updatecadences()
    assert (states(), newest().observation_id) == (['recorded'], number)


class Unlisted(LCOFacility):
    """Is used by a strategy, and not among the facilities of the TOM."""

    name = 'LCO'


class UsesIt(CadenceStrategy):
    def run(self):
        last = self.dynamic_cadence.observation_group.observation_records.first()
        form = LCOFacility().get_form('IMAGING')(data=last.parameters)
        assert form.is_valid()
        Unlisted().submit_observation(form.observation_payload())


def strategy(settings, own):
    settings.TOM_CADENCE_STRATEGIES = [f'{__name__}.{own.__name__}']
    DynamicCadence.objects.update(cadence_strategy=own.__name__)


class OnceOnly(ResumeCadenceAfterFailureStrategy):
    """Switches its cadence off after what it has submitted."""

    def run(self):
        if made := super().run():
            self.dynamic_cadence.active = False
            self.dynamic_cadence.save()
        return made


class CountsDown(ResumeCadenceAfterFailureStrategy):
    """Keeps in its cadence how many it may still submit."""

    def run(self):
        parameters = self.dynamic_cadence.cadence_parameters
        if (left := parameters.get('left', 1)) and (made := super().run()):
            self.dynamic_cadence.cadence_parameters = {**parameters, 'left': left - 1}
            self.dynamic_cadence.save()
            return made
        return None


class Filters(ResumeCadenceAfterFailureStrategy):
    """Looks its group's records up by itself."""

    def run(self):
        group = self.dynamic_cadence.observation_group
        is_enough = ObservationRecord.objects.filter(observationgroup=group).count() >= 2
        return None if is_enough else super().run()


class EndsAfterTwo(RetryFailedObservationsStrategy):
    """Replaces the newest observation; after two of a group its cadence ends."""

    def run(self):
        group = self.dynamic_cadence.observation_group
        if group.observation_records.all().count() >= 2:
            self.dynamic_cadence.active = False
            self.dynamic_cadence.save()
            return None
        return super().run()


@pytest.mark.parametrize('own', [OnceOnly, CountsDown, Filters, EndsAfterTwo])
def test_a_strategy_may_end_its_own_cadence(failed, portal, settings, own):
    failed(RESUME)
    strategy(settings, own)
    for _ in range(3):
        status, report = updatecadences()
        assert (status, len(portal.requests)) == (0, 2), report
        fail(portal, newest())
    is_off = own in (OnceOnly, EndsAfterTwo)
    assert DynamicCadence.objects.get().active is not is_off


class CallsIt(RetryFailedObservationsStrategy):
    """Has tomtoolkit's own `run` go through all that has failed."""

    def run(self):
        return super().run()


def test_a_failure_is_replaced_once_by_a_strategy_that_goes_through_all(failed, portal, settings):
    failed(RETRY)
    strategy(settings, CallsIt)
    for _ in range(3):
        status, report = updatecadences()
        assert (status, len(portal.requests)) == (0, 2), report
        ObservationRecord.objects.filter(pk=newest().pk).update(status='COMPLETED')
    fail(portal, newest())
    assert updatecadences()[1]['submitted'] == 1


@pytest.mark.parametrize('own', [RetryFailedObservationsStrategy, CallsIt])
def test_each_replacement_has_the_window_after_that_of_the_last(failed, portal, settings, own):
    begun = start_of(failed(RETRY))
    if own is CallsIt:
        strategy(settings, own)
    for days in (1, 2, 3):
        updatecadences()
        assert len(portal.requests) == 1 + days
        payload = Submission.objects.latest('pk').payload
        [window] = payload['requests'][0]['windows']
        assert parse(window['start']) == begun + timedelta(days=days)
        fail(portal, newest())


def test_two_failures_are_replaced_by_a_strategy_that_goes_through_all(failed, portal, settings):
    failed(RETRY)
    cadence = DynamicCadence.objects.get()
    other = failed(RETRY)
    other.refresh_from_db()
    other.parameters['c_1_ic_1_exposure_time'] = '999'
    other.save()
    DynamicCadence.objects.exclude(pk=cadence.pk).delete()
    cadence.observation_group.observation_records.add(other)
    before = set(portal.requests)
    strategy(settings, CallsIt)
    runs = [updatecadences() for _ in range(3)]
    assert [(status, report['submitted']) for status, report in runs] == [(0, 1), (0, 1), (0, 0)]
    new = [request.exposure for pk, request in portal.requests.items() if pk not in before]
    assert sorted(new) == [60, 999]


class Strict(LCOFacility):
    """Knows only the kinds of observation that it has a form for."""

    def get_form(self, observation_type):
        return self.observation_forms[observation_type]


def test_an_observation_whose_kind_its_class_does_not_know_is_named(
    client, failed, portal, target, settings
):
    failed(RETRY)
    settings.TOM_FACILITY_CLASSES = [f'{__name__}.Strict']
    made = submitting.by_number(client, portal, target, 'LCO')
    ObservationGroup.objects.get().observation_records.add(made)
    fail(portal, made)
    _, report = updatecadences()
    assert report['submitted'] == 1
    [failure] = report['failures']
    assert f'observation {made.observation_id} of LCO cannot be submitted again' in failure['error']


@pytest.mark.parametrize(
    'odd',
    [
        {'facility': 'Gone'},
        {'facility': 'LCORedirect', 'status': 'PENDING'},
        {'facility': 'LCO', 'parameters': []},
    ],
)
def test_an_odd_record_in_its_group_is_named_and_stops_nothing(
    failed, portal, settings, add_record, odd
):
    failed(RETRY)
    module = 'tom_observations.facilities.lco'
    settings.TOM_FACILITY_CLASSES = [
        f'{module}.LCOFacility',
        f'{module}_redirect.LCORedirectFacility',
    ]
    record = add_record(**({'status': 'WINDOW_EXPIRED'} | odd))
    ObservationGroup.objects.get().observation_records.add(record)
    for submitted in (1, 0):
        report = updatecadences()[1]
        assert report['submitted'] == submitted, report
        [failure] = report['failures']
        assert f'observation {record.observation_id} of {odd["facility"]}' in failure['error']
    assert len(portal.requests) == 2


def several_open(failed, portal):
    """Submissions of one portal that have no clear end."""
    failed(RETRY)
    uncertain(portal, not_accepted)
    one = Submission.objects.get()
    for _ in range(3):
        one.pk, one.trigger, one.trigger_number = None, None, '1'
        one.save()


def test_a_portal_that_does_not_answer_is_not_asked_about_each(failed, portal):
    several_open(failed, portal)
    failed(RETRY)
    portal.break_(rf'{LIST}\?', faults.status(503))
    report = updatecadences()[1]
    asked = [seen for seen in portal.requests_seen if seen.target.startswith(f'{LIST}?')]
    assert len(asked) <= 1 + automation().RETRIES
    assert report['submitted'] == 1
    assert ['LCO answered 503' in one['error'] for one in report['failures']] == [True] * 4


def test_after_the_deadline_nothing_is_asked_and_all_is_named(failed, portal):
    several_open(failed, portal)
    portal.break_(rf'{LIST}\?', lambda call, reply: time.sleep(1.2) or reply)
    report = updatecadences('--deadline', '1')[1]
    assert len(report['failures']) == 5, report


def test_a_facility_class_that_is_not_installed_submits_through_the_seam(failed, portal, settings):
    failed(RETRY)
    strategy(settings, UsesIt)
    for _ in range(2):
        updatecadences()
    assert (states(), len(portal.requests)) == (['recorded'], 2)


class CopiedRetry(CadenceStrategy):
    """Replaces every failed observation by a loop of its own."""

    advance_window = RetryFailedObservationsStrategy.advance_window

    def run(self):
        group = self.dynamic_cadence.observation_group
        for one in [record for record in group.observation_records.all() if record.failed]:
            facility = LCOFacility()
            form = facility.get_form('IMAGING')(data=self.advance_window(one.parameters))
            assert form.is_valid()
            for number in facility.submit_observation(form.observation_payload()):
                same = {'target': one.target, 'facility': 'LCO', 'parameters': one.parameters}
                record = ObservationRecord.objects.create(**same, observation_id=number)
                group.observation_records.add(record)


def test_what_has_not_ended_is_not_submitted_again_because_of_another(failed, portal, settings):
    failed(RETRY)
    strategy(settings, CopiedRetry)
    assert updatecadences()[1]['submitted'] == 1
    for _ in range(2):
        assert 'is the same, and has not ended' in failures()
    assert len(portal.requests) == 2
    fail(portal, newest())
    updatecadences()
    assert len(portal.requests) == 3


def test_a_request_that_is_of_another_submission_by_now_is_not_noted(failed, portal, monkeypatch):
    for _ in range(2):
        failed(RETRY)
    uncertain(portal, not_accepted)
    portal.break_(LIST, faults.status(503))
    one, other = Submission.objects.order_by('pk')
    plain = command.what_was_accepted

    def meanwhile(text):
        found = plain(text)
        Submission.objects.filter(pk=other.pk).update(state='recorded', observation_ids=['777'])
        return found

    monkeypatch.setattr(command, 'what_was_accepted', meanwhile)
    with pytest.raises(CommandError, match='777 is what another submission has become'):
        call_command('updatecadences', '--submitted', f'{one.pk}=777')
    assert states() == ['uncertain', 'recorded']


def test_what_a_person_says_is_noted_as_a_whole_or_not_at_all(failed, portal, monkeypatch):
    for _ in range(2):
        failed(RETRY)
    uncertain(portal, not_accepted)
    portal.break_(LIST, faults.status(503))
    one, other = Submission.objects.order_by('pk')
    plain = command.accept

    def meanwhile(intent, numbers):
        if intent == other:
            Submission.objects.filter(pk=one.pk).update(observation_ids=numbers)
        plain(intent, numbers)

    monkeypatch.setattr(command, 'accept', meanwhile)
    said = [f'--submitted={one.pk}=777', f'--submitted={other.pk}=778']
    with pytest.raises(CommandError, match='Nothing was noted. .* 778 is what another'):
        call_command('updatecadences', *said)
    assert states() == ['uncertain', 'uncertain']


def test_a_hook_that_cannot_be_imported_is_named(failed, portal, settings):
    failed(RETRY)
    uncertain(portal)
    settings.HOOKS = settings.HOOKS | {'observation_change_state': 'hooks.of.nobody'}
    words = f'{Submission.objects.get().pk}={max(portal.requests)}'
    with pytest.raises(CommandError, match='Could not import hooks.of.nobody'):
        call_command('updatecadences', '--submitted', words)
    assert states() == ['uncertain']


def test_where_numbers_come_again_an_older_record_is_of_something_else(add_record):
    old = add_record('GEM', observation_id='1', parameters={'a': 1})
    ObservationRecord.objects.update(created=timezone.now() - timedelta(days=1))
    trigger = add_record('GEM', observation_id='2', user=User.objects.create_user('ann'))
    Submission.objects.create(
        trigger=trigger, trigger_number='2', facility='GEM', name='', payload={},
        created=timezone.now(), state='submitted', observation_ids=['1'],
    )  # fmt: skip
    assert updatecadences()[0] == 0
    old.refresh_from_db()
    assert (old.user, old.parameters, states()) == (None, {'a': 1}, ['recorded'])
    assert (newest().observation_id, newest().user) == ('1', trigger.user)


@pytest.mark.parametrize('said', ['--submitted={pk}=777', '--not-submitted={pk}'])
def test_what_a_run_has_settled_meanwhile_is_not_noted(failed, portal, monkeypatch, said):
    failed(RETRY)
    uncertain(portal, not_accepted)
    portal.break_(LIST, faults.status(503))
    intent = Submission.objects.get()
    plain = command.open_submission

    def meanwhile(pk, states):
        found = plain(pk, states)
        Submission.objects.update(state='refused', error='the portal does not know it')
        return found

    monkeypatch.setattr(command, 'open_submission', meanwhile)
    with pytest.raises(CommandError) as error:
        call_command('updatecadences', said.format(pk=intent.pk))
    words = f'Nothing was noted. Submission {intent.pk} cannot be: it was settled meanwhile: not accepted'
    assert (error.value.returncode, str(error.value)) == (2, words)
    intent.refresh_from_db()
    assert (intent.state, intent.error) == ('refused', 'the portal does not know it')


class Gives50(Manual):
    """Is not of LCO's kind, and gives one number again and again."""

    name = 'Gives50'
    sent = []

    def get_start_end_keywords(self):
        return 'start', 'end'

    def submit_observation(self, observation_payload):
        self.sent.append(observation_payload)
        return ['50']


class AsksFor50(CadenceStrategy):
    """Submits to that class, whatever its newest observation is."""

    def run(self):
        Gives50().submit_observation({'name': f'number {len(Gives50.sent)}'})


@pytest.fixture
def cadence_of_50(settings, target, add_record):
    """Makes a cadence that goes on from an old observation of a facility; gives that."""
    path = f'{__name__}.Gives50'
    settings.TOM_FACILITY_CLASSES = [*settings.TOM_FACILITY_CLASSES, path]
    settings.TOM_CADENCE_STRATEGIES = [f'{__name__}.AsksFor50']
    Gives50.sent.clear()

    def make(facility):
        record = add_record(facility, observation_id='50', status='WINDOW_EXPIRED')
        ObservationRecord.objects.update(created=timezone.now() - timedelta(days=1))
        group = ObservationGroup.objects.create(name='group')
        group.observation_records.add(record)
        DynamicCadence.objects.create(
            observation_group=group, cadence_strategy='AsksFor50', active=True,
            cadence_parameters={},
        )  # fmt: skip
        return record

    return make


def made_again(record):
    """The same record once more, as the newest of its group."""
    record.pk = None
    record.save()
    ObservationGroup.objects.get().observation_records.add(record)


def test_what_was_submitted_to_another_facility_is_not_submitted_again(cadence_of_50):
    record = cadence_of_50('LCO')
    updatecadences()
    record.delete()
    made_again(record)
    updatecadences()
    assert (len(Gives50.sent), states()) == (1, ['recorded'])


def test_where_numbers_come_again_another_observation_has_a_submission_of_its_own(cadence_of_50):
    record = cadence_of_50('Gives50')
    updatecadences()
    made_again(record)
    updatecadences()
    assert (len(Gives50.sent), states()) == (2, ['recorded'] * 2)


def test_nor_is_one_of_another_facility_that_has_its_number_taken_for_it(cadence_of_50):
    record = cadence_of_50('Gives50')
    updatecadences()
    Submission.objects.update(facility='LCO')
    record.facility = 'LCO'
    made_again(record)
    updatecadences()
    assert len(Gives50.sent) == 2
