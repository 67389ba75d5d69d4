"""The automation's page in a real Chromium, served by gunicorn."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from browser import served
from page_windows import PHONE, WIDE, Mails, Window, answer, came, show, windows
from running import manage

pytestmark = pytest.mark.xdist_group('browser')

AA = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']


# --- What it says, and how it looks --------------------------------------------------------


@pytest.mark.parametrize(
    ('story', 'words'),
    [
        ('working', 'updatedata has been working for'),
        ('dead', 'updatedata is overdue by 2 days'),
        ('failing', 'updatedata has been failing for 5 hours, because SOAR could not be checked'),
    ],
)
def test_it_says_whether_it_works_wide_and_narrow(
    story: str, words: str, scene: Callable, opened: Window, url: str
) -> None:
    scene(story)
    page = show(opened(), f'{url}/automation/')
    assert answer(page).startswith(words)
    for viewport in (WIDE, PHONE):
        page.set_viewport_size(viewport)
        assert page.locator('svg rect').count() > 10
        assert_it_fits(page)


def test_a_dead_job_comes_with_what_to_type(scene: Callable, opened: Window, url: str) -> None:
    scene('dead')
    page = show(opened('staff'), f'{url}/automation/')
    told = page.locator('.answer').inner_text()
    assert 'python manage.py doctor' in told
    assert re.search(r'\d+ \* \* \* \* \S+python \S+manage.py schedule run updatedata >> ', told)
    assert violations(page) == []


def assert_it_fits(page: Page) -> None:
    width = page.evaluate('document.documentElement.scrollWidth')
    assert width <= page.viewport_size['width'], 'the page is wider than the window'


def test_the_table_of_the_facilities_is_not_cut_off(
    scene: Callable, opened: Window, url: str
) -> None:
    """There is little room beside the latest runs: it said "less than a minut"."""
    scene('failing')
    page = show(opened('admin'), f'{url}/automation/')
    page.set_viewport_size({'width': 1000, 'height': 900})
    assert page.locator('.fresh').evaluate('table => table.scrollWidth <= table.clientWidth')


def test_it_passes_axe(scene: Callable, opened: Window, url: str) -> None:
    scene('failing')
    check_with_axe(opened('admin'), url)


def test_it_passes_axe_in_the_dark_theme(
    scene: Callable, tom: Path, chrome: Browser, observatory: dict[str, str]
) -> None:
    scene('failing')
    dark = served(tom, workers=1, LOOK='dark', **observatory)
    with dark as url, windows(chrome, url) as window:
        page = window('admin')
        check_with_axe(page, url)
        background = 'getComputedStyle(document.querySelector("td")).backgroundColor'
        assert max(map(int, re.findall(r'\d+', page.evaluate(background)))) < 100


def check_with_axe(page: Page, url: str) -> None:
    """Each page of the automation, wide and narrow."""
    show(page, f'{url}/automation/')
    run = page.locator('a[href^="/automation/runs/"]').nth(0).get_attribute('href')
    for path in ('/automation/', '/automation/runs/', run):
        page.set_viewport_size(WIDE)
        show(page, url + path)
        for details in page.locator('summary').all():
            details.click()
        for viewport in (WIDE, PHONE):
            page.set_viewport_size(viewport)
            assert_it_fits(page)
            assert violations(page) == [], (path, viewport)


def violations(page: Page, within: str | None = None) -> list[tuple]:
    found = Axe().run(page, context=within, options={'runOnly': AA}).response
    assert len(found['passes']) > (0 if within else 10)
    return [
        (broken['id'], broken['nodes'][0]['target'], broken['nodes'][0]['failureSummary'])
        for broken in found['violations']
    ]


def test_times_are_in_the_zone_of_the_reader(scene: Callable, opened: Window, url: str) -> None:
    scene('working')
    page = opened(timezone_id='Pacific/Honolulu', locale='en-US')
    show(page, f'{url}/automation/')
    for shown in page.locator('time').all():  # those of the pieces that come later as well
        assert 'GMT-10' in shown.get_attribute('title').replace('HST', 'GMT-10')


def test_the_lines_on_other_pages(scene: Callable, opened_theirs: Window, url: str) -> None:
    scene('retry')
    page = show(opened_theirs('staff', PHONE), f'{url}/')
    assert 'updatedata has been failing for' in page.locator('.automation-line').inner_text()
    for kind, name in (('observations', '1'), ('targets', 'M 31')):
        show(page, f'{url}/automation/')
        page.click(f'a[href^="/{kind}/"]:text-is("{name}")')
        page.wait_for_url(f'{url}/{kind}/*/')
        assert page.locator('main').count() == 1  # a page of its own, not a piece of that one
        line = page.locator('.automation-line').inner_text().replace('\xa0', ' ')
        assert line.startswith('Data last checked 14 minutes ago, next check in')
        assert '0 frames stored' in line
        assert violations(page, within='.automation-line') == []


# --- What people do there ------------------------------------------------------------------


def test_run_now_is_watched_until_it_ends(scene: Callable, opened: Window, url: str) -> None:
    scene('retry')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Run updatedata now')
    wait_for_a_run(page)
    assert '1 observation could not be checked' in answer(page)  # it waits for its time


def test_progress_is_shown_live(scene: Callable, opened: Window, url: str) -> None:
    scene('at_work')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Run updatedata now')  # there is one, which is shown
    shown = page.locator('#progress')
    expect(shown).to_contain_text('2 observations checked so far')  # and one that is not hers
    scene('further')
    expect(shown).to_contain_text('8 observations checked so far', timeout=15_000)
    scene('ended')
    expect(shown).to_be_hidden(timeout=15_000)
    assert 'working' in answer(page)


def test_a_run_that_ends_holds_nobody_back_on_the_way_to_another_page(
    scene: Callable, opened: Window, url: str
) -> None:
    scene('at_work')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Run updatedata now')
    expect(page.locator('#progress')).to_be_visible()

    def slowly(route: Route) -> None:
        scene('ended')
        page.wait_for_timeout(3000)  # the page hears of that meanwhile
        route.continue_()

    page.route('**/automation/runs/', slowly)
    page.click('a[href="/automation/runs/"]')
    page.wait_for_url(f'{url}/automation/runs/')


def test_retry_a_record_and_read_what_became_of_it(
    scene: Callable, tom: Path, opened: Window, url: str
) -> None:
    scene('retry')
    page = show(opened('admin'), f'{url}/automation/')
    assert 'updatedata has been failing' in answer(page)
    page.click('[aria-label="Retry observation 1 now"]')
    wait_for_a_run(page)
    assert 'working' in answer(page)
    assert page.locator('text=None: every observation').is_visible()
    assert list(tom.glob('data/**/*.fits.fz'))
    show(page, f'{url}/automation/runs/')
    page.locator('#rows a[href^="/automation/runs/"]').nth(0).click()
    page.wait_for_url(f'{url}/automation/runs/*/')
    run = page.locator('main').inner_text()
    assert 'Started by admin. Limited to target' in run
    assert re.search(r'checked\s+1\b', run)
    assert 'from PENDING to COMPLETED' in page.locator('.log').inner_text()


def test_retry_all(scene: Callable, opened: Window, url: str) -> None:
    scene('retry')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Retry all now')
    wait_for_a_run(page)
    assert 'working' in answer(page)


def wait_for_a_run(page: Page) -> None:
    """Until the page has seen the run end, and has loaded itself anew."""
    expect(page.locator('#progress')).to_be_visible()
    expect(page.locator('#progress')).to_be_hidden(timeout=90_000)
    page.wait_for_load_state('networkidle')
    assert 'just now' in page.locator('table').nth(0).inner_text()


def test_update_observations_asks_for_a_run_in_the_background(
    scene: Callable, opened_theirs: Window, url: str
) -> None:
    scene('retry')
    page = opened_theirs('staff')
    page.goto(f'{url}/observations/list/')
    with page.expect_navigation(url=f'{url}/observations/list/'):  # to where it is already
        page.click('text=Update Observations')
    assert 'Started by staff.' in run_that_ends(page, url)


def test_the_button_on_a_targets_page_asks_for_a_run_of_that_target(
    scene: Callable, opened_theirs: Window, url: str
) -> None:
    scene('retry')
    page = opened_theirs('staff')
    show(page, f'{url}/automation/')
    page.click('a[href^="/targets/"]:text-is("M 31")')
    page.wait_for_url(f'{url}/targets/*/')
    page.click('text=Check the observatories now')  # which does not wait for the run
    expect(page.locator('text=The update runs in the background')).to_be_visible(timeout=10_000)
    assert 'Started by staff.' in run_that_ends(page, url)


def run_that_ends(page: Page, url: str) -> str:
    """What the page of the newest run says of it, once there is one and it has ended."""
    end = time.monotonic() + 60
    while 'just now' not in show(page, f'{url}/automation/').locator('table').nth(0).inner_text():
        assert time.monotonic() < end
    page.locator('a[href^="/automation/runs/"]').nth(0).click()
    page.wait_for_url(f'{url}/automation/runs/*/')
    while 'running' in page.locator('.outcome').inner_text():
        assert time.monotonic() < end
        page.reload()
    return page.locator('p:has(> .outcome)').inner_text()


def test_pause_and_resume(scene: Callable, opened: Window, url: str) -> None:
    scene('working')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Pause updatedata')
    assert 'updatedata has been paused' in answer(page)
    page.click('text=Resume updatedata')
    assert 'working' in answer(page)


@pytest.mark.parametrize('user', ['', 'ann'])
def test_others_look_and_touch_nothing(
    user: str, scene: Callable, opened: Window, url: str
) -> None:
    scene('failing')
    page = show(opened(user), f'{url}/automation/')
    assert 'M 31' in page.content()
    assert page.locator('main form[method=post]').count() == 0
    for path in ('/automation/', '/automation/runs/', '/automation/?query=Secret'):
        assert 'Secret Star' not in show(page, url + path).content()


# --- What it costs -------------------------------------------------------------------------


def test_ten_thousand_runs_and_a_hundred_thousand_records(
    scene: Callable, opened: Window, url: str
) -> None:
    scene('big')
    page = show(opened('admin'), f'{url}/automation/')
    assert page.locator('#rows tbody tr').count() == 25
    run = page.locator('a[href^="/automation/runs/"]').nth(0).get_attribute('href')
    page.click('text=next »')
    page.wait_for_url(re.compile('page=2'))
    page.click('#rows thead a:has-text("Times")')
    page.wait_for_url(re.compile('sort=failures'))
    page.fill('[name=query]', '99')
    page.click('text=Filter')
    page.wait_for_url(re.compile('query=99'))
    expect(page.locator('#rows tbody tr').nth(0)).to_contain_text('99')
    session = requests.Session()
    session.cookies.update({cookie['name']: cookie['value'] for cookie in page.context.cookies()})
    for asks in (session, requests.Session()):
        for path in ('', 'facilities/', 'weeks/', 'runs/?page=200', run, 'status.json', 'metrics'):
            address = url + run if path == run else f'{url}/automation/{path}'
            took, size = fastest(asks, address)
            print(f'{path or "the page"}: {took * 1000:.0f} ms, {size / 1000:.1f} kB')  # noqa: T201
            assert size < 150_000, path
            assert took < 0.2, path


def fastest(session: requests.Session, address: str) -> tuple[float, int]:
    """The best time of a few, as this machine has other things to do, and the size in bytes."""
    times = []
    for _ in range(8):
        begun = time.perf_counter()
        got = session.get(address, timeout=60)
        times.append(time.perf_counter() - begun)
        assert got.status_code == 200
    return min(times), len(got.content)


def test_the_files_of_a_page_are_the_toms_own_and_cached(url: str) -> None:
    page = requests.get(f'{url}/automation/', timeout=60).text
    files = re.findall(r'(?:src|href)="([^"]+\.(?:js|css)[^"]*)"', page)
    assert len(files) >= 6
    assert '<script>' not in page
    for file in files:
        assert file.startswith('/static/')
        got = requests.get(url + file, timeout=60)
        assert got.status_code == 200
        assert 'max-age' in got.headers['Cache-Control']


# --- What it tells those who do not look ---------------------------------------------------


def test_a_dead_cron_is_told_once_and_so_is_its_return(
    scene: Callable, tom: Path, observatory: dict[str, str], mails: Mails
) -> None:
    variables, subjects = mails
    scene('dead')
    with served(tom, WATCH='0.2', **observatory, **variables) as url:
        for _ in range(8):  # by two processes, each of which looks every time
            assert requests.get(f'{url}/', timeout=60).status_code == 200
            time.sleep(0.5)
        assert came(subjects, within=3) == ['[My TOM] updatedata is overdue']
    scene('retired')  # nothing is due any more
    manage(tom, 'updatedata', **observatory, **variables)
    assert came(subjects, within=3) == ['[My TOM] updatedata is working again']
    manage(tom, 'updatedata', **observatory, **variables)
    assert came(subjects, within=2) == []
