"""Who gets past the door of each page of the automation."""

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from .visible import may_act, may_see_page

View = Callable[..., HttpResponse]


def for_visitors(view: View) -> View:
    """Show the page to those whom `PAGE_FOR` names; others may log in."""

    @require_GET
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        if may_see_page(request.user):
            return view(request, **kwargs)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.get_full_path())

    return guarded


def for_staff(view: Callable[..., None]) -> View:
    """Do it for staff with the permission, and for a POST; then go back to where they were.

    Others may meet a button as well, on a page of tomtoolkit's: they are told whose it is.
    """

    @require_POST
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        if may_act(request.user):
            view(request, **kwargs)
        elif request.user.is_authenticated:
            messages.error(request, 'Only staff who have the permission to may do that.')
        else:
            raise PermissionDenied
        return _back(request)

    return guarded


def _back(request: HttpRequest) -> HttpResponse:
    """To the page of this TOM that the form names, or to the automation's own."""
    to = request.POST.get('next', '')
    if not url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure()):
        to = 'automation:home'
    return redirect(to)
