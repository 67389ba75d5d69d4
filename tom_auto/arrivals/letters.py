"""What a message about frames says: a mail in plain text and HTML, or JSON for a webhook."""

from dataclasses import dataclass
from email.mime.image import MIMEImage

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.db.models import Count, F, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse

from ..access import may_see_page
from ..channels import prefixed
from ..conf import web_address
from ..redact import redact
from .illustrations import SHOWN, drawn_of
from .models import Arrival, Notice, Wish

MOST_NAMED = 30  # targets
SALT = 'tom_auto.arrivals.unsubscribe'
HIDDEN = 'a target that you may not see'


@dataclass(frozen=True)
class Content:
    """What there is to tell: `rows` are targets, each with `name`, `facility`, `frames`, `page`."""

    frames: int
    rows: list[dict]
    more: int
    pictures: list[Arrival]

    @property
    def subject(self) -> str:
        what = '1 new frame' if self.frames == 1 else f'{self.frames} new frames'
        names = list(dict.fromkeys(row['name'] for row in self.rows))
        if len(names) == 1 and not self.more:
            return f'{what} of {names[0]}'
        count = len(names) + self.more
        return f'{what} of {count} targets'


def content_of(frames: QuerySet[Arrival], shown: list[Arrival] | None = None) -> Content:
    """What these frames are. Once it is known which are `shown`, others are not, only perhaps fewer."""
    targets = frames.order_by().values(
        'facility', 'target_seen', of=F('product__target'), name=F('product__target__name')
    )
    counted = list(
        targets.annotate(frames=Count('pk')).order_by('-frames', 'name', 'of', 'facility')
    )
    rows = [
        {
            'name': row['name'] if row['target_seen'] else HIDDEN,
            'facility': row['facility'],
            'frames': row['frames'],
            'page': address('targets:detail', pk=row['of']) if row['target_seen'] else '',
        }
        for row in counted[:MOST_NAMED]
    ]
    total = sum(row['frames'] for row in counted)
    drawn = drawn_of(frames) if shown is None else frames.filter(pk__in=[one.pk for one in shown])
    return Content(total, rows, len(counted[MOST_NAMED:]), list(drawn[:SHOWN]))


def address(name: str, **parts: object) -> str:
    """The whole URL of a page; empty if ALLOWED_HOSTS does not name a host."""
    return f'{web_address()}{reverse(name, kwargs=parts)}' if web_address() else ''


def mail(
    content: Content, notice: Notice, missed: list[Notice], pictures: dict[int, bytes]
) -> EmailMultiAlternatives:
    """The mail to a user. `missed`: those before it that may not have arrived."""
    unsubscribe = address('automation:unsubscribe', token=token_of(notice.wish))
    shown = [arrival for arrival in content.pictures if arrival.pk in pictures]
    context = {
        'content': content,
        'tom': settings.TOM_NAME,
        'missed': missed,
        'pictures': shown,
        'gallery': address('automation:arrivals') if may_see_page(notice.wish.user) else '',
        'profile': address('user-profile'),
        'unsubscribe': unsubscribe,
    }
    headers = {'Message-ID': notice.message_id, 'Auto-Submitted': 'auto-generated'}
    if unsubscribe:
        headers['List-Unsubscribe'] = f'<{unsubscribe}>'
        headers['List-Unsubscribe-Post'] = 'List-Unsubscribe=One-Click'
    text = render_to_string('tom_auto/arrivals/mail.txt', context)
    found = EmailMultiAlternatives(
        prefixed(content.subject), text, settings.DEFAULT_FROM_EMAIL,
        [notice.address], headers=headers,
    )  # fmt: skip
    found.attach_alternative(render_to_string('tom_auto/arrivals/mail.html', context), 'text/html')
    found.mixed_subtype = 'related'
    for arrival in shown:
        _attach(found, arrival, pictures[arrival.pk])
    return found


def _attach(found: EmailMultiAlternatives, arrival: Arrival, picture: bytes) -> None:
    image = MIMEImage(picture, 'jpeg')
    image.add_header('Content-ID', f'<frame-{arrival.pk}>')
    image.add_header('Content-Disposition', 'inline', filename=f'frame-{arrival.pk}.jpg')
    found.attach(image)


def for_programs(content: Content, notice: Notice, missed: list[Notice]) -> dict:
    """The JSON for the webhook, which chat programs can show."""
    frames = sum(each.frames for each in missed)
    lost = f'. What was sent about {frames} before may not have arrived' if missed else ''
    return {
        'text': f'{settings.TOM_NAME}: {redact(content.subject)}{lost}',
        'tom': settings.TOM_NAME,
        'frames': content.frames,
        'targets': content.rows,
        'page': address('automation:arrivals'),
        'id': _number(notice),
        'missed': [
            {'id': _number(each), 'frames': each.frames, 'at': each.at.isoformat()}
            for each in missed
        ],
    }


def _number(notice: Notice) -> str:
    return notice.message_id.strip('<>')


def token_of(wish: Wish) -> str:
    """Who has this may end the mails of `wish`, and nothing else."""
    return signing.dumps(wish.pk, salt=SALT)


def wish_of(token: str) -> Wish | None:
    """The wish whose token this is; None if it is of none."""
    try:
        return Wish.objects.filter(pk=signing.loads(token, salt=SALT), receiver='user').first()
    except signing.BadSignature:
        return None
