"""What the automation adds to every page of the TOM."""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic

import requests
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import Error, connection, connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.deprecation import MiddlewareMixin
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from . import ask_first
from .access import may_act, may_see_target
from .alerts import send_alerts
from .arrivals.lost_pictures import forget_lost
from .arrivals.noting import follow_all
from .channels import reason
from .conf import automation
from .error_reports import unavailable
from .explain import causes, explained
from .files import storage
from .jobs import main_job

logger = logging.getLogger(__name__)

OBSERVATORY_DOWN = (requests.RequestException, ImproperCredentialsException)


class HealthMiddleware(MiddlewareMixin):
    """Answers /healthz: 200 if the web server and its database work, otherwise 503. /livez leaves the database out.

    It comes first, because a probe has no https, no name of a host that is allowed and no login. What it
    asks of the database needs a table: SQLite makes an empty database where there is none.
    """

    QUESTION = 'SELECT id FROM django_migrations LIMIT 1'

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if request.path_info not in ('/healthz', '/livez'):
            return None
        headers = {'Cache-Control': 'no-store'}
        if request.path_info == '/healthz':
            try:
                with connection.cursor() as cursor:
                    cursor.execute(self.QUESTION)
            except Error:
                return unavailable(request, 'The database does not answer.', headers)
        return HttpResponse('ok\n', 'text/plain', headers=headers)


class ObservatoryDownMiddleware(MiddlewareMixin):
    """Shows a message instead of an error page when an observatory does not answer.

    tomtoolkit queries the archive each time an observation's page is opened, and lets the error
    through. For refused credentials it has a page of its own, but that page shows the observatory's
    answer, whatever it contains.
    """

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Explain `error` and redirect to the target's page, or home; None for other errors."""
        match = request.resolver_match
        # tomtoolkit's form for a new observation wraps it in an error of its own.
        inside = (each for each in causes(error) if isinstance(each, OBSERVATORY_DOWN))
        error = next(inside, None)
        unreachable = isinstance(error, requests.RequestException) and request.method == 'GET'
        refused = isinstance(error, ImproperCredentialsException)
        if match.view_name == 'home' or not (unreachable or refused):
            return None
        reason = explained(error, 'The observatory')
        text = f'{reason}. The data that this TOM has saved is on its own pages.'
        messages.warning(request, text)
        if (match.app_name, match.url_name) == ('tom_observations', 'detail'):
            record = ObservationRecord.objects.filter(pk=match.kwargs['pk']).first()
            if record is not None:
                return redirect('targets:detail', record.target_id)
        return redirect('home')


class BackgroundUpdateMiddleware(MiddlewareMixin):
    """Makes tomtoolkit's own buttons ask for a run in the background, by POST.

    Without it, "Update Observations" and "Refresh Observation List" check one record after another
    while the visitor waits, for minutes. They are GETs, which another site can make a browser send,
    so they start nothing: the one leads to a page with a button, the other shows what is known. So do
    the other links by which tomtoolkit changes something: see `ask_first`.
    """

    TABLE = ('tom_targets', 'render-observation-table')
    LISTS = (('tom_observations', 'list'), ('tom_targets', 'detail'))

    def process_view(
        self, request: HttpRequest, view: Callable, args: tuple, kwargs: dict
    ) -> HttpResponse | None:
        """Answer instead of a page that would query observatories or change something; None for all others."""
        name = (request.resolver_match.app_name, request.resolver_match.url_name)
        # An empty value asks as well: tomtoolkit looks whether there is one.
        queries = name == self.TABLE or (name in self.LISTS and 'update_status' in request.GET)
        if not queries:
            return ask_first.answer(request, view, kwargs)
        if not request.user.is_authenticated:
            return None  # the page itself sends visitors to the log-in page
        pk = kwargs.get('pk')
        if pk is not None and not may_see_target(request.user, pk):
            raise PermissionDenied
        if name == self.TABLE:
            target = {'object': Target.objects.get(pk=pk)}
            return render(request, 'tom_targets/partials/observation_table.html', target)
        return self._ask(request, pk)

    def _ask(self, request: HttpRequest, pk: int | None) -> HttpResponse:
        """A page with the button: for a target, or for all observations."""
        query = request.GET.copy()
        query.pop('update_status')
        there = f'{request.path}?{query.urlencode()}'
        if pk is None and not may_act(request.user):
            text = 'Only staff may update all observations. The schedule does; each page says when.'
            messages.info(request, text)
            return redirect(there)
        return render(
            request, 'tom_auto/ask.html', {'target': pk, 'next': there, 'job': main_job().name}
        )


class WatchMiddleware(MiddlewareMixin):
    """Checks now and then that the jobs run, so that a dead cron does not go unnoticed.

    It also lets pages find what a program has moved to another target by a statement of its own, and
    shows a page of tomtoolkit once more that failed because somebody has removed pictures.

    It checks after a request, in its own thread, and at most every `WATCH_EVERY` seconds in each
    process of the web server. The claims in `alerts` make sure that only one process sends an alert.
    """

    def __init__(self, get_response: Callable) -> None:
        super().__init__(get_response)
        self._lock = Lock()
        self._checked: float | None = None

    def process_response(self, request: HttpRequest, answer: HttpResponse) -> HttpResponse:
        if self._is_time():
            Thread(target=_look_after, daemon=True).start()
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The same page, without the pictures that are missing; None for other errors."""
        # Where the storage or the database cannot say, the page fails as before.
        with suppress(*storage.UNREADABLE, Error):
            if request.method == 'GET' and forget_lost(error):
                return redirect(request.get_full_path())
        return None

    def _is_time(self) -> bool:
        every = automation().WATCH_EVERY
        with self._lock:
            now = monotonic()
            if not every or (self._checked is not None and now - self._checked < every):
                return False
            self._checked = now
            return True


def _look_after() -> None:
    try:
        send_alerts()
        follow_all()
    except Error as error:
        logger.warning('Frames that others moved are not seen yet: %s', reason(error))
    finally:
        connections.close_all()
