"""The TOM's own pages, with and without an observatory that answers."""

import pytest
from django.contrib.auth.models import User

import faults
from tom_auto.models import UpdateRun

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser(client):
    client.force_login(User.objects.create_superuser('me', password='x'))
    return client


def test_an_observation_page_asks_the_observatory(browser, observed):
    record = observed()
    updatedata()
    page = browser.get(f'/observations/{record.pk}/')
    assert page.status_code == 200
    assert b'.fits.fz' in page.content


@pytest.mark.parametrize(
    'fault', [faults.reset(), faults.status(500), faults.status(401), faults.html()]
)
def test_when_it_does_not_answer_the_targets_page_says_so(browser, sky, observed, fault):
    record = observed()
    updatedata()
    sky.break_('/frames/', fault)
    page = browser.get(f'/observations/{record.pk}/', follow=True)
    assert page.redirect_chain == [(f'/targets/{record.target_id}/', 302)]
    assert b'The observatory' in page.content
    assert b'.fits.fz' in page.content


def test_the_history_is_in_the_administration(browser, observed, add_record):
    observed()
    add_record()
    updatedata()
    assert b'something failed' in browser.get('/admin/tom_auto/updaterun/').content
    assert browser.get('/admin/tom_auto/recordsync/').status_code == 200
    run = UpdateRun.objects.get()
    assert b'does not know' in browser.get(f'/admin/tom_auto/updaterun/{run.pk}/change/').content
