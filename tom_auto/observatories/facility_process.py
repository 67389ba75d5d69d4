"""Facility classes that are not of LCO's kind, each at work in a process of its own: rule 4.

There a class is asked as tomtoolkit asks it: one call at a time, in the main thread, where an
event loop and signals work. One that hangs is ended, and one that crashes takes nobody along.
The data services of `targets` work in such processes as well.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Event

from django.contrib.auth.models import User
from django.db import connection, connections

from ..db_retry import no_fork
from ..errors import (
    BrokenClass,
    LocalTrouble,
    NoAnswer,
    by_kind,
)
from ..interrupt import stopped_at_once, uninterrupted
from .asked_class import as_told, facility_at_work

fork = get_context('fork')  # what is imported and set already is there at once
#: What the methods of `Asked` call in the class.
CALLS = {
    'status': 'get_observation_status',
    'frames': 'data_products',
    'update': 'update_observation_status',
    'save': 'save_data_products',
    'terminal_states': 'get_terminal_observing_states',
}
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class ClassProcess:
    """The process of one class, as the run sees it."""

    def __init__(
        self,
        name: str,
        facility_class: type,
        put_to_work: Callable[[str, type], object] | None = None,
        calls: dict[str, str] = CALLS,
    ) -> None:
        """`put_to_work`: makes there the object whose methods `calls` names; a facility's if None."""
        self.name, self._calls = name, calls
        self._put_to_work = partial(put_to_work or facility_at_work, name, facility_class)
        self._process = self._pipe = None
        self._in_database = fork.RawValue('b', 0)  # which may keep it waiting
        self._ready = Event()  # whether it can be asked

    def start(self) -> None:
        """Fork the process: from the main thread, and at first before any other thread starts."""
        connections.close_all()  # processes that share a connection serve neither
        self._in_database.value = 0
        pipe, its_end = fork.Pipe()
        process = fork.Process(target=_serve, args=(its_end, pipe, self), daemon=True)
        with its_end, suppress(OSError):  # there may be no more processes (`ulimit -u`): later
            with no_fork, uninterrupted():
                process.start()
            self._process, self._pipe = process, pipe
            self._ready.set()

    def call(self, method: str, user: User | None, *arguments: object, seconds: float) -> object:
        """What `Asked.method` returns there. Raises what it raises, or NoAnswer after `seconds`;
        LocalTrouble if the database has kept it.

        One call at a time. A process that has ended is started again by the main thread.
        """
        if not self._ready.wait(seconds):
            raise NoAnswer(f'{self.name} was not started again within {seconds:.0f} s')
        pipe = self._pipe  # until the call has ended: the next process has another
        try:
            pipe.send((method, user, arguments))
            if not pipe.poll(seconds):
                kept = self._in_database.value
                self.kill()
                words = f'{self.name}.{self._calls[method]} has not ended after {seconds:.0f} s'
                if kept:
                    raise LocalTrouble(f'{words}: it waited for the database of this TOM')
                raise NoAnswer(words)
            well, answer = pipe.recv()
        except (EOFError, OSError) as error:
            self.kill()
            raise BrokenClass(f'{self.name}.{self._calls[method]} ended its process') from error
        if well:
            return answer
        kind, text = answer
        raise by_kind(kind)(text)

    @property
    def is_dead(self) -> bool:
        """Whether it has to be started again before it can be asked: a call found that out."""
        return not self._ready.is_set()

    def restart_if_dead(self) -> None:
        """Start it again if it has crashed or was ended: from the main thread."""
        if self.is_dead:
            self.kill()
            self.start()

    def _through_the_database(self, execute: Callable, *call: object) -> object:
        """In the process: do a statement, and let the run see that."""
        self._in_database.value = 1
        try:
            return execute(*call)
        finally:
            self._in_database.value = 0

    def kill(self) -> None:
        """End it, whatever it does. Its pipe is closed when the last call has let go of it."""
        process, self._process, self._pipe = self._process, None, None
        if process is not None:
            process.kill()
            process.join(1)
        self._ready.clear()


def _serve(pipe: Connection, other_end: Connection, own: ClassProcess) -> None:
    """Answer calls until the run hangs up."""
    other_end.close()
    stopped_at_once()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this
    with suppress(Exception):  # of Linux: a run that is killed leaves no process behind
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    connection.execute_wrappers.append(own._through_the_database)
    asked = None
    while True:
        try:
            method, user, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            asked = asked or own._put_to_work()  # the database may be locked until the next call
            answer = True, getattr(asked, method)(user, *arguments)
        except BaseException as error:  # a facility class may even call sys.exit()
            answer = False, as_told(error, own.name)
        connections.close_all()
        try:
            pipe.send(answer)
        except Exception as error:  # what cannot leave the process
            broken = BrokenClass(
                f'{own.name}.{own._calls[method]} returned what cannot be read ({error})'
            )
            pipe.send((False, (broken.kind, str(broken))))
