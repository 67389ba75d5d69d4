"""`updatetargets` with many queries, and killed at every step: everything is there once."""

import os
import resource
import signal
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.data_services import simbad
from tom_targets.models import Target, TargetExtra, TargetName
from tom_targets.permissions import targets_for_user

import forked
import kills
from tom_auto.models import ServiceTarget
from tom_auto.targets import service_process

from .brokers import MPC, NED, TNS, ned_table, save_query, updatetargets
from .service_classes import FakeSimbad

pytestmark = pytest.mark.django_db(transaction=True)
MANY, NEW = 5000, 10
FLAT = 25  # MiB: the answer itself, with 5,000 objects, has to be held


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """The memory of ALeRCE's process after each part of a query, in MiB."""
    file, plain = tmp_path / 'memory', service_process.AtWork.ask

    def ask(self, *arguments):
        batch = plain(self, *arguments)
        with file.open('a') if self._name == 'ALeRCE' else nullcontext(StringIO()) as log:
            log.write(f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n')
        return batch

    monkeypatch.setattr(service_process.AtWork, 'ask', ask)
    return lambda: [float(line) for line in file.read_text().split()]


def known_already(objects):
    """Let an earlier run have found these objects of ALeRCE."""
    Target.objects.bulk_create(
        Target(name=one['oid'], type='SIDEREAL', ra=one['meanra'], dec=one['meandec'])
        for one in objects
    )
    extras = {'extra ndet': '2', 'extra survey': 'ztf'}
    ServiceTarget.objects.bulk_create(
        ServiceTarget(
            target_id=target.pk, service='ALeRCE', answered_at=timezone.now(),
            told={'ra': target.ra, 'dec': target.dec, 'name': target.name} | extras,
        )
        for target in Target.objects.all()
    )  # fmt: skip


def test_a_known_candidate_costs_less_than_5_ms(broker, alerce, automation):
    automation['DATA_TARGETS'] = 1
    for number in range(1000):
        alerce.add(f'ZTF26{number:05}', ra=number / 20)
    known_already(alerce.objects.values())
    save_query('ALeRCE', survey='ZTF')
    _, report = updatetargets()
    assert (report['known'], report['refreshed']) == (1000, 0)
    assert report['seconds'] / 1000 < 0.005


def test_thirty_queries_over_five_services_three_of_them_in_trouble(
    broker, alerce, automation, memory, monkeypatch
):
    """One hangs, one refuses credentials, one answers junk, one knows 5,000 objects."""
    monkeypatch.setattr(simbad, 'Simbad', FakeSimbad)
    ann = User.objects.create_user('ann')
    ann.groups.add(Group.objects.create(name='SN'))
    automation |= {
        'READ_TIMEOUT': 0.5, 'RETRIES': 0, 'NEW_TARGETS': {'groups': ['SN']}, 'DATA_TARGETS': NEW
    }  # fmt: skip
    for number in range(MANY):
        alerce.add(f'ZTF26{number:05}', ra=number / 20)
    known_already(list(alerce.objects.values())[:-NEW])
    broker.hosts |= {
        MPC: broker.hang,
        TNS: lambda path, body: (401, {}),
        NED: lambda path, body: (200, b'<html>junk'),
    }
    for number in range(6):
        save_query('MPC Explorer', designation=str(number))
        save_query('TNS')
        save_query('NED', object_id=f'M {number}')
        save_query('Simbad', search_term=f'M {number}')
        its = {'object_id': f'ZTF26{number:05}'} if number else {}
        save_query('ALeRCE', survey='ZTF', **its)
    began = time.monotonic()

    status, report = updatetargets()

    assert time.monotonic() - began < 60
    assert (status, report['new'], Target.objects.count()) == (1, NEW + 6, MANY + 6)
    assert {one['facility'] for one in report['failures']} == {'MPC Explorer', 'TNS', 'NED'}
    assert broker.asked[TNS] == 1, 'one with the wrong key asks again'
    assert targets_for_user(ann, Target.objects.all(), 'view_target').count() == NEW + 6
    assert memory()[-1] - memory()[0] < FLAT, memory()


def everything():
    """What is in the database, in an order that does not depend on the ids."""
    return (
        list(Target.objects.order_by('name').values_list('name', 'ra', 'dec', 'permissions')),
        list(TargetName.objects.order_by('name').values_list('name', 'target__name')),
        list(
            TargetExtra.objects.order_by('target__name', 'key').values_list(
                'target__name', 'key', 'value'
            )
        ),
        list(
            PhotometryReducedDatum.objects.order_by('target__name', 'timestamp').values_list(
                'target__name', 'timestamp', 'brightness'
            )
        ),
        list(ServiceTarget.objects.order_by('target__name').values_list('target__name', 'told')),
    )


def killed_run(directory, at, who):
    """A run in processes of which one is killed at a statement: the run's, or that of a service."""
    plain = service_process.AtWork.__init__

    def count_here(name=''):
        step = kills.killing(at, directory / f'steps of {name}', only=os.getpid())

        def counted(execute, *call):
            step()
            return execute(*call)

        connection.execute_wrappers.append(counted)

    def __init__(self, *arguments, **options):
        plain(self, *arguments, **options)
        count_here(self._name)

    def work():
        if who == 'service':
            service_process.AtWork.__init__ = __init__
        else:
            count_here()
        call_command('updatetargets', '--json')

    return forked.ended(forked.start(directory / 'printed', work))


@pytest.mark.parametrize('who', ['run', 'service'])
def test_killed_at_any_statement_the_next_run_makes_it_whole(broker, alerce, tmp_path, who):
    alerce.add('ZTF26a')
    broker.hosts[NED] = lambda path, body: (200, ned_table('NGC 0224', 10.68, 41.27))
    save_query('ALeRCE', survey='ZTF')
    save_query('NED', object_id='M 31')
    assert killed_run(tmp_path, kills.NEVER, who) == 0
    steps = max(file.stat().st_size for file in tmp_path.glob('steps of *'))

    for step in kills.spread(steps):
        Target.objects.all().delete()
        assert killed_run(tmp_path, step, who) == (1 if who == 'service' else -signal.SIGKILL)
        assert updatetargets()[0] == 0
        assert everything() == the_whole(), f'killed at statement {step} of {steps}'
    assert steps > 20


def the_whole():
    """What has to be in the database after a run that was not killed, or was."""
    day = datetime(2025, 11, 21, 2, 24, tzinfo=UTC)
    return (
        [('M 31', 10.68, 41.27, 'PRIVATE'), ('ZTF26a', 10.0, 20.0, 'PRIVATE')],
        [('NGC 0224', 'M 31')],
        [('ZTF26a', 'ndet', '2'), ('ZTF26a', 'survey', 'ztf')],
        [('ZTF26a', day, 18.0), ('ZTF26a', day + timedelta(days=1), 18.5)],
        [
            ('M 31', {'name': 'M 31', 'ra': 10.68, 'dec': 41.27, 'aliases': ['NGC 0224']}),
            (
                'ZTF26a',
                {
                    'name': 'ZTF26a',
                    'ra': 10.0,
                    'dec': 20.0,
                    'extra ndet': '2',
                    'extra survey': 'ztf',
                },
            ),
        ],
    )
