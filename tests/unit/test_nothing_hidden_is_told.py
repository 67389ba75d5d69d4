"""Nothing that is hidden is told by a number, a time or the place of a file either."""

import os
import re
from datetime import timedelta
from os.path import commonprefix
from random import Random
from time import time_ns

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.db import transaction
from django.template import Context, Template
from django.utils import timezone
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

from tom_auto.arrivals import gallery
from tom_auto.arrivals.pictures import draw
from tom_auto.models import RecordSync, RunFailure, StoredFrame, Told, UpdateRun

from .page import came, failing, ran, stored, text
from .test_odd_requests import addresses, of_library

TURNS = int(os.environ.get('HIDDEN_TURNS', '3'))  # histories that are made up

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly')]


def failed(record, **ago):
    """A run in which `record` could not be checked."""
    run = ran(timedelta(**ago), status='failed', failed=1)
    RunFailure.objects.create(run=run, record=record, facility='LCO', observation_id='1', error='x')


def job(client) -> dict:
    return client.get('/automation/status.json').json()['jobs'][0]


# --- By a time -----------------------------------------------------------------------------------


@pytest.fixture
def half_hidden(add_record):
    """A record that everybody may see, and one that is private."""
    shown, secret = add_record(), add_record()
    Target.objects.update(permissions='OPEN')
    secret.target = Target.objects.create(name='Secret', ra=1, dec=1, permissions='PRIVATE')
    secret.save()
    return shown, secret


@pytest.mark.parametrize('minutes', [30, 150, 270])
def test_since_when_it_works_does_not_say_when_something_hidden_failed(
    client, half_hidden, minutes
):
    """Whichever of six hourly runs it was."""
    for number in range(6):
        ran(timedelta(hours=number))
    first = job(client)['since']
    assert first is not None
    failed(half_hidden[1], minutes=minutes)
    assert (job(client)['state'], job(client)['since']) == ('working', first)
    failed(half_hidden[1], minutes=0)
    assert (job(client)['state'], job(client)['since']) == ('working', first)
    failed(half_hidden[0], minutes=200)
    assert job(client)['since'] > first, 'what one may see one is told'


def test_nor_does_since_when_it_fails(client, half_hidden):
    shown, secret = half_hidden
    for hours in (8, 7):
        ran(timedelta(hours=hours))
    for hours in (6, 5, 4, 3):
        failed(secret, hours=hours)
    failed(shown, minutes=5)
    failing(shown, failing_since=timezone.now() - timedelta(minutes=6))
    since = job(client)['since']
    assert since is not None
    assert timezone.datetime.fromisoformat(since) > timezone.now() - timedelta(minutes=8)


def test_since_when_a_facility_fails_everybody_is_told(client, hidden):
    for minutes in (40, 20, 0):
        run = ran(timedelta(minutes=minutes), status='failed')
        RunFailure.objects.create(run=run, facility='LCO', error='refuses')
    since = timezone.datetime.fromisoformat(job(client)['since'])
    assert since < timezone.now() - timedelta(minutes=39)


# --- By a second job -----------------------------------------------------------------------------


@pytest.fixture
def lco(hourly):
    """A job that checks the observations of one facility."""
    command = '["updatedata", "--facility", "LCO"]'
    hourly.write_text(f'{hourly.read_text()}[lco]\nwhen = "hourly"\ncommand = {command}\n')


@pytest.fixture
def its_run(lco):
    ran()
    return ran(job='lco', exit_status=0)


def has_failed(run, record, facility='LCO', observation_id='1'):
    UpdateRun.objects.filter(pk=run.pk).update(status='failed', failed=1, exit_status=1)
    RunFailure.objects.create(
        run=run, record=record, facility=facility, observation_id=observation_id, error='x'
    )


def said_of_jobs(client) -> list[str]:
    pages = ('/', '/automation/', '/automation/status.json', '/automation/metrics')
    return [VARYING.sub('', text(client, page)) for page in pages]


def test_a_job_of_one_facility_does_not_tell_of_hidden_failures(client, half_hidden, its_run):
    shown, secret = half_hidden
    before = said_of_jobs(client)
    has_failed(its_run, secret)
    assert said_of_jobs(client) == before
    has_failed(its_run, shown)
    state = client.get('/automation/status.json').json()['jobs'][1]
    assert (state['job'], state['state'], state['failing']) == ('lco', 'failing', 1)
    assert state['reason'] == '1 observation could not be checked'


@pytest.mark.parametrize(('facility', 'named'), [('LCO', 'LCO'), ('SOAR', 'an observatory')])
def test_nor_does_it_name_where_hidden_observations_are(
    client, half_hidden, its_run, facility, named
):
    shown, secret = half_hidden
    secret.facility = 'SOAR'
    secret.save()
    for record in half_hidden:
        RecordSync.objects.create(record=record)
    has_failed(its_run, None, facility, observation_id='')
    reason = client.get('/automation/status.json').json()['jobs'][1]['reason']
    assert reason == f'{named} could not be checked'


