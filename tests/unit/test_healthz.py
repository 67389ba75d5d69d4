"""J9: /healthz says whether the web server and its database work, to whoever asks."""

import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize('method', ['get', 'head'])
def test_a_probe_needs_no_https_no_name_and_no_login(client, settings, method):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ['tom.example.org']
    settings.AUTH_STRATEGY = 'LOCKED'
    with CaptureQueriesContext(connection) as asked:
        answer = getattr(client, method)('/healthz', headers={'host': '10.1.2.3:8000'})
    assert answer.status_code == 200
    assert answer['Cache-Control'] == 'no-store'
    assert 'Set-Cookie' not in answer
    assert len(asked) == 1


@pytest.mark.parametrize('harm', ['away', 'empty'])
def test_without_a_database_that_works_it_says_so(client, monkeypatch, harm):
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


def test_no_other_page_is_touched(client):
    assert client.get('/healthz/').status_code == 404
