"""Keeps a silent observatory from becoming an error page of the TOM."""

import requests
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.models import ObservationRecord

from .sync.explain import explained


class ObservatoryDownMiddleware:
    """Where a page has to ask an observatory that does not answer, says so on another page.

    tomtoolkit asks the archive each time that an observation's page is opened, and lets the
    error through. Where credentials are refused it has a page of its own, but one that shows
    what the observatory answered, whatever that holds.
    """

    def __init__(self, get_response: object) -> None:
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
