"""J9: /healthz says whether the web server and its database work, to whoever asks."""

import pytest
from django.core import mail
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ('method', 'path', 'questions'),
    [('get', '/healthz', 1), ('head', '/healthz', 1), ('get', '/livez', 0)],
)
def test_a_probe_needs_no_https_no_name_and_no_login(client, settings, method, path, questions):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ['tom.example.org']
    settings.AUTH_STRATEGY = 'LOCKED'
    with CaptureQueriesContext(connection) as asked:
        answer = getattr(client, method)(path, headers={'host': '10.1.2.3:8000'})
    assert answer.status_code == 200
    assert answer['Cache-Control'] == 'no-store'
    assert 'Set-Cookie' not in answer
    assert len(asked) == questions


@pytest.mark.parametrize('harm', ['away', 'empty'])
def test_without_a_database_that_works_it_says_so(client, monkeypatch, harm, settings):
    settings.ADMINS = [('Ada', 'ada@example.org')]
    if harm == 'away':

        def refuse(*words):
            raise OperationalError('connection refused by secret-host')

        monkeypatch.setattr(connections['default'], 'cursor', refuse)
    else:
        monkeypatch.setattr(
            'tom_auto.middleware.HealthMiddleware.QUESTION', 'SELECT id FROM not_migrated'
        )
    answer = client.get('/healthz')
    assert answer.status_code == 503
    assert answer.content == b'The database does not answer.\n'
    assert client.get('/livez').status_code == 200, 'a restart would not help'
    assert mail.outbox == [], 'it is asked every five seconds'


def test_no_other_page_is_touched(client):
    assert client.get('/healthz/').status_code == 404
