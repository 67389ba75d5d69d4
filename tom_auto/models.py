"""What the automation remembers between two runs."""

from datetime import timedelta

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q, QuerySet
from django.db.models.deletion import Collector
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import DynamicCadence, ObservationRecord
from tom_targets.models import BaseTarget


def remember_deleted(
    collector: Collector, field: models.Field, frames: QuerySet, using: str
) -> None:
    """What becomes of a stored frame when its data product is deleted: rule 7.

    A product that somebody deletes stays deleted. One that goes along with its target or its
    record is forgotten with them.
    """
    origin = collector.origin
    if getattr(origin, 'model', type(origin)) is not DataProduct:
        models.CASCADE(collector, field, frames, using)
        return
    # In this order: each is a statement of its own, and `frames` are found by their product.
    state = StoredFrame._meta.get_field('state')
    collector.add_field_update(state, StoredFrame.State.DELETED, frames)
    collector.add_field_update(field, None, frames)


class RecordSync(models.Model):
    """How one observation record stands with its observatory: rule 1. `sync.due` decides by it."""

    class State(models.TextChoices):
        """What the automation is going to do about a record."""

        NEW = 'new', 'never checked'
        WAITING = 'waiting', 'waiting for its next check'
        BACKING_OFF = 'backing off', 'backing off after a failure'
        SETTLED = 'settled', 'settled'

    record = models.OneToOneField(
        ObservationRecord, on_delete=models.CASCADE, primary_key=True, related_name='sync'
    )
    state = models.CharField(max_length=12, choices=State.choices, default=State.NEW)
    status = models.CharField(
        max_length=200, blank=True, help_text='The status that the last check left.'
    )
    next_check = models.DateTimeField(
        default=timezone.now, help_text='Due from then on, unless it is settled.'
    )
    asked_at = models.DateTimeField(null=True, db_index=True, help_text='When it was last asked.')
    checked_at = models.DateTimeField(null=True, help_text='When a check last succeeded.')
    terminal_since = models.DateTimeField(null=True, help_text='First seen in this terminal state.')
    failures = models.PositiveIntegerField(default=0, help_text='Failed checks in a row.')
    failing_since = models.DateTimeField(
        null=True, db_index=True, help_text='When the first of the failed checks in a row began.'
    )
    error = models.TextField(
        blank=True, help_text='Why the last check failed, or what is not supported: no failure.'
    )
    error_kind = models.CharField(max_length=30, blank=True, help_text='See sync.errors.')
    owes_hook = models.BooleanField(
        default=False, help_text='The observation_change_state hook has not ended.'
    )
    status_before = models.CharField(
        max_length=200, blank=True, help_text='The status before the change that the hook is for.'
    )

    saving = models.BooleanField(
        default=False, help_text="The facility class's own save_data_products has not ended."
    )
    newest_product = models.BigIntegerField(
        default=0, help_text='The newest data product of the TOM before that began.'
    )

    class Meta:
        verbose_name = 'state of a record'
        verbose_name_plural = 'states of records'
        indexes = [
            models.Index(
                fields=['next_check'], condition=~Q(state='settled'), name='tom_auto_next_checks'
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=['new', 'waiting', 'backing off', 'settled']),
                name='tom_auto_state_has_a_name',
            ),
            models.CheckConstraint(
                condition=~Q(state='settled') | Q(failures=0), name='tom_auto_settled_is_well'
            ),
        ]

    def __str__(self) -> str:
        return f'{self.record_id}: {self.get_state_display()}'

    @property
    def is_settled(self) -> bool:
        """Whether no more frames are awaited."""
        return self.state == self.State.SETTLED