# --- By a number -----------------------------------------------------------------------------------


def line(user, tag, **context):
    page = Template(f'{{% load automation %}}{{% {tag} %}}')
    return ' '.join(page.render(Context({'user': user} | context)).split())


@pytest.mark.parametrize('permissions_only', [True, False])
def test_frames_that_are_hidden_are_not_counted(
    client, login, add_record, settings, permissions_only
):
    """Data products have permissions of their own, or those of their target."""
    settings.TARGET_PERMISSIONS_ONLY = permissions_only
    record = add_record()
    Target.objects.update(permissions='PUBLIC')
    frames = [stored(record, str(number), size=1_000_000) for number in range(7)]
    user = User.objects.get(pk=login('ann').pk)
    assign_perm('tom_observations.view_observationrecord', user, record)
    secret = Target.objects.create(name='Secret', ra=1, dec=1, permissions='PRIVATE')
    for frame in frames[:5]:
        frame.product.target = secret
        frame.product.save()
    for frame in frames[5:]:
        assign_perm('tom_dataproducts.view_dataproduct', user, frame.product)
    user = User.objects.get(pk=user.pk)
    assert '2 frames stored' in line(user, 'record_line record', record=record)
    assert '2 frames stored' in line(user, 'target_line target', target=record.target)
    weeks = text(client, '/automation/weeks/')
    assert '<td>2</td>' in weeks
    assert '<td>7</td>' not in weeks
    login('boss', is_superuser=True)
    assert '<td>7</td>' in text(client, '/automation/weeks/')
    boss = User.objects.get(username='boss')
    assert '7 frames stored' in line(boss, 'record_line record', record=record)


@pytest.fixture
def operator(login, settings, monkeypatch):
    """Somebody who may act, and does not see everything, in a TOM with Celery."""
    settings.TOM_AUTO |= {'TASK_ENGINE': 'celery'}
    settings.CELERY_BROKER_URL = 'redis://127.0.0.1:9/0'  # nobody listens
    monkeypatch.setitem(settings.DATABASES['default'], 'ENGINE', 'django.db.backends.postgresql')
    return login('operator', 'run_automation', is_staff=True)


def test_hooks_of_hidden_frames_are_not_counted(client, operator, half_hidden):
    for number, record in enumerate([half_hidden[0], *[half_hidden[1]] * 4]):
        stored(record, str(number))
    StoredFrame.objects.update(hooks_owed=True)
    page = text(client, '/automation/at-work/')
    assert 'Hooks still to run: for 1 file, 1 of them due now.' in page


def test_nor_does_the_place_of_a_file_name_a_hidden_target(client, operator, half_hidden, settings):
    settings.TARGET_PERMISSIONS_ONLY = False
    secret = half_hidden[1]
    assign_perm('tom_observations.view_observationrecord', operator, secret)
    stored(secret, 'x', filename='ogg-e92.fits')
    StoredFrame.objects.update(name='Secret/lco/ogg-e92.fits')
    StoredFrame.objects.update(hooks_owed=True, hooks_failures=7, hooks_error='broken')
    page = text(client, '/automation/at-work/')
    assert 'ogg-e92.fits' in page
    assert 'Secret' not in page


def test_nor_do_the_messages_that_others_got(client, login, hidden):
    """Who is not told that something failed sees no mail about it either."""
    now = timezone.now()
    Told.objects.create(at=now, channel='mail', job='updatedata', subject='updatedata is failing')
    Told.objects.create(at=now, channel='mail', subject='a test message')
    login('operator', 'run_automation', is_staff=True)
    page = text(client, '/automation/alerts/')
    assert 'a test' in page
    assert '<td>updatedata</td>' not in page
    login('boss', is_superuser=True, is_staff=True)
    assert 'updatedata is failing' in text(client, '/automation/alerts/')


# --- By the place of a file ------------------------------------------------------------------------


def test_why_a_picture_cannot_be_drawn_names_no_place(client, add_record, media, monkeypatch):
    """What the system says of a file that it cannot open has the whole path in it."""
    arrival = came(add_record(), 'x', picture='waiting')
    Target.objects.update(permissions='OPEN')
    arrival.product.data.save('image.fits', ContentFile(b'SIMPLE'))
    place = arrival.product.data.name
    path = media / place
    path.unlink()
    path.symlink_to(path.name)  # a loop: it is there, and cannot be opened
    draw([arrival.pk], seconds=60)
    arrival.refresh_from_db()
    assert 'Too many levels of symbolic links' in arrival.trouble
    assert place not in arrival.trouble
    monkeypatch.setattr(gallery, 'draw_soon', lambda arrivals: None)
    page = text(client, '/automation/arrivals/')
    assert 'Not drawn yet: ' in page
    assert str(media) not in page
    assert 'm-31' not in page


