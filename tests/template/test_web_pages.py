"""The pages of a generated TOM, asked for over HTTP from a real server by a user who logs in."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from baking import bake
from running import clean_environment, manage, tom_python

pytestmark = pytest.mark.xdist_group('web pages')  # one TOM for all

PAGES = (
    '/',
    '/targets/',
    '/targets/create/?type=SIDEREAL',
    '/targets/create/?type=NON_SIDEREAL',
    '/targets/1/',
    '/targets/targetgrouping/',
    '/observations/list/',
    '/dataproducts/data/',
    '/dataproducts/data/group/list/',
    '/users/',
    '/admin/',
    '/api/',
)
PASSWORD = 'only-for-this-test'
STARTS_WITHIN = 90  # seconds, on a busy machine


class Site:
    """A running TOM and a browser that has logged in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy: the server is on this machine

    def get(self, path: str) -> requests.Response:
        """Ask for a page."""
        return self.session.get(self.url + path, timeout=60)

    def post(self, path: str, form: dict[str, str]) -> requests.Response:
        """Fill in and send the form at `path`, as a browser does."""
        self.get(path)
        form = {'csrfmiddlewaretoken': self.session.cookies['csrftoken'], **form}
        return self.session.post(self.url + path, form, timeout=60)


@pytest.fixture(scope='module')
def project(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TOM with a database and an administrator."""
    done = bake(tmp_path_factory.mktemp('web'))
    assert done.status == 0, done.printed
    shutil.copy(migrated, done.project / 'db.sqlite3')
    admin = ('--noinput', '--username', 'admin', '--email', 'a@example.org')
    run = manage(done.project, 'createsuperuser', *admin, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    assert run.returncode == 0, run.stdout
    return done.project


@pytest.fixture(scope='module')
def site(project: Path) -> Iterator[Site]:
    """The TOM's own server on a free port of this machine, and its administrator logged in."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    log = project / 'logs' / 'runserver.log'
    with log.open('w') as printed:
        server = subprocess.Popen(
            [tom_python(), 'manage.py', 'runserver', '--noreload', f'127.0.0.1:{port}'],
            cwd=project,
            env=clean_environment(project),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            site = Site(f'http://127.0.0.1:{port}')
            wait_until_it_answers(site, server, log)
            answer = site.post('/accounts/login/', {'login': 'admin', 'password': PASSWORD})
            assert answer.url == f'{site.url}/', 'logging in failed'
            yield site
        finally:
            server.terminate()
            server.wait(timeout=30)
    assert 'Traceback' not in log.read_text(), log.read_text()


def wait_until_it_answers(site: Site, server: subprocess.Popen, log: Path) -> None:
    """Return once the server answers. Raises AssertionError when it ends or takes too long."""
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            site.get('/accounts/login/')
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f'no answer within {STARTS_WITHIN} s: {log.read_text()}')


@pytest.fixture(scope='module')
def target(site: Site) -> str:
    """The address of a target that the administrator has just made with the form."""
    form = {
        'name': 'M 31',
        'type': 'SIDEREAL',
        'ra': '10.6847',
        'dec': '41.269',
        'permissions': 'PRIVATE',
        'aliases-TOTAL_FORMS': '0',
        'aliases-INITIAL_FORMS': '0',
        'targetextra_set-TOTAL_FORMS': '0',
        'targetextra_set-INITIAL_FORMS': '0',
    }
    answer = site.post('/targets/create/?type=SIDEREAL', form)
    assert answer.status_code == 200
    assert re.search(r'/targets/\d+/$', answer.url), answer.text
    return answer.url.removeprefix(site.url)


@pytest.mark.parametrize('page', PAGES)
def test_a_page_answers_and_so_does_every_file_of_its(site: Site, target: str, page: str) -> None:
    assert target == '/targets/1/'
    answer = site.get(page)
    assert answer.status_code == 200, answer.text
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', answer.text))
    if page == '/':
        assert '/static/tom_common/css/custom.css' in files
    missing = [file for file in sorted(files) if site.get(file).status_code != 200]
    assert not missing


def test_the_name_of_the_tom_is_on_its_pages(site: Site) -> None:
    assert 'My TOM' in site.get('/').text


def test_a_visitor_may_look_but_not_create(site: Site) -> None:
    visitor = Site(site.url)
    assert visitor.get('/targets/').status_code == 200
    assert '/accounts/login/' in visitor.get('/targets/create/').url
