"""What the page's tests share: a generated TOM that is served, its scenes, and windows on it."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from baking import bake
from browser import browser, chromium, collect_static, served
from needs import need
from page_scene_runner import PASSWORD, stage
from running import clean_environment, tom_python

WIDE, PHONE = {'width': 1280, 'height': 900}, {'width': 390, 'height': 844}

#: So that one project can be served in both themes, and with a watch that does not wait.
LOCAL_SETTINGS = """
import os
CSS_THEME = os.environ.get('LOOK') or None
TOM_AUTO = {'WATCH_EVERY': float(os.environ.get('WATCH') or 300)}
"""


@pytest.fixture(scope='session')
def chrome() -> Iterator[Browser]:
    """A Chromium."""
    need(chromium(), 'Chromium (apt install chromium)')
    with browser() as opened:
        yield opened


@pytest.fixture(scope='session')
def tom(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated TOM, ready to be served."""
    done = bake(tmp_path_factory.mktemp('browser'))
    assert done.status == 0, done.printed
    (done.project / 'local_settings.py').write_text(LOCAL_SETTINGS)
    shutil.copy(migrated, done.project / 'db.sqlite3')
    collect_static(done.project)
    return done.project


@pytest.fixture(scope='session')
def scene(tom: Path) -> Iterator[Callable[[str], None]]:
    """Lets the TOM's database hold one of the scenes of page_scene.py."""
    with stage(tom) as set_scene:
        yield set_scene


@pytest.fixture(scope='session')
def observatory(tom: Path) -> Iterator[dict[str, str]]:
    """The variables that lead the TOM to a simulated observatory, where request 1 is complete."""
    sky = subprocess.Popen(
        [tom_python(), '-m', 'tom_auto.simulator', '--requests', '1'],
        cwd=tom,
        env=clean_environment(tom),
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


@pytest.fixture(scope='session')
def url(chrome: Browser, tom: Path, observatory: dict[str, str]) -> Iterator[str]:
    """Where the TOM is, in tomtoolkit's light theme."""
    with served(tom, **observatory) as address:
        yield address


class Trouble(list):
    """What a page's reader would find in the browser's console, and who else was asked."""

    def watch(self, page: Page, url: str) -> None:
        """Note it from now on, for `page` of the TOM at `url`."""
        page.on('console', lambda said: self.append(said.text) if said.type == 'error' else None)
        page.on('pageerror', lambda error: self.append(str(error)))
        page.on(
            'request', lambda asked: None if asked.url.startswith(url) else self.append(asked.url)
        )


Window = Callable[..., Page]


@contextmanager
def windows(chrome: Browser, url: str, ours: bool = True) -> Iterator[Window]:
    """Opens windows, logged in as somebody; afterwards no console may have an error in it.

    Not `ours`: for pages of tomtoolkit's, which ask others for their maps. Nobody else is reached.
    """
    trouble, contexts = Trouble(), []

    def window(user: str = '', viewport: dict[str, int] = WIDE, **options: object) -> Page:
        context: BrowserContext = chrome.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        if ours:
            trouble.watch(page, url)
        else:
            page.route(lambda asked: not asked.startswith(url), lambda route: route.abort())
        if user:
            log_in(page, url, user)
        return page

    yield window
    for context in contexts:
        context.close()
    assert trouble == [], trouble  # this module is not rewritten by pytest


@pytest.fixture
def opened(chrome: Browser, url: str) -> Iterator[Window]:
    """Opens windows on the TOM in its light theme."""
    with windows(chrome, url) as window:
        yield window


@pytest.fixture
def opened_theirs(chrome: Browser, url: str) -> Iterator[Window]:
    """The same for pages of tomtoolkit's own."""
    with windows(chrome, url, ours=False) as window:
        yield window


def log_in(page: Page, url: str, user: str) -> None:
    """Log in as one of the people of page_scene.py."""
    page.goto(f'{url}/accounts/login/')
    page.fill('[name=login]', user)
    page.fill('[name=password]', PASSWORD)
    page.press('[name=password]', 'Enter')
    page.wait_for_url(f'{url}/')


def show(page: Page, address: str) -> Page:
    """Open a page, and wait for the pieces that it fetches afterwards."""
    page.goto(address)
    page.wait_for_load_state('networkidle')
    return page


def answer(page: Page) -> str:
    """The sentence that says whether it works."""
    return page.locator('.answer-sentence').inner_text().replace('\xa0', ' ').strip()


Mails = tuple[dict[str, str], Queue]


@pytest.fixture
def mails(tom: Path, tmp_path: Path) -> Iterator[Mails]:
    """The variables that name a mail server, and the subjects of what comes there.

    The mails themselves are files in `tmp_path / 'mails'`.
    """
    (tmp_path / 'mails').mkdir()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name('mail_sink.py'), port, tmp_path / 'mails'],
        cwd=tom,
        env=clean_environment(tom),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout.readline() == 'ready\n'
    subjects: Queue[str] = Queue()
    reader = Thread(target=lambda: [subjects.put(line.strip()) for line in server.stdout])
    reader.start()
    yield {'EMAIL_HOST': '127.0.0.1', 'EMAIL_PORT': port, 'ADMINS': 'ada@example.org'}, subjects
    server.stdin.close()
    server.wait(timeout=60)
    reader.join(60)
    server.stdout.close()


def came(subjects: Queue, within: float) -> list[str]:
    """Every subject that comes within so many seconds of the one before it."""
    found = []
    while True:
        try:
            found.append(subjects.get(timeout=within))
        except Empty:
            return found
