"""Who may see what, and who may act: the TOM's own rules, applied to the automation."""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import BooleanField, Exists, OuterRef, QuerySet, Value
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from guardian.shortcuts import get_objects_for_user
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target
from tom_targets.permissions import targets_for_user

from .arrivals.models import Arrival
from .conf import automation
from .models import StoredFrame

Visitor = User | AnonymousUser
View = Callable[..., HttpResponse]

LONGEST_QUERY = 2000  # characters of an address after the question mark
A_FEW = 100  # data products of which a list of their numbers is faster than the question


def seen_by(user: Visitor | None, rows: QuerySet, record: str = '') -> QuerySet:
    """The `rows` that belong to an observation record which `user` may see.

    `record` is the name of the field that leads to the record; empty if the rows are records. The user
    None is the TOM itself, which sees everything, as superusers do.
    """
    if user is None or user.is_superuser:
        return rows
    # Tested for each row, because there are few: SQLite would begin with all records of all targets.
    prefix = f'{record}__' if record else ''
    if settings.TARGET_PERMISSIONS_ONLY:
        return rows.filter(Exists(_targets(user).filter(pk=OuterRef(f'{prefix}target_id'))))
    records = get_objects_for_user(user, 'tom_observations.view_observationrecord')
    return rows.filter(Exists(records.filter(pk=OuterRef(f'{prefix}pk'))))


def sees_target(user: Visitor, target: str) -> Combinable:
    """A database expression: whether `user` may see the target in the field `target`."""
    if user.is_superuser:
        return Value(True, output_field=BooleanField())
    return Exists(_targets(user).filter(pk=OuterRef(target)))


def may_see_target(user: Visitor, pk: int) -> bool:
    return _targets(user).filter(pk=pk).exists()


def targets_seen_by(user: Visitor, targets: QuerySet) -> QuerySet:
    """The `targets` that `user` may see."""
    return targets.filter(pk__in=_targets(user).order_by().values('pk'))


def _targets(user: Visitor) -> QuerySet[Target]:
    return targets_for_user(user, Target.objects.all(), 'view_target')


def sees_everything(user: Visitor | None) -> bool:
    """Whether `user` may read the log and the counts of whole runs, which cover all records."""
    return user is None or (user.is_active and user.is_superuser)


def knows_outcomes(user: Visitor | None) -> bool:
    """Whether `user` may know how runs went in all: those who act, if nothing is hidden from them."""
    return sees_everything(user) or (may_act(user) and not _hides_something(user))


def _hides_something(user: Visitor) -> bool:
    if settings.TARGET_PERMISSIONS_ONLY:
        return Target.objects.exclude(pk__in=_targets(user).order_by().values('pk')).exists()
    return not user.has_perm('tom_observations.view_observationrecord')


def may_see_page(user: Visitor) -> bool:
    """Whether `user` may open the pages of the automation, as `PAGE_FOR` says."""
    return {
        'everyone': True,
        'users': user.is_authenticated,
        'staff': user.is_authenticated and user.is_staff,
    }[automation().PAGE_FOR]


def may_act(user: Visitor) -> bool:
    """Whether `user` may run, retry, pause and resume: staff with the permission."""
    return user.is_authenticated and user.is_staff and user.has_perm('tom_auto.run_automation')


def visible_products(user: Visitor) -> QuerySet[DataProduct]:
    """The data products that `user` may see, as TARGET_PERMISSIONS_ONLY says."""
    if not settings.TARGET_PERMISSIONS_ONLY:
        return get_objects_for_user(user, 'tom_dataproducts.view_dataproduct')
    return DataProduct.objects.filter(target__in=_targets(user))


def products_seen_by(
    user: Visitor, rows: QuerySet[DataProduct] | QuerySet[StoredFrame], product: str = ''
) -> QuerySet:
    """Those `rows` whose data product, in the field `product`, `user` may see: tested for each, of few."""
    if user.is_superuser:
        return rows
    prefix = f'{product}__' if product else ''
    if settings.TARGET_PERMISSIONS_ONLY:
        return rows.filter(Exists(_targets(user).filter(pk=OuterRef(f'{prefix}target_id'))))
    return rows.filter(Exists(visible_products(user).filter(pk=OuterRef(f'{prefix}pk'))))


