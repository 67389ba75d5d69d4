"""What people are told of `updatetargets`: page, mail, check."""

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from tom_auto.checks import check_new_targets
from tom_auto.conf import mistakes
from tom_auto.health import FAILING, healths
from tom_auto.models import UpdateRun

from .brokers import TNS, save_query, tns, updatetargets
from .page import text
from .receiving import mail_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scheduled(hourly):
    hourly.write_text(f'{hourly.read_text()}[updatetargets]\nwhen = "daily"\n')


def its_health():
    return next(health for health in healths() if health.job == 'updatetargets')


def test_a_failed_query_is_a_reason_and_in_a_mail(scheduled, broker, settings):
    broker.hosts[TNS] = lambda path, body: (500, {})
    save_query('TNS', 'my supernovae')
    with mail_server(settings) as mails:
        updatetargets()
        assert its_health().state == FAILING
        assert its_health().reason == '1 query or target failed'
        assert mails.subjects() == ['[Test TOM] updatetargets is failing']
        assert '- TNS my supernovae: TNS answered 500' in mails.text()

        broker.hosts[TNS] = tns('2026ab')
        updatetargets()
        assert mails.subjects()[1:] == ['[Test TOM] updatetargets is working again']


def test_a_service_in_trouble_is_the_reason(scheduled, broker):
    broker.hosts[TNS] = lambda path, body: (401, {})
    save_query('TNS')
    updatetargets()
    assert its_health().reason == 'TNS could not be checked'


def test_the_page_shows_the_job_and_its_runs(client, staff, scheduled, broker):
    save_query('TNS')
    updatetargets()
    page = text(client)
    assert 'updatetargets' in page and 'Run updatetargets now' in page
    assert text(client, f'/automation/runs/{UpdateRun.objects.get().pk}/')


def test_the_page_and_check_say_that_nobody_would_see_new_targets(
    client, staff, scheduled, automation
):
    assert 'Only superusers see the new targets' in text(client)
    assert [one.id for one in check_new_targets()] == ['tom_auto.W005']
    automation['NEW_TARGETS'] = {'groups': ['SN']}
    assert 'names SN, but there is no such group' in check_new_targets()[0].msg
    Group.objects.create(name='SN')
    assert check_new_targets() == []
    assert 'Only superusers' not in text(client)


def test_check_says_nothing_where_it_is_not_scheduled(hourly):
    assert check_new_targets() == []


@pytest.mark.parametrize(
    'wrong',
    ['SN', {'groups': 'SN'}, {'groups': [1]}, {'permission': 'open'}, {'group': ['SN']}],
)
def test_a_wrong_setting_is_a_mistake(wrong):
    [(message, hint)] = mistakes({'NEW_TARGETS': wrong})
    assert 'NEW_TARGETS' in message and 'permission' in hint


def test_a_wrong_setting_is_bad_usage(broker, automation):
    automation['NEW_TARGETS'] = {'permission': 'open'}
    with pytest.raises(CommandError) as error:
        updatetargets()
    assert error.value.returncode == 2


def test_the_schedule_and_a_person_share_one_history(hourly, broker):
    """The job is named otherwise than its command, and limits it: there is one row a run all the same."""
    hourly.write_text(
        f'{hourly.read_text()}[candidates]\nwhen = "daily"\ncommand = ["updatetargets"]\n'
        '[tns]\nwhen = "daily"\ncommand = ["updatetargets", "--service", "TNS"]\n'
    )
    for job in ('candidates', 'tns'):
        call_command('schedule', 'run', job)
    updatetargets()
    runs = UpdateRun.objects.order_by('pk').values_list('job', 'command', 'exit_status')
    assert list(runs) == [
        ('candidates', 'updatetargets', 0), ('tns', 'updatetargets', 0),
        ('candidates', 'updatetargets', None),
    ]  # fmt: skip
