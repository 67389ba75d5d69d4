"""Statuses reach the records, and the hook for each change runs, whatever happens."""

import sys
import time
from contextlib import suppress

import pytest
from django.conf import settings
from django.db import connection
from django.template import Context, Template
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationRecord

import faults
import forked
from tom_auto.hooks import calls as calls_of_hooks
from tom_auto.hooks import product_hooks
from tom_auto.hooks.owed import owed as owed_products
from tom_auto.hooks.owed import suspected_records
from tom_auto.models import RecordSync, StoredFrame, UpdateRun
from tom_auto.running import recorded_run
from tom_auto.sync import check_due

from .facility_classes import Hangs
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

calls: list[tuple[str, str | None, str]] = []
broken = False


def hook(record, previous):
    """Stands for a user's observation_change_state."""
    if broken and previous is not None:
        raise RuntimeError('a mistake in the hook')
    calls.append((record.observation_id, previous, record.status))


with_an_end: list[int] = []


def exits(record, previous):
    """A hook whose pipeline ends the process for some records."""
    if record.pk in with_an_end:
        sys.exit('no stars')


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


killers: list[int] = []  # records


def kills(record, previous):
    """A status hook that ends the process for some records."""
    if record.pk in killers and previous is not None:
        raise Killed
    hook(record, previous)


def kills_for_products(products):
    """The same, for a product."""
    if products[0].observation_record_id in killers:
        raise Killed


def slow_for_products(products):
    """A hook that takes its time, and notes in a file whose process this is."""
    time.sleep(0.15)
    with settings.HEARD.open('a') as file:
        file.write(f'{products[0].pk}\n')


tried: list[int] = []  # products


def raises_for_products(products):
    """A hook that fails for every product."""
    tried.append(products[0].pk)
    raise RuntimeError('a mistake in the hook')


def sleeps(record, previous):
    """A hook that hangs for some records."""
    if record.pk in killers and previous is not None:
        time.sleep(30)


@pytest.fixture(autouse=True)
def own_hook(settings, monkeypatch):
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.hook'}
    calls.clear()
    monkeypatch.setattr(f'{__name__}.broken', False)
    killers.clear()


def owed(record):
    sync = RecordSync.objects.get(record=record)
    return sync.owes_hook, sync.status_before


def changes():
    return [call for call in calls if call[1] is not None]


def test_the_hook_runs_once_for_a_change_and_sees_dates(observed):
    record = observed()
    updatedata()
    updatedata()
    assert changes() == [(record.observation_id, 'PENDING', 'COMPLETED')]


def test_a_hook_that_raises_is_reported_and_owed_and_the_data_comes_all_the_same(
    observed, monkeypatch
):
    record = observed()
    monkeypatch.setattr(f'{__name__}.broken', True)

    status, report = updatedata()

    record.refresh_from_db()
    assert (status, record.status, report['saved']) == (1, 'COMPLETED', 2)
    assert 'observation_change_state raised RuntimeError' in report['failures'][0]['error']
    assert owed(record) == (True, 'PENDING')

    status, report = updatedata()
    assert status == 1  # and it is not forgotten

    monkeypatch.setattr(f'{__name__}.broken', False)
    status, report = updatedata('--recheck')
    assert (status, report['failed']) == (0, 0)
    assert changes() == [(record.observation_id, 'PENDING', 'COMPLETED')]
    assert owed(record) == (False, '')


def test_a_hook_that_would_end_the_process_is_a_failure_of_its_record(observed, settings):
    """Pipelines call sys.exit(): the run ended, and so did each one after it."""
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.exits'}
    bad = observed(frames=1)
    observed(frames=1)
    with_an_end.append(bad.pk)

    status, report = updatedata()

    assert (status, report['due'], report['checked'], report['failed']) == (1, 2, 1, 1)
    assert 'raised SystemExit: no stars' in report['failures'][0]['error']
    assert report['saved'] == 2


