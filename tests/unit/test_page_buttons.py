"""What people may do on the automation's page, and on tomtoolkit's own."""

import re
from datetime import timedelta
from time import sleep, time

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.lco import LCOFacility
from tom_observations.models import ObservationGroup, ObservationRecord
from tom_targets.models import Target

from tom_auto.models import JobPause, RecordSync, RunRequest, UpdateRun
from tom_auto.page import actions

from .page import failing, ran, text
from .running import updatedata

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly')]

ACTIONS = (
    'updatedata/run/',
    'updatedata/pause/',
    'updatedata/resume/',
    'retry/',
    'retry/{record}/',
)


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
    if who == 'visitor':
        assert '/accounts/login/' in answer.redirect_chain[0][0]
    else:
        assert b'Only staff with the permission' in answer.content
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
    assert started == [('staff', 'schedule', 'run', 'updatedata')]
    assert b'The run is being started' in page.content
    assert 'is being started' not in text(client)


def test_progress(client, staff):
    ran(status='running', finished=None, heartbeat=timezone.now())
    assert 'is running' in text(client, '/automation/progress/?after=0')
    UpdateRun.objects.update(status='ok', finished=timezone.now())
    answer = client.get('/automation/progress/?after=0')
    assert answer['HX-Refresh'] == 'true'
    for nonsense in ('x', '', '-1', '9' * 40, '²'):
        assert client.get(f'/automation/progress/?after={nonsense}').status_code == 200


def test_a_run_that_does_not_begin_is_not_waited_for_without_an_end(client, staff):
    now = int(time())
    assert 'being started' in text(client, f'/automation/progress/?after=0&at={now}')
    page = text(client, f'/automation/progress/?after=0&at={now - 600}')
    assert 'No run has started' in page
    assert 'hx-trigger' not in page


def test_the_progress_of_a_run_that_was_killed_ends(client, staff):
    ran(status='running', finished=None, heartbeat=timezone.now() - timedelta(minutes=5))
    answer = client.get('/automation/progress/?after=0')
    assert answer['HX-Refresh'] == 'true'
    page = answer.content.decode()
    assert 'has ended: ended too soon' in page
    assert 'hx-trigger' not in page


def test_progress_counts_what_the_visitor_may_see(client, login, hidden):
    now = timezone.now()
    ran(timedelta(0), status='running', heartbeat=now, finished=None, due=5)
    now = timezone.now()
    RecordSync.objects.update(asked_at=now)
    assert '0 observations checked so far' in text(client, '/automation/progress/')
    login('boss', is_superuser=True)
    assert '1 observation of 5 checked so far' in text(client, '/automation/progress/')


def test_a_run_that_is_at_work_already_is_the_one_that_is_shown(client, staff, started):
    ran(status='running', finished=None, heartbeat=timezone.now())
    page = client.post('/automation/updatedata/run/', follow=True).content.decode()
    assert 'already in progress' in page
    [address] = re.findall(r'hx-get="(/automation/progress/[^"]*)"', page)
    assert 'updatedata is running' in text(client, address.replace('&amp;', '&'))


def test_each_job_is_run_and_paused_by_its_name(client, staff, started, hourly):
    hourly.write_text(
        'environment = "virtualenv"\n'
        '[tidy_up]\nwhen = "daily"\ncommand = ["clearsessions"]\n'
        '[all]\nwhen = "hourly"\ncommand = ["updatedata", "--workers", "2"]\n'
        '[soar]\nwhen = "hourly"\ncommand = ["updatedata", "--facility", "SOAR"]\n'
    )
    ran()
    page = text(client)
    for job in ('tidy_up', 'soar', 'all'):
        assert f'{job} has never been run by the schedule' in page
    assert 'updatedata is not scheduled' not in page
    for job in ('tidy_up', 'soar', 'all'):
        client.post(f'/automation/{job}/run/')
        client.post(f'/automation/{job}/pause/')
    assert started == [('staff', 'schedule', 'run', name) for name in ('tidy_up', 'soar', 'all')]
    assert {pause.job for pause in JobPause.objects.all()} == {'tidy_up', 'soar', 'all'}
    assert 'all has been paused' in text(client)


def test_retry_a_record(client, staff, started, add_record):
    record = add_record()
    Target.objects.update(permissions='OPEN')
    sync = failing(record, next_check=timezone.now() + timedelta(days=1))
    client.post(f'/automation/retry/{record.pk}/')
    sync.refresh_from_db()
    assert sync.next_check <= timezone.now()
    assert started == [('staff', 'updatedata', '--target_id', str(record.target_id))]


def test_retry_all(client, staff, started, add_record):
    later = timezone.now() + timedelta(days=1)
    for _ in range(3):
        failing(add_record(), next_check=later)
    RecordSync.objects.create(record=add_record(), status='PENDING', next_check=later)
    Target.objects.update(permissions='OPEN')
    client.post('/automation/retry/')
    assert RecordSync.objects.filter(next_check__lte=timezone.now()).count() == 3
    assert started == [('staff', 'schedule', 'run', 'updatedata')]


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
    for away in (
        'https://evil.example/',
        '//evil.example/',
        'foo',
        'automation:runs',
        '\0',
        '/' + 'x' * 100_000,
        '',
    ):
        answer = client.post('/automation/updatedata/pause/', {'next': away})
        assert answer.url == '/automation/', away