class StoredFrame(models.Model):
    """A frame of an archive that was stored, and what was verified of it: rules 6 to 8."""

    class State(models.TextChoices):
        """How the frame's file stands."""

        STORED = 'stored', 'stored'
        BROKEN = 'broken', 'being fetched anew'
        DELETED = 'deleted', 'deleted here'

    archive = models.CharField(max_length=100, help_text='Whose ids these are.')
    frame_id = models.CharField(max_length=255, help_text="The archive's id.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.STORED)
    record = models.ForeignKey(
        ObservationRecord, on_delete=models.CASCADE, related_name='stored_frames'
    )
    product = models.OneToOneField(
        DataProduct, null=True, on_delete=remember_deleted, related_name='stored_frame'
    )
    filename = models.CharField(max_length=255, help_text="The archive's name for the file.")
    name = models.CharField(max_length=255, help_text='The name in the storage.')
    archive_md5 = models.CharField(max_length=32, blank=True, help_text='As the archive gives it.')
    md5 = models.CharField(max_length=32, help_text='Of the file as it was stored.')
    size = models.BigIntegerField(help_text='Of the file as it was stored, in bytes.')
    stored_at = models.DateTimeField(db_index=True)
    hooks_owed = models.BooleanField(
        default=False, help_text='The hooks for a saved data product have not ended.'
    )

    class Meta:
        indexes = [  # of the few that something is left to do for
            models.Index(
                fields=['record'], condition=Q(hooks_owed=True), name='tom_auto_hooks_owed'
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=['archive', 'frame_id'], name='tom_auto_one_frame'),
            models.CheckConstraint(
                condition=Q(state='deleted')
                | Q(state__in=['stored', 'broken'], product__isnull=False),
                name='tom_auto_stored_has_a_product',
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_broken(self) -> bool:
        """Whether its file has to be fetched anew."""
        return self.state == self.State.BROKEN


class SharedFrame(models.Model):
    """A frame that a record has beside the one for which it was stored.

    When the frame goes with its own record, the other records get it back: see `sync.due`.
    """

    record = models.ForeignKey(ObservationRecord, on_delete=models.CASCADE)
    archive = models.CharField(max_length=100)
    frame_id = models.CharField(max_length=255)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=['record', 'archive', 'frame_id'], name='tom_auto_shared_once'
            )
        ]

    def __str__(self) -> str:
        return f'{self.frame_id} of {self.archive}'


class StorageMark(models.Model):
    """The id that the storage of this TOM carries: rule 7. There is one row at most."""

    mark = models.CharField(max_length=32)
    pending = models.BooleanField(default=False, help_text='The storage does not carry it yet.')

    def __str__(self) -> str:
        return self.mark


class ServiceTarget(models.Model):
    """A target that a data service knows, and what the service last said of it."""

    target = models.ForeignKey(BaseTarget, on_delete=models.CASCADE, related_name='+')
    service = models.CharField(max_length=50, help_text='The name of the data service.')
    told = models.JSONField(
        default=dict, help_text='Fields and extras as the service last gave them.'
    )
    asked_at = models.DateTimeField(
        null=True, help_text='When its reduced data were last asked for; empty: never.'
    )
    answered_at = models.DateTimeField(null=True, help_text='When they were last stored.')

    class Meta:
        indexes = [models.Index(fields=['service', 'asked_at'], name='tom_auto_data_asked')]
        constraints = [
            models.UniqueConstraint(fields=['target', 'service'], name='tom_auto_told_once')
        ]

    def __str__(self) -> str:
        return f'{self.target_id} at {self.service}'


class Submission(models.Model):
    """One request that a cadence has sent to an observatory, or may have sent.

    The row is there before anything is sent, and of those for one trigger only one may be: what
    was sent can never be undone. `targets.submissions` writes it.
    """

    class State(models.TextChoices):
        """How far it came."""

        INTENDED = 'intended', 'being submitted'
        SUBMITTED = 'submitted', 'accepted, not recorded yet'
        RECORDED = 'recorded', 'accepted, with its observation records'
        REFUSED = 'refused', 'not accepted'
        UNCERTAIN = 'uncertain', 'perhaps accepted: somebody has to look'

    cadence = models.ForeignKey(DynamicCadence, on_delete=models.CASCADE, related_name='+')
    trigger = models.ForeignKey(
        ObservationRecord,
        on_delete=models.CASCADE,
        related_name='+',
        help_text='The observation because of which this was submitted.',
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.INTENDED)
    facility = models.CharField(max_length=50)
    name = models.CharField(max_length=255, help_text='What the observatory knows it by.')
    payload = models.JSONField(encoder=DjangoJSONEncoder, help_text='What was sent.')
    observation_ids = models.JSONField(default=list, help_text='What the observatory answered.')
    error = models.TextField(blank=True)
    created = models.DateTimeField(help_text='When it was about to be sent.')

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=['cadence', 'trigger'],
                condition=~Q(state='refused'),
                name='tom_auto_one_submission_a_trigger',
            )
        ]

    def __str__(self) -> str:
        return f'submission {self.pk} to {self.facility}: {self.get_state_display()}'