@pytest.mark.parametrize('before', ['', 'server error', 'hook failed'])
@pytest.mark.parametrize(
    ('name', 'killing'),
    [('observation_change_state', 'kills'), ('data_product_post_save', 'kills_for_products')],
)
def test_a_hook_that_ends_the_run_holds_up_nothing_else(observed, settings, name, killing, before):
    """It was called first in each run, and nobody behind its record was ever reached."""
    settings.HOOKS = settings.HOOKS | {name: f'{__name__}.{killing}'}
    killer, *others = (observed(frames=1) for _ in range(3))
    killers.append(killer.pk)
    if before:  # it has failed once, of whatever
        trouble = {'state': 'backing off', 'failures': 1, 'failing_since': timezone.now()}
        RecordSync.objects.create(record=killer, error='x', error_kind=before, **trouble)
    runs = 0
    while RecordSync.objects.filter(record__in=others, checked_at=None).exists() or not runs:
        runs += 1
        with suppress(Killed):
            updatedata()
    assert runs <= 3

    states = RecordSync.objects.filter(record__in=others)
    assert [state.checked_at is not None for state in states] == [True, True]
    assert DataProduct.objects.filter(observation_record__in=others, data__gt='').count() == 2
    state = RecordSync.objects.get(record=killer)
    assert (state.failures >= 1, state.error_kind) == (True, 'hook unfinished')

    while state.next_check < timezone.now():
        with pytest.raises(Killed):
            updatedata()
        state.refresh_from_db()
    status, report = updatedata()  # it waits now, like any other that has failed twice
    assert (status, report['checked'], report['waiting_after_failures']) == (0, 2, 1)
    assert state.failures == 2

    killers.clear()
    status, report = updatedata('--recheck')
    assert (status, report['checked']) == (0, 3)
    state.refresh_from_db()
    assert (state.failing_since, state.owes_hook, state.error) == (None, False, '')
    assert not owed_products()


def test_a_record_whose_hook_may_end_the_run_loses_nothing_by_that(observed, settings):
    """The run was killed by something else; at the next one there is no time, and then it is well."""
    record = observed(status='COMPLETED', frames=1)
    RecordSync.objects.create(record=record, owes_hook=True, status_before='PENDING')
    usual = settings.TOM_AUTO
    settings.TOM_AUTO = usual | {'DEADLINE': 0.001}
    assert updatedata()[1]['not_reached'] == 1
    settings.TOM_AUTO = usual
    sync = RecordSync.objects.get()
    assert (sync.failures, sync.failing_since, sync.error) == (0, None, '')

    status, report = updatedata()

    assert (status, report['checked'], report['saved']) == (0, 1, 1)
    assert changes() == [(record.observation_id, 'PENDING', 'COMPLETED')]


def test_hooks_that_take_longer_than_a_run_are_called_once_each(
    observed, settings, monkeypatch, tmp_path
):
    """They were struck out all together, at the end, which no run came to: it was ended before."""
    monkeypatch.setattr(recorded_run, 'HELD_UP', 1)
    monkeypatch.setattr(calls_of_hooks, 'TO_END', 0.2)
    monkeypatch.setattr(product_hooks, 'TO_CALL', 0.6)
    monkeypatch.setattr(check_due, 'LAST_SECONDS', 0.1)
    settings.TOM_AUTO |= {'DEADLINE': 1}
    settings.HOOKS = settings.HOOKS | {'data_product_post_save': f'{__name__}.slow_for_products'}
    settings.HEARD = tmp_path / 'heard'
    observed(frames=20)

    for _ in range(15):
        child = forked.updatedata(tmp_path / 'printed')
        child.join(30)
        assert child.exitcode in (0, 1)
        if not owed_products().exists():
            break

    heard = settings.HEARD.read_text().split()
    assert sorted(heard) == sorted(
        str(pk) for pk in DataProduct.objects.values_list('pk', flat=True)
    )
    assert not UpdateRun.objects.filter(status__in=['died', 'running']).exists()
    assert RecordSync.objects.get().error == ''


def test_a_suspect_has_its_turn_beside_a_class_that_hangs(observed, settings, add_record):
    """It came after all others, which in each run lasted until the deadline."""
    settings.TOM_AUTO |= {'DEADLINE': 4}
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.hook'}
    settings.TOM_FACILITY_CLASSES = [
        *settings.TOM_FACILITY_CLASSES, f'{Hangs.__module__}.Hangs'
    ]  # fmt: skip
    for _ in range(40):  # more than are in hand at a time
        add_record('Hangs', status='PENDING')
    suspect = observed(status='COMPLETED', frames=1)
    RecordSync.objects.create(record=suspect, owes_hook=True, status_before='PENDING')

    updatedata()

    assert changes() == [(suspect.observation_id, 'PENDING', 'COMPLETED')]
    assert RecordSync.objects.get(record=suspect).checked_at is not None


def test_hooks_that_have_failed_come_after_the_others_of_their_record(observed, settings):
    """Those that hang used up the time of each run, and the others were never called."""
    settings.HOOKS = settings.HOOKS | {'data_product_post_save': f'{__name__}.raises_for_products'}
    observed(frames=3)
    updatedata()
    first, *others = DataProduct.objects.order_by('pk').values_list('pk', flat=True)
    StoredFrame.objects.exclude(product=first).update(hooks_failures=0)
    tried.clear()
    updatedata('--recheck')
    assert tried == [*others, first]


