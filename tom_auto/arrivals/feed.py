"""What came in, for programs: JSON and Atom, with a key that each user can make and renew.

The key stands in the address, as feed readers want it. It lets one read the feed and its files, and
no more; the TOM keeps only its digest.
"""

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.storage import FileSystemStorage
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.feedgenerator import Atom1Feed
from django.utils.http import content_disposition_header
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import (
    api_view,
    authentication_classes,
    content_negotiation_class,
    permission_classes,
)
from rest_framework.exceptions import AuthenticationFailed, NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from .. import data_files
from ..access import View, may_see_page, number_in
from ..conf import web_address
from ..page.monitoring import MaySeeThePage
from .choosing import frame_seen, frames_between
from .models import Arrival, FeedKey
from .numbers import newest_frame

ENTRIES = 100
MANY = 10_000  # frames of which most readers may see enough
NOT_FOR_YOU = 'The feed is only for users who can see the automation page.'


class KeyAuthentication(BaseAuthentication):
    """Knows a user by `?token=…`, the key of their feed."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        key = request.query_params.get('token', '')
        if not key:
            return None
        found = FeedKey.objects.select_related('user').filter(digest=_digest(key)).first()
        if found is None or not found.user.is_active:
            raise AuthenticationFailed(
                'This key is not valid. Make a new one on your profile page.'
            )
        if not may_see_page(found.user):  # not 403: tomtoolkit sends that to the log-in page
            raise AuthenticationFailed(NOT_FOR_YOU)
        return found.user, None

    def authenticate_header(self, request: Request) -> str:
        return 'Token'


class AnyKind(DefaultContentNegotiation):
    """Answers with what there is, whatever a program says it would rather have."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type


def _for_readers(view: View) -> View:
    """A view for programs, with a key, a session or a token."""
    classes = [KeyAuthentication, *api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    view = content_negotiation_class(AnyKind)(permission_classes([MaySeeThePage])(view))
    return api_view(['GET', 'HEAD'])(authentication_classes(classes)(view))


def new_key(user: User) -> str:
    """A new key for the feed of `user`; one from before is no longer valid."""
    key = secrets.token_urlsafe(32)
    fields = {'digest': _digest(key), 'made': timezone.now()}
    FeedKey.objects.update_or_create(user=user, defaults=fields)
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()


@_for_readers
def as_json(request: Request) -> Response:
    """The newest frames, in the order in which they came; with `?after=ID` those after that one."""
    frames = _asked_for(request)
    last = frames[-1].pk if frames else _after(request) or 0
    entries = [_entry(arrival, _host(request)) for arrival in frames]
    return Response({'frames': entries, 'last': last})


@_for_readers
def as_atom(request: Request) -> HttpResponse:
    """The same for feed readers."""
    here = f'{_host(request)}{reverse("automation:arrivals")}'
    feed = Atom1Feed(f'{settings.TOM_NAME}: what came in', here, 'Frames that came in')
    for arrival in reversed(_asked_for(request)):
        entry = _entry(arrival, _host(request))
        feed.add_item(
            title=_plain(f'{entry["target"]}: {entry["name"]}'),
            link=entry['data'],
            description=_plain(' '.join([arrival.facility, *arrival.facts])),
            unique_id=f'{here}#{arrival.pk}',
            updateddate=arrival.at,
        )
    return HttpResponse(feed.writeString('utf-8'), content_type=feed.content_type)


@_for_readers
def file(request: Request, pk: int) -> HttpResponse:
    """The file of a frame. Its address lasts, and says nothing of where the file lies.

    A store sends its files itself, from an address that soon ends; but the place in it may say the
    name of a target.
    """
    arrival = get_object_or_404(frame_seen(request.user, pk))
    data = arrival.product.data
    if not data:
        raise Http404('The frame has no file.')
    if isinstance(data.storage, FileSystemStorage) or not arrival.target_seen:
        answer = data_files.sent(request, data)
        answer['Content-Disposition'] = content_disposition_header(False, arrival.name)
        return answer
    return HttpResponseRedirect(data.url, headers={'Cache-Control': 'private, no-store'})


def _asked_for(request: Request) -> list[Arrival]:
    """Those to name, by ranges: in one each frame goes by the target that its product has now.

    The first is short, and mostly enough.
    """
    newest, after = newest_frame(), _after(request)
    if after is None:
        ranges, order = [(newest - MANY, newest), (0, newest - MANY)], '-pk'
    else:
        ranges, order = [(after, min(newest, after + MANY)), (after + MANY, newest)], 'pk'
    found: list[Arrival] = []
    for begin, end in ranges:
        if begin < end and len(found) < ENTRIES:
            rows = frames_between(request.user, begin, end).order_by(order)
            found += rows[: ENTRIES - len(found)]
    return found[::-1] if after is None else found


def _after(request: Request) -> int | None:
    """After which number; 0 is one, which a reader has to whom nothing was told yet."""
    return number_in(request.query_params.get('after', ''))


def _entry(arrival: Arrival, host: str) -> dict[str, str | int | datetime]:
    product = arrival.product
    return {
        'id': arrival.pk,
        'at': arrival.at,
        'target': product.target.name if arrival.target_seen else '',
        'target_id': product.target_id if arrival.target_seen else 0,
        'facility': arrival.facility,
        'name': arrival.name,
        'data': f'{host}{reverse("automation:file", args=[arrival.pk])}' if product.data else '',
        'filter': arrival.filter,
        'taken': arrival.taken,
        'exposure': arrival.exposure,
        'level': arrival.level,
    }


def _host(request: Request) -> str:
    return web_address() or request.build_absolute_uri('/').rstrip('/')


def _plain(text: str) -> str:
    """`text` without what XML cannot hold."""
    return ''.join(filter(str.isprintable, text))