# --- tomtoolkit's own pages ----------------------------------------------------------------


def test_its_button_asks_before_it_starts_a_run(client, login, started, target):
    Target.objects.update(permissions='PUBLIC')
    login('ann')
    page = text(client, f'/targets/{target.pk}/?tab=data&update_status=True')
    assert started == []
    [there] = re.findall(r'name="next" value="([^"]*)"', page)
    answer = client.post(f'/automation/targets/{target.pk}/update/', {'next': there}, follow=True)
    assert answer.redirect_chain[0][0] == f'/targets/{target.pk}/?tab=data'
    assert b'in the background' in answer.content
    assert started == [('ann', 'updatedata', '--target_id', str(target.pk))]


@pytest.mark.usefixtures('own_templates')
def test_the_button_on_the_targets_page(client, login, started, add_record):
    target = add_record().target
    Target.objects.update(permissions='OPEN')
    address = f'/automation/targets/{target.pk}/update/'
    assert address not in text(client, f'/targets/{target.pk}/')  # only users may ask
    login('ann')
    assert f'action="{address}"' in text(client, f'/targets/{target.pk}/')


def test_no_get_of_its_pages_starts_a_process(client, staff, started, target):
    Target.objects.update(permissions='OPEN')
    for page in (
        f'/targets/{target.pk}/?update_status=1',
        f'/targets/{target.pk}/observation-list/',
        '/observations/list/?update_status=1',
    ):
        for headers in ({}, {'HX-Request': 'true'}):
            assert client.get(page, headers=headers).status_code == 200
    assert started == []


@pytest.fixture
def links(add_record, monkeypatch, target) -> dict:
    """tomtoolkit's links that change something by a GET, each with what it has changed."""
    record, cancelled = add_record(), []
    group = ObservationGroup.objects.create(name='G')
    added = ObservationRecord.objects.filter(observation_id='77', target=target)
    product = DataProduct.objects.create(product_id='x', target=target, data='a.jpg')
    monkeypatch.setattr(
        LCOFacility, 'cancel_observation', lambda self, pk: bool(cancelled.append(pk))
    )
    featured = DataProduct.objects.filter(featured=True)
    return {
        f'/observations/{record.pk}/cancel/': lambda: cancelled == [record.observation_id],
        f'/dataproducts/data/{product.pk}/feature/?target_id={target.pk}': featured.exists,
        f'/observations/list/?selected={record.pk}&observationgroup={group.pk}&action=add': (
            group.observation_records.exists
        ),
        f'/observations/callback/?facility=LCO&target_id={target.pk}&observation_id=77': added.exists,
    }


def test_what_tomtoolkit_changes_by_a_get_takes_a_button(client, login, links):
    for link, has_happened in links.items():
        Target.objects.update(permissions='OPEN')
        client.logout()
        for ask in (client.get, client.head, client.post):
            assert ask(link).url.startswith('/accounts/login'), link
        login(f'user{len(link)}')
        assert f'<form method="post" action="{escape(link)}">' in text(client, link)
        assert client.head(link).status_code == 200
        Target.objects.update(permissions='PRIVATE')
        assert client.get(link).status_code == client.post(link).status_code == 302
        Target.objects.update(permissions='OPEN')
        careful = Client(enforce_csrf_checks=True)
        careful.cookies = client.cookies
        careful.post(link)
        assert not has_happened(), link
        assert client.post(link).status_code == 302
        assert has_happened(), link


def test_nobody_groups_an_observation_that_is_hidden(client, login, links, add_record):
    """tomtoolkit puts any observation into any group, for anybody."""
    [link] = [each for each in links if 'selected' in each]
    Target.objects.update(permissions='OPEN')
    secret = Target.objects.create(name='Secret', ra=1, dec=1, permissions='PRIVATE')
    other = add_record(target=secret)
    login('ann')
    for odd in (other.pk, 10**9, 'x', '', '9' * 40, '²'):
        client.get(f'{link}&selected={odd}')
        client.post(f'{link}&selected={odd}')
    client.post(f'{link}&update_status=1')
    assert not links[link]()


def test_the_list_of_observations_is_shown_as_ever(client, links):
    for query in ('', '?status=PENDING&observationgroup=', '?page=1'):
        assert 'Selected observations' in text(client, f'/observations/list/{query}')


def test_its_link_for_new_data_asks_in_the_background(client, login, started, target, staff):
    Target.objects.update(permissions='OPEN')
    link = '/dataproducts/data/reduced/update/'
    one = f'{link}?target_id={target.pk}'
    client.get(link)
    client.get(one)
    assert started == []
    client.post(link)
    assert started == [('staff', 'updatereduceddata')]
    login('ann')
    assert client.post(one).url == f'/targets/{target.pk}/'
    assert started[1:] == [('ann', 'updatereduceddata', '--target_id', str(target.pk))]
    Target.objects.update(permissions='PRIVATE')
    for other in (
        link,
        one,
        f'{link}?target_id=x',
        f'{link}?target_id=0',
        f'{link}?target_id={"9" * 40}',
    ):
        client.post(other)
    assert len(started) == 2


