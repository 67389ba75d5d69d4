"""Whatever a browser, a scanner or a stranger sends, no page of the library breaks or costs much.

The views are those of the URL configuration: a new one is tried without a word here.
"""

from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, get_resolver
from tom_targets.models import Target

from tom_auto.models import RecordSync, RunFailure, UpdateRun

from .page import came, failing, ran, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly', 'started')]

#: Every parameter that a view of the library reads, and those that its tables would.
NAMES = (
    'page', 'per_page', 'sort', 'query', 'facility', 'status', 'job', 'after', 'at', 'next',
    'format', '_export', 'update_status', 'target', 'day', 'before', 'most', 'look', 'token', 'when', 'about',
    'hour', 'zone',
)  # fmt: skip
VALUES = (
    '', '0', '-5', '1000000', '9' * 40, '9' * 5000, '1e9', 'NaN', '²', 'x', '\0', 'a\0b', '\n', "'",
    '%', '--', '-record', 'error', 'record__target', '[]', '{{ x }}', '<script>', '../../manage.py',
    '//evil.example', 'x' * 60_000, '0001-01-01', '9999-12-31',
)  # fmt: skip
#: What stands in the place of a part of an address, by the name of its converter.
PARTS = {
    'key': ('{}', '9' * 22, '0', '9' * 18, '9' * 40),
    'slug': ('updatedata', 'no-such-job', 'x' * 5000),
    'path': ('x', '%00', 'a%00b', '..%2f..%2fmanage.py', '%ff', 'x' * 5000),
}
METHODS = ('get', 'head', 'post', 'put', 'patch', 'delete', 'options')
#: tomtoolkit's own pages in which the library's middleware takes part.
OTHERS = ('targets/{pk}/', 'targets/{pk}/observation-list/', 'observations/list/')


def of_library(patterns: list | None = None, before: str = '') -> dict[str, URLPattern]:
    """Every address of the URL configuration that leads to a view of the library."""
    found = {}
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(pattern.pattern)
        if hasattr(pattern, 'url_patterns'):
            found |= of_library(pattern.url_patterns, route)
        elif pattern.callback.__module__.startswith('tom_auto.'):
            found[route] = pattern
    return found


def addresses(route: str, pattern: URLPattern, pk: int) -> list[str]:
    """`route` with ordinary parts, then with odd ones."""
    filled = [f'/{route}']
    for name, converter in pattern.pattern.converters.items():
        kind = type(converter).__name__.removesuffix('Converter').lower()
        part = f'<{kind}:{name}>'
        filled = [each.replace(part, odd.format(pk)) for each in filled for odd in PARTS[kind]]
    return filled


@pytest.fixture
def everything(add_record) -> UpdateRun:
    """A record in trouble and a run that failed, so that every page has something to show."""
    record = add_record()
    Target.objects.update(permissions='OPEN')
    failing(record)
    for number in range(30):
        came(record, f'frame {number}')
    run = ran(status='failed', failed=1)
    RunFailure.objects.create(run=run, record=record, facility='LCO', error='x')
    return run


@pytest.fixture(params=['visitor', 'user', 'superuser'])
def anyone(request, client, login) -> Client:
    if request.param != 'visitor':
        is_boss = request.param == 'superuser'
        login(request.param, is_superuser=is_boss, is_staff=is_boss)
    client.raise_request_exception = False
    return client


def is_fine(answer, asked: object) -> None:
    size = 0 if answer.streaming else len(answer.content)
    assert answer.status_code < 500, asked
    assert size < 200_000, asked


def test_every_view_is_known():
    routes = of_library()
    assert 'automation/runs/<key:pk>/' in routes
    assert f'{settings.MEDIA_URL[1:]}<path:name>' in routes
    assert len(routes) >= 15


def test_no_odd_parameter_breaks_a_page(anyone, everything):
    pages = [addresses(*each, everything.pk)[0] for each in of_library().items()]
    for page in pages:
        queries = [dict.fromkeys(NAMES, value) for value in VALUES]
        queries += [{name: VALUES} for name in NAMES]
        queries += [{value: value for value in VALUES}]
        for query in queries:
            headers = {'HX-Request': 'true'} if len(query) == 1 else {}
            asked = f'{page}?{urlencode(query, doseq=True)}'
            is_fine(anyone.get(asked, headers=headers), asked[:200])


def test_nor_a_page_of_tomtoolkit_that_the_library_answers(anyone, everything):
    for page in OTHERS:
        address = f'/{page.format(pk=Target.objects.get().pk)}'
        for value in filter(None, VALUES):
            is_fine(anyone.get(address, {'update_status': value, 'next': value}), value[:200])


def test_no_odd_address_or_method_breaks_a_page(anyone, everything):
    for each in of_library().items():
        for page in addresses(*each, everything.pk):
            is_fine(anyone.get(page), page[:200])
        page = addresses(*each, everything.pk)[0]
        for method in METHODS:
            is_fine(getattr(anyone, method)(page), (method, page))


def test_nothing_odd_in_a_form_breaks_a_button(anyone, everything):
    for each in of_library().items():
        page = addresses(*each, everything.pk)[0]
        for value in VALUES:
            is_fine(anyone.post(page, dict.fromkeys(NAMES, value)), (page, value[:40]))


def test_whatever_can_be_read_answers_a_head(admin_client, everything):
    for each in of_library().items():
        page = addresses(*each, everything.pk)[0]
        got, head = admin_client.get(page), admin_client.head(page)
        assert head.status_code == got.status_code, page


def test_nobody_chooses_how_much_is_read(client, everything):
    for _ in range(30):
        ran()
    for rows in ('1000000', '-5', '0'):
        assert text(client, f'/automation/runs/?per_page={rows}').count('class="outcome ') == 25


def test_nul_is_refused_on_every_database(admin_client):
    for page in ('data/a%00b', 'automation/progress/?job=%00', 'automation/?query=%00'):
        assert admin_client.get(f'/{page}').status_code == 400, page


def test_what_is_hidden_cannot_be_asked_for_by_an_odd_number(client, login, hidden):
    login('ann')
    for number in (hidden.pk, 0, 9 * 10**17, 10**40):
        client.post(f'/automation/targets/{number}/update/')
        client.post(f'/automation/retry/{number}/')
    assert RecordSync.objects.get().failures == 1
