"""The automation's page in a real Chromium, served by gunicorn."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from baking import bake
from browser import browser, chromium, served
from needs import need
from page_scene_runner import PASSWORD, scene
from running import clean_environment, tom_python

pytestmark = pytest.mark.xdist_group('browser')

AA = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
WIDE, PHONE = {'width': 1280, 'height': 900}, {'width': 390, 'height': 844}
PAGES = ('/automation/', '/automation/runs/', '/automation/runs/{run}/')


@pytest.fixture(scope='module')
def chrome() -> Iterator[Browser]:
    need(chromium(), 'Chromium (apt install chromium)')
    with browser() as opened:
        yield opened


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = bake(tmp_path_factory.mktemp('browser'))
    assert done.status == 0, done.printed
    return done.project


@pytest.fixture(scope='module')
def observatory(project: Path) -> Iterator[dict[str, str]]:
    """The variables that lead the TOM to a simulated observatory, where request 1 is complete."""
    sky = subprocess.Popen(
        [tom_python(), '-m', 'app.observatory', '--requests', '1'],
        cwd=project,
        env=clean_environment(project),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url, _, token, *_ = sky.stdout.readline().split()
        yield {'LCO_PORTAL_URL': url, 'LCO_ARCHIVE_URL': url, 'LCO_API_KEY': token}
    finally:
        sky.terminate()
        sky.wait(timeout=30)
        sky.stdout.close()


@pytest.fixture(scope='module')
def url(chrome: Browser, project: Path, observatory: dict[str, str]) -> Iterator[str]:
    with served(project, **observatory) as address:
        yield address


class Trouble(list):
    """What a page's reader would find in the browser's console, and who else was asked."""

    def watch(self, page: Page, url: str) -> None:
        page.on('console', lambda said: self.append(said.text) if said.type == 'error' else None)
        page.on('pageerror', lambda error: self.append(str(error)))
        page.on(
            'request', lambda asked: None if asked.url.startswith(url) else self.append(asked.url)
        )


@pytest.fixture
def opened(chrome: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens a window, logged in as somebody; afterwards no console may have an error in it."""
    trouble, contexts = Trouble(), []

    def window(user: str = '', viewport: dict[str, int] = WIDE, **options: object) -> Page:
        context: BrowserContext = chrome.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        trouble.watch(page, url)
        if user:
            log_in(page, url, user)
        return page

    yield window
    for context in contexts:
        context.close()
    assert trouble == []


def log_in(page: Page, url: str, user: str) -> None:
    page.goto(f'{url}/accounts/login/')
    page.fill('[name=login]', user)
    page.fill('[name=password]', PASSWORD)
    page.press('[name=password]', 'Enter')
    page.wait_for_url(f'{url}/')


def show(page: Page, address: str) -> Page:
    page.goto(address)
    page.wait_for_load_state('networkidle')
    return page


def answer(page: Page) -> str:
    return page.locator('.answer-sentence').inner_text().replace('\xa0', ' ').strip()


@pytest.mark.parametrize(
    ('story', 'words'),
    [
        ('working', 'updatedata is working since'),
        ('dead', 'updatedata is overdue by 2 days'),
        ('failing', 'updatedata is failing since 5 hours ago, because SOAR could not be asked'),
    ],
)
def test_it_says_whether_it_works_wide_and_narrow(
    story: str, words: str, project: Path, opened: Callable, url: str
) -> None:
    scene(project, story)
    for viewport in (WIDE, PHONE):
        page = show(opened(viewport=viewport), f'{url}/automation/')
        assert answer(page).startswith(words)
        assert page.locator('svg rect').count() > 10
        width = page.evaluate('document.documentElement.scrollWidth')
        assert width <= viewport['width'], 'the page is wider than the window'


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_it_passes_axe_in_both_themes(
    theme: str,
    project: Path,
    observatory: dict[str, str],
    chrome: Browser,
    opened: Callable,
    url: str,
) -> None:
    scene(project, 'failing')
    if theme == 'light':
        check_with_axe(opened('admin'), url)
        check_with_axe(opened('', PHONE), url)
        return
    local = project / 'local_settings.py'
    local.write_text("CSS_THEME = 'dark'\n")
    try:
        with served(project, workers=1, **observatory) as dark:
            context = chrome.new_context(viewport=WIDE)
            page = context.new_page()
            trouble = Trouble()
            trouble.watch(page, dark)
            log_in(page, dark, 'admin')
            check_with_axe(page, dark)
            background = 'getComputedStyle(document.querySelector("td")).backgroundColor'
            assert max(map(int, re.findall(r'\d+', page.evaluate(background)))) < 100
            context.close()
            assert trouble == []
    finally:
        local.unlink()


