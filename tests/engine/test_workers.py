"""The hooks for what a run saves are tasks of Celery's workers: many at a time, and none is lost."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic

import pytest
from django.conf import settings as conf
from django.db.models import QuerySet
from django.db.models.functions import Now
from tom_dataproducts.models import DataProduct

from celery_programs import Worker, wait_until
from databases import only_on
from program import Program
from rabbit_server import rabbit_server
from tom_auto.celery_tasks import sending
from tom_auto.celery_tasks.app import HOOKS, app, queue
from tom_auto.celery_tasks.tasks import pay_hooks
from tom_auto.hooks import owed as hooks_owed
from tom_auto.hooks import product_hooks
from tom_auto.models import StoredFrame

pytestmark = pytest.mark.django_db(transaction=True)


def heard() -> Counter:
    """How often the hook was called for each product."""
    return Counter(map(int, conf.HEARD.read_text().split()))


def products() -> dict[int, int]:
    """Every product, once."""
    return dict.fromkeys(DataProduct.objects.values_list('pk', flat=True), 1)


def all_paid() -> bool:
    return not hooks_owed.owed().exists()


def sweep() -> QuerySet:
    """Have workers told of what is owed, as beat does; gives what is."""
    sending.sweep()
    return hooks_owed.owed()


@pytest.fixture
def tom(celery_tom: Path, settings: object) -> Path:
    """A TOM that works with Celery, and has hooks; gives the test's own directory."""
    settings.HEARD = celery_tom / 'heard'
    settings.HEARD.touch()
    habit('none')
    settings.HOOKS = settings.HOOKS | {
        'data_product_post_save': 'worker_hooks.hear',
        'multiple_data_products_post_save': 'worker_hooks.hear_all',
    }
    return celery_tom


def habit(words: str) -> None:
    """What the hook does from now on."""
    (conf.HEARD.parent / 'habit').write_text(words)


@pytest.fixture
def worker(begin: Callable) -> Callable[..., Worker]:
    """Starts a worker with so many processes."""
    return partial(begin, Worker)


def run(tom: Path, *arguments: str) -> dict:
    """What a run reports that goes well."""
    status, report, _ = Program(tom, *arguments).report()
    assert status == 0, report
    return report


@only_on('postgresql')
def test_workers_run_the_hooks_once_each_and_the_run_none(tom, worker, observed):
    for _ in range(3):
        observed(frames=12)
    assert run(tom)['saved'] == 36
    assert not heard()
    worker().ready()
    wait_until(all_paid)
    assert heard() == products()
    assert not StoredFrame.objects.exclude(hooks_holder='').exists()


@only_on('postgresql')
def test_a_claim_of_several_records_gives_back_what_the_trouble_of_one_is_not_about(
    tom, observed, monkeypatch
):
    for frames in (2, 8, 2):
        observed(frames=frames)
    run(tom)
    pay = partial(product_hooks.pay_next, 'me', 60, inf)
    assert pay() in (2, 8)  # of one record
    owing = hooks_owed.owed().count()

    def broken(claim: product_hooks.Claim, record: int, *rest: object) -> bool:
        raise LookupError(f'record {record}')

    with monkeypatch.context() as patch, pytest.raises(LookupError):
        patch.setattr(product_hooks.Claim, '_all_heard', broken)
        pay(30)
    held = hooks_owed.owed().exclude(hooks_holder='')
    assert held.values('record').distinct().count() == 1
    others = hooks_owed.due().count()
    assert others == owing - held.count() > 0

    assert pay(30) == others  # at once
    assert hooks_owed.owed().count() == owing - others


@only_on('postgresql')
def test_hooks_do_not_wait_for_the_clock_of_the_host_that_has_saved(tom, observed):
    observed(frames=2)
    run(tom)
    StoredFrame.objects.update(hooks_due=Now() + timedelta(hours=1))
    assert sending.sweep() == 2
    pay_hooks()
    assert heard() == products()
    assert all_paid()


@only_on('postgresql')
def test_a_queue_that_is_emptied_loses_nothing(tom, redis, worker, observed):
    observed(frames=3)
    run(tom)
    redis.client.flushall()
    worker().ready()  # which looks for what is owed
    wait_until(all_paid)
    assert heard() == products()
    observed(frames=3)
    redis.client.flushall()  # the worker's connection stays
    run(tom)
    wait_until(all_paid)
    assert heard() == products()


