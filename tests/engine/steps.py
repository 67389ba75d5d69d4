"""Numbers the steps of a run, and kills it, or puts it to sleep, just before one of them.

A step is whatever outlasts the process: a row written, a transaction committed, a file made,
flushed, moved or removed. Between two steps it makes no difference when a process is killed, so
a kill before each of them is a kill at every moment there is. The steps are seen from outside,
by Python's audit events and Django's database wrapper: nothing in the app knows of them.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

import forked

IN_TRANSACTION = '(in a transaction)'
WRITES = ('INSERT', 'UPDATE', 'DELETE')
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.chmod', 'os.truncate', 'os.link')


class Steps:
    """The steps of the process that calls `watch`: before number `last` it gets `blow`."""

    def __init__(
        self, world: Path, last: int | None = None, blow: signal.Signals = signal.SIGKILL
    ) -> None:
        """Files below `world` count. Each step is written down in `log`, one a line."""
        self.log = world / 'steps'
        self._world = world
        self._last = last
        self._blow = blow
        self._count = forked.fork.Value('i', 0)  # the processes of facility classes count, too

    def watch(self) -> None:
        """From now on, and until this process ends, number its steps."""
        self._run = os.getpid()
        self._lines = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        commit, fsync = BaseDatabaseWrapper.commit, os.fsync

        def watched_commit(connection: BaseDatabaseWrapper) -> None:
            self._step(f'COMMIT {IN_TRANSACTION}')
            commit(connection)

        def watched_fsync(descriptor: int) -> None:
            self._step('fsync')
            fsync(descriptor)

        BaseDatabaseWrapper.commit, os.fsync = watched_commit, watched_fsync
        connection_created.connect(self._connected, weak=False)
        sys.addaudithook(self._event)

    def _connected(self, connection: BaseDatabaseWrapper, **rest: object) -> None:
        if self._statement not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._statement)

    def _statement(self, execute, sql, params, many, context):  # noqa: ANN001, ANN202
        if sql.startswith(WRITES):
            inside = IN_TRANSACTION if context['connection'].in_atomic_block else ''
            self._step(f'{" ".join(sql.split()[:3])} {inside}'.rstrip())
        return execute(sql, params, many, context)

    def _event(self, event: str, arguments: tuple) -> None:
        changes = event in CHANGES or (event == 'open' and arguments[2] & WRITING)
        if changes and not isinstance(arguments[0], int):  # a descriptor has no name
            path = Path(os.fsdecode(arguments[0]))
            if path.is_relative_to(self._world):
                self._step(f'{event} {path.relative_to(self._world)}')

    def _step(self, name: str) -> None:
        with self._count.get_lock():
            self._count.value += 1
            os.write(self._lines, f'{name}\n'.encode())
            reached = self._count.value == self._last
        if reached:
            if os.getpid() != self._run:
                os.kill(self._run, self._blow)
            # To this very thread: it must not go on until the others have noticed.
            signal.pthread_kill(threading.get_ident(), self._blow)