def check_with_axe(page: Page, url: str) -> None:
    show(page, f'{url}/automation/')
    run = page.locator('a[href^="/automation/runs/"]').nth(0).get_attribute('href')
    for path in PAGES:
        show(page, url + path.replace('/automation/runs/{run}/', run))
        for details in page.locator('summary').all():
            details.click()
        found = Axe().run(page, options={'runOnly': AA}).response
        named = [
            (
                violation['id'],
                violation['nodes'][0]['target'],
                violation['nodes'][0]['failureSummary'],
            )
            for violation in found['violations']
        ]
        assert named == [], path
        assert len(found['passes']) > 10


def test_run_now_is_watched_until_it_ends(project: Path, opened: Callable, url: str) -> None:
    scene(project, 'retry')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Run updatedata now')
    wait_for_a_run(page)
    assert '1 observation could not be checked' in answer(page)  # it waits for its time


def test_retry_a_record(project: Path, opened: Callable, url: str) -> None:
    scene(project, 'retry')
    page = show(opened('staff'), f'{url}/automation/')
    assert 'updatedata is failing' in answer(page)
    page.click('[aria-label="Retry observation 1 now"]')
    wait_for_a_run(page)
    assert 'updatedata is working' in answer(page)
    assert page.locator('text=None: every observation').is_visible()
    assert list(project.glob('data/**/*.fits.fz'))


def wait_for_a_run(page: Page) -> None:
    """Until the page has seen the run end, and has loaded itself anew."""
    expect(page.locator('#progress')).to_be_visible()
    expect(page.locator('#progress')).to_be_hidden(timeout=90_000)
    page.wait_for_load_state('networkidle')
    assert 'just now' in page.locator('table').nth(0).inner_text()


def test_pause_and_resume(project: Path, opened: Callable, url: str) -> None:
    scene(project, 'working')
    page = show(opened('staff'), f'{url}/automation/')
    page.click('text=Pause updatedata')
    assert 'updatedata is paused' in answer(page)
    page.click('text=Resume updatedata')
    assert 'updatedata is working' in answer(page)


def test_times_are_in_the_zone_of_the_reader(project: Path, opened: Callable, url: str) -> None:
    scene(project, 'working')
    page = opened(timezone_id='Pacific/Honolulu', locale='en-US')
    show(page, f'{url}/automation/')
    assert 'GMT-10' in page.locator('time').nth(0).get_attribute('title').replace('HST', 'GMT-10')


@pytest.mark.parametrize('user', ['', 'ann'])
def test_others_look_and_touch_nothing(
    user: str, project: Path, opened: Callable, url: str
) -> None:
    scene(project, 'failing')
    page = show(opened(user), f'{url}/automation/')
    assert 'M 31' in page.content()
    for path in ('/automation/', '/automation/runs/', '/automation/?query=Secret'):
        assert 'Secret Star' not in show(page, url + path).content()
    show(page, f'{url}/automation/')
    assert page.locator('main form[method=post]').count() == 0


def test_ten_thousand_runs_and_a_hundred_thousand_records(
    project: Path, opened: Callable, url: str
) -> None:
    scene(project, 'big')
    page = show(opened('admin'), f'{url}/automation/')
    assert page.locator('#rows tbody tr').count() == 25
    page.click('text=next »')
    page.wait_for_load_state('networkidle')
    assert 'page=2' in page.url
    page.click('#rows thead a:has-text("Times")')
    page.wait_for_load_state('networkidle')
    page.fill('[name=query]', '99')
    page.click('text=Filter')
    page.wait_for_load_state('networkidle')
    assert '99' in page.locator('#rows tbody tr').nth(0).inner_text()
    session = requests.Session()
    session.cookies.update({cookie['name']: cookie['value'] for cookie in page.context.cookies()})
    for asks in (session, requests.Session()):
        took, size = fastest(asks, f'{url}/automation/')
        assert size < 150_000
        assert took < 0.2, 'seconds'


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