#: What a run counts, in the order in which people read it.
COUNTS = (
    'due', 'checked', 'changed', 'found', 'saved', 'repaired', 'failed', 'unsupported', 'set_aside',
    'not_reached', 'gone', 'filtered',
)  # fmt: skip


class UpdateRun(models.Model):
    """One run of a job: who ran it, and what came of it."""

    class Status(models.TextChoices):
        """How a run stands, or how it ended."""

        RUNNING = 'running', 'running'
        OK = 'ok', 'went well'
        FAILED = 'failed', 'something failed'
        DIED = 'died', 'ended too soon'

    job = models.CharField(max_length=50, help_text='Its name in schedule.toml.')
    command = models.CharField(
        max_length=255, default='updatedata', help_text='What it runs: one at a time.'
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    exit_status = models.IntegerField(
        null=True, help_text='Below zero: the signal that ended it. Empty: not known.'
    )
    output = models.TextField(blank=True, help_text='The end of what it printed.')
    host = models.CharField(max_length=255)
    lock = models.CharField(
        max_length=50, blank=True, help_text='Which file of the host it has locked, if any.'
    )
    pid = models.PositiveIntegerField()
    started_by = models.CharField(
        max_length=150, blank=True, help_text='Who started it by hand; empty: the schedule.'
    )
    only = models.CharField(
        max_length=200, blank=True, help_text='What it was limited to; empty: nothing.'
    )
    started = models.DateTimeField()
    heartbeat = models.DateTimeField(help_text='When the run last said that it is alive.')
    finished = models.DateTimeField(null=True)
    due = models.PositiveIntegerField(default=0)
    checked = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    found = models.PositiveIntegerField(default=0)
    saved = models.PositiveIntegerField(default=0)
    repaired = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    unsupported = models.PositiveIntegerField(default=0)
    set_aside = models.PositiveIntegerField(default=0)
    not_reached = models.PositiveIntegerField(default=0)
    gone = models.PositiveIntegerField(default=0)
    filtered = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ('-started',)
        permissions = [('run_automation', 'Can run, retry, pause and resume the automation')]
        indexes = [models.Index(fields=['job', '-started'], name='tom_auto_runs_of_a_job')]
        constraints = [
            # One run of a command at a time, kept by the database: on one host or on many.
            models.UniqueConstraint(
                fields=['command'], condition=Q(status='running'), name='tom_auto_one_run_at_a_time'
            )
        ]

    def __str__(self) -> str:
        return f'{self.job} {self.started:%Y-%m-%d %H:%M}: {self.status}'

    def counts(self) -> list[tuple[str, int]]:
        """What it counted, by name."""
        return [(name, getattr(self, name)) for name in COUNTS]

    @property
    def outcome(self) -> str:
        """How it stands, in words; `shown` is what a visitor may know of that (see `access`)."""
        shown = getattr(self, 'shown', self.status)
        return self.Status(shown).label if shown in self.Status else shown

    @property
    def took(self) -> timedelta | None:
        """How long it ran; None while it does, or where nobody knows."""
        return self.finished - self.started if self.finished else None


class RunFailure(models.Model):
    """One thing that failed in a run: a record, or a facility as a whole (no record)."""

    run = models.ForeignKey(UpdateRun, on_delete=models.CASCADE, related_name='failures')
    # No constraint: whoever keeps the record's row locked does not keep a run from telling of it.
    record = models.ForeignKey(
        ObservationRecord, null=True, on_delete=models.SET_NULL, db_constraint=False
    )
    observation_id = models.CharField(max_length=255, blank=True)
    facility = models.CharField(max_length=50)
    error = models.TextField()
    error_kind = models.CharField(max_length=30, help_text='See sync.errors.')

    def __str__(self) -> str:
        return f'{self.facility} {self.observation_id}: {self.error}'


class RunRequest(models.Model):
    """Somebody has asked for a run on a page: the row is there before its process is.

    It goes when the process ends. Until then nobody can start a second one.
    """

    job = models.CharField(max_length=255, primary_key=True)
    by = models.CharField(max_length=150)
    alive_at = models.DateTimeField(help_text='When the web server last saw the process.')

    def __str__(self) -> str:
        return f'{self.job}, asked for by {self.by}'


class JobPause(models.Model):
    """A job that a person has stopped: while the row is there, the schedule's runs do nothing."""

    job = models.CharField(max_length=50, primary_key=True)
    by = models.CharField(max_length=150)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f'{self.job} is paused by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC'


class Mutes(models.QuerySet):
    """What nobody is to be told about."""

    def in_force(self) -> 'Mutes':
        return self.filter(until__gt=timezone.now())

    def leave_out(self, rows: QuerySet) -> QuerySet:
        """The `rows`, which have a `record`, without those whose record or facility is muted."""
        muted = self.in_force()
        records = muted.filter(record__isnull=False).values('record')
        facilities = muted.exclude(facility='').values('facility')
        return rows.exclude(record__in=records).exclude(record__facility__in=facilities)


class Mute(models.Model):
    """Until a date nobody is told about a record, a facility, or anything: a person wants it so."""

    record = models.ForeignKey(ObservationRecord, null=True, on_delete=models.CASCADE)
    facility = models.CharField(
        max_length=50, blank=True, help_text='Without a record and a facility: everything.'
    )
    until = models.DateTimeField()
    by = models.CharField(max_length=150)
    why = models.CharField(max_length=200)

    objects = Mutes.as_manager()

    class Meta:
        ordering = ('until',)

    def __str__(self) -> str:
        what = f'observation {self.record_id}' if self.record_id else self.facility or 'everything'
        return f'{what}, muted by {self.by}'


class Told(models.Model):
    """A message that was sent to people, or that did not arrive."""

    at = models.DateTimeField(db_index=True)
    channel = models.CharField(max_length=10)
    whom = models.CharField(max_length=500, blank=True)
    job = models.CharField(max_length=50, blank=True, help_text='Empty: a test message.')
    subject = models.CharField(max_length=200)
    error = models.CharField(max_length=200, blank=True, help_text='Why it did not arrive.')

    class Meta:
        ordering = ('-at', '-pk')

    def __str__(self) -> str:
        return f'{self.subject} by {self.channel}'


class Alert(models.Model):
    """What one channel (mail, webhook) was last told about a job.

    Whoever has something to tell claims the row first, so that of several processes one tells.
    """

    job = models.CharField(max_length=50)
    channel = models.CharField(max_length=10)
    state = models.CharField(max_length=10, help_text='The state of the job as it was told.')
    troubles = models.JSONField(default=list, help_text='What was told to be in trouble.')
    told_at = models.DateTimeField(null=True, help_text='When something was last told.')
    claimed_until = models.DateTimeField(null=True, help_text='Someone is telling, until then.')

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=['job', 'channel'], name='tom_auto_one_alert_a_channel')
        ]

    def __str__(self) -> str:
        return f'{self.job} by {self.channel}: {self.state}'