def test_one_process_at_a_time(client, staff, started, monkeypatch, target):
    Target.objects.update(permissions='OPEN')
    seen = []
    begin = actions.begin_process
    monkeypatch.setattr(
        actions, 'begin_process', lambda *words: (seen.extend(requests()), begin(*words))
    )
    monkeypatch.setattr(actions, 'accompany', lambda process, command: None)  # it goes on
    for _ in range(3):
        client.post('/automation/updatedata/run/')
        page = client.post(f'/automation/targets/{target.pk}/update/', follow=True)
    assert started == [('staff', 'schedule', 'run', 'updatedata')]
    assert seen == [('updatedata', 'staff')], 'the request is noted before the process starts'
    assert b'already in progress' in page.content
    RunRequest.objects.update(alive_at=timezone.now() - timedelta(minutes=5))  # and ended
    client.post('/automation/updatedata/run/')
    assert len(started) == 2
    RunRequest.objects.update(alive_at=timezone.now() + timedelta(days=9))  # of a wrong clock
    client.post('/automation/updatedata/run/')
    assert len(started) == 3


def requests():
    return list(RunRequest.objects.values_list('job', 'by'))


def test_a_process_that_cannot_start_leaves_no_request(client, staff, monkeypatch):
    monkeypatch.setattr(actions, 'own_python', lambda: '/no/such/python')
    with pytest.raises(FileNotFoundError):
        client.post('/automation/updatedata/run/')
    assert requests() == []


@pytest.mark.django_db(transaction=True)
def test_the_request_goes_with_its_process(staff, tmp_path):
    (tmp_path / 'manage.py').write_text('import sys; print(sys.argv[1:])')
    assert actions.start_run(staff, 'updatedata', '--target_id', '1')
    until = time() + 60
    while requests() and time() < until:
        sleep(0.05)
    assert requests() == []
    assert '--target_id' in (tmp_path / 'logs' / 'page.log').read_text()


def test_its_buttons_start_no_second_run(client, login, started, target):
    Target.objects.update(permissions='PUBLIC')
    login('ann')
    ran(status='running', finished=None, heartbeat=timezone.now())
    page = client.post(f'/automation/targets/{target.pk}/update/', follow=True)
    assert b'already in progress' in page.content
    assert started == []


def test_its_buttons_ask_nothing_for_a_hidden_target(client, login, started, target):
    login('ann')
    for page in ('/targets/{}/?update_status=True', '/targets/{}/observation-list/'):
        assert client.get(page.format(target.pk)).status_code == 302
    page = client.post(f'/automation/targets/{target.pk}/update/', follow=True)
    assert b'not a target that you may see' in page.content
    assert started == []


@pytest.mark.usefixtures('own_templates')
def test_the_button_of_the_list_keeps_its_filters(client, staff, started, target):
    page = text(client, '/observations/list/?status=PENDING')
    [there] = re.findall(r'name="next" value="([^"]*)"', page)
    answer = client.post('/automation/updatedata/run/', {'next': there})
    assert answer.url == '/observations/list/?status=PENDING'
    assert started == [('staff', 'schedule', 'run', 'updatedata')]


@pytest.mark.usefixtures('own_templates')
def test_the_button_of_the_list_starts_the_job_of_all_observations(
    client, staff, started, hourly, target
):
    """Whatever it is called."""
    hourly.write_text(
        hourly.read_text().replace('[updatedata]', '[nightly]\ncommand = ["updatedata"]')
    )
    page = text(client, '/observations/list/')
    [there] = re.findall(r'<form method="post" action="([^"]*/run/)"', page)
    assert client.post(there).status_code == 302
    assert started == [('staff', 'schedule', 'run', 'nightly')]


def test_only_staff_may_ask_for_all(client, login, started):
    login('ann')
    page = client.get('/observations/list/?update_status=True', follow=True)
    assert b'Only staff' in page.content
    assert started == []


@pytest.mark.parametrize('query', ['update_status=', 'update_status=1&update_status='])
def test_an_empty_value_starts_nothing_either(client, login, started, monkeypatch, query):
    """tomtoolkit's own view takes it for a yes, and would check every record meanwhile."""
    checked = []
    monkeypatch.setattr(
        'tom_observations.views.call_command', lambda *words, **options: checked.append(words)
    )
    login('ann')
    page = client.get(f'/observations/list/?{query}', follow=True)
    assert checked == started == []
    assert b'Only staff' in page.content


@pytest.mark.usefixtures('own_templates')
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
    assert 'updatedata has been working' in text(admin_client, '/')


def test_a_number_that_no_column_holds_is_not_found(client, staff):
    for path in ('retry/{}/', 'targets/{}/update/', 'alerts/unmute/{}/'):
        address = f'/automation/{path.format(10**22)}'
        assert client.post(address).status_code == 404
    assert client.get(f'/automation/runs/{10**22}/').status_code == 404
    assert client.get('/automation/alerts/?record=123456').status_code == 404
