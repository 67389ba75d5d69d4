"""Sends messages to workers. Nobody waits for a broker that is away: it is said why."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from time import monotonic

from kombu import Connection

from ..hooks.owed import due
from ..hooks.product_hooks import CHUNK
from ..redact import redact
from .app import CONNECT_SECONDS, HOOKS, app, queue

logger = logging.getLogger(__name__)

PAUSE = 30  # seconds until a broker that was away is asked again
#: RabbitMQ answers nothing to who sends, while its disk or memory is full: that is to be noticed.
ANSWERS = {'confirm_publish': True, 'read_timeout': 5, 'write_timeout': 5}  # seconds
MOST = 64  # messages that a sweep has in a queue: each worker takes one, and goes on from there


class BrokerAway(Exception):
    """The broker cannot be reached, or does not take messages; with the reason."""


class Broker:
    """The broker of a run. While it is away it is asked now and then, and people are told once."""

    def __init__(self, instead: str) -> None:
        self._instead, self._away_until = instead, 0.0

    @property
    def is_away(self) -> bool:
        """Whether it was away lately, so that it need not be asked."""
        return monotonic() < self._away_until

    def told(self, tell: Callable[[], object]) -> bool:
        """Send what `tell` sends; False where the broker is away."""
        if self.is_away:
            return False
        try:
            tell()
        except BrokerAway as error:
            if not self._away_until:
                logger.warning('%s %s', error, self._instead)
            self._away_until = monotonic() + PAUSE
            return False
        return True


def why_away() -> str:
    """Why the broker cannot be reached, as a sentence; empty if it can."""
    try:
        with _connection() as connection:
            connection.channel().close()
    except BrokerAway as away:
        return str(away)
    return ''


def send(task: str, to: str, *arguments: object, count: int = 1) -> None:
    """Send `count` messages for the task of that name. Raises BrokerAway."""
    with _connection() as connection:
        producer = app.amqp.Producer(connection)
        for _ in range(count):
            app.send_task(
                task, arguments, queue=queue(to), producer=producer, retry=False,
                ignore_result=True,
            )  # fmt: skip


def lengths() -> dict[str, int]:
    """How many messages wait in each queue. Raises BrokerAway."""
    found = {}
    with _connection() as connection:
        for one in app.conf.task_queues:
            with connection.channel() as channel:
                found[one.name] = one(channel).queue_declare().message_count
    return found


def wake(products: int) -> None:
    """Tell workers that hooks for so many more products are owed. Raises BrokerAway."""
    send('tom_auto.pay_hooks', HOOKS, count=ceil(products / CHUNK))


def sweep() -> int:
    """Tell workers of all hooks that are due and nobody has in hand; how many those are.

    Whatever became of the messages of before: no hook is forgotten. Raises BrokerAway.
    """
    products = due().count()
    if products:
        wanted = min(ceil(products / CHUNK), MOST) - lengths()[queue(HOOKS)]
        wake(max(0, wanted) * CHUNK)
    return products


@contextmanager
def _connection() -> Iterator[Connection]:
    """A connection to the broker. Raises BrokerAway, also for what goes wrong while it is used.

    It is not Celery's pool, which keeps connections that broke when the broker was started again.
    """
    try:
        with app.connection_for_write(transport_options=ANSWERS) as connection:
            connection.ensure_connection(max_retries=0, timeout=CONNECT_SECONDS)
            yield connection
    except Exception as error:  # each transport has errors of its own
        raise BrokerAway(_away(error)) from None


def _away(error: Exception) -> str:
    reason = redact(' '.join(str(error).split())).rstrip('.') or 'it gives no answer'
    where = app.connection_for_write()  # without its user and password
    address = f'{where.transport_cls}://{where.hostname}:{where.port}'
    return f'The broker at {address} cannot be reached: {reason}.'
