"""What came in, and being told of it, in a real Chromium: pictures, wishes, a mail and its link."""

import re
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from browser import served
from page_windows import PHONE, WIDE, Mails, Window, came, show, windows
from running import manage
from test_page_browser import assert_it_fits, violations

pytestmark = pytest.mark.xdist_group('browser')


def test_pictures_appear_on_an_open_page(scene: Callable, opened: Window, url: str) -> None:
    scene('came_in')
    page = opened()
    page.goto(f'{url}/automation/arrivals/')
    expect(page.locator('.came li')).to_have_count(20)  # and not the ten of a private target
    expect(page.locator('.came img')).to_have_count(19, timeout=60_000)
    expect(page.locator('text=Cannot be drawn: it is not a FITS file')).to_be_visible()
    for image in page.locator('.came img').all():
        image.scroll_into_view_if_needed()
        wait_for(lambda image=image: image.evaluate('image => image.naturalWidth') == 200)
    assert 'Secret Star' not in page.content()
    address = page.locator('.came img').nth(0).get_attribute('src')
    assert 'max-age=604800' in requests.get(url + address, timeout=60).headers['Cache-Control']


def test_filters_and_the_page_of_the_automation(scene: Callable, opened: Window, url: str) -> None:
    scene('drawn')
    page = show(opened('admin'), f'{url}/automation/')
    assert page.locator('.came img').count() + page.locator('.came .no-picture').count() == 12
    page.fill('[name=target]', 'secret')
    page.click('text=Show')
    page.wait_for_url(f'{url}/automation/arrivals/?*')
    assert page.locator('.came li').count() == 10
    assert 'Secret Star' in page.locator('.came').inner_text()


def test_they_pass_axe_and_fit(scene: Callable, opened: Window, url: str) -> None:
    scene('drawn')
    check(opened('admin'), url)


def test_so_they_do_in_the_dark_theme(scene: Callable, tom: Path, chrome: Browser) -> None:
    scene('drawn')
    with served(tom, workers=1, LOOK='dark') as url, windows(chrome, url) as window:
        check(window('admin'), url)


def check(page: Page, url: str) -> None:
    """The pages of ours, wide and narrow, and our parts of tomtoolkit's."""
    show(page, f'{url}/automation/arrivals/')
    for path in ('/automation/arrivals/', '/automation/arrivals/sent/', '/automation/'):
        for viewport in (WIDE, PHONE):
            page.set_viewport_size(viewport)
            show(page, url + path)
            assert_it_fits(page)
            assert violations(page) == [], (path, viewport)
    for path, part in (('/', '.came'), ('/users/profile/', '#new-data')):
        show(page, url + path)
        assert violations(page, within=part) == [], path


def test_from_a_wish_to_a_mail_to_its_end(
    scene: Callable,
    opened_theirs: Window,
    url: str,
    tom: Path,
    observatory: dict[str, str],
    mails: Mails,
    tmp_path: Path,
) -> None:
    scene('retry')
    variables, subjects = mails
    page = opened_theirs('ann')
    show(page, f'{url}/users/profile/')
    page.select_option('[name=when]', 'daily')
    page.select_option('[name=hour]', '7')
    page.select_option('[name=zone]', 'Europe/London')
    with page.expect_navigation():
        page.click('#new-data >> text=Save')
    expect(page.locator('#new-data')).to_contain_text('The next one: ')
    page.select_option('[name=when]', 'never')
    with page.expect_navigation():
        page.click('#new-data >> text=Save')

    show(page, f'{url}/automation/')
    page.click('a[href^="/targets/"]:text-is("M 31")')
    page.wait_for_url(f'{url}/targets/*/')
    with page.expect_navigation():
        page.click('text=Tell me about new data')
    expect(page.locator('text=Do not tell me about new data')).to_be_visible()

    host = {'ALLOWED_HOSTS': '127.0.0.1', 'HTTPS': 'false', 'TOM_ADDRESS': urlsplit(url).netloc}
    manage(tom, 'updatedata', '--recheck', **observatory, **variables | {'ADMINS': ''}, **host)
    [subject] = came(subjects, within=3)
    assert re.fullmatch(r'\[My TOM\] \d+ new frames? of M 31', subject)
    [file] = (tmp_path / 'mails').iterdir()
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert mail['To'] == 'ann@example.org'
    html = mail.get_body(('html',)).get_content()
    read_the_mail(page, html)

    stranger = opened_theirs()
    show(stranger, re.search(r'href="([^"]+/unsubscribe/[^"]+)"', html)[1])
    assert violations(stranger) == []
    stranger.click('button:has-text("No more mails")')
    expect(stranger.locator('text=You will get no more e-mails about new data')).to_be_visible()
    show(page, f'{url}/users/profile/')
    assert page.locator('[name=when]').input_value() == 'never'


def read_the_mail(page: Page, html: str) -> None:
    """Follow its link to the pictures, as a mail program does."""
    link = re.search(r'href="([^"]+/automation/arrivals/)"', html)[1]
    assert 'src="cid:frame-' in html
    assert not re.search(r'src="http', html)  # no mail program asks another server
    show(page, link)
    assert page.locator('.came li').count() >= 1


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)