def test_what_there_was_no_time_for_is_not_called_unsupported(add_record, django_user_model):
    record = add_record()
    RecordSync.objects.create(
        record=record, state='waiting', error='not reached', error_kind='out of time'
    )
    page = Template('{% load automation %}{% record_line record %}')
    said = page.render(Context({'record': record, 'user': django_user_model(is_superuser=True)}))
    assert 'Not supported' not in said


def test_no_suspect_is_who_was_given_up_at_the_deadline_or_whose_status_is_as_it_was(add_record):
    """They would be checked after all others, one at a time, at every run."""
    given_up, as_it_was, suspect = (add_record(status='COMPLETED') for _ in range(3))
    RecordSync.objects.create(
        record=given_up, owes_hook=True, status_before='PENDING', error_kind='out of time',
        failures=1, failing_since=timezone.now(), state='backing off',
    )  # fmt: skip
    RecordSync.objects.create(record=as_it_was, owes_hook=True, status_before='COMPLETED')
    RecordSync.objects.create(record=suspect, owes_hook=True, status_before='PENDING')
    assert suspected_records(by_workers=False) == {suspect.pk}


def test_a_hook_that_hangs_is_a_failure_of_its_record(observed, settings):
    settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.sleeps'}
    settings.TOM_AUTO |= {'HOOK_SECONDS': 0.3}
    slow = observed(frames=1)
    observed(frames=1)
    killers.append(slow.pk)

    status, report = updatedata()

    assert (status, report['due'], report['checked'], report['failed']) == (1, 2, 1, 1)
    assert 'it took longer than 0.3 s, HOOK_SECONDS' in report['failures'][0]['error']
    assert report['saved'] == 2


def test_a_hook_that_a_killed_run_owes_is_paid(observed):
    """Killed after the status was committed and before the hook had run."""
    record = observed(status='COMPLETED')
    RecordSync.objects.create(record=record, owes_hook=True, status_before='PENDING')
    updatedata()
    assert changes() == [(record.observation_id, 'PENDING', 'COMPLETED')]


def test_a_change_that_a_killed_run_never_made_is_not_announced(sky, add_record):
    record = add_record()
    sky.add_request(int(record.observation_id))
    RecordSync.objects.create(record=record, owes_hook=True, status_before='PENDING')
    updatedata()
    assert changes() == []
    assert owed(record) == (False, '')


def test_nothing_is_written_where_nothing_changed(sky, add_record):
    record = add_record()
    sky.add_request(int(record.observation_id))
    updatedata()
    modified = ObservationRecord.objects.get().modified
    updatedata()
    assert ObservationRecord.objects.get().modified == modified


def test_what_someone_edits_meanwhile_is_kept(sky, observed, monkeypatch):
    """A save of all fields would write the old parameters back."""
    record = observed()
    ask = LCOFacility.get_observation_status

    def edited_meanwhile(self, observation_id):
        ObservationRecord.objects.filter(pk=record.pk).update(parameters={'edited': True})
        connection.close()  # that of this thread
        return ask(self, observation_id)

    monkeypatch.setattr(LCOFacility, 'get_observation_status', edited_meanwhile)
    updatedata()

    record.refresh_from_db()
    assert (record.status, record.parameters) == ('COMPLETED', {'edited': True})


def test_a_record_deleted_meanwhile_is_no_failure(sky, observed, monkeypatch):
    record = observed()
    ask = LCOFacility.get_observation_status

    def deleted_meanwhile(self, observation_id):
        answer = ask(self, observation_id)
        ObservationRecord.objects.filter(pk=record.pk).delete()
        connection.close()  # that of this thread
        return answer

    monkeypatch.setattr(LCOFacility, 'get_observation_status', deleted_meanwhile)
    status, report = updatedata()
    assert (status, report['failed']) == (0, 0)


@pytest.mark.parametrize(
    ('state', 'written'),
    [('COMPLETED', 'COMPLETED'), ('WINDOW_EXPIRED', 'WINDOW_EXPIRED'), ('CANCELED', 'CANCELED')],
)
def test_terminal_states_are_written(sky, add_record, state, written):
    record = add_record()
    sky.add_request(int(record.observation_id), state=state)
    updatedata()
    record.refresh_from_db()
    assert record.status == written


@pytest.mark.parametrize('state', [None, '', ' ', 7, [], {}, 'x' * 201, 'COMP\nLETED', '\x00'])
def test_no_junk_status_is_written(sky, add_record, state):
    record = add_record()
    sky.add_request(int(record.observation_id))
    sky.break_(
        f'/api/requests/{record.observation_id}/$',
        faults.edit(lambda answer: answer.update(state=state)),
    )
    updatedata()
    record.refresh_from_db()
    assert record.status == 'PENDING'