class Away(InMemoryStorage):
    """A store that nobody can reach, which says what was asked for."""

    def exists(self, name: str) -> bool:
        raise ConnectionError(f'no connection to http://store/{name}')


def test_nor_does_what_a_store_says(client, add_record, settings):
    settings.STORAGES = settings.STORAGES | {'default': {'BACKEND': f'{__name__}.Away'}}
    arrival = came(add_record(), 'x', picture='waiting')
    draw([arrival.pk], seconds=60)
    arrival.refresh_from_db()
    assert arrival.trouble == 'the storage of the data does not answer'


# --- By anything at all ----------------------------------------------------------------------------

#: What differs from one answer to the next.
VARYING = re.compile(
    r'name="csrfmiddlewaretoken" value="\w+"|nonce="[^"]+"|<updated>.*?</updated>|>[^<]*(?=</time>)'
)


def some_runs(chance, shown):
    """A history that differs each time, in which what everybody may see fails now and then."""
    runs = []
    jobs = chance.choice([['updatedata'], ['updatedata', 'lco']])
    for number in range(chance.randrange(2, 9)):
        fails = chance.random() < 0.3
        run = ran(
            timedelta(hours=number),
            job=chance.choice(jobs),
            status='failed' if fails else 'ok',
            failed=int(fails),
            exit_status=int(fails),
        )
        if fails:
            RunFailure.objects.create(
                run=run, record=shown, facility='LCO', observation_id='1', error='x'
            )
        runs.append(run)
    if chance.random() < 0.4:
        failing(shown, failing_since=timezone.now() - timedelta(hours=chance.randrange(9)))
    return runs


def hidden_things_happen(chance, runs, secret):
    """They fail and succeed, frames of them come, hooks for these are owed, and people hear of it."""
    for run in chance.sample(runs, chance.randrange(1, len(runs) + 1)):
        run.status, run.failed, run.exit_status = 'failed', run.failed + 1, 1
        run.due, run.checked, run.output = 4711, 4711, 'Secret Star'
        run.save()
        RunFailure.objects.create(
            run=run, record=secret, facility='LCO', observation_id='8675309', error='8675309'
        )
    if chance.random() < 0.7:
        failing(secret, 'Secret Star', failing_since=timezone.now() - timedelta(days=9))
    for number in range(chance.randrange(4)):
        came(secret, f'secret {number}')
    StoredFrame.objects.filter(record=secret).update(hooks_owed=True, hooks_failures=9)
    Told.objects.create(at=timezone.now(), channel='mail', job='updatedata', subject='Secret Star')


def everything_shown(client, run, user, shown) -> dict[str, str]:
    """What each address says, without what differs from one answer to the next."""
    routes = {addresses(*route, run.pk)[0] for route in of_library().items()}
    routes |= {'/', '/automation/runs/?status=ended', '/automation/runs/?status=failed'}
    said = {
        'a target': line(user, 'target_line target', target=shown.target),
        'an observation': line(user, 'record_line record', record=shown),
    }
    for page in sorted(routes):
        answer = client.get(page)
        content = b''.join(answer) if answer.streaming else answer.content
        said[page] = f'{answer.status_code} {content.decode()}'
    return {page: ' '.join(VARYING.sub('', text).split()) for page, text in said.items()}


@pytest.mark.parametrize('permissions_only', [True, False])
@pytest.mark.parametrize('who', ['visitor', 'user', 'operator'])
def test_whatever_hidden_things_do_no_page_changes(
    who, permissions_only, client, login, half_hidden, settings, monkeypatch, lco
):
    """Each address answers word for word as if nothing hidden had failed, come, or been told."""
    settings.TARGET_PERMISSIONS_ONLY = permissions_only
    monkeypatch.setattr(gallery, 'draw_soon', lambda arrivals: None)
    shown, secret = half_hidden
    came(shown, 'to be seen')
    user = AnonymousUser()
    if who != 'visitor':
        operates = who == 'operator'
        user = login(who, *(['run_automation'] if operates else []), is_staff=operates)
        assign_perm('tom_observations.view_observationrecord', user, shown)
        assign_perm('tom_dataproducts.view_dataproduct', user, DataProduct.objects.get())
    seed = time_ns()
    for turn in range(TURNS):
        chance = Random(f'{seed} {turn}')
        with transaction.atomic():
            runs = some_runs(chance, shown)
            before = everything_shown(client, runs[0], user, shown)
            hidden_things_happen(chance, runs, secret)
            after = everything_shown(client, runs[0], user, shown)
            transaction.set_rollback(True)
        wrong = {page: differs(before[page], after[page]) for page in before}
        assert {page: what for page, what in wrong.items() if what} == {}, (seed, turn)


def differs(one: str, other: str) -> tuple[str, ...]:
    """Where two texts begin to differ: their whole difference would take minutes to work out."""
    place = len(commonprefix([one, other]))
    differing = () if one == other else (one, other)
    return tuple(each[max(0, place - 60) : place + 60] for each in differing)
