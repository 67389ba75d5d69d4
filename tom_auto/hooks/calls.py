"""Which hooks are the TOM's own, and how they are called."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import current_thread, main_thread

from django.conf import settings
from django.db import connections
from tom_common.hooks import run_hook

from ..conf import automation
from ..explain import hook_failed
from ..interrupt import seconds_left

TO_END = 5  # seconds that a run needs to write what came of it
TO_CALL = 25  # seconds: with less left, those of no more files are begun
MOMENT = 0.01  # seconds: a timer of none is no timer
PLAIN = 'tom_common.hooks', 'tom_dataproducts.hooks'
OF_STATUS = 'observation_change_state'
OF_PRODUCTS = 'data_product_post_save', 'multiple_data_products_post_save', 'frames_arrived'


def is_plain(*hooks: str) -> bool:
    """Whether these hooks are those that tomtoolkit brings, which log their call and change nothing."""
    return all(
        (settings.HOOKS.get(hook) or '').rpartition('.')[0] in ('', *PLAIN) for hook in hooks
    )


class TookTooLong(Exception):
    """A hook took longer than it may."""


def run_own_hook(hook: str, *arguments: object, **options: object) -> object:
    """Call a hook of this TOM, for as long as HOOK_SECONDS and the run allow; what it returns.

    Raises HookFailed where it raises, would have the process exit, or takes longer.
    """
    limit = nullcontext() if is_plain(hook) else _limited(automation().HOOK_SECONDS)
    try:
        with limit:
            return run_hook(hook, *arguments, **options)
    except (Exception, SystemExit) as error:
        raise hook_failed(hook, error) from error


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TookTooLong in what runs for longer within this."""
    if current_thread() is not main_thread():  # only that one hears signals
        yield
        return

    is_late, left = False, seconds_left() - TO_END
    words = f'it took longer than {seconds:g} s, HOOK_SECONDS in TOM_AUTO'
    if left < seconds:
        words = 'it had not ended when the run had to'

    def stop(number: int, frame: object) -> None:
        nonlocal is_late
        is_late = True
        raise TookTooLong(words)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(MOMENT, min(seconds, left)))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if is_late:  # a connection may be in the middle of a query, and take no other
            connections.close_all()
