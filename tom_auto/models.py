"""What the automation remembers between two runs."""

from datetime import timedelta

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.deletion import Collector
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import DynamicCadence, ObservationRecord
from tom_targets.models import BaseTarget

from .arrivals.models import Arrival, FeedKey, Notice, Wish  # noqa: F401  (Django looks here)


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
    its = frames.filter(archive=OuterRef('archive'), frame_id=OuterRef('frame_id'))
    shared = SharedFrame.objects.using(using).filter(Exists(its))
    collector.add_field_update(SharedFrame._meta.get_field('deleted'), True, shared)
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
    error_kind = models.CharField(max_length=30, blank=True, help_text='See errors.')
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
        ROTTED = 'rotted', 'rotted, and being fetched anew'
        CUT = 'cut', 'cut off, and being fetched anew'
        DELETED = 'deleted', 'deleted here'

    class Origin(models.TextChoices):
        """What there was of the frame when the automation first looked at it."""

        NOTHING = 'nothing', 'nothing: it was fetched'
        WHOLE = 'whole', 'a whole file, which another command had stored'
        DAMAGED = 'damaged', 'a damaged file, which another command had stored'
        MISSING = 'missing', 'a row of another command, without a file'

    archive = models.CharField(max_length=100, help_text='Whose ids these are.')
    frame_id = models.CharField(max_length=255, help_text="The archive's id.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.STORED)
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.NOTHING)
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
    hooks_due = models.DateTimeField(
        default=timezone.now, help_text='Nobody else begins the hooks before this.'
    )
    hooks_holder = models.CharField(
        max_length=100, blank=True, help_text='Who runs them now, until they are due.'
    )
    hooks_failures = models.PositiveIntegerField(default=0, help_text='In a row.')
    hooks_error = models.TextField(blank=True, help_text='Why they failed last.')

    class Meta:
        indexes = [  # of the few that something is left to do for
            models.Index(
                fields=['record'], condition=Q(hooks_owed=True), name='tom_auto_hooks_owed'
            ),
            models.Index(
                fields=['hooks_due'], condition=Q(hooks_owed=True), name='tom_auto_hooks_due'
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=['archive', 'frame_id'], name='tom_auto_one_frame'),
            models.CheckConstraint(
                condition=Q(state='deleted')
                | Q(state__in=['stored', 'broken', 'rotted', 'cut'], product__isnull=False),
                name='tom_auto_stored_has_a_product',
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_broken(self) -> bool:
        """Whether its file has to be fetched anew, unless what lies there turns out to be whole."""
        return self.state == self.State.BROKEN

    @property
    def is_spoiled(self) -> bool:
        """Whether its file has to be fetched anew, though it may look whole."""
        return self.state in (self.State.ROTTED, self.State.CUT)


class SharedFrame(models.Model):
    """A frame that a record has beside the one for which it was stored.

    When the frame goes with its own record, the other records get it back, unless its product had been
    deleted here: see `sync.due`.
    """

    record = models.ForeignKey(ObservationRecord, on_delete=models.CASCADE)
    archive = models.CharField(max_length=100)
    frame_id = models.CharField(max_length=255)
    deleted = models.BooleanField(default=False, help_text='Its product was deleted here.')

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


class AuditRound(models.Model):
    """A round of `auditdata`, in which every stored file is read once, in the order of its product."""

    class State(models.TextChoices):
        """How far it is."""

        OPEN = 'open', 'in progress'
        CLOSED = 'closed', 'ended'

    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    began = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    position = models.BigIntegerField(
        default=0, help_text='Files of data products up to this one have been read.'
    )
    files = models.PositiveIntegerField(default=0, help_text='How many were read.')
    size = models.BigIntegerField(default=0, help_text='Of these files, in bytes.')
    found = models.JSONField(default=dict, help_text='How many files had each verdict at its end.')

    class Meta:
        ordering = ('-began', '-pk')
        constraints = [
            models.UniqueConstraint(
                fields=['state'], condition=Q(state='open'), name='tom_auto_one_round_at_a_time'
            )
        ]

    def __str__(self) -> str:
        return f'round of {self.began:%Y-%m-%d}: {self.get_state_display()}'


class AuditedFile(models.Model):
    """What the audit knows of a stored file, where that is more than the frame's own row says.

    A frame that is as it was stored has no row here.
    """

    class Verdict(models.TextChoices):
        """How a file stands."""

        SOUND = 'sound', 'as it was'
        CHANGED = 'changed', 'changed by its owner'
        ROTTED = 'rotted', 'rotted'
        DAMAGED = 'damaged', 'damaged'
        MISSING = 'missing', 'missing'
        RENAMED = 'renamed', 'renamed'
        UNREADABLE = 'unreadable', 'not readable'

    product = models.OneToOneField(
        DataProduct, primary_key=True, on_delete=models.CASCADE, related_name='audited'
    )
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    name = models.CharField(max_length=255, blank=True, help_text='The name in the storage.')
    md5 = models.CharField(max_length=32, blank=True, help_text='What its content should have.')
    size = models.BigIntegerField(default=0, help_text='In bytes, as it should be.')
    right_at = models.DateTimeField(help_text='When its content was last known to be right.')
    said = models.TextField(blank=True, help_text='What is wrong with it, in words.')

    def __str__(self) -> str:
        return f'{self.name}: {self.get_verdict_display()}'


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
    was sent can never be undone. It stays when its cadence or its trigger is deleted.
    `targets.submissions` writes it.
    """

    class State(models.TextChoices):
        """How far it came."""

        INTENDED = 'intended', 'being submitted'
        SUBMITTED = 'submitted', 'accepted, not recorded yet'
        RECORDED = 'recorded', 'accepted, with its observation records'
        REFUSED = 'refused', 'not accepted'
        UNCERTAIN = 'uncertain', 'perhaps accepted: somebody has to look'

    cadence = models.ForeignKey(
        DynamicCadence,
        on_delete=models.SET_NULL,
        null=True,
        related_name='+',
        help_text='Empty: it was deleted.',
    )
    trigger = models.ForeignKey(
        ObservationRecord,
        on_delete=models.SET_NULL,
        null=True,
        related_name='+',
        help_text='The observation because of which this was submitted. Empty: it was deleted.',
    )
    trigger_number = models.CharField(
        max_length=255, help_text='The number of that observation at its facility.'
    )
    trigger_facility = models.CharField(
        max_length=50, help_text='The facility of that observation.'
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.INTENDED)
    facility = models.CharField(max_length=50)
    name = models.CharField(max_length=255, help_text='What the observatory knows it by.')
    payload = models.JSONField(
        encoder=DjangoJSONEncoder, help_text='What the cadence gave to send.'
    )
    portal = models.TextField(
        blank=True,
        help_text='Where that is sent as it is. Empty: its class may send something else.',
    )
    observation_ids = models.JSONField(default=list, help_text='What the observatory answered.')
    error = models.TextField(blank=True)
    created = models.DateTimeField(help_text='When it was about to be sent.')
    missed_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when its portal does not list it, by the portal's clock. Empty: not known.",
    )

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
        indexes = [
            models.Index(fields=['job', '-started'], name='tom_auto_runs_of_a_job'),
            models.Index(fields=['-started'], name='tom_auto_newest_runs'),
        ]
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
    error_kind = models.CharField(max_length=30, help_text='See errors.')

    def __str__(self) -> str:
        return f'{self.facility} {self.observation_id}: {self.error}'


class Batch(models.Model):
    """Some records that are due in a run, and the worker that checks them, until its lease ends."""

    class State(models.TextChoices):
        """How far it is."""

        WAITING = 'waiting', 'not given out yet'
        OUT = 'out', 'given to the workers'
        DONE = 'done', 'checked'

    run = models.ForeignKey(UpdateRun, on_delete=models.CASCADE, related_name='batches')
    facility = models.CharField(max_length=50)
    records = models.JSONField(help_text='Their primary keys.')
    lists = models.JSONField(help_text='What the lists of the observatory say of them.')
    requests = models.PositiveIntegerField(help_text='So many may be in flight to a host.')
    username = models.CharField(max_length=150, blank=True, help_text='Whose credentials; or each.')
    ends = models.DateTimeField(help_text='Nothing new is begun after this.')
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    holder = models.CharField(max_length=100, blank=True, help_text='Who checks it now.')
    until = models.DateTimeField(default=timezone.now, help_text='Nobody else takes it before.')
    tries = models.PositiveIntegerField(default=0, help_text='How often one has begun with it.')
    report = models.JSONField(default=dict, help_text='What came of it.')

    def __str__(self) -> str:
        return f'{len(self.records)} records of {self.facility}: {self.get_state_display()}'


class RunRequest(models.Model):
    """Somebody has asked for a run on a page: the row is there before its process is.

    It goes when the process ends. Until then nobody can start a second one.
    """

    job = models.CharField(max_length=255, primary_key=True)
    by = models.CharField(max_length=150)
    alive_at = models.DateTimeField(help_text='When the web server last saw the process.')

    def __str__(self) -> str:
        return f'{self.job}, asked for by {self.by}'


class Lease(models.Model):
    """What one process at a time does, on one host or many, such as keeping the schedule."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=300, help_text='Host and process.')
    since = models.DateTimeField(help_text='When it began.')
    until = models.DateTimeField(help_text='Nobody else does it before this.')

    def __str__(self) -> str:
        return f'{self.name}: {self.holder}'


class TaskWorker(models.Model):
    """A worker of Celery, as it says of itself."""

    name = models.CharField(max_length=255, primary_key=True)
    host = models.CharField(max_length=255)
    processes = models.PositiveIntegerField(help_text='How many tasks it does at a time.')
    queues = models.CharField(max_length=500)
    started = models.DateTimeField()
    alive_at = models.DateTimeField(help_text='When it last said that it is alive.')
    refused = models.TextField(blank=True, help_text='Why it could not start, if so.')

    def __str__(self) -> str:
        return self.name


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
    is_unsure = models.BooleanField(default=False, help_text='It may have arrived all the same.')

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
