"""Makes the pictures of the README and the guide: a TOM with the scenes of the browser's tests.

Run by `make screenshots`. Needs a Chromium (apt install chromium); touches nothing outside .work/
and docs/screenshots/.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests'))

from playwright.sync_api import Browser  # noqa: E402

from baking import bake  # noqa: E402
from browser import browser, chromium, served  # noqa: E402
from page_scene_runner import PASSWORD, scene  # noqa: E402

PLACE = ROOT / '.work' / 'screenshots'
PICTURES = ROOT / 'docs' / 'screenshots'
WIDE, PHONE = {'width': 1200, 'height': 800}, {'width': 390, 'height': 844}


def main() -> None:
    if not chromium():
        raise SystemExit('There is no Chromium on this machine: apt install chromium')
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    PICTURES.mkdir(exist_ok=True)
    project = bake(PLACE).project
    with browser() as chrome:
        with served(project, workers=1) as url:
            scene(project, 'working')
            picture(chrome, url, 'working', WIDE)
            scene(project, 'failing')
            picture(chrome, url, 'failing', WIDE, user='staff')
            picture(chrome, url, 'failing-phone', PHONE)
        (project / 'local_settings.py').write_text("CSS_THEME = 'dark'\n")
        with served(project, workers=1) as url:
            scene(project, 'dead')
            picture(chrome, url, 'dead-dark', WIDE, user='staff')


def picture(chrome: Browser, url: str, name: str, viewport: dict[str, int], user: str = '') -> None:
    """Photograph the page as `user` sees it."""
    context = chrome.new_context(viewport=viewport)
    page = context.new_page()
    if user:
        page.goto(f'{url}/accounts/login/')
        page.fill('[name=login]', user)
        page.fill('[name=password]', PASSWORD)
        page.press('[name=password]', 'Enter')
        page.wait_for_url(f'{url}/')
    page.goto(f'{url}/automation/')
    page.wait_for_load_state('networkidle')
    page.screenshot(path=PICTURES / f'{name}.png', full_page=True)
    context.close()
    print(PICTURES / f'{name}.png')


if __name__ == '__main__':
    main()
