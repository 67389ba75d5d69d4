"""The frames that came in as pictures, newest first, with filters by target, facility and day."""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta

import django_filters
from django.db import DatabaseError
from django.db.models import Max, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from tom_targets.models import Target

from ..access import (
    Visitor,
    asked_by_pages,
    for_visitors,
    number_in,
    sees_everything,
    targets_seen_by,
)
from ..files import storage
from ..observatories.facilities import facility_classes
from .choosing import frame_seen, frames_between, frames_of, seen_frames
from .lost_pictures import draw_again
from .models import Arrival
from .numbers import newest_frame
from .pictures import draw_soon

SHOWN, FEW, HOME = 24, 12, 4  # frames, on their own page, above the runs, on the home page
LOOKS = 30  # at pictures that are being drawn; a page does not ask without end
LONGEST_TEXT = 100  # characters
MOST_TARGETS = 500  # whose names contain what was asked for
LATELY = 10_000  # frames, of which most visitors may see a few
KEPT = timedelta(days=7)  # by the browser


class ArrivalFilter(django_filters.FilterSet):
    target = django_filters.CharFilter(method='of_targets', label='Target', max_length=LONGEST_TEXT)
    facility = django_filters.ChoiceFilter(
        choices=lambda: [(name, name) for name in facility_classes()[0]], label='Facility'
    )
    day = django_filters.DateFilter(
        method='of_day',
        label='Day',
        widget=django_filters.widgets.forms.DateInput({'type': 'date'}),
    )

    class Meta:
        model = Arrival
        fields = ()

    def of_targets(self, rows: QuerySet, name: str, text: str) -> QuerySet:
        """The frames of targets whose name contains `text`; hidden targets are not searched."""
        named = targets_seen_by(self.request.user, Target.objects.filter(name__icontains=text))
        keys = list(named.values_list('pk', flat=True)[:MOST_TARGETS])
        return rows.filter(Arrival.in_step, target__in=keys)

    def of_day(self, rows: QuerySet, name: str, day: date) -> QuerySet:
        """Those of one day: their numbers are one range, which is found by an index."""
        try:
            begin = timezone.make_aware(datetime.combine(day, time.min))
            begin, end = (moment.astimezone(UTC) for moment in (begin, begin + timedelta(days=1)))
        except OverflowError:  # the first or the last day of the calendar
            return rows.none()
        within = Arrival.objects.filter(at__gte=begin, at__lt=end)
        ends = within.order_by().aggregate(first=Min('pk'), last=Max('pk'))
        if ends['first'] is None:
            return rows.none()
        return rows.filter(pk__gte=ends['first'], pk__lte=ends['last'])


@for_visitors
def arrivals(request: HttpRequest) -> HttpResponse:
    """The gallery: a page, or a part of the automation page.

    What is not drawn yet the page asks for by itself, from `draw`: a GET starts nothing.
    """
    context = _shown(request)
    context['look'] = int(any(arrival.is_to_draw for arrival in context['frames']))
    part = 'gallery' if request.headers.get('HX-Request') == 'true' else 'page'
    return render(request, f'tom_auto/arrivals/{part}.html', context)


@asked_by_pages
def draw(request: HttpRequest) -> HttpResponse:
    """Draw what the page shows and nobody has drawn, in the background; its pictures as they are now.

    A picture whose file was gone is drawn too, if the file is back; the page does not wait for it.
    """
    context, look = _shown(request), number_in(request.GET.get('look', '')) or 0
    to_draw = [arrival for arrival in context['frames'] if arrival.is_to_draw]
    draw_soon([arrival.pk for arrival in to_draw])
    waits = any(arrival.is_undrawn for arrival in to_draw)
    context['look'] = look + 1 if waits and look < LOOKS else 0
    return render(request, 'tom_auto/arrivals/pictures.html', context)


def _shown(request: HttpRequest) -> dict:
    """The frames that were asked for, which the visitor may see, and how to ask for them again."""
    found = ArrivalFilter(request.GET, seen_frames(request.user), request=request)
    before, most = (number_in(request.GET.get(name, '')) or 0 for name in ('before', 'most'))
    most = most if most in (HOME, FEW) else SHOWN
    rows = found.qs.filter(pk__lt=before) if before else found.qs
    # Their numbers first, from an index alone: whole rows of many targets are slow to sort.
    numbers = list(rows.values_list('pk', flat=True)[: most + 1])
    asked = request.GET.copy()
    for name in ('before', 'most', 'look'):
        asked.pop(name, None)
    return {
        'frames': frames_of(request.user, numbers[:most]),
        'filter': found,
        'asked': asked.urlencode(),
        'before': before,
        'most': 0 if most == SHOWN else most,
        'older': numbers[most - 1] if len(numbers) > most else 0,
        'everything': sees_everything(request.user),
    }


def newest(user: Visitor) -> dict:
    """The newest frames that `user` may see, for the home page."""
    last = newest_frame()
    shown = list(frames_between(user, last - LATELY, last)[:HOME])
    if len(shown) < HOME:  # that takes long where many targets have many
        shown = list(seen_frames(user)[:HOME])
    look = int(any(arrival.is_to_draw for arrival in shown))
    return {'frames': shown, 'most': HOME, 'look': look}


@for_visitors
def picture(request: HttpRequest, pk: int) -> HttpResponse:
    """The picture of one frame. The browser keeps it: its address changes with it."""
    arrival = get_object_or_404(frame_seen(request.user, pk))
    if not arrival.product.thumbnail:
        raise Http404('There is no picture of it.')
    etag = f'"{arrival.version}"'
    answer = get_conditional_response(request, etag)
    if answer is None:
        try:
            with storage.opened(arrival.product.thumbnail.name) as file:
                answer = HttpResponse(file.read(), content_type='image/jpeg')
        except storage.UNREADABLE as error:
            # The page does not fail where the storage, or the database, cannot say or note it.
            with suppress(*storage.UNREADABLE, DatabaseError):
                if isinstance(error, FileNotFoundError):
                    draw_again(arrival)
            raise Http404('The picture is missing, or the storage is away.') from error
    answer['ETag'] = etag
    answer['X-Content-Type-Options'] = 'nosniff'
    patch_cache_control(answer, private=True, max_age=int(KEPT.total_seconds()))
    return answer
