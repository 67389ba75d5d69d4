"""What Django shows and mails of an error holds no secret, and no traceback where it can be told."""

import pytest
import requests
from django.core import mail
from django.test import Client
from django.views.debug import get_exception_reporter_class
from django.views.debug import technical_500_response as shown

from tom_auto.error_reports import RedactingReporter

WORD = 'hunter' + '22'  # a page of an error shows its lines of source, too
TOKEN = 'f00dcafe0123456789abcdef'
HOOK = 'https://hooks.example/services/T0/B0/only-for-this-test'
FEED = 'arrivals-0123'
PING = 'https://hc.example/ping/0123-4567'
SECRETS = (TOKEN, HOOK, PING, WORD)


@pytest.fixture
def secret(settings):
    settings.FACILITIES = settings.FACILITIES | {
        'LCO': settings.FACILITIES['LCO'] | {'api_key': TOKEN}
    }
    settings.TOM_AUTO = settings.TOM_AUTO | {'ALERT_WEBHOOK_URL': HOOK, 'PING_URL': PING}
    settings.ADMINS = [('me', 'me@example.org')]


def broken(request):
    """As a facility class breaks, its token in every variable."""
    headers = {'Authorization': f'Token {TOKEN}', 'X': [TOKEN], 'password': WORD}
    text = f'<b>"{TOKEN}"</b> & {HOOK}'
    raise RuntimeError(f'{headers} {text}')


@pytest.mark.parametrize('html', [True, False])
def test_the_page_of_an_error(html, rf, secret, settings):
    settings.DEBUG = True
    request = rf.get('/targets/?x=<y>', headers={} if html else {'Accept': 'text/plain'})
    try:
        broken(request)
    except RuntimeError as error:
        answer = shown(request, type(error), error, error.__traceback__)
    page = answer.content.decode()
    assert [word for word in SECRETS if word in page] == []
    assert 'RuntimeError' in page
    assert 'TOM_AUTO' in page
    assert '<b>"' not in page or not html


def test_the_mail_of_an_error(admin_client, secret, settings, monkeypatch):
    monkeypatch.setattr('tom_auto.page.views.healths', broken)
    admin_client.raise_request_exception = False
    assert admin_client.get('/automation/').status_code == 500
    [message] = mail.outbox
    assert 'RuntimeError' in message.body
    assert [word for word in SECRETS if word in message.body + message.subject] == []


@pytest.mark.parametrize('html', [True, False])
def test_what_a_visitor_sent_is_hidden_by_its_name(html, rf, secret):
    """The password of a new user, and the key of a feed: no setting has them."""
    sent = {'password1': WORD, 'api_key': TOKEN, 'username': 'tycho'}
    request = rf.post(f'/users/create/?token={FEED}&page=8765', sent)
    try:
        broken(request)
    except RuntimeError as error:
        reporter = RedactingReporter(request, type(error), error, error.__traceback__)
    text = reporter.get_traceback_html() if html else reporter.get_traceback_text()
    assert [word for word in (WORD, TOKEN, FEED) if word in text] == []
    assert 'tycho' in text
    assert '8765' in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    'error', [requests.ConnectionError('x'), requests.JSONDecodeError('', '', 0)]
)
def test_the_form_for_a_new_observation_when_the_observatory_is_down(
    error, admin_client: Client, target, settings, monkeypatch, secret
):
    settings.DEBUG = True

    def down(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(requests, 'request', down)
    monkeypatch.setattr(requests, 'get', down)
    page = admin_client.get(f'/observations/LCO/create/?target_id={target.pk}')
    assert page.status_code == 302, page.content[:500]
    assert TOKEN not in page.content.decode()


def test_django_finds_the_reporter(rf, secret):
    assert get_exception_reporter_class(rf.get('/')).__name__ == 'RedactingReporter'
