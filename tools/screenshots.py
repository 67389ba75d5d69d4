"""Makes the pictures of the README and the guide: a TOM with the scenes of the browser's tests.

Run by `make screenshots`. Needs a Chromium (apt install chromium); touches nothing outside .work/
and docs/screenshots/.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'template'))
sys.path.insert(0, str(ROOT / 'tests' / 'shared'))

from playwright.sync_api import Browser, Page  # noqa: E402

from baking import bake  # noqa: E402
from browser import browser, chromium, collect_static, served  # noqa: E402
from page_scene_runner import stage  # noqa: E402
from page_windows import LOCAL_SETTINGS, PHONE, log_in  # noqa: E402
from running import manage, tom_python  # noqa: E402

PLACE = ROOT / '.work' / 'screenshots'
PICTURES = ROOT / 'docs' / 'screenshots'
WIDE = {'width': 1200, 'height': 800}
#: All that the demo shows is on the schedule.
SCHEDULE = """environment = "virtualenv"
id = "7f3a09c2"
[updatedata]
when = "hourly"
[updatecadences]
when = "hourly"
[updatetargets]
when = "daily"
"""
#: Puts a reader's paths in the place of those of whoever makes the pictures.
NEUTRAL = """
([place, python]) => document.querySelectorAll('pre code').forEach(code => {
  code.textContent = code.textContent.replaceAll(python, '/home/ada/my_tom/.venv/bin/python')
    .replaceAll(place, '/home/ada');
})
"""


def main() -> None:
    if not chromium():
        raise SystemExit('There is no Chromium on this machine: apt install chromium')
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    PICTURES.mkdir(exist_ok=True)
    project = bake(PLACE).project
    (project / 'local_settings.py').write_text(LOCAL_SETTINGS)
    done = manage(project, 'migrate', '-v0')
    assert done.returncode == 0, done.stdout
    collect_static(project)
    with browser() as chrome, stage(project) as scene:
        with served(project, workers=1) as url:
            in_the_light(chrome, url, scene)
        with served(project, workers=1, LOOK='dark') as url:
            in_the_dark(chrome, url, scene)
        scene('without_frames')
        (project / 'schedule.toml').write_text(SCHEDULE)
        manage(project, 'demo', '--among-real-records')
        for job in ('updatecadences', 'updatetargets'):
            manage(project, 'schedule', 'run', job)
        with served(project, workers=1) as url:
            a_candidate(chrome, url)


def in_the_light(chrome: Browser, url: str, scene: Callable[[str], None]) -> None:
    """What works, what fails, and where else it is said."""
    scene('working')
    picture(chrome, url, 'working', WIDE)
    scene('drawn')
    picture(chrome, url, 'arrivals', WIDE, path='/automation/arrivals/', whole=False)
    picture(chrome, url, 'home', WIDE, user='staff', path='/', whole=False)
    picture(chrome, url, 'profile', WIDE, user='ann', path='/users/profile/', go=hide_the_token)
    scene('failing')
    picture(chrome, url, 'failing', WIDE, user='staff')
    picture(chrome, url, 'failing-phone', PHONE)
    picture(chrome, url, 'run', WIDE, user='admin', go=to_the_newest_run)
    picture(chrome, url, 'target', WIDE, user='admin', go=to_the_first_target, whole=False)


def in_the_dark(chrome: Browser, url: str, scene: Callable[[str], None]) -> None:
    """tomtoolkit's dark theme."""
    scene('dead')
    picture(chrome, url, 'dead-dark', WIDE, user='staff')
    scene('failing')
    picture(chrome, url, 'failing-dark-phone', PHONE, user='staff')


def a_candidate(chrome: Browser, url: str) -> None:
    """What the demo has made of a candidate, and what the page says of the jobs that did it."""
    picture(chrome, url, 'candidate', WIDE, user='admin', path='/targets/', go=to_the_candidate)
    picture(chrome, url, 'candidate-data', WIDE, user='admin', path='/targets/', go=to_its_data)
    picture(chrome, url, 'candidate-jobs', WIDE, user='admin', whole=False)


def to_the_candidate(page: Page) -> None:
    """The observations of the demo's supernova."""
    with page.expect_navigation():
        page.locator('a:text-is("SN2026ab (demo)")').nth(0).click()
    page.goto(f'{page.url.partition("?")[0]}?tab=observations')


def to_its_data(page: Page) -> None:
    """Its data."""
    to_the_candidate(page)
    page.goto(f'{page.url.partition("?")[0]}?tab=manage-data')


def to_the_newest_run(page: Page) -> None:
    """The page of the run at the top."""
    with page.expect_navigation():
        page.locator('a[href^="/automation/runs/"]').nth(0).click()


def to_the_first_target(page: Page) -> None:
    """The page of the target of the first problem."""
    with page.expect_navigation():
        page.locator('a[href^="/targets/"]:text-is("M 31")').nth(0).click()


def hide_the_token(page: Page) -> None:
    """The token of a user is nobody's business, even that of an invented one."""
    page.locator('dt:has-text("API Token") + dd').evaluate('cell => { cell.textContent = "…"; }')


def picture(
    chrome: Browser,
    url: str,
    name: str,
    viewport: dict[str, int],
    user: str = '',
    path: str = '/automation/',
    go: Callable[[Page], None] = lambda page: None,
    whole: bool = True,
) -> None:
    """Photograph the page at `path`, or where `go` leads from there, as `user` sees it.

    `whole`: all of it, not only what fits into the window.
    """
    context = chrome.new_context(viewport=viewport)
    page = context.new_page()
    page.route(lambda asked: not asked.startswith(url), lambda route: route.abort())
    if user:
        log_in(page, url, user)
    page.goto(url + path)
    go(page)
    page.wait_for_load_state('networkidle')
    page.evaluate(NEUTRAL, [str(PLACE), str(tom_python())])
    page.evaluate('scrollTo(0, 0)')
    page.screenshot(path=PICTURES / f'{name}.png', full_page=whole)
    context.close()
    print(PICTURES / f'{name}.png')


if __name__ == '__main__':
    main()