def arrivals_seen_by(
    user: Visitor | None, rows: QuerySet[Arrival], is_range: bool = False
) -> QuerySet[Arrival]:
    """The frames that `user` may see, of those that came in; None is the TOM itself.

    Each has `target_seen`. Not tested for each row: of the last 200,000 a visitor may see none. What
    others have moved a moment ago is left out, unless the rows are a range, of which none may be
    passed over: those are few enough to ask each product.
    """
    rows = with_target_seen(user, rows)
    if sees_everything(user):
        return rows
    if settings.TARGET_PERMISSIONS_ONLY:
        seen = _targets(user).order_by().values('pk')
        if is_range:
            return rows.filter(product__target__in=seen)
        return rows.filter(Arrival.in_step, target__in=seen)
    seen = visible_products(user).order_by().values_list('pk', flat=True)
    few = list(seen[: A_FEW + 1])  # or PostgreSQL tests all frames for somebody who may see none
    return rows.filter(product__in=few if len(few) <= A_FEW else seen)


def with_target_seen(user: Visitor | None, rows: QuerySet[Arrival]) -> QuerySet[Arrival]:
    """These frames, which `user` may see, each with `target_seen`: whether its target may be named."""
    if sees_everything(user) or settings.TARGET_PERMISSIONS_ONLY:
        return rows.annotate(target_seen=Value(True, output_field=BooleanField()))
    return rows.annotate(target_seen=sees_target(user, 'product__target_id'))


def for_visitors(view: View) -> View:
    """Show the page to those whom `PAGE_FOR` allows; send others to the log-in page."""

    @require_safe
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        _refuse_odd_query(request)
        if may_see_page(request.user):
            return view(request, **kwargs)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.get_full_path())

    return guarded


def asked_by_pages(view: View) -> View:
    """For what a page asks for by itself: by POST, as robots follow links. No answer leads away from the page.

    So nothing here may matter that a stranger's page could have a visitor's browser ask for.
    """

    @csrf_exempt  # a cookie that is missing or old would lead to the log-in page
    @require_POST
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        _refuse_odd_query(request)
        if may_see_page(request.user):
            return view(request, **kwargs)
        return HttpResponse(status=204)

    return guarded


def for_staff(view: Callable[..., None]) -> View:
    """Do it for a POST from staff with the permission; then return to the page they came from.

    Other users may press a button as well, on a page of tomtoolkit: they get a message.
    """
    refusal = 'Only staff with the permission to run the automation may do that.'
    return _by_post(view, lambda user, **which: may_act(user), refusal)


def for_users(view: Callable[..., None]) -> View:
    """The same for everybody who has logged in."""
    return _by_post(view, lambda user, **which: True, '')


def for_viewers(view: Callable[..., None]) -> View:
    """The same for users who may see the target `pk`."""
    refusal = 'That is not a target that you may see.'
    return _by_post(view, may_see_target, refusal)


def _by_post(view: Callable[..., None], may: Callable[..., bool], refusal: str) -> View:
    """Whatever changes something is done by POST alone: any site can make a browser send a GET."""

    @require_POST
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        there = _there(request)  # before anything is done: what cannot be answered is not done
        if not request.user.is_authenticated:
            raise PermissionDenied
        if may(request.user, **kwargs):
            view(request, **kwargs)
        else:
            messages.error(request, refusal)
        return there

    return guarded


def _refuse_odd_query(request: HttpRequest) -> None:
    """Answer 400 to a query that no page of the automation makes."""
    if len(request.META.get('QUERY_STRING', '')) > LONGEST_QUERY:  # each link would repeat it
        raise BadRequest('The address is too long.')
    refuse_nul(*(text for _, texts in request.GET.lists() for text in texts))


def refuse_nul(*texts: str) -> None:
    """Answer 400 to what no address of this TOM has: PostgreSQL refuses the character NUL."""
    if any('\0' in text for text in texts):
        raise BadRequest('An address of this TOM has no NUL in it.')


def number_in(text: str) -> int | None:
    """The number that `text` is, if a column of the database holds it; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _there(request: HttpRequest) -> HttpResponse:
    """A redirect to the page of this TOM that the form names, or to the automation page."""
    to = request.POST.get('next', '')
    is_ours = url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure())
    return HttpResponseRedirect(
        to if is_ours and to.startswith('/') else reverse('automation:home')
    )
