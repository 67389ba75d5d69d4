"""Template tags for the automation."""

from datetime import datetime, timedelta

from django import template
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from .. import versions
from ..access import Visitor, may_see_page, products_seen_by, seen_by
from ..arrivals.gallery import newest
from ..conf import advice, manage, to_install
from ..health import healths
from ..jobs import main_job, next_run
from ..models import JobPause, RecordSync

register = template.Library()


@register.simple_tag
def when(moment: datetime | None, never: str = 'never') -> str | SafeString:
    """`moment` as "3 hours ago", with the exact time on hover, in the reader's time zone.

    The server writes the time in the TOM's zone; automation.js converts it.
    """
    if moment is None:
        return never
    now = timezone.now()
    ahead = moment > now
    text = timesince(now, moment, depth=1) if ahead else timesince(moment, now, depth=1)
    words = f'in {text}' if ahead else f'{text} ago'
    if abs(moment - now) < timedelta(minutes=1):
        words = 'in a moment' if ahead else 'just now'
    return _time(moment, words)


@register.simple_tag
def how_long(since: datetime) -> SafeString:
    """The time from `since` to now as "3 hours", with the exact time on hover."""
    now = timezone.now()
    words = timesince(since, now, depth=1)
    return _time(since, words if now - since >= timedelta(minutes=1) else 'less than a minute')


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec='seconds'),
        f'{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}',
        words,
    )


@register.filter
def length_of_time(span: timedelta | None) -> str:
    """A duration in seconds, minutes or hours."""
    if span is None:
        return ''
    seconds = span.total_seconds()
    if seconds < 10:
        return f'{seconds:.1f}\xa0s'
    if seconds < 120:
        return f'{seconds:.0f}\xa0s'
    return f'{seconds / 60:.0f}\xa0min' if seconds < 7200 else f'{seconds / 3600:.1f}\xa0h'


register.simple_tag(to_install)
register.simple_tag(lambda: main_job().name, name='main_job')
register.simple_tag(versions.words, name='versions')
register.filter('typed', manage)
register.filter('what_to_do', advice)


@register.filter
def may_see_automation(user: Visitor) -> bool:
    return may_see_page(user)


@register.inclusion_tag('tom_auto/record_line.html', takes_context=True)
def record_line(context: template.Context, record: ObservationRecord) -> dict:
    """When a record was last checked, when it is checked next, and how many frames it has."""
    sync = RecordSync.objects.filter(record=record).first()
    return {
        'sync': sync,
        'next': None if sync and sync.is_settled else _next(sync.next_check if sync else None),
        'paused': _paused(),
        'frames': _frames(context, DataProduct.objects.filter(observation_record=record)),
    }


@register.inclusion_tag('tom_auto/target_line.html', takes_context=True)
def target_line(context: template.Context, target: object) -> dict:
    """The same for those records of a target that the visitor may see."""
    records = seen_by(context['user'], ObservationRecord.objects.filter(target=target.pk))
    is_awaited = ~Q(state=RecordSync.State.SETTLED)
    found = RecordSync.objects.filter(record__in=records.order_by().values('pk')).aggregate(
        checked=Max('checked_at'),
        next=Min('next_check', filter=is_awaited),
        awaited=Count('pk', filter=is_awaited),
        failing=Count('pk', filter=Q(failing_since__isnull=False)),
        known=Count('pk'),
    )
    count = records.count()
    products = DataProduct.objects.filter(observation_record__in=records.order_by().values('pk'))
    new = count - found['known']  # due at the next run
    awaited = found['awaited'] + new
    return found | {
        'target': target,
        'may_ask': context['user'].is_authenticated,
        'records': count,
        'awaited': awaited,
        'next': _next(None if new else found['next']) if awaited else None,
        'paused': _paused(),
        'frames': _frames(context, products),
    }


@register.inclusion_tag('tom_auto/home_line.html', takes_context=True)
def home_line(context: template.Context) -> dict:
    user = context['user']
    return {'states': healths(user) if may_see_page(user) else []}


@register.inclusion_tag('tom_auto/arrivals/newest.html', takes_context=True)
def newest_frames(context: template.Context) -> dict:
    """The newest four frames that the visitor may see, as pictures."""
    user = context['user']
    return newest(user) if may_see_page(user) else {'frames': []}


def _frames(context: template.Context, products: QuerySet[DataProduct]) -> int:
    """How many of these the visitor may see."""
    return products_seen_by(context['user'], products).count()


def _next(due: datetime | None) -> datetime | None:
    """The first scheduled run after `due`."""
    now = timezone.now()
    return next_run(main_job(), max(now, due or now))


def _paused() -> bool:
    return JobPause.objects.filter(job=main_job().name).exists()
