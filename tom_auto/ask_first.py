"""What tomtoolkit changes of observations and data by a GET is done by POST here, after a page that asks.

And by those who may see it. A GET any site can make a browser send, and a program that follows links sends
it too. tomtoolkit's link cancels an observation at the observatory, or adds one to any target, for whoever
has logged in; it features a picture, or changes a group of observations, for anybody. Its link for new data
asks data services while the visitor waits, for minutes: here a process does. Its other apps, such as the
calendar, are left as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_protect
from tom_observations.models import ObservationRecord

from .access import may_act, may_see_target, number_in, seen_by, visible_products
from .page.actions import start_run

View = Callable[..., HttpResponse]
REFRESH = 'updatereduceddata'


@dataclass(frozen=True)
class Deed:
    """What a link of tomtoolkit does; `may` says who may do it.

    `needs`: the parameters without which it does nothing, and only shows a page.
    """

    title: str
    text: str
    may: Callable[..., bool]
    needs: tuple[str, ...] = ()

    def is_done_by(self, request: HttpRequest) -> bool:
        return all(name in request.GET for name in self.needs)


def answer(request: HttpRequest, view: View, kwargs: dict) -> HttpResponse | None:
    """The page that asks, or what comes of a yes; None for any other address."""
    match = request.resolver_match
    deed = DEEDS.get((match.app_name, match.url_name))
    if deed is None or request.method not in ('GET', 'HEAD', 'POST'):
        return None
    if not deed.is_done_by(request):
        return None
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not deed.may(request, **kwargs):
        raise PermissionDenied
    if request.method != 'POST':
        return render(request, 'tom_auto/ask_first.html', {'deed': deed})
    return _done(request, _refresh if match.url_name == 'update-reduced-data' else view, kwargs)


@csrf_protect
def _done(request: HttpRequest, view: View, kwargs: dict) -> HttpResponse:
    request.method = 'GET'  # the only one that tomtoolkit's view knows
    return view(request, **kwargs)


def _refresh(request: HttpRequest) -> HttpResponse:
    target = _target(request)
    words = ('--target_id', str(target)) if target else ()
    if start_run(request.user, REFRESH, REFRESH, *words):
        text = 'The data services are asked in the background. Reload the page in a moment.'
    else:
        text = 'The data services are being asked already. Try again in a moment.'
    messages.info(request, text)
    return redirect('targets:detail', target) if target else redirect('targets:list')


def _target(request: HttpRequest) -> int:
    """The target that the link names; 0 for all."""
    text = request.GET.get('target_id', '')
    return _key(text) if text else 0


def _key(text: str) -> int:
    if key := number_in(text):
        return key
    raise PermissionDenied


def _may_refresh(request: HttpRequest) -> bool:
    target = _target(request)
    return may_see_target(request.user, target) if target else may_act(request.user)


def _may_cancel(request: HttpRequest, pk: int) -> bool:
    return seen_by(request.user, ObservationRecord.objects.filter(pk=pk)).exists()


def _may_feature(request: HttpRequest, pk: int) -> bool:
    return bool(_target(request)) and visible_products(request.user).filter(pk=pk).exists()


def _may_group(request: HttpRequest) -> bool:
    chosen = {_key(text) for text in request.GET.getlist('selected')}
    seen = seen_by(request.user, ObservationRecord.objects.filter(pk__in=chosen))
    return seen.count() == len(chosen)


def _may_add(request: HttpRequest) -> bool:
    return may_see_target(request.user, _target(request))


DEEDS = {
    ('tom_observations', 'cancel'): Deed(
        'Cancel the observation', 'This cancels it at the observatory, for good.', _may_cancel
    ),
    ('tom_observations', 'list'): Deed(
        'Change the group',
        'This adds the selected observations to the group, or removes them from it.',
        _may_group,
        needs=('selected', 'observationgroup', 'action'),
    ),
    ('tom_observations', 'callback'): Deed(
        'Add the observation',
        'This adds an observation that was requested at the observatory.',
        _may_add,
        needs=('facility', 'target_id', 'observation_id'),
    ),
    ('tom_dataproducts', 'feature'): Deed(
        'Feature the picture',
        'The page of its target shows it, in place of the one that it shows now.',
        _may_feature,
    ),
    ('tom_dataproducts', 'update-reduced-data'): Deed(
        'Check for new data', 'This asks the data services, in the background.', _may_refresh
    ),
}
