"""The pages of the automation: what they say, to whom, and what it costs."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from guardian.shortcuts import assign_perm
from rest_framework.authtoken.models import Token
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from app import actions
from app.jobs import lines_to_install
from app.models import JobPause, RecordSync, RunFailure, StoredFrame, UpdateRun

from .running import updatedata

pytestmark = pytest.mark.django_db

PAGES = ('/automation/', '/automation/facilities/', '/automation/weeks/', '/automation/runs/', '/automation/runs/{run}/',
         '/automation/progress/', '/automation/status.json', '/automation/metrics', '/',
         '/observations/{record}/', '/targets/{target}/')  # fmt: skip
ACTIONS = (
    'updatedata/run/',
    'updatedata/pause/',
    'updatedata/resume/',
    'retry/',
    'retry/{record}/',
)


@pytest.fixture(autouse=True)
def schedule(tmp_path):
    file = tmp_path / 'schedule.toml'
    file.write_text('environment = "virtualenv"\n[updatedata]\nwhen = "hourly"\n')
    return file


@pytest.fixture
def target(db):
    """As that of conftest.py, but in a transaction: emptying every table takes its time."""
    return Target.objects.create(name='M 31', type='SIDEREAL', ra=10.6847, dec=41.269)


@pytest.fixture
def started(monkeypatch):
    """The runs that somebody has asked for; none is started."""
    asked = []
    monkeypatch.setattr(
        actions, 'start_run', lambda user, *words: asked.append((str(user), *words))
    )
    monkeypatch.setattr('app.middleware.start_run', actions.start_run)
    return asked


@pytest.fixture
def login(client):
    """Logs in as somebody new, with these permissions of this app."""

    def log_in(name='ann', *permissions, **fields):
        user = User.objects.create_user(name, password='x', **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return user

    return log_in


@pytest.fixture
def staff(login):
    return login('staff', 'run_automation', is_staff=True)


def ran(ago=timedelta(minutes=1), **fields):
    begun = timezone.now() - ago
    values = {'status': 'ok', 'host': 'h', 'pid': 1, 'heartbeat': begun, 'finished': begun} | fields
    return UpdateRun.objects.create(job='updatedata', started=begun, **values)


def failing(record, error='LCO answered 500', **fields):
    now = timezone.now()
    values = {'failures': 1, 'failing_since': now, 'next_check': now, 'error': error} | fields
    return RecordSync.objects.create(record=record, status='PENDING', asked_at=now, **values)


def text(client, page='/automation/'):
    answer = client.get(page)
    assert answer.status_code == 200, answer
    return ' '.join(answer.content.decode().split())


# --- Is it working? ------------------------------------------------------------------------


def test_it_never_ran(client):
    page = text(client)
    assert 'updatedata has never run by itself' in page
    assert 'python manage.py schedule install' in page


def test_it_shows_the_lines_to_those_who_can_install_them(client, staff):
    lines = [' '.join(escape(line).split()) for line in lines_to_install()]
    page = text(client)
    assert all(line in page for line in lines)  # none where containers keep the schedule
    client.logout()
    assert not any(line in text(client) for line in lines)


def test_a_run_by_hand_is_not_the_schedules(client):
    ran(started_by='me')
    assert 'has never run by itself' in text(client)


def test_it_works(client):
    ran(timedelta(hours=3))
    ran()
    page = text(client)
    assert 'updatedata is working' in page
    assert 'since <time' in page
    assert '3 hours ago' in page.replace('\xa0', ' ')


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
    RunFailure.objects.create(run=run, facility='SOAR', error='SOAR refuses its credentials')
    page = text(client).replace('\xa0', ' ')
    assert 'updatedata is failing' in page
    assert '2 hours ago' in page
    assert 'SOAR could not be asked; 1 observation could not be checked' in page
    assert record.observation_id in page
    assert 'LCO answered 500' in page


def test_each_facility_is_there_with_its_trouble(client, add_record):
    failing(add_record('SOAR'))
    Target.objects.update(permissions='OPEN')
    RunFailure.objects.create(run=ran(status='failed'), facility='SOAR', error='secret')
    told = text(client, '/automation/facilities/')
    assert '<th scope="row">SOAR</th>' in told
    assert 'could not be asked' in told
    assert '1 failing' in told
    assert 'secret' not in told


def test_after_the_retry_of_what_failed_it_works_again(client, add_record):
    ran(status='failed', failed=1)
    assert 'updatedata is working' in text(client)


def test_it_is_paused(client):
    ran()
    JobPause.objects.create(job='updatedata', by='bob', since=timezone.now())
    assert 'updatedata is paused' in text(client)


def test_a_schedule_that_cannot_be_read_is_said(client, schedule):
    schedule.write_text('[updatedata')
    assert 'schedule.toml cannot be used' in text(client)


# --- Who sees what -------------------------------------------------------------------------


@pytest.fixture
def hidden(add_record):
    """A private target in trouble, whose name and number nobody must learn."""
    record = add_record(observation_id='8675309')
    Target.objects.update(name='Secret Star', permissions='PRIVATE')
    ran(timedelta(hours=1), only=f'target {record.target_id}')
    run = ran(status='failed', failed=1, due=4711)
    failing(record, 'LCO says 8675309 of Secret Star is bad')
    RunFailure.objects.create(
        run=run, record=record, facility='LCO', observation_id='8675309', error='8675309'
    )
    RunFailure.objects.create(run=run, facility='LCO', error='gave up: download of Secret Star')
    return record


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
    assert 'updatedata is failing' in text(client)  # LCO could not be asked: that is no target
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


# --- What people may do --------------------------------------------------------------------


@pytest.mark.parametrize('action', ACTIONS)
@pytest.mark.parametrize('who', ['visitor', 'user', 'staff', 'permission'])
def test_only_staff_with_the_permission_may_act(action, who, client, login, started, add_record):
    record = add_record()
    Target.objects.update(permissions='OPEN')
    failing(record)
    if who != 'visitor':
        login(who, *(['run_automation'] if who == 'permission' else []), is_staff=who == 'staff')
    answer = client.post(f'/automation/{action.format(record=record.pk)}', follow=True)
    assert '/accounts/login/' in answer.redirect_chain[0][0]
    assert started == []
    assert not JobPause.objects.exists()
    assert 'Run updatedata now' not in text(client)
    assert 'Retry' not in text(client)


@pytest.mark.parametrize('action', ACTIONS)
def test_a_get_does_nothing(action, client, staff, started, add_record):
    answer = client.get(f'/automation/{action.format(record=add_record().pk)}')
    assert answer.status_code == 405
    assert started == []


def test_without_the_csrf_token_nothing_happens(staff, started):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(staff)
    strict.post('/automation/updatedata/run/')
    assert started == []


def test_run_now(client, staff, started):
    page = client.post('/automation/updatedata/run/', follow=True)
    assert started == [('staff', 'updatedata')]
    assert b'The run is being started' in page.content
    assert 'is being started' not in text(client)


def test_progress(client, staff):
    run = ran(status='running', finished=None, heartbeat=timezone.now())
    assert 'at work' in text(client, '/automation/progress/?after=0')
    UpdateRun.objects.update(status='ok', finished=timezone.now())
    answer = client.get('/automation/progress/?after=0')
    assert answer['HX-Refresh'] == 'true'
    assert 'being started' in text(client, f'/automation/progress/?after={run.pk}')
    for nonsense in ('x', '', '-1', '9' * 40, '²'):
        assert client.get(f'/automation/progress/?after={nonsense}').status_code == 200


def test_retry_a_record(client, staff, started, add_record):
    record = add_record()
    Target.objects.update(permissions='OPEN')
    sync = failing(record, next_check=timezone.now() + timedelta(days=1))
    client.post(f'/automation/retry/{record.pk}/')
    sync.refresh_from_db()
    assert sync.next_check <= timezone.now()
    assert started == [('staff', 'updatedata', '--target_id', str(record.target_id))]


def test_no_retry_of_what_one_may_not_see(client, staff, started, hidden):
    RecordSync.objects.update(next_check=timezone.now() + timedelta(days=1))
    assert client.post(f'/automation/retry/{hidden.pk}/').status_code == 404
    client.post('/automation/retry/')
    assert RecordSync.objects.get().next_check > timezone.now()


def test_pause_and_resume(client, staff):
    client.post('/automation/updatedata/pause/')
    assert JobPause.objects.get().by == 'staff'
    client.post('/automation/updatedata/resume/')
    assert not JobPause.objects.exists()
    assert client.post('/automation/no_such_job/pause/').status_code == 404


def test_back_to_a_page_of_this_tom_alone(client, staff):
    there = {'next': '/observations/list/'}
    assert client.post('/automation/updatedata/pause/', there).url == '/observations/list/'
    away = {'next': 'https://evil.example/'}
    assert client.post('/automation/updatedata/pause/', away).url == '/automation/'


# --- tomtoolkit's own pages ----------------------------------------------------------------


@pytest.mark.parametrize(
    'page',
    ['/targets/{}/?update_status=True', '/targets/{}/observation-list/'],
)
def test_its_buttons_ask_for_a_run_in_the_background(page, client, login, started, target):
    Target.objects.update(permissions='PUBLIC')
    login('ann')
    answer = client.get(page.format(target.pk), follow=True)
    assert b'in the background' in answer.content
    assert started == [('ann', 'updatedata', '--target_id', str(target.pk))]


def test_its_buttons_ask_nothing_for_a_hidden_target(client, login, started, target):
    login('ann')
    for page in ('/targets/{}/?update_status=True', '/targets/{}/observation-list/'):
        assert client.get(page.format(target.pk)).status_code == 302
    assert started == []


def test_only_staff_may_ask_for_all(client, login, started):
    login('ann')
    page = client.get('/observations/list/?update_status=True', follow=True)
    assert b'Only staff' in page.content
    assert started == []


@pytest.mark.django_db(transaction=True)
def test_the_lines_on_its_pages(admin_client, observed, sky):
    record = observed(frames=3)
    updatedata()
    ran()
    for page in (f'/observations/{record.pk}/', f'/targets/{record.target_id}/'):
        told = text(admin_client, page)
        assert 'Data last checked <time' in told
        assert '3 frames stored' in told
        assert 'next check <time' in told
    assert 'updatedata is working' in text(admin_client, '/')


# --- What it costs -------------------------------------------------------------------------


def fill(count, target):
    """So many of everything that the pages show."""
    now = timezone.now()
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
        StoredFrame.objects.create(frame_id=f'{run.pk}-{n}', name=f'{run.pk}-{n}', stored_at=now)


@pytest.mark.parametrize('who', ['visitor', 'user', 'superuser'])
@pytest.mark.parametrize(
    'page', ['', 'facilities/', 'weeks/', 'runs/', 'runs/{run}/', 'status.json', 'metrics']
)
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
