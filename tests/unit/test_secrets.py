"""No token, password or signature is ever written down: rule 14, whatever goes wrong.

A distinctive token and password, and every signature that the simulated observatory has given
out, are looked for in all that a run leaves behind: what it printed, the log at its most
talkative, every column of every table, and the pages. One exception: the page of an observation
shows a fresh address for each frame that is not saved, to people who are logged in. That is
tomtoolkit's own, and how one frame is fetched by hand.
"""

import logging
import re
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from tom_dataproducts.models import DataProduct

import faults
from simulated import Observatory
from tom_auto.models import RecordSync, UpdateRun
from tom_auto.redact import RedactingFormatter
from tom_auto.simulator import archive
from tom_auto.simulator.messages import Call, Reply, html_reply, json_reply

from .leaky import WAYS, LeakyFacility

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings('ignore:.*is a weak password'),
]

TOKEN = '3b9f00dcafe7d15c0de8badf00d42feedface99a'
PASSWORD = 'p/ss "wörd" correct-horse'
CORE = 'correct-horse'  # what no encoding changes, but for base64


@pytest.fixture
def sky(settings, monkeypatch):
    """An observatory that keeps a list of what is secret in the addresses that it gives out."""
    with Observatory(token=TOKEN) as sky:
        facility = {'signed': f'{sky.url}/store/nothing', 'password': PASSWORD, 'user': 'me'}
        settings.FACILITIES = {
            **dict.fromkeys(('LCO', 'SOAR', 'BLANCO'), sky.settings()),
            'Leaky': facility,
        }
        settings.TOM_FACILITY_CLASSES = [
            *settings.TOM_FACILITY_CLASSES,
            f'{LeakyFacility.__module__}.{LeakyFacility.__name__}',
        ]
        sky.given_out = note_what_is_given_out(monkeypatch)
        yield sky


def note_what_is_given_out(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The signatures and security tokens of all addresses from now on."""
    given_out: set[str] = set()
    presigned = archive.presigned

    def noted(*args: object) -> str:
        address = presigned(*args)
        given_out.update(re.findall(r'(?:Signature|Security-Token)=(\w+)', address))
        return address

    monkeypatch.setattr(archive, 'presigned', noted)
    return given_out


@pytest.fixture
def log(tmp_path, monkeypatch, caplog):
    """The TOM's log, with everything in it that anyone cares to say."""
    handler = logging.FileHandler(tmp_path / 'logs' / 'tom.log', encoding='utf-8')
    handler.setFormatter(RedactingFormatter())
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger(), 'handlers', [handler])
    # pytest's own handlers raise where a line cannot be formatted; others may not.
    monkeypatch.setattr(type(caplog.handler), 'handleError', lambda *args: None)
    yield Path(handler.baseFilename)
    handler.close()


def sign(sky: Observatory, settings: object, request_id: int) -> None:
    """Give the leaky facility an address that is good, and secret."""
    frame = sky.frames_of[request_id][0]
    address = archive.presigned(sky, frame, frame.versions[0], sky.url)
    settings.FACILITIES = settings.FACILITIES | {
        'Leaky': settings.FACILITIES['Leaky'] | {'signed': address}
    }


def run(*arguments: str) -> None:
    """One run, as cron has it; how it ends does not matter here."""
    with suppress(SystemExit):
        call_command('updatedata', *arguments)


