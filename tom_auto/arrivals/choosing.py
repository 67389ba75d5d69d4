"""Which frames a person wants to hear of, as far as they may see them, and when."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from ..access import Visitor, arrivals_seen_by, with_target_seen
from ..conf import automation
from ..models import SharedFrame, UpdateRun
from ..running.runs import alive
from .models import Arrival, Wish

CLOCKS_DIFFER = timedelta(minutes=5)  # at most, on two hosts


def seen_frames(user: Visitor | None) -> QuerySet[Arrival]:
    """The frames that `user` may see, newest first, each with `target_seen`."""
    return arrivals_seen_by(user, _whole())


def frames_between(user: Visitor | None, after: int, up_to: int) -> QuerySet[Arrival]:
    """Those of a range: each that `user` may see is there, whoever moves its product meanwhile."""
    return arrivals_seen_by(user, _whole().filter(pk__gt=after, pk__lte=up_to), is_range=True)


def frame_seen(user: Visitor, pk: int) -> QuerySet[Arrival]:
    """The frame of that number, if `user` may see it at this moment."""
    return frames_between(user, pk - 1, pk)


def frames_of(user: Visitor, numbers: list[int]) -> list[Arrival]:
    """The frames of these `numbers`, which are known to be for `user`: the same, asked once."""
    return list(with_target_seen(user, _whole().filter(pk__in=numbers)))


def _whole() -> QuerySet[Arrival]:
    return Arrival.objects.select_related('product__target')


def wanted_frames(wish: Wish, after: int, up_to: int) -> QuerySet[Arrival]:
    """The frames of that range that the receiver of `wish` wants to hear of, and may see now."""
    rows = frames_between(wish.user, after, up_to)
    if wish.about == Wish.About.ALL:
        return rows
    chosen = Q(product__target__in=wish.targets.order_by().values('pk'))
    if wish.about == Wish.About.CHOSEN:
        return rows.filter(chosen)
    return rows.filter(chosen | Q(product__observation_record__user=wish.user) | _shared(wish))


def _shared(wish: Wish) -> Q:
    """Frames that were stored for somebody else's record and are of the user's as well."""
    shared = SharedFrame.objects.filter(
        record__user=wish.user,
        archive=OuterRef('product__stored_frame__archive'),
        frame_id=OuterRef('product__stored_frame__frame_id'),
    )
    return Q(Exists(shared))


def newest_before_the_last_run() -> int:
    """The newest frame that no longer was news when the last run began."""
    last = UpdateRun.objects.filter(command='updatedata').first()
    rows = Arrival.objects.filter(at__lt=last.started) if last else Arrival.objects
    return rows.aggregate(newest=Max('pk'))['newest'] or 0


def is_coming_in() -> bool:
    """Whether a run is at work that may still bring more: then what it brought is told at its end."""
    return alive('updatedata').exists()


def zone_of(wish: Wish) -> ZoneInfo:
    """The time zone of the daily mail: the user's, or that of the TOM if theirs is not known."""
    try:
        return ZoneInfo(wish.zone)
    except (ValueError, OSError, KeyError):
        return ZoneInfo(settings.TIME_ZONE)


def last_moment(wish: Wish, now: datetime) -> datetime:
    """The last time, before `now`, at which the daily mail was due."""
    today = now.astimezone(zone_of(wish)).date()
    moment = _moment(wish, today)
    return moment if moment <= now else _moment(wish, today - timedelta(days=1))


def _moment(wish: Wish, day: date) -> datetime:
    """When the daily mail of that day is due: the first time that the clock shows the hour."""
    moment = datetime.combine(day, time(wish.hour), zone_of(wish))
    # By way of UTC: in the zone itself, hours that the clocks leave out or repeat compare wrongly.
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def next_moment(wish: Wish, now: datetime) -> datetime:
    """When the next daily mail is due: it goes out with the first run after that."""
    last = last_moment(wish, now)
    is_told = _is_told_since(last, wish, now)
    return _moment(wish, last.date() + timedelta(days=1)) if is_told else last


def _is_told_since(last: datetime, wish: Wish, now: datetime) -> bool:
    # A clock that went wrong may have left a time to come, up to which nothing would be told.
    return last <= wish.told_at < now + CLOCKS_DIFFER


def can_be_told(wish: Wish) -> bool:
    """Whether there is a way to reach the receiver."""
    if wish.receiver == Wish.Receiver.WEBHOOK:
        return bool(automation().ARRIVALS_WEBHOOK_URL)
    return wish.user.is_active and bool(wish.user.email)


def is_due(wish: Wish, now: datetime) -> bool:
    """Whether it is time to tell the receiver what there is."""
    return is_due_after_run(wish, now) and (wish.when == Wish.When.DAILY or not is_coming_in())


def is_due_after_run(wish: Wish, now: datetime) -> bool:
    """Whether it will be, once the run that is at work has ended."""
    if wish.when == Wish.When.DAILY:
        return not _is_told_since(last_moment(wish, now), wish, now)
    return wish.when == Wish.When.AT_ONCE
