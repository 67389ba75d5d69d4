"""The TOM in containers, in a real Docker engine: up, at work, killed, backed up, moved.

One engine and one TOM serve all tests of this file, which run in their order: what has to wait
for its minute does so while others are at work.
"""

import hashlib
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from browser import browser, chromium
from composed import FRAMES_A_REQUEST, WATCHED, Tom
from docker_engine import COMPOSE, Engine, engine
from needs import need
from postgres import free_port
from real_cron import cron_in_name_spaces, need_cron

pytestmark = [pytest.mark.xdist_group('docker'), pytest.mark.timeout(900)]

PASSWORD = 'only-for-this-test'
ENOUGH = 8  # records with all their frames, for a run that is killed after the first frame
AT_ONCE = 0.2  # seconds: soon enough to kill a run in its middle
KILLED = ' 137'  # the exit status of what did not end when it was asked to
OWN = ('web', 'scheduler')  # the containers that the TOM's image runs in for long


@pytest.fixture(scope='module')
def docker() -> Iterator[Engine]:
    """A Docker engine."""
    with engine() as own:
        yield own


@pytest.fixture(scope='module')
def tom(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Tom:
    """A TOM with PostgreSQL, a worker and an observatory, built but not up."""
    place = tmp_path_factory.mktemp('docker')
    tom = Tom(place, docker, database='postgresql', task_engine='celery')
    tom.add_observatory()
    tom.add_hook()
    tom.edit('schedule.toml', '"hourly"', '"* * * * *"')
    # One request at a time: a run takes seconds, and has a middle to be killed in.
    tom.edit('my_tom/settings.py', 'TOM_AUTO = {\n', "TOM_AUTO = {\n    'WORKERS': 1,\n")
    tom.compose('build', 'web')
    return tom


def seconds_of(*words: str, of: Tom) -> float:
    """How long a command of Compose takes."""
    begun = time.monotonic()
    done = of.compose(*words, check=False)
    assert done.returncode == 0, done.stdout + of.compose('logs').stdout
    return time.monotonic() - begun


# --- Up -----------------------------------------------------------------------------------------


def test_up_from_a_built_image(tom: Tom) -> None:
    """Within 20 s, or where the machine is slow, within six times what its web server needs to start."""
    start = seconds_of(
        'run', '--rm', '--no-deps', 'web', 'python', '-c', 'import my_tom.wsgi', of=tom
    )
    seconds = seconds_of('up', '--detach', '--wait', 'web', of=tom)
    print(f'\nup and healthy after {seconds:.1f} s, {seconds / start:.1f} starts')  # noqa: T201
    assert seconds < max(20, 6 * start)
    assert requests.get(f'{tom.url}/targets/', timeout=30).status_code == 200
    css = requests.get(f'{tom.url}/static/tom_common/css/custom.css', timeout=30)
    assert css.status_code == 200
    assert 'Starting gunicorn' in tom.compose('logs', 'web').stdout


def test_migrations_have_ended_before_the_web_server_starts(tom: Tom) -> None:
    form = '{{.State.FinishedAt}} {{.State.StartedAt}}'
    ids = [tom.compose('ps', '-aq', name).stdout.strip() for name in ('migrate', 'web')]
    ended, started = tom.engine.run('docker', 'inspect', '-f', form, *ids).stdout.splitlines()
    assert ended.split()[0] < started.split()[1]
    tom.up()  # all the others, and the migrations once more


# --- Scheduled by the host's cron, and seen in a browser ----------------------------------------

#: Docker's socket in its usual place, and Compose as the plugin that a package installs: all of
#: it in name spaces that end with the test.
MACHINE = """
mount -t tmpfs none /usr/libexec
mkdir -p /usr/libexec/docker/cli-plugins
ln -s {compose} /usr/libexec/docker/cli-plugins/docker-compose
ln -s {socket} /run/docker.sock
/usr/bin/python3 -m tom_auto.scheduling install
"""
HAS_RUN = """
grep -q 'Success!' logs/cron.log 2>/dev/null && /usr/bin/python3 -m tom_auto.scheduling status
"""


def test_cron_on_the_host_runs_the_line(tom: Tom) -> None:
    """The line that the project itself installs, under a bare environment."""
    need_cron()
    tom.add_records(3)
    said = cron_in_name_spaces(
        tom.project,
        datetime(2028, 2, 29, 3, 17, tzinfo=UTC),
        before=MACHINE.format(compose=COMPOSE.resolve(), socket=tom.engine.socket),
        until=HAS_RUN,
        after='cat logs/cron.log',
    )
    line = re.search(r'^ *\* \* \* \* \* .*$', said, re.MULTILINE).group()
    assert f'-f {shlex.quote(str(tom.project / "compose.yaml"))} exec -T web' in line
    assert 'Installed and current' in said
    assert 'Success!' in said.rpartition('Installed and current')[2], said
    tom.is_complete()


def test_the_hooks_ran_in_the_worker_and_not_in_the_run(tom: Tom) -> None:
    worker = tom.inside('worker', 'hostname').strip()
    files = set(tom.holds().files)
    tom.wait_for('not all hooks', lambda: set().union(*tom.noted().values()) == files)
    assert set(tom.noted()) == {worker}


@pytest.fixture(scope='module')
def page(tom: Tom) -> Iterator[Page]:
    """A browser, where a superuser has logged in."""
    need(chromium(), 'needs Chromium (Debian package chromium)')
    tom.compose(
        'exec', '-T', '-e', f'DJANGO_SUPERUSER_PASSWORD={PASSWORD}', 'web',
        'python', 'manage.py', 'createsuperuser', '--noinput', '--username', 'admin',
        '--email', 'a@example.org',
    )  # fmt: skip
    with browser() as chrome:
        page = chrome.new_page()
        page.set_default_timeout(60_000)
        page.goto(f'{tom.url}/accounts/login/')
        page.fill('input[name=login]', 'admin')
        page.fill('input[name=password]', PASSWORD)
        page.press('input[name=password]', 'Enter')
        page.wait_for_url(f'{tom.url}/')
        yield page


def test_the_frames_are_on_the_page_of_their_target(tom: Tom, page: Page) -> None:
    has = tom.holds()
    assert has.frames
    page.goto(f'{tom.url}/targets/1/?tab=manage-data')
    for _, _, name in has.frames:
        assert page.locator(f'a[href$="{name}"]').count(), name
    answer = page.request.get(f'{tom.url}/data/{has.frames[0][2]}')
    assert answer.status == 200
    assert hashlib.sha256(answer.body()).hexdigest() == has.files[has.frames[0][2]]


def test_the_page_of_the_automation_starts_a_run(tom: Tom, page: Page) -> None:
    """The run is a process of its own in the container of the web server."""
    tom.add_records(3)
    trouble = []
    page.on('console', lambda said: trouble.append(said.text) if said.type == 'error' else None)
    page.on('response', lambda got: trouble.append(got.url) if got.status >= 400 else None)
    page.goto(f'{tom.url}/automation/')
    page.click('text=Run updatedata now')
    expect(page.locator('#progress')).to_be_visible()
    expect(page.locator('#progress')).to_be_hidden(timeout=90_000)
    page.wait_for_load_state('networkidle')
    assert 'working' in page.locator('.answer-sentence').inner_text()
    assert trouble == []
    assert 'Success!' in tom.inside('web', 'cat', 'logs/page.log')
    tom.is_complete()


# --- Killed -------------------------------------------------------------------------------------


@pytest.mark.parametrize('service', WATCHED)
def test_killed_in_the_middle_of_a_run(tom: Tom, service: str) -> None:
    """Each container in turn, in the middle of the same work; and it is back by itself."""
    before = tom.frames()
    if tom.added * FRAMES_A_REQUEST - before < ENOUGH * FRAMES_A_REQUEST:
        tom.add_records(ENOUGH)
    process = tom.process_of(service)
    with tom.updating() as run:
        tom.wait_for('no new frame', lambda: tom.frames() > before, every=AT_ONCE)
        assert not tom.has_all_frames(), 'too late to kill'
        kill(process)
        said, _ = run.communicate(timeout=120)
    # These may be back before the run has stopped asking, or it does not need them to its end.
    assert run.returncode != 0 or service != 'web', said
    tom.wait_for('not well', tom.is_well)
    assert tom.process_of(service) != process


def kill(process: int) -> None:
    """As the kernel does where memory is short; `docker kill` means "stop", and stays stopped."""
    os.kill(process, signal.SIGKILL)


def test_after_all_that_nothing_is_lost(tom: Tom) -> None:
    """Also of the record that two kills in a row met, and that would wait for half an hour now."""
    report = tom.update('--recheck')
    assert report['failed'] == 0, report
    files = set(tom.is_complete().files)
    tom.wait_for('not all hooks', lambda: set().union(*tom.noted().values()) == files)


# --- Upgraded, and scheduled without cron -------------------------------------------------------


BAD = """
from django.db import migrations
class Migration(migrations.Migration):
    operations = [migrations.RunSQL('SELECT 1 / 0')]
"""


def test_a_bad_upgrade_changes_nothing_and_a_good_one_brings_the_scheduler(tom: Tom) -> None:
    """J4, J10. What the scheduler is to do at the next minute waits for it."""
    tom.add_records(2 * ENOUGH)
    (tom.project / 'local_settings.py').write_text("TOM_NAME = 'Our TOM'\n")
    tom.set('SCHEDULER=1')
    bad = tom.project / 'app' / 'migrations' / '0001_bad.py'
    bad.write_text(BAD)
    before = tom.process_of('web')
    assert 'division by zero' in tom.type_in('Upgrade', check=False)
    assert tom.process_of('web') == before
    assert 'My TOM' in requests.get(f'{tom.url}/', timeout=30).text
    bad.unlink()
    assert images_that_were_replaced(tom)
    tom.type_in('Upgrade')
    assert 'Our TOM' in requests.get(f'{tom.url}/', timeout=30).text
    assert not images_that_were_replaced(tom)


def images_that_were_replaced(tom: Tom) -> list[str]:
    which = ('--filter', 'dangling=true', '--filter', 'label=tom')
    return tom.engine.run('docker', 'images', '--quiet', *which).stdout.split()


@pytest.mark.parametrize('service', [*OWN, 'worker', 'broker', 'database'])
def test_a_container_has_no_power(tom: Tom, service: str) -> None:
    """Not root, no capability, no way to get one, no file of the image to be changed."""
    status = tom.inside(service, 'cat', '/proc/self/status')
    fields = dict(line.split(':\t', 1) for line in status.splitlines() if ':\t' in line)
    assert fields['Uid'].split()[0] != '0'
    assert {int(fields[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd')} == {0}
    assert fields['NoNewPrivs'] == '1'
    refused = tom.inside(service, 'touch', '/etc/new', check=False)
    assert 'Read-only file system' in refused


#: What must not be in the image. A word for each that is.
LOOKS = """
for tool in gcc cc g++ c++ as ld make git uv; do command -v $tool && echo "tool $tool"; done
for place in /tom/.env /tom/.git /tom/Dockerfile /tom/compose.yaml /tom/nginx.conf /requirements.txt
do test -e $place && echo "left $place"; done
find /root /tmp /tom/.cache /var/cache/apt /var/lib/apt/lists -type f 2>/dev/null | sed 's/^/cache /'
find /tom /opt/tom -perm /o+w -not -type l | sed 's/^/writable /'
find /tom/app /tom/tom_auto /tom/my_tom -name '*.py' | while read file; do
    compiled=$(dirname $file)/__pycache__/$(basename $file .py).cpython-*.pyc
    ls $compiled >/dev/null 2>&1 || echo "not compiled $file"; done
"""


def test_the_image_holds_no_tool_no_cache_and_no_secret(tom: Tom) -> None:
    env = (tom.project / '.env').read_text()
    secrets = re.findall(r'^(?:SECRET_KEY|POSTGRES_PASSWORD)=(\S+)', env, re.MULTILINE)
    assert len(secrets) == 2
    run = ('docker', 'run', '--rm', '--user', '0', '--entrypoint', 'sh', 'my_tom', '-c')
    assert tom.engine.run(*run, LOOKS).stdout == ''
    history = tom.engine.run('docker', 'history', '--no-trunc', 'my_tom').stdout
    wanted = ' '.join(f'-e {secret}' for secret in secrets)  # one may begin with a dash
    # Status 1 says that nothing is found; any other but 0, that grep could not look.
    found = tom.engine.run(*run, f'grep -rlF {wanted} /tom /etc /opt/tom/bin || [ $? = 1 ]')
    assert found.stdout == ''
    assert not any(secret in history for secret in secrets)


def test_the_image_is_as_large_as_the_readme_says(tom: Tom) -> None:
    shown = tom.engine.run('docker', 'image', 'inspect', '-f', '{{.Size}}', 'my_tom').stdout
    print(f'\nthe image has {int(shown) / 1e6:.0f} MB')  # noqa: T201
    for name in ('README.md', 'DOCKER.md'):
        text = (tom.project / name).read_text(encoding='utf-8')
        [stated] = re.findall(r'about (\d\.\d+) GB', text)
        assert float(stated) == pytest.approx(int(shown) / 1e9, abs=0.1)


#: What the guide says of a TOM that others reach, over a proxy that does the https.
BITES = """
from django.core.management import call_command
from django.test import Client
call_command('check', deploy=True, fail_level='WARNING')
visitor = Client(enforce_csrf_checks=True, headers={'host': 'tom.example.org'})
over_https = {'x-forwarded-proto': 'https'}
login = '/accounts/login/'
form = visitor.get(login, headers=over_https)
typed = {'login': 'a', 'password': 'b', 'csrfmiddlewaretoken': form.cookies['csrftoken'].value}
def typed_at(origin):
    return visitor.post(login, typed, headers={**over_https, 'origin': origin}).status_code
print('GOT', visitor.get(login, headers={'host': 'other.example.org'}).status_code,
      visitor.get(login).status_code, form.status_code,
      typed_at('https://tom.example.org'), typed_at('https://tom.example.org:8443'))
"""


def test_settings_for_others_to_reach_it(tom: Tom) -> None:
    """`check --deploy` finds nothing; a host, an origin and a proxy are refused as explained."""
    lines = ('HTTPS=true', 'BEHIND_PROXY=true', 'ALLOWED_HOSTS=tom.example.org')
    flags = [word for line in lines for word in ('-e', line)]
    words = ('python', 'manage.py', 'shell', '--verbosity', '0', '-c', BITES)
    done = tom.compose('exec', '-T', *flags, 'web', *words, check=False)
    assert done.returncode == 0, done.stdout
    assert 'no issues' in done.stdout
    assert 'GOT 400 301 200 200 302' in done.stdout  # tomtoolkit makes the login page of a 403
    assert 'Origin checking failed' in done.stdout


@pytest.mark.parametrize('action', ['show', 'status'])
def test_in_the_container_schedule_says_where_the_line_belongs(tom: Tom, action: str) -> None:
    done = tom.manage('schedule', action, check=False)
    assert done.returncode == (0 if action == 'status' else 1), done.stdout
    assert 'python3 -m tom_auto.scheduling install' in done.stdout
    assert 'SCHEDULER=1' in done.stdout
    assert 'Traceback' not in done.stdout


def test_the_doctor_finds_nothing_wrong_in_the_container(tom: Tom) -> None:
    said = json.loads(tom.manage('doctor', '--json', check=False).stdout)
    assert said['well'], [check for check in said['checks'] if check['state'] == 'failed']


#: Reads and writes a file instead of the crontab of whoever runs the tests.
CRONTAB = """#!/bin/sh
table=$(dirname "$0")/table
if [ "$1" = -l ]; then cat "$table" 2>/dev/null || { echo 'no crontab for you' >&2; exit 1; }
else cat >"$table.new" && mv "$table.new" "$table"; fi
"""


def test_the_scheduler_is_killed_in_the_middle_of_its_run(tom: Tom) -> None:
    """On a slow machine, the tests above take longer than the run: then the next one is killed."""
    had = (tom.added - 2 * ENOUGH) * FRAMES_A_REQUEST
    tom.wait_for('no scheduled run', lambda: tom.frames() > had, every=AT_ONCE)
    if tom.has_all_frames():
        had = tom.frames()
        tom.add_records(2 * ENOUGH)
        tom.wait_for('no scheduled run', lambda: tom.frames() > had, every=AT_ONCE)
    assert not tom.has_all_frames(), 'too late to kill'
    kill(tom.process_of('scheduler'))


def test_from_a_bake_to_a_tom_in_one_go_with_sqlite(tom: Tom, tmp_path: Path) -> None:
    """The hook builds, starts and schedules it, after a yes. What it holds survives a move."""
    crontab = tmp_path / 'bin' / 'crontab'
    for directory in (crontab.parent, tmp_path / 'tmp'):
        directory.mkdir()
    crontab.write_text(CRONTAB)
    crontab.chmod(0o755)
    path = f'{crontab.parent}:{tom.engine.environment["PATH"]}'
    yes = {'TOM_AUTO_INSTALL': '1', 'PATH': path, 'TMPDIR': str(tmp_path / 'tmp')}
    lite = Tom(tmp_path, tom.engine, yes, project_slug='lite', crontab='install')
    try:
        assert 'Everything is set up' in lite.said, lite.said
        assert (
            'exec -T web python manage.py schedule run updatedata'
            in (crontab.parent / 'table').read_text()
        )
        lite.manage('demo')
        before = lite.holds()
        assert len(before.frames) == 12
        lite.type_in('Back up')
        lite.down()
        lite.type_in('Restore')
        assert lite.holds() == before
    finally:
        lite.down()


def test_the_scheduler_is_back_and_nothing_is_lost(tom: Tom) -> None:
    """Due every minute: the run after the kill brings home what the killed one did not."""
    tom.wait_for('not all frames', tom.has_all_frames)
    tom.is_complete()
    ended = '[updatedata] ended with status 0'
    tom.wait_for('no end', lambda: ended in tom.compose('logs', 'scheduler').stdout)
    assert tom.compose('logs', 'scheduler').stdout.count('[updatedata] started') >= 2


@pytest.mark.parametrize('service', OWN)
def test_each_reads_what_the_other_writes(tom: Tom, service: str) -> None:
    assert tom.inside(service, 'find', 'data', 'logs', '-not', '-readable') == ''
    assert tom.inside(service, 'find', 'data', '-name', '*.fits*') != ''


# --- With https ---------------------------------------------------------------------------------

CERTIFICATE = (
    'openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost '
    '-addext subjectAltName=DNS:localhost -keyout privkey.pem -out fullchain.pem'
)
STALLED = 8
MEGABYTES = 30  # more than all buffers on the way hold
BIG = f"""
from django.core.files.base import ContentFile
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target
big = DataProduct(target=Target.objects.first(), product_id='big')
big.data.save('big.fits', ContentFile(bytes({MEGABYTES} * 2**20)))
print('BIG', big.data.name)
"""
NOT_BIG = """
from tom_dataproducts.models import DataProduct
big = DataProduct.objects.get(product_id='big')
big.data.delete(save=False)
big.delete()
"""


@pytest.fixture(scope='module')
def https(tom: Tom, page: Page) -> Iterator[requests.Session]:
    """Somebody who has logged in over https, as the guide says."""
    made = tom.project / 'certificates'
    made.mkdir()
    tom.engine.run(*CERTIFICATE.split(), cwd=made)
    for file in (made, *made.iterdir()):
        os.chown(file, 10001, -1)
    guide = (tom.project / 'DOCKER.md').read_text(encoding='utf-8')
    lines = guide.partition('and write into `.env`:\n\n```\n')[2].partition('```')[0]
    port = free_port()
    lines = lines.replace('tom.example.org', 'localhost').split()
    tom.set(*lines, f'HTTPS_PORT={port}', f'HTTP_PORT={free_port()}', 'SCHEDULER=0', 'BEAT=1')
    tom.up()
    with requests.Session() as session:
        session.trust_env = False  # a bundle of certificates that it names would win
        session.verify = str(made / 'fullchain.pem')
        session.headers['Referer'] = session.base = f'https://localhost:{port}'
        form = session.get(f'{session.base}/accounts/login/', timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text).group(1)
        typed = {'login': 'admin', 'password': PASSWORD, 'csrfmiddlewaretoken': token}
        session.post(f'{session.base}/accounts/login/', typed, timeout=30).raise_for_status()
        yield session


def test_what_is_switched_off_is_gone(tom: Tom, https: requests.Session) -> None:
    """J8: the scheduler, which had a copy before."""
    assert tom.compose('ps', '-aq', 'scheduler').stdout == ''


def test_login_and_downloads_over_https(tom: Tom, https: requests.Session) -> None:
    """nginx sends the files; the TOM says who may have which."""
    assert https.get(f'{https.base}/users/', timeout=30).status_code == 200
    assert all(cookie.secure for cookie in https.cookies)
    has = tom.holds()
    name = has.frames[0][2]
    whole = https.get(f'{https.base}/data/{name}', timeout=30)
    assert hashlib.sha256(whole.content).hexdigest() == has.files[name]
    assert whole.headers['Content-Security-Policy'] == 'sandbox'
    part = https.get(f'{https.base}/data/{name}', headers={'Range': 'bytes=10-19'}, timeout=30)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers['ETag'] == whole.headers['ETag']
    for hidden in (f'internal-data/{name}', 'data/.tom-storage-id', 'data/../settings.py'):
        assert https.get(f'{https.base}/{hidden}', timeout=30).status_code == 404
    assert f'"GET /data/{name}" 206 10 bytes' in tom.compose('logs', 'proxy').stdout


def test_a_proxy_that_is_killed_is_back(tom: Tom, https: requests.Session) -> None:
    kill(tom.process_of('proxy'))

    def answers() -> bool:
        try:
            return https.get(f'{https.base}/targets/', timeout=30).status_code == 200
        except requests.ConnectionError:
            return False

    tom.wait_for('no page', answers)


def test_stalled_downloads_hold_no_page_up(tom: Tom, https: requests.Session) -> None:
    """E9: each visitor takes the beginning of a big file, and reads no further."""
    name = tom.manage('shell', '-c', BIG).stdout.rpartition('BIG ')[2].strip()
    with ExitStack() as stack:
        for _ in range(STALLED):
            url = f'{https.base}/data/{name}'
            answer = stack.enter_context(https.get(url, stream=True, timeout=30))
            assert answer.status_code == 200
            assert answer.raw.read(1000)
        took = []
        for _ in range(5):
            assert https.get(f'{https.base}/accounts/login/', timeout=30).status_code == 200
            took.append(https.get(f'{https.base}/targets/', timeout=30).elapsed.total_seconds())
    tom.manage('shell', '-c', NOT_BIG)
    assert min(took) < 0.3, took


def test_beat_has_the_worker_run_the_job(tom: Tom, https: requests.Session) -> None:
    """Beat has been up since the container that did so before was taken away."""
    tom.add_records(1)
    tom.wait_for('no run', tom.has_all_frames)
    tom.is_complete()


# --- Moved --------------------------------------------------------------------------------------


def test_backup_and_restore_as_the_guide_says(tom: Tom) -> None:
    """The containers and every volume are gone in between, and none had to be killed."""
    tom.set('BEAT=0')
    tom.up()
    before = tom.holds()
    assert before.frames
    tom.type_in('Back up')
    with tom.updating('--recheck') as run:
        ended = tom.down()
        run.wait(timeout=60)
    assert ended
    assert not [each for each in ended if each.endswith(KILLED)]
    tom.type_in('Restore')
    assert tom.is_well()
    assert tom.holds() == before
