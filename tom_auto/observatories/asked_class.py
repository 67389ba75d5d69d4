"""A facility class that is not of LCO's kind, as it is asked in its process: see `facility_process`."""

from functools import partial
from inspect import getattr_static, signature
from types import FunctionType

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_save
from tom_dataproducts.models import DataProduct
from tom_observations import models as observation_models
from tom_observations.models import ObservationRecord

from ..errors import CredentialsRefused, NoAnswer, ServerError, SyncError, Unsupported
from ..explain import explained
from ..redact import learn, stored_by
from . import http
from .facilities import Status, status_of
from .frames import Listing, listed_by_class


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

    def save(self, user: User | None, pk: int) -> tuple[set[int | str], tuple[str, str] | None]:
        """Let the class's own `save_data_products` do its work.

        What it has saved, by the keys of products and the names of files, and kind and text of its
        error, if it raised one. A product may have a file that was there before.
        """
        saved: set[int | str] = set()
        storage = DataProduct._meta.get_field('data').storage
        plain = storage.save

        def write(*arguments: object, **options: object) -> str:
            name = plain(*arguments, **options)
            saved.add(name)
            return name

        def note(instance: DataProduct, **rest: object) -> None:
            transaction.on_commit(partial(saved.add, instance.pk))  # or its key may be another's

        post_save.connect(note, sender=DataProduct)
        storage.save = write  # it never takes the name of a file that is there
        try:
            self._ask(user, 'save_data_products', ObservationRecord.objects.get(pk=pk))
            trouble = None
        except BaseException as error:  # it may even call sys.exit()
            trouble = as_told(error, self.name)
        finally:
            post_save.disconnect(note, sender=DataProduct)
            storage.save = plain
        return saved, trouble

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
        except NotImplementedError:  # as classes say it, after tomtoolkit's base class
            raise Unsupported(f'{self.name} does not implement {method}') from None


def facility_at_work(name: str, facility_class: type) -> Asked:
    """The object that is asked in the process of a facility class."""
    http.answer_limit[0] = float('inf')
    # The run calls the hooks, one at a time, when it has seen what was changed here.
    observation_models.run_hook = lambda *arguments, **options: None
    return Asked(name, facility_class)


def as_told(error: BaseException, name: str) -> tuple[str, str]:
    """The kind and the text of an error, which leave the process: not every error can."""
    trouble = explained(error, name)
    return trouble.kind, str(trouble)
