"""What the page tells of Celery, and the button for hooks that fail again and again."""

from datetime import timedelta

import pytest
from django.utils import timezone
from tom_targets.models import Target

from tom_auto.models import StoredFrame, TaskWorker

from .running import updatedata


@pytest.fixture
def celery(settings, monkeypatch):
    settings.TOM_AUTO |= {'TASK_ENGINE': 'celery'}
    settings.CELERY_BROKER_URL = 'redis://127.0.0.1:9/0'  # nobody listens
    monkeypatch.setitem(settings.DATABASES['default'], 'ENGINE', 'django.db.backends.postgresql')


@pytest.fixture
def failing(observed):
    """Two files, of which the hooks of one fail again and again."""
    observed()
    updatedata()
    Target.objects.update(permissions='PUBLIC')
    frames = list(StoredFrame.objects.order_by('pk'))
    later = timezone.now() + timedelta(hours=9)
    StoredFrame.objects.filter(pk=frames[0].pk).update(
        hooks_owed=True, hooks_failures=7, hooks_error='no <calibration>', hooks_due=later
    )
    return frames[0]


def page(client) -> str:
    return client.get('/automation/at-work/').content.decode()


@pytest.mark.django_db(transaction=True)
def test_workers_the_broker_and_hooks_are_shown_and_run_again_by_a_button(
    client, staff, failing, celery
):
    Target.objects.update(permissions='PRIVATE')
    assert failing.name not in page(client)
    Target.objects.update(permissions='PUBLIC')
    now = timezone.now()
    TaskWorker.objects.create(
        name='celery@far', host='far', processes=4, queues='', started=now, alive_at=now
    )
    assert 'hx-get="/automation/at-work/"' in client.get('/automation/').content.decode()
    shown = page(client)
    assert 'celery@far' in shown
    assert 'The broker at redis://127.0.0.1:9 cannot be reached' in shown
    assert 'Hooks still to run: for 1 file, 0 of them due now.' in shown
    assert f'{failing.name}</code>: no &lt;calibration&gt; (7 times)' in shown

    client.get('/automation/hooks/retry/')
    failing.refresh_from_db()
    assert failing.hooks_due > timezone.now()
    answer = client.post('/automation/hooks/retry/', follow=True).content.decode()
    assert 'The hooks for 1 file are run again now. The broker at' in answer
    failing.refresh_from_db()
    assert failing.hooks_due <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_others_see_and_do_nothing(client, login, failing, celery):
    login('bob')
    assert 'at-work' not in client.get('/automation/').content.decode()
    assert page(client) == ''
    client.post('/automation/hooks/retry/')
    failing.refresh_from_db()
    assert failing.hooks_due > timezone.now()


@pytest.mark.django_db
def test_a_tom_without_celery_shows_nothing_of_it(client, staff):
    assert 'at-work' not in client.get('/automation/').content.decode()
    assert page(client) == ''
