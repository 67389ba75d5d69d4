"""The pages and buttons where users choose which mails they get, and unsubscribe."""

from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from ..access import (
    for_users,
    for_viewers,
    for_visitors,
    may_see_page,
    refuse_nul,
    sees_everything,
    targets_seen_by,
)
from .choosing import next_moment
from .feed import NOT_FOR_YOU, new_key
from .letters import wish_of
from .models import FeedKey, Notice, Wish
from .numbers import newest_frame

SHOWN = 50  # targets, messages
LONGEST = 200  # characters of a message: some repeat what was sent
Target = Wish._meta.get_field('targets').related_model


class WishForm(forms.ModelForm):
    """When to be told, and of what."""

    hour = forms.TypedChoiceField(
        coerce=int,
        choices=[(hour, f'{hour:02}:00') for hour in range(24)],
        label='Hour of the daily mail',
    )
    zone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(available_timezones())],
        label='Its time zone',
    )

    class Meta:
        model = Wish
        fields = ('when', 'about', 'hour', 'zone')
        labels = {'when': 'Tell me about new data', 'about': 'Of which data'}  # noqa: RUF012


def wish_or_new(user: User) -> Wish:
    """What `user` wants; if they have not chosen yet, a wish that is not kept: never."""
    found = Wish.objects.filter(user=user).first()
    return found or Wish(user=user, zone=settings.TIME_ZONE, told_at=timezone.now())


def _kept(user: User) -> Wish:
    """The same, which is kept from now on."""
    new = {'zone': settings.TIME_ZONE, 'told_at': timezone.now()}
    return Wish.objects.get_or_create(user=user, defaults=new)[0]


def profile(user: User) -> dict:
    """For tomtoolkit's profile page: what the part for this app shows."""
    wish = wish_or_new(user)
    chosen = wish.targets.order_by('name') if wish.pk else Target.objects.none()
    daily = wish.when == Wish.When.DAILY
    return {
        'wish': wish,
        'wish_form': WishForm(instance=wish),
        'chosen': targets_seen_by(user, chosen)[:SHOWN],
        'next_mail': next_moment(wish, timezone.now()) if daily else None,
        'feed_key': FeedKey.objects.filter(user=user).first(),
        'has_address': bool(user.email),
        'reads_feed': may_see_page(user),
    }


def button(context: Context) -> dict:
    """For tomtoolkit's page of a target: whether the visitor is told about it."""
    user, target = context['user'], context['target']
    wish = Wish.objects.filter(user=user).first() if user.is_authenticated else None
    told = wish is not None and wish.when != Wish.When.NEVER
    everything = told and wish.about == Wish.About.ALL
    chosen = told and wish.targets.filter(pk=target.pk).exists()
    return {'may_choose': user.is_authenticated, 'chosen': chosen, 'told_of_all': everything}


@for_users
def save_wish(request: HttpRequest) -> None:
    """Keep what the form on the profile page says."""
    form = WishForm(request.POST, instance=wish_or_new(request.user))
    if not form.is_valid():
        for name, errors in form.errors.items():
            messages.error(request, f'{form[name].label}: {" ".join(errors)}'[:LONGEST])
        return
    wish = _kept(request.user)
    chosen = form.cleaned_data
    # Not the whole row: a run may have told something since it was read.
    if wish.when == Wish.When.NEVER:
        chosen |= _from_now_on()
    elif (wish.hour, wish.zone) != (chosen['hour'], chosen['zone']):
        chosen |= {'told_at': timezone.now()}
    Wish.objects.filter(pk=wish.pk).update(**chosen)
    messages.success(request, 'Saved.')


def _from_now_on() -> dict:
    """What came before is no news."""
    return {'told_up_to': newest_frame(), 'told_at': timezone.now()}


@for_viewers
def choose(request: HttpRequest, pk: int) -> None:
    """Be told about a target, or no more: the button on its page."""
    wish = _kept(request.user)
    chosen = wish.targets.filter(pk=pk).exists()
    if chosen and wish.when != Wish.When.NEVER:
        wish.targets.remove(pk)
        messages.success(request, 'You are no longer told about new data of this target.')
        return
    if wish.when == Wish.When.NEVER:
        fields = {'when': Wish.When.AT_ONCE, 'about': Wish.About.CHOSEN} | _from_now_on()
        Wish.objects.filter(pk=wish.pk).update(**fields)
    wish.targets.add(pk)
    address = f' at {request.user.email}' if request.user.email else ''
    text = f'You are told about new data of this target{address}, as your profile page says.'
    messages.success(request, text)
    if not address:
        messages.warning(request, 'Your account has no e-mail address yet.')


@for_users
def make_key(request: HttpRequest) -> None:
    """Make a key for the feed, and show the addresses once."""
    if not may_see_page(request.user):
        messages.error(request, NOT_FOR_YOU)
        return
    key = new_key(request.user)
    for name in ('feed', 'atom'):
        there = request.build_absolute_uri(reverse(f'automation:{name}'))
        messages.success(request, f'{there}?token={key}')
    messages.info(request, 'Keep these addresses: they are shown only now.')


@csrf_exempt  # the signature in the address says whose mails end, and mail programs have no cookie
@require_http_methods(['GET', 'HEAD', 'POST'])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """End the mails of whoever has the link, without a login: a page with a button, and by POST."""
    refuse_nul(token)
    wish = wish_of(token)
    ended = False
    if wish is not None and request.method == 'POST':
        Wish.objects.filter(pk=wish.pk).update(when=Wish.When.NEVER)
        ended = True
    context = {'wish': wish, 'ended': ended}
    status = 200 if wish else 404
    return render(request, 'tom_auto/arrivals/unsubscribe.html', context, status=status)


@for_visitors
def sent(request: HttpRequest) -> HttpResponse:
    """The messages that were sent, for superusers."""
    if not sees_everything(request.user):
        raise PermissionDenied
    found = Notice.objects.select_related('wish__user')[:SHOWN]
    return render(request, 'tom_auto/arrivals/sent.html', {'notices': found})
