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
from inspect import getattr_static, signature
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Event
from types import FunctionType

from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models.signals import post_save
from tom_dataproducts.models import DataProduct
from tom_observations import models as observation_models
from tom_observations.models import ObservationRecord

from ..db_retry import no_fork
from ..errors import (
    BrokenClass,
    CredentialsRefused,
    LocalTrouble,
    NoAnswer,
    ServerError,
    SyncError,
    Unsupported,
    by_kind,
)
from ..explain import explained
from ..interrupt import stopped_at_once, uninterrupted
from ..redact import learn, stored_by
from . import http
from .facilities import Status, status_of
from .frames import Listing, listed_by_class

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
        self._put_to_work = partial(put_to_work or _facility_at_work, name, facility_class)
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


class Asked:
    """A facility class of any other kind, at work in a process of its own."""

    def __init__(self, name: str, facility_class: type) -> None:
        self.name = name
        self._class = facility_class
        self._for: dict[int, object] = {}  # by user

    def status(self, user: User | None, observation_id: str) -> Status:
        """What `get_observation_status` says."""
        return status_of(self._ask(user, 'get_observation_status', observation_id), self.name)

    def frames(self, user: User | None, observation_id: str) -> Listing:
        """What `data_products` lists."""
        try:
            return listed_by_class(self._ask(user, 'data_products', observation_id), self.name)
        except NotImplementedError:  # of a generator, which does its work when it is read
            raise Unsupported(f'{self.name} does not implement data_products') from None

    def update(self, user: User | None, observation_id: str) -> None:
        """Let the class's own `update_observation_status` do its work."""
        self._ask(user, 'update_observation_status', observation_id)

    def save(self, user: User | None, pk: int) -> set[int]:
        """Let the class's own `save_data_products` do its work; the products that it has saved."""
        saved: set[int] = set()

        def note(instance: DataProduct, **rest: object) -> None:
            saved.add(instance.pk)

        post_save.connect(note, sender=DataProduct)
        try:
            self._ask(user, 'save_data_products', ObservationRecord.objects.get(pk=pk))
        finally:
            post_save.disconnect(note, sender=DataProduct)
        return saved

    def terminal_states(self, user: User | None) -> tuple[str, ...]:
        """What `get_terminal_observing_states` says."""
        return tuple(map(str, self._ask(user, 'get_terminal_observing_states') or ()))

    def _facility(self, user: User | None) -> object:
        """The class for one user: some log in when they are given one, so that happens once."""
        key = user.pk if user else 0
        if key not in self._for:
            self._for[key] = self._logged_in(user)
        if isinstance(self._for[key], SyncError):
            raise self._for[key]
        return self._for[key]

    def _logged_in(self, user: User | None) -> object:
        facility = self._class()
        learn(stored_by(user) if user else ())  # what it uses may come back in its errors
        try:
            if user is not None and hasattr(facility, 'set_user'):
                facility.set_user(user)
        except Exception as error:
            trouble = explained(error, self.name)
            if isinstance(trouble, NoAnswer | ServerError):
                raise
            # Not a second time: after a few failed logins some lock the account.
            return CredentialsRefused(f'the login of {user} at {self.name} failed: {trouble}')
        return facility

    def _ask(self, user: User | None, method: str, *arguments: object) -> object:
        """Call a method of the class; raises Unsupported where it has none that takes these."""
        function = getattr(self._class, method, None)
        if function is None:
            raise Unsupported(f'{self.name} has no {method}')
        is_plain = isinstance(getattr_static(self._class, method), FunctionType)
        try:  # before anybody logs in for it
            signature(function).bind(*[None] * is_plain, *arguments)
        except TypeError:
            raise Unsupported(f'{self.name}.{method} cannot be called for one record') from None
        try:
            return getattr(self._facility(user), method)(*arguments)
        except NotImplementedError:
            raise Unsupported(f'{self.name} does not implement {method}') from None


def _facility_at_work(name: str, facility_class: type) -> Asked:
    http.answer_limit[0] = float('inf')
    # The run calls the hooks, one at a time, when it has seen what was changed here.
    observation_models.run_hook = lambda *arguments, **options: None
    return Asked(name, facility_class)


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
            trouble = explained(error, own.name)
            answer = False, (trouble.kind, str(trouble))
        connections.close_all()
        try:
            pipe.send(answer)
        except Exception as error:  # what cannot leave the process
            broken = BrokenClass(
                f'{own.name}.{own._calls[method]} returned what cannot be read ({error})'
            )
            pipe.send((False, (broken.kind, str(broken))))
