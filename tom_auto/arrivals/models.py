"""What is remembered of frames that came in, of who wants to be told, and of what was sent."""

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_targets.models import BaseTarget


class Arrival(models.Model):
    """A frame that came in. Its number says in which order they came; it is never told twice.

    Whose it is, its product says. `target` repeats it, so that the gallery finds its rows by an index:
    whoever asks by it asks for `in_step` as well.
    """

    class Picture(models.TextChoices):
        """How the small picture of it stands."""

        WAITING = 'waiting', 'not drawn yet'
        DRAWN = 'drawn', 'drawn'
        NO_IMAGE = 'no image', 'not an image'
        BROKEN = 'broken', 'cannot be drawn'
        GONE = 'gone', 'its file is gone'

    id = models.BigAutoField(primary_key=True)
    product = models.OneToOneField(DataProduct, on_delete=models.CASCADE, related_name='arrival')
    target = models.ForeignKey(
        BaseTarget,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name='+',
        db_index=False,
    )
    facility = models.CharField(max_length=50)
    at = models.DateTimeField(db_index=True, help_text='When it was stored.')
    picture = models.CharField(max_length=10, choices=Picture.choices, default=Picture.WAITING)
    trouble = models.CharField(max_length=200, blank=True, help_text='Why it is not drawn.')
    not_before = models.DateTimeField(
        null=True, blank=True, help_text='It could not be read: not to be tried before this.'
    )
    # From its header, read when it is drawn; empty where the header does not say.
    taken = models.CharField(max_length=30, blank=True, help_text='When it was taken, in UTC.')
    filter = models.CharField(max_length=30, blank=True)
    exposure = models.CharField(max_length=20, blank=True, help_text='In seconds.')
    level = models.CharField(max_length=20, blank=True, help_text='The reduction level.')

    class Meta:
        ordering = ('-id',)
        indexes = [
            models.Index(fields=['target', '-id'], name='tom_auto_came_of_target'),
            models.Index(fields=['facility', '-id'], name='tom_auto_came_of_facility'),
        ]

    def __str__(self) -> str:
        return f'frame {self.pk} of {self.facility}'

    #: A product can be moved by an UPDATE, for which Django sends no signal.
    in_step = Q(target=F('product__target'))

    @property
    def is_to_draw(self) -> bool:
        """Whether it is to be drawn now. What was gone is, if its file is there again."""
        if self.not_before and self.not_before > timezone.now():
            return False
        return self.is_undrawn or self.picture == self.Picture.GONE

    @property
    def is_undrawn(self) -> bool:
        """Whether it has no picture yet, or no longer: whoever saves an old product takes it away."""
        is_lost = self.picture == self.Picture.DRAWN and not self.product.thumbnail
        return is_lost or self.picture == self.Picture.WAITING

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.product.get_file_name() if self.product.data else ''

    @property
    def version(self) -> str:
        """Changes when the picture may have changed: browsers keep what they have until then."""
        return f'{self.pk}-{self.product.modified:%y%m%d%H%M%S%f}'

    @property
    def taken_words(self) -> str:
        """When it was taken, to the minute."""
        return f'{self.taken[:16].replace("T", " ")} UTC'

    @property
    def facts(self) -> list[str]:
        """What its header says, for people."""
        seconds = f'{self.exposure} s' if self.exposure else ''
        level = f'level {self.level}' if self.level else ''
        return [fact for fact in (self.filter, seconds, level) if fact]


class Wish(models.Model):
    """What one receiver wants to be told of frames that come in: a user, or the webhook."""

    class When(models.TextChoices):
        """How soon."""

        NEVER = 'never', 'never'
        AT_ONCE = 'at once', 'at once: one mail after each run that brought some'
        DAILY = 'daily', 'once a day'

    class About(models.TextChoices):
        """Of which frames; always only of those that the user may see."""

        ALL = 'all', 'all targets that I may see'
        OWN = 'own', 'my own observations, and the targets that I chose'
        CHOSEN = 'chosen', 'the targets that I chose'

    class Receiver(models.TextChoices):
        """Who is told."""

        USER = 'user', 'a user, by mail'
        WEBHOOK = 'webhook', 'the webhook of this TOM'

    receiver = models.CharField(max_length=10, choices=Receiver.choices, default=Receiver.USER)
    user = models.OneToOneField(User, null=True, on_delete=models.CASCADE, related_name='wish')
    when = models.CharField(max_length=10, choices=When.choices, default=When.NEVER)
    about = models.CharField(max_length=10, choices=About.choices, default=About.OWN)
    hour = models.PositiveSmallIntegerField(default=8, help_text='Of the daily mail.')
    zone = models.CharField(max_length=60, default='UTC', help_text='The time zone of the hour.')
    targets = models.ManyToManyField(BaseTarget, related_name='+', help_text='Those chosen.')
    told_up_to = models.BigIntegerField(
        default=0, help_text='The newest frame that was told, or was not to be.'
    )
    told_at = models.DateTimeField(help_text='When the daily mail was last due, or this was made.')

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(receiver='user', user__isnull=False)
                | Q(receiver='webhook', user__isnull=True),
                name='tom_auto_wish_of_somebody',
            ),
            models.UniqueConstraint(
                fields=['receiver'], condition=Q(receiver='webhook'), name='tom_auto_one_webhook'
            ),
        ]

    def __str__(self) -> str:
        return f'{self.user or self.receiver}: {self.when}, {self.about}'


class Notice(models.Model):
    """One message about frames, to one receiver: it is there before it is sent.

    A message that was being sent when its process was killed may have arrived. It is not sent
    again: the next one says so, in place of telling a frame twice.
    """

    class State(models.TextChoices):
        """How far it came."""

        PREPARED = 'prepared', 'being prepared'
        SENDING = 'sending', 'being sent'
        SENT = 'sent', 'sent'
        FAILED = 'failed', 'not sent: the next run tries again'
        UNCERTAIN = 'uncertain', 'perhaps sent: the program was stopped meanwhile'

    OPEN = (State.PREPARED, State.SENDING)

    wish = models.ForeignKey(Wish, on_delete=models.CASCADE, related_name='notices')
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREPARED)
    message_id = models.CharField(max_length=100, help_text='Its Message-ID.')
    address = models.CharField(max_length=254, blank=True)
    after = models.BigIntegerField(help_text='It is about frames after this one,')
    up_to = models.BigIntegerField(help_text='up to this one.')
    frames = models.PositiveIntegerField(default=0, help_text='How many it names.')
    at = models.DateTimeField(db_index=True)
    claimed_until = models.DateTimeField(help_text='Its process is taken for dead after this.')
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ('-at', '-pk')
        constraints = [
            models.UniqueConstraint(
                fields=['wish'],
                condition=Q(state__in=['prepared', 'sending', 'failed']),
                name='tom_auto_one_notice_at_a_time',
            )
        ]

    def __str__(self) -> str:
        return f'{self.frames} frames to {self.wish}: {self.state}'


class FeedKey(models.Model):
    """The key with which a program reads a user's feed. Only its digest is kept."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name='feed_key')
    digest = models.CharField(max_length=64, unique=True, help_text='SHA-256 of the key.')
    made = models.DateTimeField()

    def __str__(self) -> str:
        return f'the key of {self.user}'
