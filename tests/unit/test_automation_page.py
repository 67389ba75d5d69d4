"""The pages of the automation: what they say, to whom, and what it costs."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from guardian.shortcuts import assign_perm
from rest_framework.authtoken.models import Token
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from tom_auto.health import healths
from tom_auto.jobs import lines_to_install
from tom_auto.models import JobPause, RecordSync, RunFailure, UpdateRun

from .page import failing, ran, stored, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly')]

PAGES = ('/automation/', '/automation/facilities/', '/automation/weeks/', '/automation/runs/', '/automation/runs/{run}/',
         '/automation/progress/', '/automation/status.json', '/automation/metrics', '/',
         '/observations/{record}/', '/targets/{target}/')  # fmt: skip
# --- Is it working? ------------------------------------------------------------------------


def test_it_never_ran(client):
    page = text(client)
    assert 'updatedata has never been run by the schedule' in page
    assert 'python manage.py schedule install' in page


def test_it_shows_the_lines_to_those_who_can_install_them(client, staff):
    lines = [' '.join(escape(line).split()) for line in lines_to_install()]
    assert lines
    page = text(client)
    assert all(line in page for line in lines)
    client.logout()
    assert not any(line in text(client) for line in lines)


def test_a_run_by_hand_is_not_the_schedules(client):
    ran(started_by='me')
    assert 'has never been run by the schedule' in text(client)


def test_it_works(client):
    ran(timedelta(hours=3))
    ran()
    page = text(client)
    assert 'updatedata has been working' in page
    assert 'for <time' in page
    assert '>3 hours<' in page.replace('\xa0', ' ')


def test_it_is_overdue(client):
    ran(timedelta(hours=5))
    page = text(client)
    assert 'updatedata is overdue</strong> by ' in page
    assert 'doctor' in page


def test_it_fails_since_the_first_failure_and_says_why(client, add_record, settings):
    settings.TARGET_DEFAULT_PERMISSION = 'OPEN'
    record = add_record()
    Target.objects.update(permissions='OPEN')
    ran(timedelta(hours=3))
    failing(record, failing_since=timezone.now() - timedelta(hours=2))
    run = ran(status='failed', failed=1)
    RunFailure.objects.create(run=run, facility='LCO', error='LCO refuses its credentials')
    page = text(client).replace('\xa0', ' ')
    assert 'updatedata has been failing' in page
    assert '2 hours' in page
    assert 'LCO could not be checked; 1 observation could not be checked' in page
    assert record.observation_id in page
    assert 'LCO answered 500' in page


def test_what_is_no_facility_is_named_by_its_reason(client, add_record):
    """The storage is away: "because  could not be checked"."""
    failing(add_record())
    run = ran(status='failed', failed=1)
    RunFailure.objects.create(run=run, facility='', error='the storage is not the one it was')
    [health] = healths()
    assert health.reasons == (
        'the storage is not the one it was', '1 observation could not be checked',
    )  # fmt: skip
    assert health.troubles == ('the storage is not the one it was', 'observations of LCO')
    assert 'the TOM itself has a problem' in text(client)
    assert 'the storage is not' not in text(client)


def test_runs_of_several_jobs_say_whose_they_are(client):
    """One job is scheduled, and `demo` has run others: which run was which could not be seen."""
    ran()
    assert 'Job' not in text(client)
    ran(job='updatetargets', command='updatetargets', started_by='ann')
    page = text(client)
    assert 'Job' in page
    assert 'updatetargets' in page
    filtered = text(client, '/automation/runs/?job=updatetargets')
    assert '<option value="updatetargets" selected>' in filtered
    assert '<option value="updatedata">' in filtered


def test_a_command_of_the_toms_own_has_no_counts_and_is_itself_what_failed(admin_client):
    """It said "What failed: Nothing", and set_aside 0, not_reached 0."""
    own = ran(job='pipeline', command='pipeline', status='failed', exit_status=1, output='Oh no')
    page = text(admin_client, f'/automation/runs/{own.pk}/')
    assert 'What failed</h2> <p>The command itself: see the end of what it printed.</p>' in page
    assert 'not reached' not in page
    assert '<dt>' not in page
    run = ran(status='failed', due=3, checked=1, failed=1, set_aside=1)
    page = text(admin_client, f'/automation/runs/{run.pk}/')
    assert re.findall('<dt>(.*?)</dt><dd>(.*?)</dd>', page) == [
        ('due', '3'), ('checked', '1'), ('failures', '1'), ('set aside', '1'),
    ]  # fmt: skip


def test_an_observation_whose_hook_failed_was_checked(add_record):
    ran(status='failed', failed=3)
    failing(add_record())
    for kind in ('hook failed', 'hook unfinished'):
        failing(add_record(), error_kind=kind)
    assert healths()[0].reasons == (
        '1 observation could not be checked', 'the hooks of 2 observations failed',
    )  # fmt: skip
    RecordSync.objects.exclude(error_kind='hook failed').delete()
    assert healths()[0].reason == 'the hooks of 1 observation failed'
    assert healths()[0].failing == 1


def test_each_facility_is_there_with_its_trouble(client, add_record):
    failing(add_record('SOAR'))
    Target.objects.update(permissions='OPEN')
    RunFailure.objects.create(run=ran(status='failed'), facility='SOAR', error='secret')
    told = text(client, '/automation/facilities/')
    assert '<th scope="row">SOAR</th>' in told
    assert 'could not be checked' in told
    assert '1 failing' in told
    assert 'secret' not in told


def test_after_the_retry_of_what_failed_it_works_again(client, add_record):
    ran(status='failed', failed=1)
    assert 'updatedata has been working' in text(client)


def test_it_is_paused(client, login):
    ran()
    JobPause.objects.create(job='updatedata', by='bob', since=timezone.now())
    assert 'somebody paused it' in text(client)
    login('ann')
    assert 'bob paused it' in text(client)


def test_where_a_container_keeps_the_schedule_there_is_nothing_to_install(client, hourly):
    hourly.write_text('environment = "docker"\nid = "7f3a09c2"\n[updatedata]\nwhen = "hourly"\n')
    page = text(client)
    assert 'This TOM runs in containers' in page
    assert 'schedule install' not in page


def test_what_failed_comes_with_what_to_do(client, add_record):
    failing(add_record(), 'LCO does not know it (404)', error_kind='not found', failures=7)
    Target.objects.update(permissions='OPEN')
    page = text(client)
    assert 'Look it up at the observatory' in page
    assert '7 times' in page  # beside the column, which a phone has no room for


# --- Filters and paging --------------------------------------------------------------------


@pytest.fixture
def many(add_record):
    """Sixty records in trouble, half of them of SOAR, all of them in the last run as well."""
    run = ran(status='failed', failed=60)
    for number in range(60):
        record = add_record('SOAR' if number % 2 else 'LCO')
        failing(record, f'trouble {number}', failing_since=timezone.now() - timedelta(hours=number))
        RunFailure.objects.create(
            run=run, record=record, facility=record.facility, error=f'trouble {number}',
            observation_id=record.observation_id,
        )  # fmt: skip
    Target.objects.update(permissions='OPEN')
    return run


def rows(client, page):
    return re.findall(r'trouble \d+', text(client, page))


def test_the_problems_have_pages_and_an_order(client, many):
    assert rows(client, '/automation/') == [f'trouble {number}' for number in range(59, 34, -1)]
    assert len(rows(client, '/automation/?page=3')) == 10
    assert len(rows(client, '/automation/?page=99')) == 10  # the last
    assert rows(client, '/automation/?sort=-failing_since')[0] == 'trouble 0'


def test_the_problems_can_be_narrowed_down(client, many):
    soar = rows(client, '/automation/?facility=SOAR&page=2')
    assert soar == [f'trouble {number}' for number in range(9, 0, -2)]
    number = RecordSync.objects.get(error='trouble 7').record.observation_id
    assert rows(client, f'/automation/?query={number}') == ['trouble 7']
    assert len(rows(client, '/automation/?query=m+31')) == 25
    assert rows(client, '/automation/?query=nothing') == []


def test_a_piece_of_the_table_comes_alone(client, many):
    piece = client.get('/automation/?page=2', headers={'HX-Request': 'true'}).content.decode()
    assert 'trouble 34' in piece
    assert '<html' not in piece


def test_what_failed_in_a_run_has_pages_and_links(client, many):
    run = f'/automation/runs/{many.pk}/'
    assert rows(client, run) == [f'trouble {number}' for number in range(25)]
    assert len(rows(client, f'{run}?page=3')) == 10
    page = text(client, run)
    target = Target.objects.get()
    assert f'href="/targets/{target.pk}/"' in page
    assert f'href="/observations/{many.failures.first().record_id}/"' in page


def test_the_runs_can_be_narrowed_down(client, login):
    login('chief', is_superuser=True)
    for number in range(30):
        ran(timedelta(hours=number), status='died' if number % 3 else 'ok')
    page = text(client, '/automation/runs/?status=died')
    assert page.count('class="outcome outcome-died"') == 20
    assert 'outcome-ok' not in page
    assert text(client, '/automation/runs/?page=2').count('class="outcome ') == 5
    assert 'outcome-ok' in text(client, '/automation/runs/?job=updatedata')


def test_a_schedule_that_cannot_be_read_is_said(client, hourly):
    hourly.write_text('[updatedata')
    assert 'schedule.toml cannot be used' in text(client)


# --- Who sees what -------------------------------------------------------------------------


def pages(record):
    run = UpdateRun.objects.first()
    return [page.format(record=record.pk, run=run.pk, target=record.target_id) for page in PAGES]


@pytest.mark.parametrize('strategy', ['READ_ONLY', 'LOCKED'])
@pytest.mark.parametrize('per_target', [True, False])
@pytest.mark.parametrize('who', ['visitor', 'user', 'staff'])
def test_nobody_learns_of_a_target_that_is_hidden(
    who, per_target, strategy, client, login, settings, hidden
):
    settings.AUTH_STRATEGY, settings.TARGET_PERMISSIONS_ONLY = strategy, per_target
    if who != 'visitor':
        login('ann', *(['run_automation'] if who == 'staff' else []), is_staff=who == 'staff')
    for page in pages(hidden):
        answer = client.get(page, follow=True)
        for secret in (b'Secret Star', b'8675309', b'4711'):
            assert secret not in answer.content, page


def test_nor_from_a_piece_a_filter_or_a_run_at_work(client, login, hidden, hourly):
    log = hourly.parent / 'logs' / 'tom.log'
    log.write_text(f'[{timezone.localtime():%Y-%m-%d %H:%M:%S}] Secret Star 8675309\n')
    run = ran(timedelta(0), status='running', finished=None, due=4711)
    RecordSync.objects.update(asked_at=timezone.now())
    login('ann')
    for page in (
        '/automation/?query=Secret',
        '/automation/?query=8675309',
        '/automation/?facility=LCO',
        '/automation/?sort=record',
        '/automation/runs/?status=failed',
        f'/automation/runs/{run.pk}/',
        f'/automation/runs/{UpdateRun.objects.get(due=4711, status="failed").pk}/?sort=error',
        f'/automation/progress/?after={run.pk - 1}',
    ):
        for headers in ({}, {'HX-Request': 'true'}):
            told = client.get(page, headers=headers).content.decode()
            told = told.replace('value="Secret"', '').replace('value="8675309"', '')
            told = re.sub(r'[?&](amp;)?query=\w+', '', told)  # what the visitor typed
            for secret in ('Secret', '8675309', '4711', '1 failing', '1 observation '):
                assert secret not in told, (page, secret)


def test_nobody_learns_where_a_hidden_target_was_observed(client, login, hidden):
    RunFailure.objects.update(facility='SOAR')
    for page in ('/automation/', '/automation/status.json', '/automation/metrics', '/'):
        assert 'SOAR' not in text(client, page)
    assert 'an observatory could not be checked' in text(client)


def test_the_filter_finds_no_hidden_target(client, login, settings, hidden):
    settings.TARGET_PERMISSIONS_ONLY = False
    ann = login('ann')
    assign_perm('tom_observations.view_observationrecord', ann, hidden)
    assert '8675309' in text(client, '/automation/')
    assert 'Secret Star</a>' not in text(client, '/automation/')
    assert 'observations/' + str(hidden.pk) not in text(client, '/automation/?query=secret')


def test_who_may_see_the_target_sees_what_is_wrong_with_it(client, login, hidden):
    ann = login('ann')
    group = Group.objects.create(name='us')
    ann.groups.add(group)
    assert 'updatedata has been failing' in text(
        client
    )  # LCO could not be checked: that is no target
    for action in ('view_target', 'change_target', 'delete_target'):
        assign_perm(f'tom_targets.{action}', group, hidden.target)
    page = text(client)
    assert '8675309' in page
    assert 'Secret Star' in page
    assert 'download of' not in page


def test_a_superuser_sees_everything(admin_client, hidden):
    latest, limited = UpdateRun.objects.all()
    page = text(admin_client, f'/automation/runs/{latest.pk}/')
    for words in ('8675309', 'gave up: download of Secret Star', '4711'):
        assert words in page
    assert 'Limited to target' in text(admin_client, f'/automation/runs/{limited.pk}/')


def test_no_line_of_the_log_breaks_the_page_of_a_run(admin_client, hourly):
    run, now = ran(timedelta(0)), f'{timezone.localtime():%Y-%m-%d %H:%M:%S}'
    log = hourly.parent / 'logs' / 'tom.log'
    log.write_text(f'[{now}] begun\n[2026-99-99 10:00:00] forged\n[{now}] end\n')
    page = text(admin_client, f'/automation/runs/{run.pk}/')
    assert 'begun' in page
    assert 'end' in page


@pytest.mark.parametrize(
    ('page_for', 'visitor', 'user', 'staff'),
    [('everyone', 200, 200, 200), ('users', 302, 200, 200), ('staff', 302, 302, 200)],
)
def test_page_for(page_for, visitor, user, staff, client, login, automation):
    automation['PAGE_FOR'] = page_for
    ran()
    assert client.get('/automation/').status_code == visitor
    assert ('href="/automation/"' in text(client, '/')) == (visitor == 200)
    assert client.get('/automation/status.json').status_code == (visitor if visitor == 200 else 401)
    login('ann')
    assert client.get('/automation/').status_code == user
    login('bob', is_staff=True)
    assert client.get('/automation/').status_code == staff


def test_where_nothing_is_open_nor_is_the_state(client, settings, login):
    settings.AUTH_STRATEGY = 'LOCKED'
    ran()
    assert client.get('/automation/').status_code == 302
    assert client.get('/automation/status.json').status_code == 401
    token = Token.objects.get_or_create(user=User.objects.create_user('robot'))[0].key
    told = client.get('/automation/status.json', headers={'Authorization': f'Token {token}'})
    assert told.json()['working'] is True


# --- What it says to machines --------------------------------------------------------------


def test_the_state_as_json(client, add_record):
    record = add_record('SOAR')
    failing(record)
    Target.objects.update(permissions='OPEN')
    run = ran(status='failed', failed=1)
    RunFailure.objects.create(run=run, record=record, facility='SOAR', observation_id='1')
    told = client.get('/automation/status.json').json()
    assert told['working'] is False
    [job] = told['jobs']
    assert (job['job'], job['state'], job['failing']) == ('updatedata', 'failing', 1)
    assert job['reason'] == '1 observation could not be checked'
    assert job['last']['status'] == 'failed'
    assert 'failed' not in job['last']  # of all records: that is for superusers
    assert [facility['name'] for facility in told['facilities']] == ['SOAR']


def test_the_state_as_text_for_prometheus(client, add_record):
    failing(add_record('SOAR'))
    Target.objects.update(permissions='OPEN')
    ran(timedelta(hours=5))
    lines = client.get('/automation/metrics').content.decode().splitlines()
    assert 'tom_job_trouble{job="updatedata"} 1' in lines
    assert 'tom_job_failing_records{job="updatedata"} 1' in lines
    assert '# TYPE tom_job_trouble gauge' in lines
    assert any(line.startswith('tom_facility_checked_seconds{facility="SOAR"} ') for line in lines)
    [began] = [line.split()[1] for line in lines if line.startswith('tom_job_last_run_seconds{')]
    assert abs(float(began) - (timezone.now() - timedelta(hours=5)).timestamp()) < 60


def test_a_facility_of_any_name_breaks_no_line_of_it(client, add_record):
    failing(add_record('the "big"\\one\nin Chile'))
    Target.objects.update(permissions='OPEN')
    lines = client.get('/automation/metrics').content.decode().splitlines()
    [line] = [line for line in lines if line.startswith('tom_facility_checked_seconds{')]
    assert line.startswith(r'tom_facility_checked_seconds{facility="the \"big\"\\one\nin Chile"} ')


# --- What it costs -------------------------------------------------------------------------


def fill(count, target):
    """So many of everything that the pages show."""
    records = ObservationRecord.objects.bulk_create(
        ObservationRecord(
            target_id=target.pk, facility='LCO', parameters={}, observation_id=str(n), status='P'
        )
        for n in range(count)
    )
    for record in ObservationRecord.objects.filter(sync=None):
        failing(record)
    for n in range(count):
        run = ran(timedelta(hours=n + 1), status='failed')
        RunFailure.objects.create(run=run, record_id=records[0].pk, facility='LCO', error='x')
        stored(records[0], f'{run.pk}-{n}')


@pytest.mark.parametrize('who', ['visitor', 'user', 'superuser'])
@pytest.mark.parametrize(
    'page',
    [
        '', '?query=1', 'facilities/', 'weeks/', 'runs/', 'runs/{run}/', 'progress/', 'status.json',
        'metrics',
    ],
)  # fmt: skip
def test_the_queries_do_not_grow_with_the_rows(
    page, who, client, login, target, django_assert_num_queries
):
    Target.objects.update(permissions='OPEN')
    if who != 'visitor':
        login(who, is_superuser=who == 'superuser')
    fill(2, target)
    page = '/automation/' + page.format(run=UpdateRun.objects.last().pk)
    client.get(page)
    with CaptureQueriesContext(connection) as few:
        client.get(page)
    fill(20, target)
    with django_assert_num_queries(len(few)):
        client.get(page)


@pytest.mark.parametrize('tag', ['home_line', 'record_line record', 'target_line target'])
def test_nor_do_those_of_the_lines_on_other_pages(tag, login, target, django_assert_num_queries):
    Target.objects.update(permissions='OPEN')
    fill(2, target)
    user = User.objects.get(pk=login('ann').pk)
    page = Template(f'{{% load automation %}}{{% {tag} %}}')

    def show():
        record = ObservationRecord.objects.first()
        return page.render(Context({'user': user, 'record': record, 'target': target}))

    assert 'automation-line' in show()  # what a user may do is asked once, and kept
    with CaptureQueriesContext(connection) as few:
        show()
    fill(20, target)
    with django_assert_num_queries(len(few)):
        show()


def next_check(user: User, tag: str, **context: object) -> str:
    """The time that the line says for it."""
    page = Template(f'{{% load automation %}}{{% {tag} %}}')
    [moment] = re.findall(
        'next check <time datetime="([^"]*)"', page.render(Context({'user': user} | context))
    )
    return moment


@pytest.mark.parametrize('another', ['settled', 'new', None])
def test_a_target_is_checked_next_when_the_first_of_its_observations_is(login, add_record, another):
    """One that is settled is not checked any more, and one that is new is due at the next run."""
    now, waits = timezone.now(), add_record()
    failing(waits, next_check=now + timedelta(days=1))
    first = add_record() if another == 'new' else waits
    if another == 'settled':
        past = now - timedelta(days=9)
        RecordSync.objects.create(record=add_record(), state='settled', next_check=past)
    boss = login('boss', is_superuser=True)
    said = next_check(boss, 'target_line target', target=first.target)
    assert said == next_check(boss, 'record_line record', record=first)
    is_soon = timezone.datetime.fromisoformat(said) < now + timedelta(hours=2)
    assert is_soon == (another == 'new')
