"""A run has few connections to the database, however many facilities there are: D6, rule 12."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

import forked
from databases import elsewhere, only_on, where
from postgres import Server, server
from tom_auto.conf import automation
from tom_auto.models import UpdateRun
from unit.own_classes import Lists, install, product_of

pytestmark = pytest.mark.django_db(transaction=True)

FACILITIES = ('LCO', 'SOAR', 'BLANCO', 'Lists')
RECORDS = 100  # of each
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> ALL(%s) AND backend_type = 'client backend'
"""


@pytest.fixture
def small_server(transactional_db: None) -> Iterator[Server]:
    """The TOM's database, on a PostgreSQL server that takes 20 connections, 3 of them its own."""
    with server() as own:
        own.run('psql', '-c', 'ALTER SYSTEM SET max_connections = 20', own.url)
        own.stop()
        own.start()
        own.copy(where())
        with elsewhere(
            HOST='127.0.0.1', PORT=own.port, NAME='postgres', USER=own.user, PASSWORD=''
        ):
            yield own


def own_backend() -> int:
    """The number of this process at the server."""
    with connection.cursor() as cursor:
        cursor.execute('SELECT pg_backend_pid()')
        return cursor.fetchone()[0]


@only_on('postgresql')
@pytest.mark.timeout(300)
def test_four_facilities_and_a_server_that_takes_twenty_connections(
    small_server, sky, observed, settings, client, tmp_path
):
    """D6: 60 threads and connections by default, of which 100 were refused."""
    settings.TOM_AUTO = {'MIN_FREE_BYTES': 0, 'WATCH_EVERY': 0}  # and else as it comes
    products = install(settings, Lists)
    for facility in FACILITIES:
        for _ in range(RECORDS):
            record = observed(facility, frames=1, status='')
            if facility == 'Lists':
                [frame] = sky.frames_of[int(record.observation_id)]
                products[record.observation_id] = [product_of(sky, frame)]
    most, pages = 0, 0
    child = forked.updatedata(tmp_path / 'printed', '--json')
    with psycopg.connect(small_server.url, autocommit=True) as watch:
        while child.is_alive():
            ours = [watch.info.backend_pid, own_backend()]
            most = max(most, watch.execute(OTHERS, [ours]).fetchone()[0])
            if pages < 20:
                assert client.get('/automation/').status_code == 200
                pages += 1
            child.join(0.02)

    assert child.exitcode == 0, (tmp_path / 'printed').read_text()[-2000:]
    run = UpdateRun.objects.get()
    count = RECORDS * len(FACILITIES)
    assert (run.due, run.checked, run.saved, run.failed) == (count, count, count, 0)
    assert 1 <= most <= automation().CONNECTIONS
    assert pages > 5


@only_on('postgresql')
def test_the_server_compiles_no_question(db):
    """That takes it a second for those of a large TOM, which it answers in a twentieth of that."""
    with connection.cursor() as cursor:
        cursor.execute('SHOW jit')
        assert cursor.fetchone() == ('off',)
