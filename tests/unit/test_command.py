"""The command line of updatedata: flags, what is printed, exit statuses."""

import json
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationRecord
from tom_targets.models import Target, TargetName

from tom_auto.models import RecordSync, UpdateRun

from .facility_classes import Accounts
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments):
    """What the command prints, with its exit status."""
    output = StringIO()
    try:
        call_command('updatedata', *arguments, stdout=output)
    except SystemExit as end:
        return end.code, output.getvalue()
    return 0, output.getvalue()


def test_nothing_due(db):
    status, printed = run()
    assert status == 0
    assert printed.endswith('Success! Nothing was due.\n')
    assert printed.count('\n') == 1


def test_the_summary_is_one_line_that_names_what_failed(observed, add_record):
    observed()
    lost = add_record()

    status, printed = run()

    assert status == 1
    assert printed.count('\n') == 1
    assert '2 due, 1 checked, 1 changed; 2 frames found, 2 saved' in printed
    assert f'LCO {lost.observation_id}: LCO does not know it' in printed


def test_json_is_one_object_with_the_documented_keys(observed, add_record):
    observed()
    lost = add_record()

    status, report = updatedata()

    assert status == 1
    assert set(report) >= {
        'run', 'status', 'due', 'checked', 'changed', 'found', 'saved', 'repaired', 'failed',
        'unsupported', 'seconds', 'failures',
    }  # fmt: skip
    assert report['run'] == UpdateRun.objects.get().pk
    [failure] = report['failures']
    assert failure['record'] == lost.pk
    assert failure['observation_id'] == lost.observation_id
    assert set(failure) == {'record', 'observation_id', 'facility', 'error', 'kind'}


def test_what_a_facility_prints_does_not_break_the_json(observed, monkeypatch, capsys):
    observed()
    ask = LCOFacility.get_observation_status

    def talkative(self, observation_id):
        print('user: me, password: secret')  # noqa: T201
        return ask(self, observation_id)

    monkeypatch.setattr(LCOFacility, 'get_observation_status', talkative)
    call_command('updatedata', '--json')
    printed = capsys.readouterr()
    assert json.loads(printed.out)['saved'] == 2


def test_only_one_target(observed):
    record = observed()
    other = Target.objects.create(name='NGC 253', type='SIDEREAL', ra=11, dec=-25)
    TargetName.objects.create(target=other, name='Sculptor Galaxy')
    elsewhere = observed(target=other)

    _, report = updatedata('--target_id', str(record.target_id))
    assert (report['due'], report['saved']) == (1, 2)

    for name in ('ngc 253', 'Sculptor Galaxy'):
        _, report = updatedata('--target', name)
        assert report['due'] == 1
        elsewhere.refresh_from_db()
        assert elsewhere.status == 'COMPLETED'

    _, report = updatedata('--target_id', str(record.target_id), '--target', 'NGC 253')
    assert report['due'] == 2


def test_only_one_facility(observed):
    observed('LCO')
    observed('SOAR')
    _, report = updatedata('--facility', 'SOAR')
    assert (report['due'], report['saved']) == (1, 2)


def test_recheck_asks_about_settled_records(observed):
    record = observed()
    updatedata()
    RecordSync.objects.filter(record=record).update(state='settled')
    assert updatedata()[1]['due'] == 0
    assert updatedata('--recheck')[1]['due'] == 1


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--target_id', '4242'], 'There is no target 4242'),
        (['--target', 'Nowhere'], "No target is called 'Nowhere'"),
        (['--facility', 'Nobody'], "There is no facility 'Nobody'"),
        (['--username', 'nobody'], "There is no user 'nobody'"),
        (['--workers', '0'], 'above zero'),
        (['--deadline', 'soon'], 'above zero'),
        (['--target_id', 'M31'], 'invalid int value'),
        (['--no-such-flag'], 'unrecognized arguments'),
    ],
)
def test_wrong_usage_is_a_sentence_and_2(db, arguments, sentence):
    with pytest.raises(CommandError, match=sentence) as raised:
        call_command('updatedata', *arguments)
    assert raised.value.returncode in (1, 2)  # argparse's own errors are 2 from a shell only
    assert UpdateRun.objects.count() == 0


def test_an_unknown_target_exits_2(db):
    with pytest.raises(CommandError) as raised:
        call_command('updatedata', '--target_id', '4242')
    assert raised.value.returncode == 2


def test_a_mistake_in_the_settings_exits_2(db, settings):
    settings.TOM_AUTO = {'WORKER': 4}
    with pytest.raises(CommandError, match="no option 'WORKER'") as raised:
        call_command('updatedata')
    assert raised.value.returncode == 2


def test_a_dry_run_asks_nobody_and_writes_nothing(sky, observed):
    record = observed()
    status, printed = run('--dry-run')
    assert (status, printed.splitlines()[0]) == (0, f'LCO {record.observation_id} (PENDING)')
    assert '1 records are due' in printed
    assert sky.requests_seen == []
    assert RecordSync.objects.count() == UpdateRun.objects.count() == 0
    record.refresh_from_db()
    assert record.status == 'PENDING'


def test_a_dry_run_of_a_record_that_has_no_status_yet(observed):
    record = observed()
    ObservationRecord.objects.update(status='')
    assert run('--dry-run')[1].splitlines()[0] == f'LCO {record.observation_id}'


def test_the_records_own_user_is_asked_for_unless_another_is_named(add_record, settings):
    settings.TOM_FACILITY_CLASSES = [f'{Accounts.__module__}.Accounts']
    owner, chief = User.objects.create(username='owner'), User.objects.create(username='chief')
    records = add_record('Accounts', user=owner), add_record('Accounts')

    def statuses():
        return [ObservationRecord.objects.get(pk=record.pk).status for record in records]

    updatedata()
    assert statuses() == ['owner', 'None']
    updatedata('--recheck', '--username', chief.username)
    assert statuses() == ['chief', 'chief']


def test_without_tables_it_says_what_to_do(request):
    def rename(old, new):
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE {old} RENAME TO {new}')

    rename('tom_auto_updaterun', 'away')
    request.addfinalizer(lambda: rename('away', 'tom_auto_updaterun'))
    with pytest.raises(CommandError, match='manage.py migrate'):
        call_command('updatedata')
