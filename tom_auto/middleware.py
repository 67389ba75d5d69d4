"""What the automation adds to every page of the TOM: patience, and a look at the jobs."""

from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic

import requests
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from .access import may_act, may_see_target
from .alerts import send_alerts
from .conf import automation
from .jobs import MAIN
from .page.actions import at_work, start_run
from .sync.explain import explained


class ObservatoryDownMiddleware:
    """Where a page has to ask an observatory that does not answer, says so on another page.

    tomtoolkit asks the archive each time that an observation's page is opened, and lets the
    error through. Where credentials are refused it has a page of its own, but one that shows
    what the observatory answered, whatever that holds.
    """

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Explain `error` and go to the target's page, or home; None for any other error."""
        match = request.resolver_match
        passing = isinstance(error, requests.RequestException) and request.method == 'GET'
        refused = isinstance(error, ImproperCredentialsException)
        nowhere_to_go = match.view_name == 'home'
        if nowhere_to_go or not (passing or refused):
            return None
        reason = explained(error, 'The observatory')
        messages.warning(request, f'{reason}. What this TOM has saved is on its own pages.')
        return redirect(*self._elsewhere(request))

    def _elsewhere(self, request: HttpRequest) -> tuple:
        match = request.resolver_match
        if (match.app_name, match.url_name) == ('tom_observations', 'detail'):
            record = ObservationRecord.objects.filter(pk=match.kwargs['pk']).first()
            if record is not None:
                return 'targets:detail', record.target_id
        return ('home',)


class BackgroundUpdateMiddleware:
    """Has tomtoolkit's own buttons ask for a run in the background.

    Its "Update Observations" and "Refresh Observation List" ask an observatory about one record
    after another while the visitor waits, for minutes.
    """

    TABLE = ('tom_targets', 'render-observation-table')
    LISTS = (('tom_observations', 'list'), ('tom_targets', 'detail'))

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable, args: tuple, kwargs: dict
    ) -> HttpResponse | None:
        """Answer in place of the page where it would ask observatories; None for all others."""
        name = (request.resolver_match.app_name, request.resolver_match.url_name)
        asks = name == self.TABLE or (name in self.LISTS and request.GET.get('update_status'))
        if not asks or not request.user.is_authenticated:
            return None  # the page itself sends those who have not logged in to do so
        self._ask(request, kwargs.get('pk'))
        if name == self.TABLE:
            target = {'object': Target.objects.get(pk=kwargs['pk'])}
            return render(request, 'tom_targets/partials/observation_table.html', target)
        query = request.GET.copy()
        query.pop('update_status')
        return redirect(f'{request.path}?{query.urlencode()}')

    def _ask(self, request: HttpRequest, target: int | None) -> None:
        """Start a run for `target`, which whoever may see it may ask for; or for all, for staff."""
        if target is not None and not may_see_target(request.user, target):
            raise PermissionDenied
        if target is None and not may_act(request.user):
            messages.info(request, 'Only staff may ask for all observations. They are updated '
                                   'by themselves; each page says when.')  # fmt: skip
            return
        if at_work():  # one run at a time: however often they click
            messages.info(request, 'The observatories are being asked already. Look again in a '
                                   'moment.')  # fmt: skip
            return
        start_run(request.user, MAIN, *(['--target_id', str(target)] if target else []))
        messages.info(request, 'The observatories are asked now, in the background. Look again '
                               'in a moment.')  # fmt: skip


class WatchMiddleware:
    """Asks now and then whether the jobs run, so that a dead cron does not go unnoticed.

    After the answer is made, in a thread of its own, and at most every `WATCH_EVERY` seconds in
    each process of the web server. The claims of `alerts` let one process tell of it.
    """

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response
        self._lock = Lock()
        self._asked: float | None = None

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        if self._is_time():
            Thread(target=_look, daemon=True).start()
        return answer

    def _is_time(self) -> bool:
        every = automation().WATCH_EVERY
        with self._lock:
            now = monotonic()
            if not every or (self._asked is not None and now - self._asked < every):
                return False
            self._asked = now
            return True


def _look() -> None:
    try:
        send_alerts()
    finally:
        connections.close_all()