@only_on('postgresql')
def test_while_the_broker_is_away_the_run_says_so_and_does_it_by_itself_or_lets_it_wait(
    tom, redis, worker, observed, settings
):
    redis.stop()
    try:
        observed(frames=2)
        status, output, errors, seconds = Program(tom).ended()
        assert (status, heard(), all_paid()) == (0, products(), True), errors
        assert f'The broker at {redis.url.removesuffix("/0")} cannot be reached' in errors
        assert 'this run runs the hooks by itself' in errors
        settings.TOM_AUTO |= {'BROKER_AWAY': 'wait'}
        observed(frames=2)
        status, output, errors, seconds = Program(tom).ended()
        assert (status, hooks_owed.owed().count()) == (0, 2)
        assert 'The hooks wait until it is back' in errors
    finally:
        redis.start()
    worker().ready()
    wait_until(all_paid)
    assert heard() == products()


@only_on('postgresql')
def test_who_could_not_send_can_as_soon_as_the_broker_is_back(tom, redis):
    """A beat goes on for years, and a run for hours."""
    sending.wake(1)
    redis.stop()
    try:
        with pytest.raises(sending.BrokerAway, match='cannot be reached'):
            sending.wake(1)
    finally:
        redis.start()
    sending.wake(1)
    assert sending.lengths()[queue(HOOKS)] == 1


@only_on('postgresql')
def test_a_hook_that_fails_or_takes_too_long_or_kills_its_process_is_the_only_one(
    tom, worker, observed, settings
):
    settings.TOM_AUTO |= {'HOOK_SECONDS': 2}
    observed(frames=4)
    run(tom)
    first, second, *_ = sorted(products())
    worker(1).ready()
    wait_until(all_paid)
    for words, error in (
        (f'fail {first}', 'data_product_post_save raised RuntimeError: a mistake in the hook'),
        (f'kill {second}', 'the process that ran it has died'),
        ('sleep 6', 'it took longer than 2 s'),
    ):
        habit(words)
        StoredFrame.objects.update(hooks_owed=True, hooks_failures=0, hooks_due=Now())
        wait_until(lambda error=error: sweep().filter(hooks_error__contains=error))
        if not words.startswith('sleep'):
            wait_until(lambda: sweep().count() == 1)
    habit('none')
    StoredFrame.objects.update(hooks_due=Now())
    wait_until(lambda: not sweep())
    assert not StoredFrame.objects.exclude(hooks_error='').exists()


@only_on('postgresql')
def test_a_hook_that_kills_its_process_again_waits_like_one_that_fails_again(tom, worker, observed):
    observed(frames=1)
    run(tom)
    [product] = products()
    habit(f'kill {product}')
    worker(1).ready()
    wait_until(lambda: sweep().filter(hooks_failures=2))
    assert heard() == {product: 2}
    assert hooks_owed.owed().get().hooks_error == 'the process that ran it has died'
    assert hooks_owed.owed().filter(hooks_due__gt=Now() + timedelta(minutes=25))
    habit('none')
    StoredFrame.objects.update(hooks_due=Now())
    wait_until(lambda: not sweep())


@only_on('postgresql')
def test_a_hook_that_waits_for_the_database_too_long_has_failed(tom, observed, settings):
    settings.TOM_AUTO |= {'HOOK_SECONDS': 0.5}
    observed(frames=1)
    run(tom)
    habit('query 6')
    pay_hooks()
    frame = hooks_owed.owed().get()
    assert 'it took longer than 0.5 s' in frame.hooks_error
    assert (frame.hooks_holder, frame.hooks_failures) == ('', 2)  # at once, and once more
    habit('none')
    StoredFrame.objects.update(hooks_due=Now())
    pay_hooks()
    assert all_paid()


@only_on('postgresql')
def test_rabbitmq_does_as_well(tom, worker, observed, settings):
    """The broker is whichever the address says."""
    with rabbit_server() as url:
        app.conf.broker_url = settings.CELERY_BROKER_URL = url
        observed(frames=3)
        run(tom)
        assert sending.why_away() == ''
        started = worker().ready()
        wait_until(lambda: not sweep())
        assert heard() == products()
        started.stop()


@only_on('postgresql')
def test_nobody_waits_for_a_broker_that_takes_no_messages(tom, settings):
    """RabbitMQ holds all who send up while its disk is full, or seems so."""
    with rabbit_server('disk_free_limit.absolute = 9000GB') as url:
        app.conf.broker_url = settings.CELERY_BROKER_URL = url
        begun = monotonic()
        with pytest.raises(sending.BrokerAway, match='it gives no answer'):
            sending.wake(1)
        assert monotonic() - begun < 30