def database() -> str:
    """Everything in every column of every table."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        rows = []
        for table in tables:
            cursor.execute(f'SELECT * FROM {connection.ops.quote_name(table)}')
            rows += cursor.fetchall()
    return '\n'.join(str(value) for row in rows for value in row)


def assert_no_secret(sky: Observatory, **written: str) -> None:
    """Assert that none of the texts in `written` holds a secret, not even half a token."""
    secrets = [TOKEN[:20], TOKEN[20:], CORE, b64encode(PASSWORD.encode()).decode()]
    secrets += sky.given_out
    for place, text in written.items():
        for secret in secrets:
            found = text.find(secret)
            assert found < 0, f'{place} holds a secret: {text[max(0, found - 200) : found + 80]}'


# --- the observatory's faults ---


def echo(status: int, reply: Callable[..., Reply]) -> faults.Fault:
    """An answer that repeats the question, with its token and its signature."""

    def fault(call: Call, right: Reply) -> Reply:
        return reply(f'Refused: {call.token or TOKEN} for {call.url}, {PASSWORD}', status)

    return fault


FAULTS = [
    *(echo(status, json_reply) for status in (400, 401, 403, 404, 429, 500, 503)),
    *(echo(status, html_reply) for status in (200, 401, 403, 404, 500, 502)),
    *(faults.status(status, retry_after=1000) for status in (429, 503)),
    faults.answer({'state': TOKEN, 'results': [TOKEN], 'next': f'?{TOKEN}'}),
    faults.answer([PASSWORD]),
    faults.broken_json(),
    faults.redirect('http://127.0.0.1:9'),
    faults.redirect_loop(),
    faults.reset(),
    faults.truncated(),
    faults.hang(3),
    faults.corrupt(),
    faults.empty(),
    faults.huge(),
    faults.lying_gzip(),
]


@pytest.mark.parametrize('where', ['/api/', '/frames/', '/store/'])
def test_whatever_the_observatory_does(sky, observed, settings, log, capfd, where):
    settings.TOM_AUTO |= {'RETRIES': 1, 'READ_TIMEOUT': 0.3}
    observed(frames=1)
    for number, fault in enumerate(FAULTS):
        broken = sky.break_(where, fault)
        run('--recheck', *(['--json'] if number % 2 else []))
        assert broken.happened
        sky.mend()
    run('--recheck')
    assert DataProduct.objects.count() == 1
    printed = capfd.readouterr()
    written = log.read_text(encoding='utf-8')
    assert 'GET /frames/?…' in written
    assert_no_secret(sky, out=printed.out, err=printed.err, log=written, database=database())


# --- facility classes ---


@pytest.mark.parametrize('way', WAYS)
def test_whatever_a_facility_class_does(
    sky, observed, add_record, settings, log, capfd, monkeypatch, way
):
    sign(sky, settings, int(observed().observation_id))
    record = add_record('Leaky', observation_id=way)
    run('--json', '--workers', '1')
    run('--recheck')
    printed = capfd.readouterr()
    written = log.read_text(encoding='utf-8')
    assert_no_secret(sky, out=printed.out, err=printed.err, log=written, database=database())
    assert printed.out.count('\n') == 2, 'what a class prints is no part of the answer'
    assert RecordSync.objects.filter(record=record).exists()


def test_a_name_that_is_the_end_of_an_address(sky, observed, add_record, settings):
    sign(sky, settings, int(observed().observation_id))
    add_record('Leaky', observation_id='warn')
    run()
    product = DataProduct.objects.get(observation_record__facility='Leaky')
    assert product.get_file_name().endswith('.fits.fz')
    assert product.data_product_type == 'fits_file'
    assert_no_secret(sky, database=database())


def test_a_hook_that_tells(sky, observed, settings, log, capfd):
    settings.HOOKS = settings.HOOKS | {
        'observation_change_state': f'{__name__}.tell',
        'data_product_post_save': f'{__name__}.tell',
    }
    sign(sky, settings, int(observed().observation_id))
    run()
    printed = capfd.readouterr()
    assert 'raised RuntimeError: cannot log in as me with …' in printed.out
    written = log.read_text(encoding='utf-8')
    assert_no_secret(sky, out=printed.out, err=printed.err, log=written, database=database())


def tell(*args: object) -> None:
    """Stands for a user's hook."""
    if len(args) == 1 or args[1] is not None:
        WAYS['print_it']()
        WAYS['raise_plainly']()


def test_a_database_that_tells(db, settings, monkeypatch):
    settings.FACILITIES = settings.FACILITIES | {'Leaky': {'password': PASSWORD}}

    def refused(*args: object, **named: object) -> None:
        raise OperationalError(f'no such user at postgresql://me:5160a7@db/tom, {PASSWORD}')

    monkeypatch.setattr('tom_auto.management.commands.updatedata.update', refused)
    with pytest.raises(CommandError) as raised:
        call_command('updatedata', stderr=StringIO())
    assert CORE not in str(raised.value)
    assert '5160a7' not in str(raised.value)


# --- the pages ---


@pytest.fixture
def browser(client):
    client.force_login(User.objects.create_superuser('me', password='x'))
    return client


def test_the_pages_after_trouble(sky, observed, add_record, settings, browser, log):
    record = observed()
    sign(sky, settings, int(record.observation_id))
    leaky = [add_record('Leaky', observation_id=way) for way in WAYS]
    run()
    with_trouble = UpdateRun.objects.get()
    assert with_trouble.failures.count() == sum(way.startswith(('raise', 'exit')) for way in WAYS)
    for address in (
        f'/targets/{record.target_id}/',
        '/targets/',
        '/observations/list/',
        '/dataproducts/data/',
        '/admin/tom_auto/updaterun/',
        f'/admin/tom_auto/updaterun/{with_trouble.pk}/change/',
        '/admin/tom_auto/recordsync/',
        f'/admin/tom_auto/recordsync/{leaky[0].pk}/change/',
        '/admin/tom_dataproducts/dataproduct/',
        '/admin/tom_observations/observationrecord/',
    ):
        page = browser.get(address)
        assert page.status_code == 200, address
        assert_no_secret(sky, **{address: page.content.decode()})


def test_the_pages_during_trouble(sky, observed, browser, log, capfd):
    """The page of an observation asks the archive: what that answers is not for showing."""
    record = observed()
    browser.raise_request_exception = False  # an error of the page is a page, as in real life
    for fault in FAULTS:
        broken = sky.break_('/frames/', fault, times=1)
        page = browser.get(f'/observations/{record.pk}/')
        assert broken.happened
        said = ' '.join(map(str, get_messages(page.wsgi_request)))
        assert_no_secret(sky, page=page.content.decode(), said=said)
    printed = capfd.readouterr()
    written = log.read_text(encoding='utf-8')
    assert_no_secret(sky, out=printed.out, err=printed.err, log=written, database=database())
