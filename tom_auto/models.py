"""What the automation remembers between two runs."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord


class RecordSync(models.Model):
    """How one observation record stands with its observatory.

    A record without such a row was never checked. `sync.due` decides from it what is due.
    """

    record = models.OneToOneField(
        ObservationRecord, on_delete=models.CASCADE, primary_key=True, related_name='sync'
    )
    status = models.CharField(max_length=200, help_text='The status that the last check left.')
    asked_at = models.DateTimeField(
        null=True, db_index=True, help_text='When it was last checked, well or not.'
    )
    checked_at = models.DateTimeField(null=True, help_text='When a check last went well.')
    next_check = models.DateTimeField(
        null=True, db_index=True, help_text='Due from then on; empty: settled.'
    )
    terminal_since = models.DateTimeField(null=True, help_text='First seen in this terminal state.')
    settled_at = models.DateTimeField(null=True, help_text='No more frames are awaited.')
    failures = models.PositiveIntegerField(default=0, help_text='Failed checks in a row.')
    failing_since = models.DateTimeField(null=True, db_index=True)
    error = models.TextField(blank=True, help_text='Why the last check failed.')
    error_kind = models.CharField(max_length=30, blank=True, help_text='See sync.errors.')
    hook_owed = models.CharField(
        max_length=200,
        null=True,
        help_text='The state before a change whose observation_change_state hook has not ended.',
    )

    class Meta:
        verbose_name = 'state of a record'
        verbose_name_plural = 'states of records'

    def __str__(self) -> str:
        return f'{self.record_id}: {self.error or self.status}'


class StoredFrame(models.Model):
    """Where one frame of an archive is kept, and what was verified of it.

    The row is written before the download: its unique name reserves the file's place, and a
    row that was never completed tells the next run what a killed one may have left behind.
    """

    frame_id = models.CharField(max_length=255, unique=True, help_text="The archive's id.")
    name = models.CharField(max_length=255, unique=True, help_text='The name in the storage.')
    product = models.OneToOneField(
        DataProduct, null=True, on_delete=models.CASCADE, related_name='stored_frame'
    )
    md5 = models.CharField(max_length=32, blank=True, help_text='Of the file, in hexadecimal.')
    size = models.BigIntegerField(null=True, help_text='Of the file, in bytes.')
    stored_at = models.DateTimeField(null=True, db_index=True, help_text='Empty: not whole yet.')
    hooks_owed = models.BooleanField(
        default=False, help_text='The hooks for a saved data product have not ended.'
    )

    class Meta:
        indexes = [  # of the few that something is left to do for
            models.Index(
                fields=['id'], condition=Q(stored_at=None), name='tom_auto_frame_not_whole'
            ),
            models.Index(
                fields=['product'], condition=Q(hooks_owed=True), name='tom_auto_hooks_owed'
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UpdateRun(models.Model):
    """One run of a job: who ran it, and what came of it."""

    class Status(models.TextChoices):
        """How a run stands, or how it ended."""

        RUNNING = 'running', 'running'
        OK = 'ok', 'went well'
        FAILED = 'failed', 'something failed'
        DIED = 'died', 'ended too soon'

    job = models.CharField(max_length=50)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    host = models.CharField(max_length=255)
    lock = models.CharField(
        max_length=50, blank=True, help_text='Which file of the host it has locked; empty: none.'
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

    class Meta:
        ordering = ('-started',)
        permissions = [('run_automation', 'Can run, retry, pause and resume the automation')]
        indexes = [models.Index(fields=['job', '-started'], name='tom_auto_runs_of_a_job')]
        constraints = [
            # One run of a job at a time, kept by the database: on one host or on many.
            models.UniqueConstraint(
                fields=['job'], condition=Q(status='running'), name='tom_auto_one_run_at_a_time'
            )
        ]

    def __str__(self) -> str:
        return f'{self.job} {self.started:%Y-%m-%d %H:%M}: {self.status}'

    def counts(self) -> list[tuple[str, int]]:
        """What it counted, by name."""
        names = ('due', 'checked', 'changed', 'found', 'saved', 'repaired', 'failed', 'unsupported')
        return [(name, getattr(self, name)) for name in names]

    @property
    def took(self) -> timedelta | None:
        """How long it ran; None while it does, or where nobody knows."""
        return self.finished - self.started if self.finished else None


class RunFailure(models.Model):
    """One thing that failed in a run: a record, or a facility as a whole (no record)."""

    run = models.ForeignKey(UpdateRun, on_delete=models.CASCADE, related_name='failures')
    record = models.ForeignKey(ObservationRecord, null=True, on_delete=models.SET_NULL)
    observation_id = models.CharField(max_length=255, blank=True)
    facility = models.CharField(max_length=50)
    error = models.TextField()
    error_kind = models.CharField(max_length=30, help_text='See sync.errors.')

    def __str__(self) -> str:
        return f'{self.facility} {self.observation_id}: {self.error}'


class JobPause(models.Model):
    """A job that a person has stopped: while the row is there, the schedule's runs do nothing."""

    job = models.CharField(max_length=50, primary_key=True)
    by = models.CharField(max_length=150)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f'{self.job} is paused by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC'


class Alert(models.Model):
    """What one channel (mail, webhook) was last told about a job.

    Whoever has something to tell claims the row first, so that of several processes one tells.
    """

    job = models.CharField(max_length=50)
    channel = models.CharField(max_length=10)
    state = models.CharField(max_length=10, help_text='The state of the job as it was told.')
    told_at = models.DateTimeField(null=True, help_text='When something was last told.')
    claimed_until = models.DateTimeField(null=True, help_text='Someone is telling, until then.')

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=['job', 'channel'], name='tom_auto_one_alert_a_channel')
        ]

    def __str__(self) -> str:
        return f'{self.job} by {self.channel}: {self.state}'
